package update

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

// a truncated, lengthened, tampered, older or foreign image never boots; the reason is told, and the old firmware goes on.
func TestBadImages(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*rig)
		reason string
	}{
		"truncated":  {func(r *rig) { r.served = r.images[fresh][:5000] }, "wrong_size"},
		"lengthened": {func(r *rig) { r.served = append(bytes.Clone(r.images[fresh]), 1) }, "wrong_size"},
		"tampered, in the kernel": {func(r *rig) {
			r.served = bytes.Clone(r.images[fresh])
			r.served[1234] ^= 1
		}, "bad_hash"},
		"tampered, in the first bytes": {func(r *rig) {
			r.served = bytes.Clone(r.images[fresh])
			r.served[1] ^= 1
		}, "bad_hash"},
		"tampered, at the end": {func(r *rig) {
			r.served = bytes.Clone(r.images[fresh])
			r.served[len(r.served)-1] ^= 1
		}, "bad_hash"},
		"older":             {func(r *rig) { r.order.Manifest = r.manifests[older] }, "downgrade"},
		"another board":     {func(r *rig) { r.order.Manifest.Boards = []string{"rpi4"} }, "wrong_board"},
		"another processor": {func(r *rig) { r.order.Manifest.Arch = "armv7" }, "wrong_arch"},
		"too large": {func(r *rig) {
			r.images["9.0.0"], r.order.Manifest = image("9.0.0", 9<<10, 600)
			r.manifests["9.0.0"] = r.order.Manifest
		}, "too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 5)
			c.change(r)
			slot, _ := r.boot()
			if !r.live(slot) {
				t.Fatal("it is not over")
			}
			if rec := r.last(); rec.Phase != Failed || rec.Reason != c.reason || rec.Detail == "" {
				t.Errorf("%+v", rec)
			}
			for range 3 { // whatever is started again
				if slot, _ := r.boot(); r.in(slot) != old {
					t.Errorf("%s boots", r.in(slot))
				}
			}
			s, _ := LoadState(r.disks[stateLabel])
			if s.Good != A || s.Try != None {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A downgrade that is signed as such is done; the same firmware again is not, unless it is asked for so.
func TestDowngrade(t *testing.T) {
	r := newRig(t, 6)
	r.order.Manifest, r.order.Downgrade = r.manifests[older], true
	slot, _ := r.boot()
	r.live(slot)
	slot, _ = r.boot()
	if !r.live(slot) || r.last().Phase != Updated || r.in(slot) != older {
		t.Errorf("%s: %+v", r.in(slot), r.last())
	}
	r = newRig(t, 6)
	r.order.Manifest = r.manifests[old]
	slot, _ = r.boot()
	if !r.live(slot) || r.last().Phase != Updated || r.power.ops != 1 {
		t.Errorf("%+v after %d operations", r.last(), r.power.ops)
	}
}

// while a call is on nothing is fetched and nothing restarts; what it waits for is told.
func TestNotDuringACall(t *testing.T) {
	r := newRig(t, 7)
	looks, fetched := 0, false
	r.calls = func() bool { // one before the download, and one that begins when all is there
		if looks++; looks == 50 {
			return false
		}
		return looks < 50 || r.last().Phase == Verified && looks < 200
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	u := New(Config{
		Machine: &Machine{A, r.disks}, Host: Host{"desk", "arm64", old}, Store: r.notes, Confirm: time.Minute, Busy: r.calls,
		Fetch: func(ctx context.Context, url string, from int64, tag string) (*Body, error) {
			if looks < 50 {
				t.Error("fetched in a call")
			}
			fetched = true
			return r.server(ctx, url, from, tag)
		},
		Health: func() Health { return Health{} }, Now: func() time.Time { return r.now },
		Restart: func() {
			if looks < 200 {
				t.Errorf("restarted in a call, at look %d", looks)
			}
			cancel()
		},
		Report: func(rec Record) { r.reports = append(r.reports, rec) },
		Sleep:  func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	})
	u.Order(r.order)
	u.Run(ctx)
	waited := slices.ContainsFunc(r.reports, func(rec Record) bool { return rec.Detail == "until no call is on" })
	if !fetched || !waited || r.last().Phase != Updating {
		t.Errorf("fetched %v, waited %v, %+v", fetched, waited, r.last())
	}
}

// A newer order takes the place of one that is under way; one that is taken back ends; an old number is no order.
func TestOrders(t *testing.T) {
	r := newRig(t, 8)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var u *Updater
	seen := []string{}
	u = New(Config{
		Machine: &Machine{A, r.disks}, Host: Host{"desk", "arm64", old}, Store: r.notes, Confirm: time.Minute,
		Busy: func() bool { return false }, Health: func() Health { return Health{} }, Now: func() time.Time { return r.now },
		Fetch: func(context.Context, string, int64, string) (*Body, error) { return nil, errAgain },
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
		Report: func(rec Record) {
			if rec.Detail != "" && rec.Phase == Downloading { // it waits for the server
				switch rec.Order.ID {
				case 3:
					o := r.order
					o.ID = 2
					u.Order(o)
					o.ID = 5
					u.Order(o)
				case 5:
					u.Withdraw()
				}
			}
			if text := fmt.Sprint(rec.Order.ID, rec.Phase, rec.Reason); len(seen) == 0 || seen[len(seen)-1] != text {
				seen = append(seen, text)
			}
			if rec.Phase.over() {
				cancel()
			}
		},
	})
	r.order.ID = 3
	u.Order(r.order)
	u.Run(ctx)
	want := []string{"3QUEUED", "3DOWNLOADING", "5QUEUED", "5DOWNLOADING", "5FAILEDwithdrawn"}
	if !slices.Equal(seen, want) {
		t.Errorf("%q", seen)
	}
}

// A file that cannot be had is given up after a day without a byte, with growing pauses between.
func TestPatience(t *testing.T) {
	r := newRig(t, 9)
	asked, began := 0, r.now
	slot, _ := r.boot()
	r.served = r.images[fresh]
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	u := New(Config{
		Machine: &Machine{slot, r.disks}, Host: Host{"desk", "arm64", old}, Store: r.notes, Confirm: time.Minute,
		Busy: func() bool { return false }, Health: func() Health { return Health{} }, Now: func() time.Time { return r.now },
		Fetch: func(context.Context, string, int64, string) (*Body, error) { asked++; return nil, errAgain },
		Sleep: func(ctx context.Context, d time.Duration) error { r.now = r.now.Add(d); return ctx.Err() },
		Report: func(rec Record) {
			r.reports = append(r.reports, rec)
			if rec.Phase.over() {
				cancel()
			}
		},
	})
	u.Order(r.order)
	u.Run(ctx)
	if rec := r.last(); rec.Reason != "unreachable" || r.now.Sub(began) < patience || r.now.Sub(began) > patience+time.Hour || asked > 3000 {
		t.Errorf("%+v after %v, asked %d times", rec, r.now.Sub(began), asked)
	}
}
