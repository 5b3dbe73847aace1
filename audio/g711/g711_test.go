package g711

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"parley/audio"
)

// decisions are the decision values of a law, as G.711 lists them: for each segment the first value and the step.
func decisions(segments [][2]int) []int {
	var x []int
	for _, s := range segments {
		for n := range 16 {
			x = append(x, s[0]+n*s[1])
		}
	}
	return x
}

// laws by the Recommendation's own tables: table 2 (µ, 14 bits) and table 1 (A, 13 bits, so half of them in 12).
func laws() []struct {
	codec     audio.Codec
	decisions []int
	end       int // of the last interval
	shift     int
	code      func(n int, positive bool) byte
	value     func(x, next int) int // of an interval, at 16 bits
} {
	mu := append([]int{0}, decisions([][2]int{{1, 2}})[:15]...) // the first segment is one step short
	mu = append(mu, decisions([][2]int{{31, 4}, {95, 8}, {223, 16}, {479, 32}, {991, 64}, {2015, 128}, {4063, 256}})...)
	a := decisions([][2]int{{0, 1}, {16, 1}, {32, 2}, {64, 4}, {128, 8}, {256, 16}, {512, 32}, {1024, 64}})
	return []struct {
		codec     audio.Codec
		decisions []int
		end       int
		shift     int
		code      func(n int, positive bool) byte
		value     func(x, next int) int
	}{
		{PCMU(), mu, 8159, 2, func(n int, positive bool) byte {
			if positive {
				return byte(0xFF - n)
			}
			return byte(0x7F - n)
		}, func(x, next int) int {
			if x == 0 {
				return 0
			}
			return (x + next) / 2 * 4
		}},
		{PCMA(), a, 2048, 4, func(n int, positive bool) byte {
			if positive {
				return byte(0x80|n) ^ 0x55
			}
			return byte(n) ^ 0x55
		}, func(x, next int) int { return (x + next) * 8 }},
	}
}

// Every sample there is, and every byte, are as the Recommendation's tables have them.
func TestBitExact(t *testing.T) {
	for _, l := range laws() {
		f := l.codec.Format()
		if len(l.decisions) != 128 {
			t.Fatalf("%s: %d decision values", f.Codec, len(l.decisions))
		}
		enc, _ := l.codec.NewEncoder(f)
		dec, _ := l.codec.NewDecoder(f)
		var packet [1]byte
		var pcm [1]int16
		bad := 0
		for s := math.MinInt16; s <= math.MaxInt16 && bad < 5; s++ {
			magnitude, positive := s>>l.shift, s >= 0
			if !positive {
				magnitude = ^s >> l.shift
			}
			n := 127
			for l.decisions[n] > magnitude {
				n--
			}
			next := l.end
			if n < 127 {
				next = l.decisions[n+1]
			}
			if _, err := enc.Encode([]int16{int16(s)}, packet[:]); err != nil {
				t.Fatal(err)
			}
			if want := l.code(n, positive); packet[0] != want {
				t.Errorf("%s: %d is encoded as %#x, want %#x", f.Codec, s, packet[0], want)
				bad++
			}
			want := l.value(l.decisions[n], next)
			if !positive {
				want = -want
			}
			if _, err := dec.Decode(packet[:], pcm[:]); err != nil || int(pcm[0]) != want {
				t.Errorf("%s: %#x is decoded as %d, want %d (%v)", f.Codec, packet[0], pcm[0], want, err)
				bad++
			}
		}
	}
}

// Values that anybody can look up.
func TestKnownValues(t *testing.T) {
	for _, c := range []struct {
		codec audio.Codec
		pcm   []int16
		want  []byte
	}{
		{PCMU(), []int16{0, -1, 1000, -1000, 32767, -32768, 8, -8}, []byte{0xFF, 0x7F, 0xCE, 0x4E, 0x80, 0x00, 0xFE, 0x7E}},
		{PCMA(), []int16{0, -1, 1000, -1000, 32767, -32768, 16}, []byte{0xD5, 0x55, 0xFA, 0x7A, 0xAA, 0x2A, 0xD4}},
	} {
		enc, _ := c.codec.NewEncoder(c.codec.Format())
		got := make([]byte, len(c.pcm))
		if n, err := enc.Encode(c.pcm, got); err != nil || n != len(got) || !bytes.Equal(got, c.want) {
			t.Errorf("%s: % x, want % x (%v)", c.codec.Format().Codec, got, c.want, err)
		}
	}
}

func TestFormats(t *testing.T) {
	for _, c := range []audio.Codec{PCMU(), PCMA()} {
		for _, ptime := range []int{10, 20, 30, 40, 60} {
			f := c.Format()
			f.Ptime = ptime
			enc, err := c.NewEncoder(f)
			if err != nil {
				t.Fatal(err)
			}
			dec, _ := c.NewDecoder(f)
			pcm, packet := make([]int16, f.PacketSamples()), make([]byte, audio.MaxPacket)
			n, err := enc.Encode(pcm, packet)
			if err != nil || n != 8*ptime {
				t.Errorf("%d ms: %d bytes, %v", ptime, n, err)
			}
			if m, err := dec.Decode(packet[:n], pcm); m != len(pcm) || err != nil {
				t.Errorf("%d ms: %d samples, %v", ptime, m, err)
			}
			if _, err := dec.Decode(packet[:n], pcm[:n-1]); !errors.Is(err, ErrLong) {
				t.Errorf("%d ms into less: %v", ptime, err)
			}
		}
		if _, err := c.NewEncoder(audio.Format{Codec: c.Format().Codec, SampleRate: 16000, ClockRate: 8000, Ptime: 20}); !errors.Is(err, ErrFormat) {
			t.Error(err)
		}
		if _, err := c.NewDecoder(audio.Format{}); !errors.Is(err, ErrFormat) {
			t.Error(err)
		}
		dec, _ := c.NewDecoder(c.Format())
		if _, err := dec.Decode(nil, make([]int16, 160)); !errors.Is(err, ErrPacket) {
			t.Error(err)
		}
		enc, _ := c.NewEncoder(c.Format())
		if _, err := enc.Encode(make([]int16, 160), make([]byte, 159)); !errors.Is(err, ErrLong) {
			t.Error(err)
		}
	}
}

// The ratio of signal to quantisation noise of a tone at −10 dBFS: 36 to 38 dB is what the laws give.
func TestSNR(t *testing.T) {
	for _, c := range []audio.Codec{PCMU(), PCMA()} {
		enc, _ := c.NewEncoder(c.Format())
		dec, _ := c.NewDecoder(c.Format())
		pcm, out, packet := make([]int16, 8000), make([]int16, 8000), make([]byte, 8000)
		for i := range pcm {
			pcm[i] = int16(10362 * math.Sin(2*math.Pi*1004*float64(i)/8000))
		}
		_, _ = enc.Encode(pcm, packet)
		_, _ = dec.Decode(packet, out)
		var signal, noise float64
		for i, s := range pcm {
			signal += float64(s) * float64(s)
			noise += float64(s-out[i]) * float64(s-out[i])
		}
		snr := 10 * math.Log10(signal/noise)
		t.Logf("%s: %.1f dB", c.Format().Codec, snr)
		if snr < 36 {
			t.Errorf("%s: %.1f dB", c.Format().Codec, snr)
		}
	}
}

func TestAllocs(t *testing.T) {
	c := PCMU()
	enc, _ := c.NewEncoder(c.Format())
	dec, _ := c.NewDecoder(c.Format())
	pcm, packet := make([]int16, 160), make([]byte, 160)
	for i := range pcm {
		pcm[i] = int16(rand.IntN(20000))
	}
	if n := testing.AllocsPerRun(100, func() {
		_, _ = enc.Encode(pcm, packet)
		_, _ = dec.Decode(packet, pcm)
		dec.Conceal(pcm)
		dec.Recover(packet, pcm)
		_, _ = dec.Decode(packet, pcm)
		_, _ = dec.Decode(packet, pcm[:10])
		_, _ = dec.Decode(nil, pcm)
		enc.Follow(enc, pcm)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0xFF, 0x7F, 0}, 160, true)
	f.Fuzz(func(t *testing.T, packet []byte, room int, lose bool) {
		room = max(0, min(room, 2880))
		for _, c := range []audio.Codec{PCMU(), PCMA()} {
			dec, _ := c.NewDecoder(c.Format())
			pcm := make([]int16, room)
			for range 3 {
				n, err := dec.Decode(packet, pcm)
				if err == nil && (n != len(packet) || n > room) || err != nil && n != 0 {
					t.Fatal(n, err)
				}
				if lose {
					dec.Recover(packet, pcm)
					dec.Conceal(pcm)
				}
			}
		}
	})
}
