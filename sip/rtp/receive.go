package rtp

import (
	"time"

	"parley/sip/jitter"
)

const (
	comfortNoise = 13 // RFC 3389
	strangers    = 4  // packets of unknown streams that are decrypted in one tick: each costs memory in the SRTP library
)

// receive empties one of the leg's sockets, or takes its share for this tick out of it: then there is more.
func (l *Leg) receive(p *Poller, rtcp bool, wall time.Duration) (more bool) {
	if !l.mu.TryLock() {
		return false // Close is inside
	}
	defer l.mu.Unlock()
	if l.done {
		return false
	}
	configured := l.adopt()
	fd, lost := l.sock.rtp, &l.play.lostRTP
	if rtcp {
		fd, lost = l.sock.rtcp, &l.play.lostRTCP
	}
	l.play.strangers = 0
	for got := 0; got < perTick; {
		n, more := p.recv.receive(fd)
		for i := range n {
			d := p.recv.at(i)
			if d.dropped > 0 {
				*lost = d.dropped
			}
			if !configured {
				l.stats.Foreign++
				continue
			}
			if rtcp {
				l.control(&d, p.arrival(&d, wall), false)
			} else {
				l.packet(&d, p.arrival(&d, wall))
			}
		}
		if got += n; !more || n == 0 {
			return more
		}
	}
	return true
}

// expected tells whether a packet comes from where it may come from: the far end's address, or before it is latched any port
// of the signalling address.
func (l *Leg) expected(d *datagram, dst *destination, latched bool) bool {
	if d.from == dst.addr && d.from.IsValid() {
		return true
	}
	return !latched && l.cur.Latch.IsValid() && d.from.Addr() == l.cur.Latch
}

// packet is the way of a datagram from the RTP socket to the jitter buffer.
func (l *Leg) packet(d *datagram, at time.Time) {
	p, st := l.cur, &l.stats
	if !l.expected(d, &l.dst, l.latched) {
		st.Foreign++
		return
	}
	if d.cut {
		st.Malformed++
		return
	}
	if p.Mux && isRTCP(d.data) {
		l.control(d, at, true)
		return
	}
	h, ok := parseHeader(d.data)
	if !ok {
		st.Malformed++
		return
	}
	event := int(h.pt) == p.EventPT
	if h.pt != p.PayloadType && !event && h.pt != comfortNoise {
		st.WrongType++
		return
	}
	data := d.data
	if p.in != nil {
		if !l.src.known || h.ssrc != l.src.ssrc {
			if l.play.strangers++; l.play.strangers > strangers {
				st.WrongSSRC++
				return
			}
		}
		if data, ok = l.open(data, h.ssrc); !ok {
			st.SRTPFailures++
			return
		}
	}
	body, ok := payload(data, h)
	if !ok {
		st.Malformed++
		return
	}
	ok, fresh := l.src.admit(h)
	if !ok {
		st.WrongSSRC++
		return
	}
	if fresh {
		l.buffer.Reset(p.Format.ClockRate)
		l.heard.stop(p.EventClock, l.emit)
		l.heard = listening{}
	}
	l.latch(d)
	if !l.src.count(h.seq) {
		return
	}
	if st.Received == 0 {
		st.First = at
	}
	st.Received++
	st.ReceivedBytes += uint64(len(body))
	st.LastPacket = at
	l.deliver(h, body, at, event)
}

// open decrypts a packet. After a change of keys the old one still serves until the far end has changed too.
func (l *Leg) open(b []byte, ssrc uint32) ([]byte, bool) {
	if out, ok := l.cur.in.open(b, ssrc, l.roc); ok {
		l.oldIn = nil
		return out, true
	}
	if l.oldIn == nil {
		return nil, false
	}
	return l.oldIn.open(b, ssrc, 0)
}

// latch fixes the far end's address by its first valid packet.
func (l *Leg) latch(d *datagram) {
	if l.latched || !l.cur.Latch.IsValid() {
		return
	}
	l.latched = true
	if d.from != l.dst.addr {
		l.dst = makeDestination(d.from, l.sock.v6)
		if l.cur.Mux {
			l.dstRTCP = l.dst
		}
	}
}

// deliver gives a valid packet to whom it is for.
func (l *Leg) deliver(h header, body []byte, at time.Time, event bool) {
	p, st := l.cur, &l.stats
	switch {
	case event:
		l.buffer.Mark(h.seq)
		if !l.heard.heard(h.timestamp, body, at, p.EventClock, l.emit) {
			st.Malformed++
		}
	case h.pt != p.PayloadType || len(body) == 0: // comfort noise, or only to keep a way through NAT open
		l.buffer.Mark(h.seq)
	default:
		l.src.time(int64(at.Sub(st.First)), h.timestamp, p.Format.ClockRate)
		if !p.Receive {
			return
		}
		if l.buffer.Put(jitter.Packet{Seq: h.seq, Timestamp: h.timestamp, Arrived: at, Payload: body}) == jitter.TooLong {
			st.Malformed++
		}
	}
}
