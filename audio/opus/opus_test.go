package opus

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	lib "github.com/hraban/opus"

	"parley/audio"
)

func tone(n int, hz, level float64) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(level * math.Sin(2*math.Pi*hz*float64(i)/rate))
	}
	return pcm
}

// speechlike is a harmonic sound whose pitch and loudness change, with noise now and then.
func speechlike(n int) []int16 {
	random := rand.New(rand.NewPCG(1, 1))
	pcm := make([]int16, n)
	phase := 0.0
	for i := range pcm {
		time := float64(i) / rate
		phase += (140 + 40*math.Sin(2*math.Pi*time*0.7)) / rate
		v := 0.0
		for k := 1.0; k < 12; k++ {
			v += math.Sin(2*math.Pi*phase*k+k) / (1 + math.Pow(k-4, 2)/4)
		}
		v *= 4000 * (0.6 + 0.4*math.Sin(2*math.Pi*time*3))
		if int(time*4)%5 == 0 {
			v += random.Float64()*3000 - 1500
		}
		pcm[i] = int16(v)
	}
	return pcm
}

func format(ptime int) audio.Format {
	f := New(Options{}).Format()
	f.Ptime = ptime
	return f
}

func encoderOf(t testing.TB, o Options, f audio.Format) audio.Encoder {
	t.Helper()
	e, err := New(o).NewEncoder(f)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func decoderOf(t testing.TB) audio.Decoder {
	t.Helper()
	d, err := New(Options{}).NewDecoder(format(20))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// ratio of the sound that came through to what it differs by, dB, at the best delay up to 20 ms.
func snr(in, out []int16) float64 {
	best := math.Inf(-1)
	for delay := 0; delay < 960; delay++ {
		var signal, noise float64
		for i := 4800; i+960 < len(in); i += 7 {
			d := float64(in[i]) - float64(out[i+delay])
			signal += float64(in[i]) * float64(in[i])
			noise += d * d
		}
		best = max(best, 10*math.Log10(signal/(noise+1e-9)))
	}
	return best
}

func TestRoundTrip(t *testing.T) {
	for _, ptime := range []int{10, 20, 40, 60} {
		f := format(ptime)
		enc, dec := encoderOf(t, Options{}, f), decoderOf(t)
		in := tone(rate, 440, 10000)
		out, packet := make([]int16, len(in)), make([]byte, audio.MaxPacket)
		bytes := 0
		n := f.PacketSamples()
		for at := 0; at+n <= len(in); at += n {
			m, err := enc.Encode(in[at:at+n], packet)
			if err != nil || m == 0 {
				t.Fatal(m, err)
			}
			bytes += m
			if _, err := dec.Decode(packet[:m], out[at:at+n-1]); !errors.Is(err, ErrLong) {
				t.Fatalf("into less than the packet's sound: %v", err)
			}
			if m, err = dec.Decode(packet[:m], out[at:at+n]); err != nil || m != n {
				t.Fatal(m, err)
			}
		}
		last := len(in) / n * n
		got := snr(in[:last], out[:last])
		t.Logf("%d ms: %.1f dB, %d bit/s", ptime, got, bytes*8)
		if got < 20 {
			t.Errorf("%d ms: %.1f dB", ptime, got)
		}
		if bytes*8 > 45000 {
			t.Errorf("%d ms: %d bit/s", ptime, bytes*8)
		}
	}
}

// The PCM's and the packet's capacity must not be looked at: what lies behind them is somebody else's.
func TestCapacity(t *testing.T) {
	enc, dec := encoderOf(t, Options{}, format(20)), decoderOf(t)
	packet := bytes.Repeat([]byte{0xAA}, 2000)
	in := speechlike(960)
	n, err := enc.Encode(in, packet[:40])
	if err != nil || n > 40 {
		t.Fatal(n, err)
	}
	for i, b := range packet[40:] {
		if b != 0xAA {
			t.Fatalf("byte %d behind the packet was written", i)
		}
	}
	pcm := make([]int16, 3000)
	for i := range pcm {
		pcm[i] = 77
	}
	if n, err := dec.Decode(packet[:n], pcm[:1000]); n != 960 || err != nil {
		t.Fatal(n, err)
	}
	dec.Conceal(pcm[:480])
	dec.Recover(packet[:n], pcm[:960])
	for i, s := range pcm[960:] {
		if s != 77 {
			t.Fatalf("sample %d behind the PCM was written", i)
		}
	}
}

// Follow: the packets after the change are those that the first encoder would have made, in SILK as in CELT.
func TestFollowIsExact(t *testing.T) {
	for _, o := range []Options{{}, {Loss: 20}, {Bitrate: 12000}, {Complexity: 10}} {
		a, b := encoderOf(t, o, format(20)), encoderOf(t, o, format(20))
		in := speechlike(rate * 2)
		want, got := make([]byte, audio.MaxPacket), make([]byte, audio.MaxPacket)
		for at := 0; at < rate; at += 960 {
			_, _ = a.Encode(in[at:at+960], want)
		}
		b.Follow(a, in[rate-960:rate])
		for at := rate; at < 2*rate; at += 960 {
			n, _ := a.Encode(in[at:at+960], want)
			m, _ := b.Encode(in[at:at+960], got)
			if !bytes.Equal(got[:m], want[:n]) {
				t.Fatalf("%+v: other packets after the change", o)
			}
		}
	}
}

// Should the state not be found one day, the primed encoder is at least closer at the change than one that begins anew.
func TestFollowPrimes(t *testing.T) {
	seam := func(prime bool) float64 {
		a, b := encoderOf(t, Options{}, format(20)), encoderOf(t, Options{}, format(20))
		whole, dec := decoderOf(t), decoderOf(t)
		in := tone(rate, 440, 8000)
		packet := make([]byte, audio.MaxPacket)
		want, got := make([]int16, rate), make([]int16, rate)
		b.(*encoder).state = nil
		for at := 0; at < rate; at += 960 {
			n, _ := a.Encode(in[at:at+960], packet)
			_, _ = whole.Decode(packet[:n], want[at:at+960])
			if at == rate/2 && prime {
				b.Follow(a, in[at-960:at])
			}
			if at >= rate/2 {
				n, _ = b.Encode(in[at:at+960], packet)
			}
			_, _ = dec.Decode(packet[:n], got[at:at+960])
		}
		var signal, noise float64
		for i := rate / 2; i < rate/2+1920; i++ {
			d := float64(want[i]) - float64(got[i])
			signal += float64(want[i]) * float64(want[i])
			noise += d * d
		}
		return 10 * math.Log10(signal/noise)
	}
	primed, cold := seam(true), seam(false)
	t.Logf("error at the change: %.1f dB below the sound, %.1f without priming", primed, cold)
	if primed < cold+3 {
		t.Errorf("error at the change: %.1f dB below the sound, %.1f without priming", primed, cold)
	}
}

// With in-band redundancy a lost packet comes back better than it can be guessed.
func TestRecover(t *testing.T) {
	enc := encoderOf(t, Options{Loss: 20}, format(20))
	dec, guess := decoderOf(t), decoderOf(t)
	whole := decoderOf(t)
	in := speechlike(rate * 4)
	var packets [][]byte
	buf := make([]byte, audio.MaxPacket)
	for at := 0; at < len(in); at += 960 {
		n, err := enc.Encode(in[at:at+960], buf)
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, bytes.Clone(buf[:n]))
	}
	var signal, noise, noiseGuess float64
	want, got, other := make([]int16, 960), make([]int16, 960), make([]int16, 960)
	for i, p := range packets {
		_, _ = whole.Decode(p, want)
		if i%7 == 5 && i+1 < len(packets) {
			dec.Recover(packets[i+1], got)
			guess.Conceal(other)
			for k := range want {
				signal += float64(want[k]) * float64(want[k])
				noise += math.Pow(float64(want[k])-float64(got[k]), 2)
				noiseGuess += math.Pow(float64(want[k])-float64(other[k]), 2)
			}
			continue
		}
		_, _ = dec.Decode(p, got)
		_, _ = guess.Decode(p, other)
	}
	recovered, concealed := 10*math.Log10(signal/noise), 10*math.Log10(signal/noiseGuess)
	t.Logf("recovered %.1f dB, concealed %.1f dB", recovered, concealed)
	if recovered < concealed+3 {
		t.Errorf("recovered %.1f dB, concealed %.1f dB", recovered, concealed)
	}
}

func level(pcm []int16) float64 {
	sum := 1e-9
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return 10*math.Log10(sum/float64(len(pcm))) - 90.3
}

// Concealed again and again it fades to silence; the sound comes back without a step.
func TestConcealFades(t *testing.T) {
	for _, o := range []Options{{}, {Loss: 20}} {
		enc, dec := encoderOf(t, o, format(20)), decoderOf(t)
		in := speechlike(rate)
		packet, pcm := make([]byte, audio.MaxPacket), make([]int16, 960)
		for at := 0; at < rate/2; at += 960 {
			n, _ := enc.Encode(in[at:at+960], packet)
			_, _ = dec.Decode(packet[:n], pcm)
		}
		before := level(pcm)
		dec.Conceal(pcm[:480])
		if got := level(pcm[:480]); got < before-10 {
			t.Errorf("the first 10 ms are at %.1f dB, before it were %.1f", got, before)
		}
		for range 40 {
			dec.Conceal(pcm[:480])
		}
		if level(pcm[:480]) > -100 {
			t.Errorf("after 410 ms: %.1f dB", level(pcm[:480]))
		}
		n, _ := enc.Encode(in[rate/2:rate/2+960], packet)
		_, _ = dec.Decode(packet[:n], pcm)
		if pcm[0] > 100 || pcm[0] < -100 {
			t.Errorf("comes back with a step to %d", pcm[0])
		}
		dec.Conceal(nil)
		dec.Recover(nil, pcm[:480])
		dec.Recover([]byte{0xFF}, pcm[:480])
	}
}

// A stereo packet decodes to the mean of its channels; a packet at another bandwidth to 48 kHz.
func TestForeignPackets(t *testing.T) {
	stereo, err := lib.NewEncoder(rate, 2, lib.AppAudio)
	if err != nil {
		t.Fatal(err)
	}
	dec := decoderOf(t)
	in := tone(rate/2, 440, 10000)
	out, both, packet := make([]int16, len(in)), make([]int16, 1920), make([]byte, audio.MaxPacket)
	for at := 0; at < len(in); at += 960 {
		for i, s := range in[at : at+960] {
			both[2*i], both[2*i+1] = s, s/2
		}
		n, err := stereo.Encode(both, packet)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := dec.Decode(packet[:n], out[at:at+960]); n != 960 || err != nil {
			t.Fatal(n, err)
		}
	}
	if got, want := level(out[9600:]), level(in[9600:])+20*math.Log10(0.75); math.Abs(got-want) > 0.7 {
		t.Errorf("level %.1f dB, want %.1f", got, want)
	}
	narrow, err := lib.NewEncoder(8000, 1, lib.AppVoIP)
	if err != nil {
		t.Fatal(err)
	}
	n, err := narrow.Encode(make([]int16, 480), packet)
	if err != nil {
		t.Fatal(err)
	}
	big := make([]int16, 2880)
	if n, err := dec.Decode(packet[:n], big); n != 2880 || err != nil {
		t.Error(n, err)
	}
}

func TestMalformed(t *testing.T) {
	pcm := make([]int16, maxSamples)
	for _, p := range [][]byte{
		nil,
		{0x79, 1, 2, 3},       // two of one length in an odd number of bytes
		{0x7A},                // two without a length
		{0x7A, 252},           // a length of two bytes cut off
		{0x7A, 9, 1, 2},       // a frame longer than the packet
		{0x7B},                // many without a count
		{0x7B, 0},             // none
		{0x7B, 7, 1},          // 140 ms
		{0x7B, 0x42, 255},     // padding without an end
		{0x7B, 0x41, 9, 1},    // more padding than packet
		{0x7B, 0x83, 5, 5, 1}, // frames longer than the packet
		{0x7B, 3, 1, 2},       // three of one length in two bytes
		append([]byte{0x78}, make([]byte, 1276)...), // a frame longer than can be
	} {
		if n, err := decoderOf(t).Decode(p, pcm); n != 0 || !errors.Is(err, ErrPacket) {
			t.Errorf("% x: %d, %v", p[:min(len(p), 8)], n, err)
		}
	}
}

func TestFormats(t *testing.T) {
	c := New(Options{})
	for _, f := range []audio.Format{
		{}, format(0), format(5), format(80), {Codec: "opus", SampleRate: 16000, ClockRate: 48000, Ptime: 20},
		{Codec: "opus", SampleRate: rate, ClockRate: rate, Ptime: 20, Fmtp: "useinbandfec=1"},
		{Codec: "opus", SampleRate: rate, ClockRate: rate, Ptime: 20, Fmtp: "nonsense"},
	} {
		if _, err := c.NewEncoder(f); !errors.Is(err, ErrFormat) {
			t.Errorf("encoder for %+v: %v", f, err)
		}
		if _, err := c.NewDecoder(f); !errors.Is(err, ErrFormat) {
			t.Errorf("decoder for %+v: %v", f, err)
		}
	}
	if _, err := encoderOf(t, Options{}, format(20)).Encode(make([]int16, 500), make([]byte, 1275)); !errors.Is(err, ErrLong) {
		t.Error(err)
	}
}

func TestCanonical(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"minptime=10;useinbandfec=1", ""},
		{"useinbandfec=0", "useinbandfec=0"},
		{" maxplaybackrate = 16000 ; sprop-maxcapturerate=16000", "maxplaybackrate=16000"},
		{"maxplaybackrate=44100", "maxplaybackrate=24000"},
		{"maxplaybackrate=8000;maxaveragebitrate=20000", "maxaveragebitrate=16000;maxplaybackrate=8000"},
		{"maxaveragebitrate=510000;stereo=1", ""},
		{"maxaveragebitrate=7000", "maxaveragebitrate=6000"},
		{"MAXAVERAGEBITRATE=24000;cbr=1;;=;x", "maxaveragebitrate=24000"},
		{"maxaveragebitrate=-1;maxplaybackrate=99999999999999999999;useinbandfec=no", ""},
	} {
		got := Canonical(c.in)
		if got != c.want || Canonical(got) != got {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
		f := format(20)
		f.Fmtp = got
		encoderOf(t, Options{}, f)
	}
}

// A far end's limits are kept.
func TestLimits(t *testing.T) {
	f := format(20)
	f.Fmtp = Canonical("maxaveragebitrate=12000;maxplaybackrate=8000")
	enc := encoderOf(t, Options{}, f)
	in, packet, sum := speechlike(rate*2), make([]byte, audio.MaxPacket), 0
	for at := 0; at < len(in); at += 960 {
		n, err := enc.Encode(in[at:at+960], packet)
		if err != nil {
			t.Fatal(err)
		}
		if bandwidth := packet[0] >> 3; bandwidth > 3 && (bandwidth < 16 || bandwidth > 19) {
			t.Fatalf("configuration %d is not narrowband", bandwidth)
		}
		sum += n
	}
	if bits := sum * 8 / 2; bits > 13500 {
		t.Errorf("%d bit/s", bits)
	}
}

func TestAllocs(t *testing.T) {
	enc, dec := encoderOf(t, Options{Loss: 10}, format(20)), decoderOf(t)
	other := encoderOf(t, Options{Loss: 10}, format(20))
	in, packet, pcm := speechlike(960), make([]byte, audio.MaxPacket), make([]int16, 960)
	bad := []byte{0x7B, 0}
	if n := testing.AllocsPerRun(100, func() {
		n, _ := enc.Encode(in, packet)
		_, _ = dec.Decode(packet[:n], pcm)
		_, _ = dec.Decode(packet[:n], pcm[:100])
		_, _ = dec.Decode(bad, pcm)
		_, _ = dec.Decode(nil, pcm)
		dec.Recover(packet[:n], pcm)
		dec.Conceal(pcm[:480])
		other.Follow(enc, in)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	enc := encoderOf(f, Options{Loss: 10}, format(20))
	packet := make([]byte, audio.MaxPacket)
	n, _ := enc.Encode(speechlike(960), packet)
	f.Add(bytes.Clone(packet[:n]), 960)
	f.Add([]byte{0x7B, 0x83, 5, 5, 1}, 5760)
	f.Fuzz(func(t *testing.T, packet []byte, room int) {
		dec := decoderOf(t)
		pcm := make([]int16, max(0, min(room, maxSamples)))
		n, err := dec.Decode(packet, pcm)
		if err == nil && (n <= 0 || n > len(pcm)) {
			t.Fatal(n)
		}
		var le lib.Error
		if errors.As(err, &le) {
			t.Fatalf("libopus refuses what passed the check: %v", err)
		}
		part := pcm[:len(pcm)/120*120]
		dec.Recover(packet, part)
		dec.Conceal(part)
		_, _ = dec.Decode(packet, pcm)
	})
}

func FuzzCanonical(f *testing.F) {
	f.Add("maxaveragebitrate=20000; useinbandfec=0;maxplaybackrate=8000")
	f.Fuzz(func(t *testing.T, s string) {
		c := Canonical(s)
		if Canonical(c) != c {
			t.Fatalf("%q becomes %q", c, Canonical(c))
		}
		if _, ok := tunings(c); !ok {
			t.Fatalf("%q is not understood", c)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	for name, o := range map[string]Options{"loss=0": {}, "loss=10": {Loss: 10}} {
		b.Run(name, func(b *testing.B) {
			enc := encoderOf(b, o, format(20))
			in, packet := speechlike(rate), make([]byte, audio.MaxPacket)
			for at := 0; b.Loop(); at = (at + 960) % rate {
				_, _ = enc.Encode(in[at:at+960], packet)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	enc, dec := encoderOf(b, Options{}, format(20)), decoderOf(b)
	in, packet, pcm := speechlike(rate), make([]byte, audio.MaxPacket), make([]int16, 960)
	n, _ := enc.Encode(in[:960], packet)
	for b.Loop() {
		_, _ = dec.Decode(packet[:n], pcm)
	}
}

func BenchmarkFollow(b *testing.B) {
	x, y := encoderOf(b, Options{}, format(20)), encoderOf(b, Options{}, format(20))
	last := make([]int16, 960)
	for b.Loop() {
		y.Follow(x, last)
	}
}
