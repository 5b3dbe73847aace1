package mixer

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"parley/audio"
)

// script is a source whose n-th tick is what play makes of it.
type script struct {
	rate int // of the last ReadFrame
	n    int
	play func(n int, pcm []int16) audio.Status
}

func (s *script) ReadFrame(rate int, f *audio.Frame) audio.Status {
	s.rate = rate
	n := s.n
	s.n++
	return s.play(n, f[:rate/100])
}

// tone plays hz at amplitude, from the first tick on.
func tone(rate int, hz, amplitude float64) *script {
	return &script{play: func(n int, pcm []int16) audio.Status {
		for i := range pcm {
			pcm[i] = int16(math.Round(amplitude * math.Sin(2*math.Pi*hz*float64(n*len(pcm)+i)/float64(rate))))
		}
		return audio.Active
	}}
}

func silent() *script {
	return &script{play: func(int, []int16) audio.Status { return audio.Silent }}
}

// ear keeps every frame that it is given.
type ear struct{ pcm []int16 }

func (e *ear) WriteFrame(f *audio.Frame) { e.pcm = append(e.pcm, f[:]...) }

// counter is a codec whose packets are the samples themselves, and the number of the packet, which Follow hands on, so that
// a seam is seen. It counts what is encoded.
type counter struct {
	rate    int
	encodes int
}

func (c *counter) Format() audio.Format {
	return audio.Format{Codec: "L16", SampleRate: c.rate, ClockRate: c.rate, Ptime: 20}
}

func (c *counter) NewEncoder(f audio.Format) (audio.Encoder, error) {
	return &countingEncoder{codec: c}, nil
}

func (c *counter) NewDecoder(audio.Format) (audio.Decoder, error) { return nil, nil }

type countingEncoder struct {
	codec *counter
	state uint32
}

func (e *countingEncoder) Encode(pcm []int16, packet []byte) (int, error) {
	e.codec.encodes++
	e.state++
	n := 0
	for i := range pcm {
		binary.LittleEndian.PutUint16(packet[n:], uint16(pcm[i]))
		n += 2
	}
	binary.LittleEndian.PutUint32(packet[n:], e.state)
	return n + 4, nil
}

func (e *countingEncoder) Follow(prev audio.Encoder, _ []int16) {
	e.state = prev.(*countingEncoder).state
}

// leg is a PacketSink of a counter's format that keeps the sound of its packets.
type leg struct {
	f       audio.Format
	pcm     []int16
	packets int
	empty   int
	state   uint32 // of the last packet
	seams   int    // packets that are not the next one
}

func (l *leg) Format() audio.Format { return l.f }

func (l *leg) WritePacket(f audio.Format, payload []byte) {
	l.packets++
	if len(payload) == 0 {
		l.empty++
		return
	}
	n := len(payload) - 4
	state := binary.LittleEndian.Uint32(payload[n:])
	if l.state != 0 && state != l.state+1 {
		l.seams++
	}
	l.state, payload = state, payload[:n]
	for i := 0; i+2 <= len(payload); i += 2 {
		l.pcm = append(l.pcm, int16(binary.LittleEndian.Uint16(payload[i:])))
	}
}

// legOf makes a leg; what does not fit into audio.MaxPacket as bare samples needs a short ptime.
func legOf(rate, ptime int) *leg {
	if rate/1000*ptime*2+4 > audio.MaxPacket {
		panic("a packet of bare samples is too long")
	}
	return &leg{f: audio.Format{Codec: "L16", SampleRate: rate, ClockRate: rate, Ptime: ptime}}
}

// ticks runs m for n ticks of a fake clock.
func ticks(m *Mixer, n int) {
	now := time.Unix(0, 0)
	for range n {
		m.Tick(now)
		now = now.Add(audio.FrameDuration)
	}
}

// everyone is the hearing of one open room.
func everyone(ids ...PortID) Hearing {
	h := Hearing{}
	for _, id := range ids {
		h[id] = ids
	}
	return h
}

func add(t testing.TB, m *Mixer, ports ...Port) {
	t.Helper()
	for _, p := range ports {
		if err := m.Add(p); err != nil {
			t.Fatal(err)
		}
	}
}

// babble is speech-like sound: voiced syllables of a gliding pitch, the same at any rate. Every second of them ends with a
// pause of about so many ms, which may be 0.
func babble(rate int, pitch, amplitude float64, pause int) func(n int, pcm []int16) audio.Status {
	return func(n int, pcm []int16) audio.Status {
		for i := range pcm {
			s := float64(n*len(pcm)+i) / float64(rate)
			phase := 2 * math.Pi * (pitch*s + 6*math.Sin(2*math.Pi*0.9*s))
			v := 0.0
			for h := 1.0; h <= 6; h++ {
				v += math.Sin(h*phase) / h
			}
			swell := 0.3 + 0.7*math.Max(0, math.Sin(2*math.Pi*3.1*s))
			if rest := 1 - math.Mod(s, 1) - float64(pause)/1000; rest < 0 {
				swell = 0
			} else if rest < 0.05 {
				swell *= rest / 0.05
			}
			pcm[i] = int16(amplitude * swell * v * 0.5)
		}
		return audio.Active
	}
}
