package g722

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"parley/audio"
)

func tone(n int, hz, level float64) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(level * math.Sin(2*math.Pi*hz*float64(i)/rate))
	}
	return pcm
}

func pair(t testing.TB) (audio.Encoder, audio.Decoder) {
	c := New()
	enc, err := c.NewEncoder(c.Format())
	if err != nil {
		t.Fatal(err)
	}
	dec, err := c.NewDecoder(c.Format())
	if err != nil {
		t.Fatal(err)
	}
	return enc, dec
}

// roundTrip encodes and decodes in packets of 20 ms.
func roundTrip(t testing.TB, pcm []int16) []int16 {
	enc, dec := pair(t)
	out, packet := make([]int16, len(pcm)), make([]byte, 160)
	for at := 0; at+320 <= len(pcm); at += 320 {
		n, err := enc.Encode(pcm[at:at+320], packet)
		if err != nil || n != 160 {
			t.Fatal(n, err)
		}
		if n, err = dec.Decode(packet[:n], out[at:at+320]); err != nil || n != 320 {
			t.Fatal(n, err)
		}
	}
	return out
}

// delay is what the two filter banks take, samples.
const delay = 22

func snr(in, out []int16) float64 {
	var signal, noise float64
	for i := 1600; i+delay < len(out); i++ {
		d := float64(in[i]) - float64(out[i+delay])
		signal += float64(in[i]) * float64(in[i])
		noise += d * d
	}
	return 10 * math.Log10(signal/(noise+1e-9))
}

func TestRoundTrip(t *testing.T) {
	for _, c := range []struct{ hz, level, want float64 }{
		{300, 10000, 30}, {1000, 10000, 30}, {3000, 10000, 25}, {6000, 10000, 15}, {1000, 300, 25}, {1000, 32767, 25}, {440, 32767, 25}, {2500, 32767, 20},
	} {
		in := tone(16000, c.hz, c.level)
		got := snr(in, roundTrip(t, in))
		t.Logf("%v Hz at %v: %.1f dB", c.hz, c.level, got)
		if got < c.want {
			t.Errorf("%v Hz at %v: %.1f dB, want %v", c.hz, c.level, got, c.want)
		}
	}
}

// Sound at the very limit saturates; it must not come out with the other sign.
func TestOverload(t *testing.T) {
	in := make([]int16, 16000)
	for i := range in {
		in[i] = math.MaxInt16
		if i/40%2 == 1 {
			in[i] = math.MinInt16
		}
	}
	out := roundTrip(t, in)
	for i := 1600; i+delay < len(in); i++ {
		if i%40 > 10 && i%40 < 30 && (in[i] > 0) != (out[i+delay] > 0) {
			t.Fatalf("sample %d: %d came out as %d", i, in[i], out[i+delay])
		}
	}
}

func TestPackets(t *testing.T) {
	c := New()
	for _, ptime := range []int{10, 20, 40, 60} {
		f := c.Format()
		f.Ptime = ptime
		enc, err := c.NewEncoder(f)
		if err != nil {
			t.Fatal(err)
		}
		dec, _ := c.NewDecoder(f)
		pcm, packet := make([]int16, f.PacketSamples()), make([]byte, audio.MaxPacket)
		n, err := enc.Encode(pcm, packet)
		if err != nil || n != int(f.PacketTicks()) {
			t.Errorf("%d ms: %d bytes, %v", ptime, n, err)
		}
		if m, err := dec.Decode(packet[:n], pcm); err != nil || m != len(pcm) {
			t.Errorf("%d ms: %d samples, %v", ptime, m, err)
		}
		if _, err := dec.Decode(packet[:n], pcm[:len(pcm)-1]); !errors.Is(err, ErrLong) {
			t.Errorf("%d ms into less: %v", ptime, err)
		}
	}
	enc, dec := pair(t)
	if _, err := enc.Encode(make([]int16, 321), make([]byte, 1000)); !errors.Is(err, ErrLong) {
		t.Error("odd length:", err)
	}
	if _, err := enc.Encode(make([]int16, 320), make([]byte, 159)); !errors.Is(err, ErrLong) {
		t.Error("no room:", err)
	}
	if _, err := dec.Decode(nil, make([]int16, 320)); !errors.Is(err, ErrPacket) {
		t.Error("empty:", err)
	}
	if _, err := c.NewDecoder(audio.Format{Codec: "G722", SampleRate: 16000, ClockRate: 16000, Ptime: 20}); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

// Follow: the packets after the change are those that the first encoder would have made.
func TestFollowIsExact(t *testing.T) {
	a, _ := pair(t)
	b, _ := pair(t)
	in := tone(3200, 700, 9000)
	want, got := make([]byte, 160), make([]byte, 160)
	for at := 0; at < 1600; at += 320 {
		_, _ = a.Encode(in[at:at+320], want)
	}
	b.Follow(a, in[1280:1600])
	for at := 1600; at < 3200; at += 320 {
		_, _ = a.Encode(in[at:at+320], want)
		_, _ = b.Encode(in[at:at+320], got)
		if !bytes.Equal(got, want) {
			t.Fatal("other packets after the change")
		}
	}
}

func TestAllocs(t *testing.T) {
	enc, dec := pair(t)
	other, _ := pair(t)
	pcm, packet := tone(320, 1000, 10000), make([]byte, 160)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = enc.Encode(pcm, packet)
		_, _ = dec.Decode(packet, pcm)
		dec.Conceal(pcm)
		dec.Recover(packet, pcm)
		_, _ = dec.Decode(packet, pcm)
		_, _ = dec.Decode(packet, pcm[:10])
		_, _ = dec.Decode(nil, pcm)
		other.Follow(enc, pcm)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// After a loss the decoder finds back: the sound soon is as good as without.
func TestRecoversAfterLoss(t *testing.T) {
	enc, dec := pair(t)
	in := tone(32000, 500, 9000)
	out, packet := make([]int16, len(in)), make([]byte, 160)
	for at := 0; at+320 <= len(in); at += 320 {
		_, _ = enc.Encode(in[at:at+320], packet)
		if at == 8000*2 {
			dec.Conceal(out[at : at+320])
			continue
		}
		_, _ = dec.Decode(packet, out[at:at+320])
	}
	var worst float64
	for i := 16000 - 320; i < 16000+3200; i++ {
		worst = max(worst, math.Abs(float64(out[i+delay])-float64(in[i])))
	}
	if worst > 9000 {
		t.Errorf("around the loss it is off by %.0f", worst)
	}
	if got := snr(in[20000:], out[20000:]); got < 25 {
		t.Errorf("later: %.1f dB", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0xFF, 0x7F, 0}, 320, true)
	f.Fuzz(func(t *testing.T, packet []byte, room int, lose bool) {
		_, dec := pair(t)
		pcm := make([]int16, max(0, min(room, 5760)))
		for range 3 {
			n, err := dec.Decode(packet, pcm)
			if err == nil && n != 2*len(packet) || err != nil && n != 0 {
				t.Fatal(n, err)
			}
			if lose {
				dec.Recover(packet, pcm)
				dec.Conceal(pcm)
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	enc, _ := pair(b)
	pcm, packet := make([]int16, 320), make([]byte, 160)
	for i := range pcm {
		pcm[i] = int16(rand.IntN(10000))
	}
	for b.Loop() {
		_, _ = enc.Encode(pcm, packet)
	}
}

func BenchmarkDecode(b *testing.B) {
	enc, dec := pair(b)
	pcm, packet := make([]int16, 320), make([]byte, 160)
	for i := range pcm {
		pcm[i] = int16(rand.IntN(10000))
	}
	_, _ = enc.Encode(pcm, packet)
	for b.Loop() {
		_, _ = dec.Decode(packet, pcm)
	}
}
