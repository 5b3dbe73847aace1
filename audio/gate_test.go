package audio

import (
	"sync"
	"testing"
)

func TestGate(t *testing.T) {
	var g Gate
	if !g.Closed() {
		t.Error("a new gate is open")
	}
	g.Open()
	g.Open()
	if g.Closed() || g.Closings() != 0 {
		t.Error("open:", g.Closed(), g.Closings())
	}
	g.Close()
	g.Close()
	if !g.Closed() || g.Closings() != 1 {
		t.Error("closed:", g.Closed(), g.Closings())
	}
	g.Open()
	g.Close()
	g.Open()
	if g.Closed() || g.Closings() != 2 {
		t.Error("open again:", g.Closed(), g.Closings())
	}
}

// what is latched, only Release opens.
func TestGateLatched(t *testing.T) {
	var g Gate
	g.Open()
	g.Latch()
	g.Open()
	if !g.Closed() || g.Closings() != 1 {
		t.Error("latched:", g.Closed(), g.Closings())
	}
	g.Close()
	g.Open()
	if !g.Closed() {
		t.Error("closing has undone the latch")
	}
	g.Release()
	if g.Closed() {
		t.Error("released and closed")
	}
	g.Close()
	g.Latch() // a closed gate is latched, too
	g.Open()
	if !g.Closed() || g.Closings() != 2 {
		t.Error("latched when closed:", g.Closed(), g.Closings())
	}
	g.Release()
	g.Close()
	g.Open()
	if g.Closed() {
		t.Error("the latch has outlived its release")
	}
}

// Once Latch has returned, the gate is closed at every moment, however many others open it.
func TestGateLatchedWhileOthersOpen(t *testing.T) {
	var g Gate
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					g.Close()
					g.Open()
				}
			}
		})
	}
	for range 2000 {
		g.Latch()
		for range 20 {
			if !g.Closed() {
				t.Fatal("open while latched")
			}
		}
		g.Release()
	}
	close(stop)
	wg.Wait()
}

// Whatever order many goroutines close and open in, the last to return decides.
func TestGateConcurrent(t *testing.T) {
	var g Gate
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for range 1000 {
				if n%2 == 0 {
					g.Close()
				} else {
					g.Open()
				}
			}
		})
	}
	wg.Wait()
	g.Close()
	if !g.Closed() {
		t.Error("open")
	}
}

func full() (f Frame) {
	for i := range f {
		f[i] = -12000
	}
	return f
}

// from the first frame after closing on nothing of the sound comes through: a ramp of 2.5 ms, then exact zeros.
func TestValve(t *testing.T) {
	var g Gate
	g.Open()
	v := NewValve(&g)
	f := full()
	v.Apply(f[:])
	if f[0] != 0 || f[60] != -6000 || f[120] != -12000 || f[479] != -12000 {
		t.Error("fade-in:", f[0], f[60], f[120], f[479])
	}
	f = full()
	v.Apply(f[:])
	if f != full() {
		t.Error("an open gate changes the sound")
	}

	g.Close()
	f = Frame{}
	for i := range f {
		f[i] = int16(20000 * (i%2*2 - 1)) // sound that must not show
	}
	v.Apply(f[:])
	for i, s := range f {
		if i < 120 && (s > 0 || s < -12000) || i >= 119 && s != 0 {
			t.Fatalf("closed: sample %d is %d", i, s)
		}
		if i > 0 && i < 120 && (s < f[i-1] || int(s)-int(f[i-1]) > 200) {
			t.Fatalf("the ramp jumps at %d: %d, %d", i, f[i-1], s)
		}
	}
	for range 100 {
		f = full()
		v.Apply(f[:])
		if f != (Frame{}) {
			t.Fatal("sound through the closed gate")
		}
	}
	g.Open()
	f = full()
	v.Apply(f[:])
	if f[0] != 0 || f[60] != -6000 || f[479] != -12000 {
		t.Error("fade-in after opening:", f[0], f[60], f[479])
	}
	// Closed and opened between two frames: the sound fades in again.
	g.Close()
	g.Open()
	f = full()
	v.Apply(f[:])
	if f[0] != 0 || f[479] != -12000 {
		t.Error("fade-in after a short closing:", f[0], f[479])
	}
}

// A valve takes any length, and the fade goes on from one to the next.
func TestValveLengths(t *testing.T) {
	var g Gate
	g.Open()
	v := NewValve(&g)
	var got []int16
	for n := 1; n < 40; n++ {
		f := full()
		v.Apply(f[:n])
		got = append(got, f[:n]...)
	}
	for i, s := range got {
		if want := int16(-12000 * min(i, 120) / 120); s != want {
			t.Fatalf("sample %d is %d, want %d", i, s, want)
		}
	}
	v.Apply(nil)
	none := NewValve(nil)
	f := full()
	none.Apply(f[:])
	if f != full() {
		t.Error("a valve without a gate changes the sound")
	}
}

func TestValveAllocs(t *testing.T) {
	var g Gate
	v := NewValve(&g)
	f := full()
	if n := testing.AllocsPerRun(100, func() {
		g.Open()
		v.Apply(f[:])
		g.Close()
		v.Apply(f[:])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
