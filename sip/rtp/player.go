package rtp

import (
	"time"

	"parley/audio"
	"parley/sip/jitter"
)

const (
	maxDecoded  = 2880 // samples: 60 ms at 48 kHz
	concealFor  = 120 * time.Millisecond
	maxSegments = 16
)

// player is the decoded sound between jitter buffer and mixer: less than one packet and one frame of it.
type player struct {
	from  int // the first sample in pcm that has not been played
	to    int
	seg   [maxSegments]segment // what the samples are, in order
	segs  int
	turn  int
	spurt bool

	paused bool // a telephone event has taken the place of sound

	power float64 // mean square of the last second or so

	lostRTP, lostRTCP uint32 // the sockets' counts
	strangers         int

	pcm [2*maxDecoded + audio.FrameSamples]int16 // behind the rest, which is used together
}

type segment struct {
	n    int
	kind audio.Status
}

func (p *player) clear() {
	p.from, p.to, p.segs = 0, 0, 0
}

func (p *player) held() int { return p.to - p.from }

// room gives space for n samples at the end.
func (p *player) room(n int) []int16 {
	if p.to+n > len(p.pcm) {
		copy(p.pcm[:], p.pcm[p.from:p.to])
		p.from, p.to = 0, p.to-p.from
	}
	return p.pcm[p.to : p.to+n : p.to+n]
}

// add takes the n samples that were written to room, without the first skip ones.
func (p *player) add(n, skip int, kind audio.Status) {
	if skip > 0 {
		skip = min(skip, n)
		copy(p.pcm[p.to:], p.pcm[p.to+skip:p.to+n])
		n -= skip
	}
	if n == 0 {
		return
	}
	p.to += n
	if p.segs > 0 && (p.seg[p.segs-1].kind == kind || p.segs == maxSegments) {
		p.seg[p.segs-1].n += n
		return
	}
	p.seg[p.segs] = segment{n: n, kind: kind}
	p.segs++
}

// take removes n samples and tells what they were: concealed as soon as one is, silent only if all are.
func (p *player) take(n int) ([]int16, audio.Status) {
	pcm := p.pcm[p.from : p.from+n]
	if p.from += n; p.from == p.to { // begin where the memory is in the processor's cache
		p.from, p.to = 0, 0
	}
	kind := audio.Silent
	for n > 0 {
		s := &p.seg[0]
		if s.kind > kind {
			kind = s.kind
		}
		k := min(n, s.n)
		n -= k
		if s.n -= k; s.n == 0 {
			copy(p.seg[:], p.seg[1:p.segs])
			p.segs--
		}
	}
	return pcm, kind
}

// ReadFrame gives the mixer 10 ms of what the far end says, at the rate of the leg's Format.
func (l *Leg) ReadFrame(rate int, f *audio.Frame) audio.Status {
	if !l.mu.TryLock() {
		return audio.Gone // only Close can be inside
	}
	defer l.mu.Unlock()
	if l.done {
		return audio.Gone
	}
	if !l.adopt() || !l.cur.Receive || rate != l.cur.Format.SampleRate {
		return audio.Silent
	}
	need := rate / 100
	take := need + l.slew(rate)
	for l.play.held() < take {
		l.more()
	}
	pcm, kind := l.play.take(take)
	if kind == audio.Silent {
		l.play.measure(nil)
		return kind
	}
	if take == need {
		copy(f[:need], pcm)
	} else {
		stretch(f[:need], pcm)
		l.stats.Slewed += int64(take - need)
	}
	if kind == audio.Late {
		l.stats.Concealed++
	}
	l.play.measure(f[:need])
	return kind
}

// slew is how many samples more or fewer than a frame are to be taken, to follow the sender's clock.
func (l *Leg) slew(rate int) int {
	s := l.buffer.Slew()
	if s == 0 {
		return 0
	}
	n := rate / 8000 // 125 µs
	l.play.turn++
	switch {
	case s > 1:
		return n
	case s < -1:
		return -n
	case l.play.turn%4 != 0:
		return 0
	}
	return n * s
}

// more decodes, conceals or is silent for another piece.
func (l *Leg) more() {
	f, b, pl := l.cur.Format, l.buffer, &l.play
	scale := func(ticks int) int { return min(ticks*f.SampleRate/f.ClockRate, maxDecoded) }
	it := b.Next(l.poller.now, pl.held()*f.ClockRate/f.SampleRate)
	switch it.Kind {
	case jitter.Play:
		pl.paused = false
		pcm := pl.room(maxDecoded)
		n, err := l.cur.decoder.Decode(it.Payload, pcm)
		kind := audio.Active
		if err != nil || n <= 0 || n > maxDecoded {
			l.stats.DecodeErrors++
			n, kind = f.SampleRate/100, audio.Late
			l.cur.decoder.Conceal(pcm[:n])
		}
		b.Played(n * f.ClockRate / f.SampleRate)
		pl.add(n, scale(it.Skip), kind)
		l.spurt(true)
	case jitter.Lost:
		n := scale(it.Ticks)
		pcm := pl.room(n)
		if it.Next != nil {
			l.cur.decoder.Recover(it.Next, pcm)
		} else {
			l.cur.decoder.Conceal(pcm)
		}
		pl.add(n, scale(it.Skip), audio.Late)
	case jitter.Gap:
		l.silence(scale(it.Ticks))
	case jitter.Empty:
		if l.heard.active { // no sound is due now, and none after it until there is some
			pl.paused = true
		}
		if it.Dry > concealFor || pl.paused {
			l.spurt(false)
			l.silence(scale(it.Ticks))
			return
		}
		n := scale(it.Ticks)
		l.cur.decoder.Conceal(pl.room(n))
		pl.add(n, 0, audio.Late)
	default:
		l.spurt(false)
		l.silence(f.SampleRate / 100)
	}
}

func (l *Leg) silence(n int) {
	clear(l.play.room(n))
	l.play.add(n, 0, audio.Silent)
}

// spurt reports when sound begins and ends.
func (l *Leg) spurt(on bool) {
	if on == l.play.spurt {
		return
	}
	l.play.spurt = on
	kind := SpurtEnd
	if on {
		kind = SpurtStart
	}
	l.emit(Event{Kind: kind})
}

// measure follows the level; nil is silence.
func (p *player) measure(pcm []int16) {
	p.power += (audio.Measure(pcm).Power - p.power) / 64
}

// stretch plays src in dst's time, by cubic interpolation; their lengths differ by a few samples, and the first and the
// sample after the last stay where they are, so that frames join without a seam.
func stretch(dst, src []int16) {
	step := float32(len(src)) / float32(len(dst))
	last := len(src) - 1
	at := func(i int) float32 { return float32(src[min(max(i, 0), last)]) }
	for i := range dst {
		x := float32(i) * step
		k := int(x)
		t := x - float32(k)
		a, b, c, d := at(k-1), at(k), at(k+1), at(k+2)
		v := b + t/2*(c-a+t*(2*a-5*b+4*c-d+t*(3*(b-c)+d-a)))
		dst[i] = int16(min(max(v, -32768), 32767))
	}
}
