package rtp

import (
	"fmt"
	"math"
	"testing"

	"parley/audio"
	"parley/audio/g711"
	"parley/audio/g722"
	"parley/audio/opus"
)

// Every codec at every length of packet, through two legs: a tone comes out as loud as it went in and nothing is concealed;
// with every tenth packet lost it still does, and the losses are concealed.
func TestCodecsThroughLegs(t *testing.T) {
	for _, c := range []audio.Codec{opus.New(opus.Options{Loss: 10}), g722.New(), g711.PCMU(), g711.PCMA()} {
		for _, ptime := range []int{10, 20, 30, 40, 60} {
			f := c.Format()
			f.Ptime = ptime
			if f.Codec == "opus" && ptime == 30 {
				continue // no frames of this length
			}
			for _, lossy := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %d ms lossy=%v", f.Codec, ptime, lossy), func(t *testing.T) {
					hearTone(t, c, f, lossy)
				})
			}
		}
	}
}

func hearTone(t *testing.T, c audio.Codec, f audio.Format, lossy bool) {
	const level = -20.0
	r := newRig(t)
	a, b := r.pair(func(p *Params) { p.Codec, p.Format, p.PayloadType = c, f, 96 })
	r.tick()
	enc, err := c.NewEncoder(f)
	if err != nil {
		t.Fatal(err)
	}
	pcm := make([]int16, f.PacketSamples())
	packet := make([]byte, audio.MaxPacket)
	amplitude := 32768 * math.Pow(10, level/20) * math.Sqrt2
	n, sent := 0, 0
	var sum float64
	var frames, silent int
	for tick := range 300 {
		if tick*10%f.Ptime == 0 {
			for i := range pcm {
				pcm[i] = int16(amplitude * math.Sin(2*math.Pi*700*float64(n)/float64(f.SampleRate)))
				n++
			}
			k, err := enc.Encode(pcm, packet)
			if err != nil {
				t.Fatal(err)
			}
			if sent++; lossy && sent%10 == 5 {
				a.out.seq++ // as if it had been sent and lost
				a.out.ts += f.PacketTicks()
			} else {
				a.WritePacket(f, packet[:k])
				r.arrive(b.sock.rtp)
			}
		}
		r.tick()
		var frame audio.Frame
		s := b.ReadFrame(f.SampleRate, &frame)
		if tick < 60 {
			continue
		}
		frames++
		if s == audio.Silent {
			silent++
			continue
		}
		sum += audio.Measure(frame[:f.FrameSamples()]).Power
	}
	st := r.figures(b)
	if got := audio.PowerDB(sum / float64(frames)); math.Abs(got-level) > 1.5 || silent > 0 {
		t.Errorf("%.1f dBFS, went in at %.1f; %d silent frames of %d", got, level, silent, frames)
	}
	if concealed := st.Concealed > 0; concealed != lossy || !lossy && st.Missing+st.Late != 0 || st.DecodeErrors != 0 {
		t.Errorf("%+v", st)
	}
	if lossy && (st.Missing < 2 || uint64(st.Lost) != st.Missing) {
		t.Errorf("%d lost, %d missed", st.Lost, st.Missing)
	}
}
