package rtp

import (
	"time"

	"parley/audio"
)

// WritePacket sends one packet of the mixer's. It is called once per ptime, with an empty payload when there is nothing to
// send, so that the timestamp keeps time. A payload of another format than the leg's is dropped.
func (l *Leg) WritePacket(f audio.Format, payload []byte) {
	if !l.mu.TryLock() {
		return
	}
	defer l.mu.Unlock()
	if l.done || !l.adopt() {
		return
	}
	o, p := &l.out, l.cur
	if f != p.Format {
		if f.ClockRate == p.Format.ClockRate {
			o.ts += f.PacketTicks()
		}
		o.talking = false
		return
	}
	ts := o.ts
	o.ts += f.PacketTicks()
	o.last = l.poller.now
	if !p.Send || l.dst.size == 0 {
		o.talking = false
		l.hush()
		return
	}
	if l.dial(ts) {
		o.talking = false
		return
	}
	if len(payload) == 0 {
		o.talking = false
		return
	}
	n := copy(o.buf[headerSize:len(o.buf)-64], payload)
	l.transmit(header{marker: !o.talking, pt: p.PayloadType, timestamp: ts}, n)
	o.talking = true
}

// transmit sends the n bytes that stand in the buffer behind the header.
func (l *Leg) transmit(h header, n int) {
	o := &l.out
	h.seq, h.ssrc = o.seq, o.ssrc
	if o.seq++; o.seq == 0 {
		o.rolled = true
	}
	putHeader(o.buf[:], h)
	b := o.buf[:headerSize+n]
	if s := l.cur.sealer; s != nil {
		var ok bool
		if b, ok = s.seal(b); !ok {
			l.stats.SendErrors++
			return
		}
	}
	if !l.dst.send(l.sock.rtp, b) {
		l.stats.SendErrors++
		return
	}
	o.any = true
	l.stats.Sent++
	l.stats.SentBytes += uint64(n)
	l.rep.packets++
	l.rep.bytes += uint32(n)
	l.rep.recent = true
}

// dial sends the next packet of a telephone event in the place of sound, if there is one.
func (l *Leg) dial(ts uint32) bool {
	o, p := &l.out, l.cur
	if p.EventPT < 0 {
		return false
	}
	ptime := time.Duration(p.Format.Ptime) * time.Millisecond
	d := &o.dial
	if !d.active {
		if d.pause > 0 {
			d.pause -= ptime
			return false
		}
		select {
		case t := <-l.tones:
			d.begin(t, ts, p.EventClock)
		default:
			return false
		}
	}
	at := d.ts
	first := d.step((*[4]byte)(o.buf[headerSize:]), ptime, p.EventClock)
	l.transmit(header{marker: first, pt: uint8(p.EventPT), timestamp: at}, 4)
	return true
}

// hush forgets the digits that wait.
func (l *Leg) hush() {
	l.out.dial = dialing{}
	for len(l.tones) > 0 {
		select {
		case <-l.tones:
		default:
		}
	}
}
