package rtp

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parley/audio"
)

// cpu is what this process has used, user and system.
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLegs is one leg's 20 ms: a packet received, two frames decoded, a packet sent; 100 PCMU legs on one Poller, in
// pairs that talk to each other over loopback. CPU time of the whole process, the kernel's part for both ends included.
func BenchmarkLegs(b *testing.B) {
	key := make([]byte, keyLen+saltLen)
	for name, keys := range map[string]*Keys{"PCMU": nil, "PCMU+SRTP": {Suite: SuiteSHA1_80, Local: key, Remote: key}} {
		b.Run(name, func(b *testing.B) {
			const n = 100
			r := newRig(b)
			r.poller.stamps = true
			for range n / 2 {
				r.pair(func(p *Params) { p.SRTP = keys })
			}
			body := speech(0)
			var f audio.Frame
			var drain, read, write time.Duration
			step := func() {
				for half := range 2 {
					r.now = r.now.Add(10 * time.Millisecond)
					t0 := time.Now()
					r.poller.Drain(r.now)
					t1 := time.Now()
					for _, l := range r.legs {
						l.ReadFrame(8000, &f)
					}
					t2 := time.Now()
					for i, l := range r.legs {
						if i%2 == half { // each leg once in 20 ms
							l.WritePacket(l.cur.Format, body)
						}
					}
					t3 := time.Now()
					drain, read, write = drain+t1.Sub(t0), read+t2.Sub(t1), write+t3.Sub(t2)
				}
			}
			for range 20 {
				step()
			}
			drain, read, write = 0, 0, 0
			used := cpu()
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				step()
			}
			b.StopTimer()
			per := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(b.N*n) / 1000 }
			b.ReportMetric(per(cpu()-used), "cpu-µs/leg/20ms")
			b.ReportMetric(per(drain), "drain-µs")
			b.ReportMetric(per(read), "read-µs")
			b.ReportMetric(per(write), "write-µs")
			if st := r.legs[0].Stats(); st.SRTPFailures != 0 || st.Missing > 2 {
				b.Errorf("%+v", st)
			}
		})
	}
}
