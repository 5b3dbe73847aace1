package mixer

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"parley/audio"
	"parley/audio/g711"
	"parley/audio/opus"

	"golang.org/x/sys/unix"
)

// loop is a source that plays the same 0.2 s of speech-coloured noise again and again.
type loop struct {
	frames *[20]audio.Frame
	n      int
}

func newLoop(seed uint64, amplitude float64) *loop {
	l := &loop{frames: new([20]audio.Frame)}
	r := rand.New(rand.NewPCG(seed, 1))
	v := 0.0
	for i := range l.frames {
		for j := range l.frames[i] {
			v = 0.7*v + r.NormFloat64()*amplitude*0.3
			l.frames[i][j] = int16(max(-32000, min(32000, v)))
		}
	}
	return l
}

func (l *loop) ReadFrame(rate int, f *audio.Frame) audio.Status {
	l.n = (l.n + 1) % len(l.frames)
	copy(f[:rate/100], l.frames[l.n][:])
	return audio.Active
}

// void takes everything and keeps nothing.
type void struct{ f audio.Format }

func (v *void) Format() audio.Format             { return v.f }
func (v *void) WritePacket(audio.Format, []byte) {}
func (v *void) WriteFrame(*audio.Frame)          {}

// hall makes an open room of n ports of which the first talkers talk; codec nil means frames at 48 kHz.
func hall(tb testing.TB, n, talkers int, codec audio.Codec) *Mixer {
	var codecs []audio.Codec
	if codec != nil {
		codecs = append(codecs, codec)
	}
	m := New(Config{Codecs: codecs})
	noise := newLoop(0, 20) // -64 dBFS; one for all, as decoders have no library of sound to read from memory
	var ids []PortID
	for i := range n {
		source := &loop{frames: noise.frames, n: i % 20}
		if i < talkers {
			source = newLoop(uint64(i+1), 3000)
		}
		p := Port{ID: PortID(i + 1), Source: source}
		if codec == nil {
			p.Frames = &void{}
		} else {
			p.Packets = &void{f: codec.Format()}
		}
		add(tb, m, p)
		ids = append(ids, p.ID)
	}
	m.SetHearing(everyone(ids...))
	ticks(m, 300) // the gates know their noise, the listeners have settled
	return m
}

var kinds = []struct {
	name  string
	codec func() audio.Codec
}{
	{"frames48k", func() audio.Codec { return nil }},
	{"PCMU", g711.PCMU},
	{"opus", func() audio.Codec { return opus.New(opus.Options{}) }},
}

// cpuTime is what this process has used so far.
func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkTick is one tick of an open room with 4 talkers and low noise from all others.
func BenchmarkTick(b *testing.B) {
	for _, k := range kinds {
		for _, n := range []int{10, 30, 100, 300} {
			b.Run(fmt.Sprintf("%s/ports=%d", k.name, n), func(b *testing.B) {
				m := hall(b, n, 4, k.codec())
				now := time.Unix(0, 0)
				b.ReportAllocs()
				before := cpuTime(b)
				for b.Loop() {
					m.Tick(now)
				}
				each := 1 / float64(b.N) / float64(n)
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())*each, "ns/port")
				b.ReportMetric(float64(cpuTime(b)-before)*each, "cpu-ns/port") // a busy machine disturbs it less
			})
		}
	}
}

// BenchmarkSetHearing is a change of who hears whom in a hall, on the goroutine of whoever makes it: with one list for all, and
// with a list for each.
func BenchmarkSetHearing(b *testing.B) {
	for _, n := range []int{30, 300} {
		var ids []PortID
		m := New(Config{Codecs: []audio.Codec{g711.PCMU()}})
		for i := range n {
			add(b, m, Port{ID: PortID(i), Source: silent(), Packets: &void{f: g711.PCMU().Format()}})
			ids = append(ids, PortID(i))
		}
		one, each := everyone(ids...), Hearing{}
		for _, id := range ids {
			each[id] = append([]PortID(nil), ids...)
		}
		for _, c := range []struct {
			name string
			h    Hearing
		}{{"one", one}, {"each", each}} {
			b.Run(fmt.Sprintf("ports=%d/%s", n, c.name), func(b *testing.B) {
				for b.Loop() {
					m.SetHearing(c.h)
				}
			})
		}
	}
}
