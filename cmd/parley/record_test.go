package main_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parley/audio/record"
	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// chimeHz is in the tones that tell of a recording.
const chimeHz = 1350

// taping is a box whose standing conference 1000 is recorded.
type taping struct {
	*boxtest.Box
	t     testing.TB
	host  string // a token
	admin string
}

func newTaping(t testing.TB, box *boxtest.Box) *taping {
	t.Helper()
	return &taping{box, t, box.Token("-role", "host", "-number", "2001"), box.Token("-role", "admin", "-number", "2009")}
}

func (b *taping) do(status int, what string, more ...any) boxtest.Answer {
	b.t.Helper()
	c := map[string]any{"do": what}
	for i := 0; i < len(more); i += 2 {
		c[more[i].(string)] = more[i+1]
	}
	return b.Must(status, "POST", "/api/v1/conferences/1000/commands", b.host, c)
}

// line is one recording in the list of all.
type line struct {
	ID, Conf, UID, Head, Of, Speaker string
	Seconds                          float64 `json:"length_s"`
	Running, Broken                  bool
}

// list is all recordings, the oldest first.
func (b *taping) list() []line {
	b.t.Helper()
	var got struct{ Recordings []line }
	if err := json.Unmarshal(b.Must(200, "GET", "/api/v1/recordings", b.host, nil).Body, &got); err != nil {
		b.t.Fatal(err)
	}
	return got.Recordings
}

func (b *taping) folder(id string) string { return filepath.Join(b.Data, "recordings", id) }

// taped is how much sound of the newest recording is on the disk: the granule position of the last Ogg page in its first file.
func (b *taping) taped() time.Duration {
	files, _ := filepath.Glob(filepath.Join(b.Data, "recordings", "*", "000000.opus"))
	if len(files) == 0 {
		return 0
	}
	raw, err := os.ReadFile(slices.Max(files))
	at := bytes.LastIndex(raw, []byte("OggS"))
	if err != nil || at < 0 || len(raw) < at+14 {
		return 0
	}
	return time.Duration(binary.LittleEndian.Uint64(raw[at+6:])) * time.Second / 48000
}

// tape waits until d more is on the disk.
func (b *taping) tape(d time.Duration) {
	b.t.Helper()
	until := b.taped() + d
	phonetest.Eventually(b.t, d+30*time.Second, fmt.Sprintf("%v of sound on the disk", until), func() bool { return b.taped() >= until })
}

// whole waits until there are n recordings and the first k of them have ended, and returns them as they are listed.
func (b *taping) whole(n, k int) []line {
	b.t.Helper()
	library := record.NewLibrary(filepath.Join(b.Data, "recordings"), record.Limits{})
	phonetest.Eventually(b.t, 20*time.Second, fmt.Sprintf("%d recordings, %d of them whole", n, k), func() bool {
		list, err := library.List()
		return err == nil && len(list) == n && !slices.ContainsFunc(list[:k], func(i record.Info) bool { return i.Running || i.Broken })
	})
	return b.list()
}

// play is a recording as another's decoder plays it.
func (b *taping) play(id string) phonetest.Sound {
	b.t.Helper()
	ogg, wav := filepath.Join(b.t.TempDir(), "r.opus"), filepath.Join(b.t.TempDir(), "r.wav")
	if err := os.WriteFile(ogg, b.Must(200, "GET", "/api/v1/recordings/"+id, b.host, nil).Body, 0o600); err != nil {
		b.t.Fatal(err)
	}
	if out, err := exec.Command(phonetest.Need(b.t, "opusdec"), "--quiet", "--rate", "48000", ogg, wav).CombinedOutput(); err != nil {
		b.t.Fatalf("opusdec: %v: %s", err, out)
	}
	return phonetest.ReadWAV(b.t, wav)
}

// index is what is written down of a recording.
func (b *taping) index(id string) (lines []record.Line) {
	b.t.Helper()
	var got struct{ Index []record.Line }
	if err := json.Unmarshal(b.Must(200, "GET", "/api/v1/recordings/"+id+"/index", b.host, nil).Body, &got); err != nil {
		b.t.Fatal(err)
	}
	return got.Index
}

func at(t testing.TB, lines []record.Line, what string, ok func(record.Line) bool) time.Duration {
	t.Helper()
	for _, l := range lines {
		if ok(l) {
			return time.Duration(l.Position) * time.Millisecond
		}
	}
	t.Fatalf("the index doesn't have %s: %+v", what, lines)
	return 0
}

func kind(k string, on bool) func(record.Line) bool {
	return func(l record.Line) bool { return l.Kind == k && l.On == on }
}

// sounds wants these tones at their level between two moments of a recording, and those not at all.
func sounds(t testing.TB, s phonetest.Sound, what string, from, to time.Duration, yes, no []float64) {
	t.Helper()
	const edge = 400 * time.Millisecond // of the index's moments, of the network, and of windows
	part := s.Between(from+edge, to-edge)
	if part.Duration() < 500*time.Millisecond {
		t.Fatalf("%s: %v to %v of %v are too short to judge", what, from, to, s.Duration())
	}
	for _, hz := range yes {
		if level := part.Swaying(hz).Median(); level < toneLevel-3 || level > toneLevel+3 {
			t.Errorf("%s: %.0f Hz at %.1f dBFS, want %.0f", what, hz, level, toneLevel)
		}
	}
	for _, hz := range no {
		if level := part.Tone(hz).Max(); level > toneLevel-40 {
			t.Errorf("%s: %.0f Hz at %.1f dBFS, want none", what, hz, level)
		}
	}
}

// C-21, P-3: what is heard in the hall is recorded, with everybody at his level; not what is said during a pause, which takes
// its time all the same, nor in a private room. Who spoke when is written down, and notes. Everybody is told by a tone. It is
// fetched, in ranges, by who may, and deleted.
func TestRecording(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{Microphone: tone(400), Settings: boxtest.Settings{"place": boxtest.Settings{"join_at_start": true}}})
	b, watch := newTaping(t, box), box.Watch()
	var phones []*phonetest.Baresip
	for i, name := range []string{"anna", "ben"} {
		phone := phonetest.StartBaresip(t, phonetest.BaresipConfig{
			Name: name, Codecs: []string{[]string{phonetest.G722, phonetest.PCMA}[i]}, Says: tone([]float64{700, 1100}[i]),
		})
		phone.Dial(box.URI("1000"))
		phone.Expect("CALL_ESTABLISHED", 10*time.Second)
		phones = append(phones, phone)
	}
	state := watch.Wait("/conf/1000/state", "three who speak", 20*time.Second, func(p map[string]any) bool {
		return connected(p) == 3 && len(speaking(p)) == 3
	})
	ben := ""
	for _, m := range state["members"].([]any) {
		if m := m.(map[string]any); m["number"] == "ben" {
			ben = m["id"].(string)
		}
	}

	b.do(409, "note", "text", "too early")
	b.do(200, "record")
	b.tape(2 * time.Second)
	b.do(200, "note", "text", "budget")
	b.do(200, "pause_record")
	b.tape(2 * time.Second)
	b.do(200, "record")
	b.tape(2 * time.Second)
	b.do(200, "open_room", "members", []string{ben}, "room", "aside")
	b.tape(2 * time.Second)
	b.do(200, "return", "room", "aside")
	b.tape(2 * time.Second)
	b.do(200, "stop_record")
	r := b.whole(1, 1)[0]
	for _, p := range phones {
		p.Hangup()
		p.Expect("CALL_CLOSED", 10*time.Second)
	}

	if err := record.Verify(b.folder(r.ID)); err != nil || r.Conf != "1000" || r.UID == "" || len(r.Head) != 64 {
		t.Errorf("%+v: %v", r, err)
	}
	s, index := b.play(r.ID), b.index(r.ID)
	if d := s.Duration().Seconds(); d < r.Seconds-0.02 || d > r.Seconds+0.02 {
		t.Errorf("it plays for %.2f s and is said to be %.2f s long", d, r.Seconds)
	}
	pause, resume := at(t, index, "the pause", kind(record.KindPause, false)), at(t, index, "its end", kind(record.KindResume, false))
	away, back := at(t, index, "the room", kind(record.KindRoom, true)), at(t, index, "its end", kind(record.KindRoom, false))
	all := []float64{400, 700, 1100}
	sounds(t, s, "at first", 0, pause, all, nil)
	if level := s.Between(0, time.Second).Tone(chimeHz).Max(); level > toneLevel-20 {
		t.Errorf("the tone that tells of the recording is in it: %.1f dBFS", level)
	}
	sounds(t, s, "paused", pause, resume, nil, all)
	sounds(t, s, "resumed", resume, away, all, nil)
	sounds(t, s, "with ben away", away, back, all[:2], all[2:])
	sounds(t, s, "with ben back", back, s.Duration(), all, nil)
	if note := at(t, index, "the note", func(l record.Line) bool { return l.Kind == record.KindNote && l.Text == "budget" }); note > pause || note < time.Second {
		t.Errorf("the note stands at %v", note)
	}
	for _, who := range []string{"anna", "ben", box.Place} {
		first := at(t, index, who+" speaking", func(l record.Line) bool { return l.Kind == record.KindSpeak && l.On && l.Member == who })
		if first > time.Second {
			t.Errorf("%s speaks from %v on", who, first)
		}
	}
	said := false // a packet that is late by much ends a stretch of speech, too
	for _, l := range index {
		if off := time.Duration(l.Position)*time.Millisecond - away; l.Kind == record.KindSpeak && l.Member == "ben" {
			if said = said || !l.On && off > -100*time.Millisecond && off < 100*time.Millisecond; l.On && off > 100*time.Millisecond && off < back-away {
				t.Errorf("what ben says aside is written down at %v", off+away)
			}
		}
	}
	if !said {
		t.Error("ben is said to speak on when he has gone aside")
	}
	if t.Failed() {
		for _, l := range index {
			t.Logf("%+v", l)
		}
	}
	for _, p := range phones {
		if n := p.Heard(0).Tone(chimeHz).Above(toneLevel - 10); n < 4 { // four times it was told, each tone in several windows
			t.Error("a phone has not heard the tone that tells of the recording")
		}
	}
	fetched(b, r)
}

// speaking are the members of a snapshot who are heard saying something.
func speaking(snapshot map[string]any) (ids []any) {
	members, _ := snapshot["members"].([]any)
	for _, m := range members {
		if m := m.(map[string]any); m["talks"] == true {
			ids = append(ids, m["id"])
		}
	}
	return ids
}

// fetched tries who may fetch and delete a recording, and how.
func fetched(b *taping, r line) {
	t, path := b.t, "/api/v1/recordings/"+r.ID
	all := b.Must(200, "GET", path, b.host, nil)
	half := len(all.Body) / 2
	part := b.APIWith("GET", path, b.host, nil, map[string]string{"Range": fmt.Sprintf("bytes=%d-", half)})
	if part.Status != 206 || !bytes.Equal(part.Body, all.Body[half:]) || all.Header.Get("Content-Type") != "audio/ogg" {
		t.Errorf("a range: status %d, %d bytes of %d", part.Status, len(part.Body), len(all.Body))
	}
	guest := b.Token("-role", "guest", "-number", "anna")
	for _, path := range []string{path, path + "/index", "/api/v1/recordings"} {
		b.Must(403, "GET", path, guest, nil)
	}
	b.Must(403, "DELETE", path, b.host, nil)
	b.Must(404, "GET", path, b.Token("-role", "host", "-conf", "another"), nil)
	b.Must(204, "DELETE", path, b.admin, nil)
	b.Must(404, "GET", path, b.host, nil)
	if _, err := os.Stat(b.folder(r.ID)); !os.IsNotExist(err) {
		t.Errorf("a deleted recording is still there: %v", err)
	}
}

// C-21: killed in the middle, the box has everything on its disk that was said up to a second before, and it plays; and it goes
// on recording in another one, which names the first. Stopped in order it has all.
func TestRecordingSurvivesAKill(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{Microphone: tone(400), Settings: boxtest.Settings{"place": boxtest.Settings{"join_at_start": true}}})
	b, watch := newTaping(t, box), box.Watch()
	watch.Wait("/conf/1000/state", "the place speaking", 20*time.Second, func(p map[string]any) bool { return len(speaking(p)) == 1 })
	b.do(200, "record")
	began := time.Now()
	b.tape(3 * time.Second)
	said := time.Since(began)
	box.Kill()
	box.Restart()
	list := b.whole(2, 1)
	first, second := list[0], list[1]
	s := b.play(first.ID)
	if s.Duration() < said-time.Second || s.Duration() > said+time.Second {
		t.Errorf("%v were said and %v play", said, s.Duration())
	}
	sounds(t, s, "recovered", 0, s.Duration(), []float64{400}, nil)
	index := b.index(first.ID)
	if last := index[len(index)-1]; last.Kind != record.KindEnd || !last.Recovered {
		t.Errorf("its end: %+v", last)
	}
	if err := record.Verify(b.folder(first.ID)); err != nil {
		t.Error(err)
	}

	b.tape(2 * time.Second)
	at(t, b.index(second.ID), "which recording it goes on from", func(l record.Line) bool {
		return l.Kind == record.KindNote && strings.Contains(l.Text, first.ID)
	})
	box.StopCleanly()
	folders, _ := filepath.Glob(filepath.Join(b.Data, "recordings", "*"))
	if len(folders) != 2 {
		t.Fatalf("recordings: %v", folders)
	}
	for _, f := range folders {
		if err := record.Verify(f); err != nil {
			t.Errorf("after a stop in order: %v", err)
		}
	}
}

// C-21: with the disk nearly full nothing is recorded, who asks is told why, and an alert is raised; there being room again, it
// works. When the disk becomes full in the middle, the recording ends and the conference goes on.
func TestRecordingWithTheDiskFull(t *testing.T) {
	t.Parallel()
	disk := fullDisk(t)
	size := func(s string) {
		if err := unix.Mount("parley-test", disk, "tmpfs", unix.MS_REMOUNT, "size="+s); err != nil {
			t.Fatal(err)
		}
	}
	settings := outside(t)
	settings["recording"] = boxtest.Settings{"reserve_mb": 2}
	box := boxtest.Start(t, boxtest.Config{Data: filepath.Join(disk, "data"), Files: t.TempDir(), Settings: settings})
	b, watch := newTaping(t, box), box.Watch()
	raised := func(p map[string]any) bool {
		text, _ := p["text"].(string)
		return strings.Contains(text, "nearly full")
	}
	stopped := func(p map[string]any) bool {
		why, _ := p["why"].(string)
		return p["event"] == "record_stopped" && strings.Contains(why, "nearly full")
	}
	healed := func() bool {
		list := watch.Messages("/alert/recording")
		return len(list) > 0 && len(list[len(list)-1].Payload) == 0
	}
	if a := b.do(503, "record"); !strings.Contains(string(a.Body), "nearly full") {
		t.Errorf("the reason: %s", a.Body)
	}
	watch.Wait("/alert/recording", "an alert", 10*time.Second, raised)
	watch.Wait("/conf/1000/notice", "the recording's end", 10*time.Second, stopped)
	if list := b.list(); len(list) != 0 {
		t.Errorf("recordings: %+v", list)
	}

	size("20m")
	phonetest.Eventually(t, 20*time.Second, "the alert is over", healed)
	b.do(200, "record")
	b.tape(time.Second)
	watch.Forget()
	size("2m")
	watch.Wait("/conf/1000/notice", "the recording's end", 20*time.Second, stopped)
	watch.Wait("/alert/recording", "an alert", 10*time.Second, raised)
	r := b.whole(1, 1)[0]
	sounds(t, b.play(r.ID), "up to the full disk", 0, time.Duration(r.Seconds*float64(time.Second)), []float64{400}, nil)
	pressMute(t, box, "on") // life goes on
}

// C-21: with the setting, everybody in the hall has a track of his own beside the whole, silent while he is not heard, and it goes with
// the whole.
func TestRecordingTracks(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{Microphone: tone(400), Settings: boxtest.Settings{
		"place": boxtest.Settings{"join_at_start": true}, "recording": boxtest.Settings{"tracks": true},
	}})
	b, watch := newTaping(t, box), box.Watch()
	call := box.Call("1000", "-codec", "pcmu", "-tone", "1700", "-level", "-23", "-for", "60s")
	call.WaitLine("answered", 10*time.Second)
	watch.Wait("/conf/1000/state", "two who speak", 20*time.Second, func(p map[string]any) bool { return len(speaking(p)) == 2 })
	b.do(200, "record")
	b.tape(2 * time.Second)
	b.do(200, "mute", "member", "place")
	b.tape(2 * time.Second)
	b.do(200, "stop_record")
	list := b.whole(3, 3)
	whole := list[slices.IndexFunc(list, func(l line) bool { return l.Of == "" })]
	sounds(t, b.play(whole.ID), "the whole", 0, 2*time.Second, []float64{400, 1700}, nil)
	for _, l := range list {
		if l.Of == "" {
			continue
		}
		if l.Of != whole.ID {
			t.Errorf("a track of %q belongs to %q", l.Speaker, l.Of)
		}
		if s := b.play(l.ID); l.Speaker == box.Place {
			sounds(t, s, "the place's", 0, 2*time.Second, []float64{400}, []float64{1700})
			muted := at(t, b.index(l.ID), "the mute", func(l record.Line) bool { return l.Kind == record.KindPause && l.Position > 1000 })
			sounds(t, s, "the place's, muted", muted, s.Duration(), nil, []float64{400, 1700})
		} else {
			sounds(t, s, "the caller's", 0, s.Duration(), []float64{1700}, []float64{400})
		}
	}
	b.Must(204, "DELETE", "/api/v1/recordings/"+whole.ID, b.admin, nil)
	if list := b.list(); len(list) != 0 {
		t.Errorf("left over: %+v", list)
	}
	call.Stop()
}
