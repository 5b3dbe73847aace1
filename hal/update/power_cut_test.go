package update

import (
	"fmt"
	"slices"
	"testing"
)

// an update that nothing disturbs goes through its phases and ends in the new firmware, which was tried once.
func TestUpdate(t *testing.T) {
	r := newRig(t, 1)
	r.breaks = 3000
	r.run()
	want := []Phase{Queued, Downloading, Downloaded, Verified, Updating, Updated}
	if got := r.phases(); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if !slices.Equal(r.booted, []string{old, fresh, fresh}) {
		t.Errorf("%v", r.booted)
	}
	s, _ := LoadState(r.disks[stateLabel])
	if s.Good != B || s.Try != None {
		t.Errorf("%+v", s)
	}
}

// firmware that is not healthy is rolled back by itself, with the cause; one that does not even start, too.
func TestRolledBack(t *testing.T) {
	for name, starts := range map[string]bool{"not healthy": true, "does not start": false} {
		r := newRig(t, 2)
		r.healthy, r.starts = false, starts
		r.run()
		if rec := r.last(); rec.Reason != "rolled_back" {
			t.Errorf("%s: %+v", name, rec)
		} else {
			t.Log(rec.Detail)
		}
		if !slices.Equal(r.booted, []string{old, fresh, old, old}) {
			t.Errorf("%s: %v", name, r.booted)
		}
		s, _ := LoadState(r.disks[stateLabel])
		if s.Good != A || s.Try != None {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// operations is how many writes, syncs and notes an update has that nothing disturbs.
func operations(t *testing.T, healthy bool) int {
	r := newRig(t, 0)
	r.healthy = healthy
	r.breaks = 3000
	r.run()
	return r.power.ops
}

// whenever the power is cut, and whatever of the unsynced writes is on the disk then, the old or the new firmware boots, whole, and the
// update comes to an end of which the reason is known.
func TestPowerCutAtEveryWrite(t *testing.T) {
	t.Parallel()
	for _, healthy := range []bool{true, false} {
		n, ends := operations(t, healthy), map[string]int{}
		for k := 1; k <= n; k++ {
			for how := range survivals {
				for seed := range uint64(2) {
					r := newRig(t, seed)
					r.healthy = healthy
					if seed == 0 {
						r.breaks = 3000
					}
					r.power.cutAt, r.power.how = k, how
					r.run()
					if t.Failed() {
						t.Fatalf("%v, healthy %v, seed %d: booted %v", r, healthy, seed, r.booted)
					}
					if !healthy && r.last().Phase == Updated {
						t.Fatalf("%v: firmware that is not healthy stays", r)
					}
					ends[fmt.Sprint(r.last().Phase, " ", r.last().Reason)]++
				}
			}
		}
		t.Logf("healthy %v: cut at each of %d operations, %d ways each: %v", healthy, n, survivals*2, ends)
		if healthy && ends["UPDATED "] < n*int(survivals) { // most cuts cost time only
			t.Errorf("too few come to the new firmware: %v", ends)
		}
	}
}

// Cuts that come again and again, at random.
func TestPowerCutsAtRandom(t *testing.T) {
	t.Parallel()
	ends := map[string]int{}
	for seed := range uint64(600) {
		r := newRig(t, seed)
		r.healthy, r.breaks = seed%3 != 0, 3000
		r.power.how = survival(seed % uint64(survivals))
		for range 6 {
			r.power.cutAt = r.power.ops + 1 + r.power.rnd.IntN(40)
			r.power.back()
			slot, ok := r.boot()
			if ok && r.live(slot) {
				break
			}
			r.power.lostCache()
		}
		r.power.cutAt = 0
		r.run()
		if t.Failed() {
			t.Fatalf("seed %d: %v", seed, r.booted)
		}
		ends[fmt.Sprint(r.last().Phase, " ", r.last().Reason)]++
	}
	t.Log(ends)
}

// A disk that fails at any write, once or from then on, leaves a firmware that boots, and the reason is told.
func TestDiskFailsAtEveryWrite(t *testing.T) {
	n, ends := operations(t, true), map[string]int{}
	for k := 1; k <= n; k++ {
		for _, forever := range []bool{false, true} {
			for seed := range uint64(3) {
				r := newRig(t, seed)
				r.breaks = 3000
				r.power.failAt, r.power.forever, r.power.how = k, forever, survival(seed)
				r.run()
				if t.Failed() {
					t.Fatalf("%v forever %v seed %d: booted %v", r, forever, seed, r.booted)
				}
				ends[fmt.Sprint(r.last().Phase, " ", r.last().Reason)]++
			}
		}
	}
	t.Log(ends)
}
