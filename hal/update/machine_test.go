package update

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

// image makes a firmware: its file and its manifest.
func image(version string, kernel, root int) ([]byte, Manifest) {
	rnd := rand.New(rand.NewChaCha8(sha256.Sum256([]byte(version))))
	b := make([]byte, kernel+root)
	for i := range b {
		b[i] = byte(rnd.Uint32() | 1) // nothing in it is zero, as nothing on an empty medium is else
	}
	sum := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	return b, Manifest{Schema: 1, Version: version, Boards: []string{"desk"}, Arch: "arm64", Size: int64(kernel + root), Parts: []Part{
		{"kernel", int64(kernel), sum(b[:kernel])}, {"root", int64(root), sum(b[kernel:])},
	}}
}

// rig is a whole machine: disks, boot loader, and a box that starts again and again.
type rig struct {
	t     testing.TB
	power *power
	disks labelled
	notes *notes
	now   time.Time

	images     map[string][]byte // by version
	manifests  map[string]Manifest
	order      Order
	served     []byte // what the server has in place of the image; nil: the image
	healthy    bool   // the new firmware is
	starts     bool   // the new firmware's program does
	checkpoint int64  // bytes between two syncs
	breaks     int    // the server breaks off after so many bytes
	calls      func() bool

	booted  []string // versions, in the order in which they have booted
	reports []Record
}

const (
	older, old, fresh = "1.0.0", "1.1.0", "1.2.0"
	kernelSize        = 2700
	rootSize          = 6100
)

func newRig(t testing.TB, seed uint64) *rig {
	p := &power{rnd: rand.New(rand.NewPCG(seed, 7))}
	r := &rig{t: t, power: p, disks: labelled{stateLabel: p.disk(8 << 20)}, now: time.Unix(1795255200, 0), healthy: true, starts: true,
		images: map[string][]byte{}, manifests: map[string]Manifest{}, calls: func() bool { return false }}
	r.notes = &notes{power: p}
	r.checkpoint = 2500
	if seed%2 == 1 { // all that is written waits for one sync
		r.checkpoint = 1 << 20
	}
	for _, s := range []Slot{A, B} {
		r.disks[label("kernel", s)], r.disks[label("root", s)] = p.disk(8<<10), p.disk(16<<10)
	}
	for i, v := range []string{older, old, fresh} {
		r.images[v], r.manifests[v] = image(v, kernelSize+i*500, rootSize+i*700)
	}
	r.flash(A, old)
	r.flash(B, older)
	SaveState(r.disks[stateLabel], State{Good: A, Try: None})
	r.disks.rest()
	p.ops = 0
	r.order = Order{ID: 1, URL: "http://192.0.2.1/image", Manifest: r.manifests[fresh]}
	return r
}

func (r *rig) flash(s Slot, version string) {
	n := r.manifests[version].Parts[0].Size
	r.disks[label("kernel", s)].WriteAt(r.images[version][:n], 0)
	r.disks[label("root", s)].WriteAt(r.images[version][n:], 0)
}

// in tells which version is in a slot; empty: none that the boot loader takes for one. A kernel that is there with another's root is
// what must never be.
func (r *rig) in(s Slot) string {
	for v, b := range r.images {
		k := make([]byte, r.manifests[v].Parts[0].Size)
		r.disks[label("kernel", s)].ReadAt(k, 0)
		if !bytes.Equal(k, b[:len(k)]) {
			continue
		}
		root := make([]byte, r.manifests[v].Parts[1].Size)
		r.disks[label("root", s)].ReadAt(root, 0)
		if !bytes.Equal(root, b[len(k):]) {
			r.t.Fatalf("slot %s boots a kernel of %s with a root file system that is not", s, v)
		}
		return v
	}
	return ""
}

// boot is what the boot loader's script does. It returns false if the power goes meanwhile.
func (r *rig) boot() (Slot, bool) {
	d := r.disks[stateLabel]
	s, at, err := loadState(d)
	if err != nil {
		r.t.Fatal(err)
	}
	choice := s.Choose()
	if choice.Save != nil {
		_, err := d.WriteAt(choice.Save.Encode(), at)
		if err == nil {
			err = d.Sync()
		}
		if r.power.off {
			return None, false
		}
		back := make([]byte, CopySize)
		if d.ReadAt(back, at); err != nil || !bytes.Equal(back, choice.Save.Encode()) {
			choice.Slot = s.Good
		}
	}
	r.in(A) // a slot that boots is whole, also one that is not to boot now
	r.in(B)
	for _, slot := range []Slot{choice.Slot, s.Good, s.Good.Other()} {
		if v := r.in(slot); v != "" {
			r.booted = append(r.booted, v)
			return slot, true
		}
	}
	r.t.Fatalf("no slot boots; %+v", s)
	return None, false
}

// server gives the image, from any offset on, and breaks off now and then.
func (r *rig) server(_ context.Context, _ string, from int64, _ string) (*Body, error) {
	file := r.served
	if file == nil {
		file = r.images[r.order.Manifest.Version]
	}
	rest := file[min(from, int64(len(file))):]
	if r.breaks > 0 && len(rest) > r.breaks {
		return &Body{io.NopCloser(io.MultiReader(bytes.NewReader(rest[:r.breaks]), broken{})), from, int64(len(file)), `"1"`}, nil
	}
	return &Body{io.NopCloser(bytes.NewReader(rest)), from, int64(len(file)), `"1"`}, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// live is one life of the box in a slot: it ends with a restart, without power, or when the update is over. It returns whether that is so.
func (r *rig) live(running Slot) (over bool) {
	version := r.in(running)
	new := version == fresh
	if new && !r.starts { // it dies until the supervisor restarts the machine
		return false
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	u := New(Config{
		Machine: &Machine{running, r.disks}, Host: Host{"desk", "arm64", version}, Store: r.notes, Fetch: r.server, Confirm: time.Minute,
		Busy: r.calls, Health: func() Health {
			if r.power.off {
				cancel()
			}
			return Health{Sound: !new || r.healthy, MQTT: true, SIP: true}
		},
		Restart: func() { r.power.lostCache(); cancel() },
		Report: func(rec Record) {
			r.reports = append(r.reports, rec)
			if r.power.off {
				cancel()
			} else if rec.Phase.over() && rec.Order.ID == r.order.ID {
				over = true
				cancel()
			}
		},
		Now: func() time.Time { return r.now },
		Sleep: func(ctx context.Context, d time.Duration) error {
			r.now = r.now.Add(d)
			if r.power.off {
				cancel()
			}
			return ctx.Err()
		},
	})
	u.chunk, u.checkpoint = 1000, r.checkpoint
	u.Order(r.order)
	u.Run(ctx)
	return over && !r.power.off
}

// lostCache is a restart without a sync: what is pending may or may not be there.
func (p *power) lostCache() {
	if !p.off {
		p.cut()
		p.back()
	}
}

// run has the machine live until the update is over.
func (r *rig) run() {
	r.t.Helper()
	for lives := 0; ; lives++ {
		if lives > 40 {
			r.t.Fatalf("it comes to no end: %v, %+v", r.booted, r.notes.rec)
		}
		r.power.back()
		slot, ok := r.boot()
		if ok && r.live(slot) {
			break
		}
		if !r.power.off {
			r.power.lostCache()
		}
	}
	r.end()
}

// end holds what must be true whatever has happened.
func (r *rig) end() {
	r.t.Helper()
	r.power.failAt, r.power.cutAt = 0, 0
	for i, v := range r.booted {
		if v != old && v != fresh {
			r.t.Errorf("boot %d is of %s: %v", i, v, r.booted)
		}
	}
	slot, _ := r.boot()
	runs, rec := r.in(slot), r.notes.rec
	if len(r.reports) > 0 { // where the notes cannot be kept, what was told counts
		rec = r.reports[len(r.reports)-1]
	}
	// Of a disk that takes nothing any more it is not known what it has taken.
	if want := map[Phase]string{Updated: fresh, Failed: old}[rec.Phase]; runs != want && !r.power.forever {
		r.t.Errorf("%s runs after %s %s (%s)", runs, rec.Phase, rec.Reason, rec.Detail)
	}
	if rec.Phase == Failed && (rec.Reason == "" || rec.Detail == "") {
		r.t.Errorf("it failed for no reason: %+v", rec)
	}
}

func (r *rig) last() Record { return r.reports[len(r.reports)-1] }

// phases are what was told, each once.
func (r *rig) phases() (list []Phase) {
	for _, rec := range r.reports {
		if len(list) == 0 || list[len(list)-1] != rec.Phase {
			list = append(list, rec.Phase)
		}
	}
	return list
}

func (r *rig) String() string {
	return fmt.Sprintf("cut at %d (%d), fails at %d", r.power.cutAt, r.power.how, r.power.failAt)
}
