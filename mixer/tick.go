package mixer

import (
	"time"

	"parley/audio"
)

const (
	// alike is how many packets of its own in a row must be the same as the shared ones before a listener that has been
	// encoded alone is given the shared ones: until then the far end's decoder would be in another state than the shared
	// packets are made for, which is heard as a seam. It takes two packets with codecs without memory and mostly less than
	// a second with Opus. Two encoders of G.722 may stay apart for as long as there is sound.
	alike = 2
	// crowd is how many listeners may wait for that at a time. What is beyond is given the shared packets as they are, in a
	// pause of the sound, and beyond mob at once, because encoding for each costs more than a seam.
	crowd, mob = 16, 64
	// calm is the loudest sample of a pause: -60 dBFS.
	calm = 32
	// firstTick begins a packet of any ptime. It is not 0, which means never.
	firstTick = 60
)

// ticker is the state of the tick.
type ticker struct {
	plan     *plan
	n        uint64 // number of this tick, from firstTick
	gone     int    // sources that have ended and were not reported yet
	mix      [audio.FrameSamples]int32
	settling int // listeners so far in this tick that are encoded alone though they contribute nothing
}

// Tick is one step of 10 ms: everything is read, mixed and handed out. It belongs to one goroutine (Run's, if that runs), does
// not allocate, wait or log. now is handed to Drain.
func (m *Mixer) Tick(now time.Time) {
	if m.config.Drain != nil {
		m.config.Drain.Drain(now)
	}
	t := &m.tick
	t.n++
	p := m.plan.Load()
	fresh := p != t.plan
	if fresh {
		t.adopt(p)
	}
	t.read(p)
	t.sum(p)
	for i := range p.classes {
		p.classes[i].join()
	}
	t.hand(p)
	t.remember(p)
	if fresh {
		t.adopted(p)
	}
	if t.gone > 0 {
		m.tellGone(p)
	}
	m.stats.ticks.Add(1)
}

// adopt hands the state of the old plan to the new one.
func (t *ticker) adopt(p *plan) {
	for i := range p.sources {
		if q := p.sources[i].port; q.prev != nil {
			q.takeOver()
		}
	}
	for i := range p.seats {
		if q := p.seats[i].port; q.prev != nil {
			q.takeOver()
		}
	}
	for i := range p.classes {
		p.classes[i].adopt()
	}
	for i := range p.seats {
		s := &p.seats[i]
		c := p.classes[s.class].class
		s.moved = s.hearing.class != nil && s.hearing.class != c && s.hearing.class != c.from
		if s.moved {
			s.jump = s.lastHeard()
		}
		s.hearing.class = c
	}
	t.plan = p
}

// lastHeard is the last sample that p was given.
func (p *port) lastHeard() int32 {
	if p.alone {
		return int32(p.end)
	}
	return int32(p.hearing.class.frame[p.rate][frameLen(p.rate)-1])
}

// adopted ends the tick in which p was adopted.
func (t *ticker) adopted(p *plan) {
	for i := range p.sources {
		p.sources[i].heir = nil
	}
	for i := range p.seats {
		p.seats[i].moved = false
	}
	for i := range p.classes {
		e := &p.classes[i]
		e.ran, e.from, e.before, e.changed = e, nil, nil, false
	}
	for i := range p.streams {
		p.streams[i].from = nil
	}
}

func (t *ticker) read(p *plan) {
	p.active = p.active[:0]
	t.gone = 0
	for i := range p.sources {
		q := p.sources[i].port
		q.read(t.n)
		if q.gone && !q.told {
			t.gone++
		}
		if q.sounds || q.sounded {
			p.active = append(p.active, int32(i))
		}
	}
}

func (t *ticker) sum(p *plan) {
	for i := range p.classes {
		e := &p.classes[i]
		e.live = [rateCount]bool{}
		if e.changed {
			e.change(t.n)
		}
	}
	for _, i := range p.active {
		f := &p.sources[i]
		how := formOf(f.sounded, f.sounds)
		for _, k := range f.classes {
			if c := p.classes[k].class; !c.changed {
				c.add(f.port, how)
			}
		}
	}
}

// hand gives each listener its frame, and at the end of a packet its packet.
func (t *ticker) hand(p *plan) {
	for i := range p.streams {
		if s := p.streams[i].stream; t.part(s.format) == 0 {
			s.begin()
		}
	}
	t.settling = 0
	for i := range p.seats {
		s := &p.seats[i]
		if s.gone {
			continue
		}
		c := p.classes[s.class].class
		f := c.formIn(s.port, s.self, t.n)
		if s.packets == nil {
			t.frame(s, c, f)
			continue
		}
		t.packet(s, c, f)
	}
	for i := range p.streams {
		s := &p.streams[i]
		if !s.using {
			continue
		}
		k := t.part(s.format)
		copy(s.part(k), p.classes[s.class].frame[rateOf(s.format)][:])
		if k == s.format.Ptime/10-1 {
			s.encode()
		}
	}
	for i := range p.seats {
		if s := &p.seats[i]; s.packets != nil && !s.gone && t.part(s.format) == s.format.Ptime/10-1 {
			s.send()
		}
	}
}

// part is the number of this tick's 10 ms in a packet of f. All packets of one ptime begin in the same tick.
func (t *ticker) part(f audio.Format) int { return int(t.n % uint64(f.Ptime/10)) }

func rateOf(f audio.Format) int {
	r, _ := rateIndex(f.SampleRate)
	return r
}

// frame serves a FrameSink.
func (t *ticker) frame(s *seat, c *class, f form) {
	if f == none && !s.moved {
		s.alone = false
		s.frames.WriteFrame(&c.frame[s.rate])
		return
	}
	t.apart(s, c, f, s.out[:], &s.limiter)
	s.frames.WriteFrame(&s.out)
}

// apart makes 10 ms for one listener: the sum less its own sound, and, if it comes from another class, without a jump.
func (t *ticker) apart(s *seat, c *class, f form, out []int16, limit *audio.Limiter) {
	if !s.alone {
		*limit = c.start[s.rate]
	}
	if f == none && !s.moved {
		copy(out, c.frame[s.rate][:len(out)])
		*limit = c.limit[s.rate]
	} else {
		mix := t.less(s, c.mix[s.rate], f)
		if s.moved {
			ramp(mix, s.jump-mix[0])
		}
		limit.Apply(mix, out)
	}
	s.alone, s.end = true, out[len(out)-1]
}

// less is sum (nil: silence) without s's own sound.
func (t *ticker) less(s *seat, sum []int32, f form) []int32 {
	mix := t.mix[:frameLen(s.rate)]
	if f == full && sum != nil { // the usual case, in one pass
		sum, own := sum[:len(mix)], s.speaking.frame[:len(mix)]
		for i := range mix {
			mix[i] = sum[i] - int32(own[i])
		}
		return mix
	}
	clear(mix)
	copy(mix, sum)
	s.addTo(mix, f, -1)
	return mix
}

// packet serves a PacketSink.
func (t *ticker) packet(s *seat, c *class, f form) {
	k := t.part(s.format)
	if k == 0 && s.cur == s.own {
		s.own.begin()
	}
	must := f != none || s.moved || s.shared == nil
	switch {
	case s.cur != s.own && s.shared != nil && s.cur == s.shared.from:
		s.cur = s.shared
		fallthrough
	case s.cur != s.own:
		if must || s.cur != s.shared {
			s.leave(k)
		}
	case must:
		s.equal = 0
	case k == 0:
		t.rejoin(s)
	}
	if s.cur != s.own {
		s.shared.using, s.alone = true, false
		return
	}
	if f == none {
		t.settling++
	}
	t.apart(s, c, f, s.own.part(k), &s.limiter)
}

// leave goes from the shared stream to the port's own one, in the middle of a packet if need be.
func (s *seat) leave(k int) {
	s.own.follow(s.cur, k)
	s.cur, s.equal = s.own, 0
}

// rejoin goes from the port's own stream to the shared one at the beginning of a packet: at once if nobody else is sent that
// one, else when the two encoders have come together.
func (t *ticker) rejoin(s *seat) {
	switch {
	case !s.shared.used && !s.shared.using:
		s.shared.follow(s.own, 0)
	case s.equal >= alike:
	case t.settling >= mob, t.settling >= crowd && (s.own.loudest() <= calm || s.own.size == 0):
		// s.own.size is 0 if nothing was sent yet.
	default:
		return
	}
	s.cur, s.shared.using = s.shared, true
}

// send ends a packet.
func (s *seat) send() {
	if s.cur == s.own {
		s.own.encode()
		if s.shared != nil && s.shared.using && s.own.sameAs(s.shared) {
			s.equal++
		} else {
			s.equal = 0
		}
	}
	s.packets.WritePacket(s.format, s.cur.payload())
}

// remember keeps what the next tick needs of this one's sound.
func (t *ticker) remember(p *plan) {
	for _, i := range p.active {
		if q := p.sources[i].port; q.sounds {
			q.last = q.frame[frameLen(q.rate)-1]
		}
	}
}

// tellGone reports the sources that have ended, as far as there is room: the rest next time.
func (m *Mixer) tellGone(p *plan) {
	for i := range p.sources {
		q := p.sources[i].port
		if !q.gone || q.told {
			continue
		}
		if m.config.OnGone == nil {
			q.told = true
			continue
		}
		select {
		case m.gone <- q.id:
			q.told = true
		default:
			return
		}
	}
}
