package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

var errDead = errors.New("the power is off")

// power is a disk that loses power before its change number dieAt, and then also what was not synced, some of it or all: bytes
// behind the last sync of a file, names behind the last sync of a folder. Killed, as with kill −9, it loses nothing more.
type power struct {
	dieAt, step int
	dead        bool
	synced      map[string]int64 // per file
	undo        []undo           // names that are not synced, oldest first
}

type undo struct {
	dir string
	do  func()
}

func newPower(dieAt int) *power { return &power{dieAt: dieAt, synced: make(map[string]int64)} }

func (p *power) fault(op, path string) error {
	p.step++
	if p.dead || p.step == p.dieAt {
		p.dead = true
		return errDead
	}
	old, err := os.ReadFile(path)
	existed := err == nil
	restore := func() {
		if existed {
			os.WriteFile(path, old, 0o600)
		} else {
			os.Remove(path)
		}
	}
	dir := filepath.Dir(path)
	switch op {
	case "create":
		if !existed {
			p.undo = append(p.undo, undo{dir, restore})
		}
		p.synced[path] = 0
	case "truncate":
		p.synced[path] = 0
	case "sync":
		p.synced[path] = int64(len(old))
	case "rename":
		temp := path + newSuffix
		p.synced[path] = p.synced[temp]
		now, _ := os.ReadFile(temp)
		p.undo = append(p.undo, undo{dir, func() { restore(); os.WriteFile(temp, now, 0o600) }})
	case "remove":
		p.undo = append(p.undo, undo{dir, restore})
	case "mkdir":
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			p.undo = append(p.undo, undo{dir, func() { os.RemoveAll(path) }})
		}
	case "syncdir":
		p.undo = slices.DeleteFunc(p.undo, func(u undo) bool { return u.dir == path })
	}
	return nil
}

// cut takes away what was not synced.
func (p *power) cut(r *rand.Rand) {
	for path, synced := range p.synced {
		if st, err := os.Stat(path); err == nil && st.Size() > synced {
			os.Truncate(path, synced+r.Int64N(st.Size()-synced+1))
		}
	}
	keep := r.IntN(len(p.undo) + 1)
	for i := len(p.undo) - 1; i >= keep; i-- {
		p.undo[i].do()
	}
}

// everyCrash runs a story once for every change that it makes to the disk, killed there, and twice with a power cut there. check sees
// what is left.
func everyCrash(t *testing.T, story func(dir string, fault func(op, path string) error) (check func(t *testing.T, when string))) {
	t.Helper()
	for dieAt := 1; ; dieAt++ {
		done := false
		for mode := range 3 {
			dir := t.TempDir()
			p := newPower(dieAt)
			check := story(filepath.Join(dir, "data"), p.fault)
			done = !p.dead
			if mode > 0 {
				p.cut(rand.New(rand.NewPCG(uint64(dieAt), uint64(mode))))
			}
			check(t, fmt.Sprintf("step %d, mode %d", dieAt, mode))
			if t.Failed() {
				t.FailNow()
			}
		}
		if done {
			if dieAt < 20 {
				t.Fatalf("the story changed the disk %d times only", dieAt)
			}
			return
		}
	}
}

func TestFilesSurviveEveryCrash(t *testing.T) {
	t.Parallel()
	data := [][]byte{text(1000), text(200_000), text(3)}
	everyCrash(t, func(dir string, fault func(op, path string) error) func(*testing.T, string) {
		acked := make(map[string]int64) // upload -> offset
		content := make(map[string][]byte)
		finished, deleted := make(map[string]bool), make(map[string]bool)
		deleting := ""
		s, err := OpenFiles(FilesConfig{Dir: dir, fault: fault, Now: func() time.Time { return t0 }})
		if err == nil {
			var ids []string
			for i, d := range data {
				id, err := s.Begin("u1", Meta{Name: fmt.Sprint(i), Size: int64(len(d)), SHA256: sum(d)})
				if err != nil {
					break
				}
				ids = append(ids, id)
				content[id], acked[id] = d, 0
				for at := int64(0); at < int64(len(d)); {
					n, err := s.Write("u1", id, at, bytes.NewReader(d[at:min(int64(len(d)), at+90_000)]))
					acked[id], at = n, n
					if err != nil {
						break
					}
				}
				if _, err := s.Finish("u1", id); err == nil {
					finished[id] = true
				}
			}
			if len(ids) > 1 {
				deleting = ids[0]
				deleted[deleting] = s.Delete("u1", deleting) == nil
			}
		}
		return func(t *testing.T, when string) {
			if _, err := os.Stat(dir); err != nil {
				os.Mkdir(dir, 0o700)
			}
			s, err := OpenFiles(FilesConfig{Dir: dir})
			if err != nil {
				t.Fatal(when, err)
			}
			for id, d := range content {
				info, err := s.Status("u1", id)
				switch {
				case deleted[id]:
					if err == nil && !errors.Is(err, ErrNotFound) {
						t.Errorf("%s: deleted, and there", when)
					}
				case id == deleting:
				case err != nil:
					t.Errorf("%s: an upload that was acknowledged: %v", when, err)
				case info.Received < acked[id]:
					t.Errorf("%s: %d bytes were acknowledged, %d are there", when, acked[id], info.Received)
				case finished[id] && !info.Finished:
					t.Errorf("%s: a file is an upload again", when)
				case !info.Finished:
					finishLater(t, s, id, d, when)
				}
			}
			for _, info := range s.List("u1") {
				if got := contentOf(s, info.ID); sum(got) != info.SHA256 {
					t.Errorf("%s: half a file is listed", when)
				}
			}
			onDisk, _ := os.ReadDir(filepath.Join(dir, "u1"))
			if known := len(s.List("u1")) + len(s.Pending("u1")) + 1; len(onDisk) > known {
				t.Errorf("%s: garbage stays: %v", when, onDisk)
			}
		}
	})
}

// finishLater goes on with an upload after the crash.
func finishLater(t *testing.T, s *Files, id string, d []byte, when string) {
	t.Helper()
	info, _ := s.Status("u1", id)
	if n, err := s.Write("u1", id, info.Received, bytes.NewReader(d[info.Received:])); err != nil {
		t.Errorf("%s: going on: %d, %v", when, n, err)
	}
	if _, err := s.Finish("u1", id); err != nil {
		t.Errorf("%s: finishing: %v", when, err)
	}
}

func contentOf(s *Files, id string) []byte {
	r, info, err := s.Open("u1", id)
	if err != nil {
		return nil
	}
	defer r.Close()
	b := make([]byte, info.Size+1)
	n, _ := r.Read(b)
	for n < int(info.Size) {
		m, err := r.Read(b[n:])
		if err != nil {
			break
		}
		n += m
	}
	return b[:n]
}

func TestLogSurvivesEveryCrash(t *testing.T) {
	t.Parallel()
	everyCrash(t, func(dir string, fault func(op, path string) error) func(*testing.T, string) {
		type told struct {
			id  string
			seq uint64
		}
		var acked []told
		var sent []string
		l, err := OpenLog(LogConfig{Dir: dir, Entries: 64, fault: fault})
		if err == nil {
			for i := range 24 {
				id := fmt.Sprint("m", i)
				sent = append(sent, id)
				l.Append("u1", message(id, 10+i), func(seq uint64, _ bool, err error) {
					if err == nil {
						acked = append(acked, told{id, seq})
					}
				})
				if i%3 == 2 {
					l.work(l.takeQueue(false))
				}
			}
		}
		return func(t *testing.T, when string) {
			if _, err := os.Stat(dir); err != nil {
				os.Mkdir(dir, 0o700)
			}
			l, err := OpenLog(LogConfig{Dir: dir, Entries: 64})
			if err != nil {
				t.Fatal(when, err)
			}
			all, err := l.Since("u1", 0, 1000)
			if err != nil {
				t.Fatal(when, err)
			}
			for i, e := range all {
				if e.Seq != uint64(i+1) || e.ID != sent[i] || string(e.Body) != string(message(e.ID, 10+i).Body) {
					t.Errorf("%s: message %d is %+v", when, i, e)
				}
			}
			for _, a := range acked {
				if int(a.seq) > len(all) || all[a.seq-1].ID != a.id {
					t.Errorf("%s: acknowledged %+v, there are %d", when, a, len(all))
				}
			}
			// The sender was not told, and sends all again: everything is there once.
			for i, id := range sent {
				seq, dup, err := appendNow(l, "u1", message(id, 10+i))
				if err != nil || dup != (i < len(all)) || seq != uint64(i+1) {
					t.Errorf("%s: %s again: %d, %v, %v; %d were there", when, id, seq, dup, err, len(all))
				}
			}
			if all, err = l.Since("u1", 0, 1000); err != nil || len(all) != len(sent) {
				t.Errorf("%s: %d messages at last, %v", when, len(all), err)
			}
		}
	})
}
