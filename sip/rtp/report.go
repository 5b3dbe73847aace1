package rtp

import (
	"math/rand/v2"
	"time"

	"parley/audio"
)

// reportEvery is the mean time between two RTCP packets (RFC 3550, 6.2); the real one is half to one and a half of it.
const reportEvery = 5 * time.Second

// reports is the state of what we report. Reports are written and sent by the tick itself, from a buffer of the leg's, each
// leg at its own random times.
type reports struct {
	next           time.Time
	any            bool
	recent         bool // we sent RTP since the last report
	packets, bytes uint32
	buf            [maxRTCPPacket + 64]byte
}

// keep looks after a leg every few ticks: reports, events whose end was lost, figures.
func (l *Leg) keep(now time.Time) {
	if !l.mu.TryLock() {
		return
	}
	defer l.mu.Unlock()
	if l.done {
		return
	}
	if l.adopt() {
		l.heard.expire(now, l.cur.EventClock, l.emit)
		switch {
		case l.rep.next.IsZero():
			l.rep.next = now.Add(between(reportEvery / 2))
		case !now.Before(l.rep.next):
			l.rep.next = now.Add(between(reportEvery))
			l.sendReport(now, false)
		}
	}
	l.publish()
}

// between is half to one and a half of d.
func between(d time.Duration) time.Duration { return d/2 + time.Duration(rand.Int64N(int64(d))) }

// sendReport sends a compound RTCP packet. now has the wall clock in it.
func (l *Leg) sendReport(now time.Time, bye bool) {
	dst, fd := &l.dstRTCP, l.sock.rtcp
	if l.cur.Mux {
		dst, fd = &l.dst, l.sock.rtp
	}
	if dst.size == 0 {
		return
	}
	r := outgoing{ssrc: l.out.ssrc, cname: l.conf.CNAME, bye: bye}
	var b block
	if l.src.known {
		b = l.src.report(now)
		r.block = &b
	}
	if l.rep.recent {
		r.sender, r.ntp, r.packets, r.bytes = true, ntpTime(now), l.rep.packets, l.rep.bytes
		// The timestamp of this moment: that of the next packet, less what there is left until then.
		r.rtp = l.out.ts + uint32(int64(now.Sub(l.out.last))*int64(l.cur.Format.ClockRate)/int64(time.Second)) - l.cur.Format.PacketTicks()
		l.rep.recent = false
	}
	pkt := l.rep.buf[:r.put(l.rep.buf[:])]
	if s := l.cur.sealer; s != nil {
		var ok bool
		if pkt, ok = s.sealRTCP(pkt); !ok {
			l.stats.SendErrors++
			return
		}
	}
	if !dst.send(fd, pkt) {
		l.stats.SendErrors++
		return
	}
	l.rep.any = true
}

// control takes an RTCP packet.
func (l *Leg) control(d *datagram, at time.Time, mux bool) {
	st := &l.stats
	if !mux {
		if l.cur.Mux || !l.expected(d, &l.dstRTCP, l.latchedRTCP) {
			st.Foreign++
			return
		}
	}
	data := d.data
	if s := l.cur.in; s != nil && !d.cut {
		out, ok := s.openRTCP(data)
		if !ok && l.oldIn != nil {
			out, ok = l.oldIn.openRTCP(data)
		}
		if data = out; !ok {
			st.SRTPFailures++
			return
		}
	}
	r, ok := parseRTCP(data, l.out.ssrc)
	if !ok || d.cut {
		st.Malformed++
		return
	}
	if !mux && !l.latchedRTCP && l.cur.Latch.IsValid() {
		l.latchedRTCP = true
		if d.from != l.dstRTCP.addr {
			l.dstRTCP = makeDestination(d.from, l.sock.v6)
		}
	}
	st.LastRTCP = at
	st.Goodbye = r.bye
	if r.sr && l.src.known && r.ssrc == l.src.ssrc {
		l.src.lsr, l.src.lsrAt = compact(r.ntp), at
	}
	if r.hasBlock {
		l.reported(&r.block, at)
	}
}

// reported takes what the far end says about our stream.
func (l *Leg) reported(b *block, at time.Time) {
	st := &l.stats
	st.HasRemote = true
	st.RemoteLoss = float64(b.fraction) / 256
	st.RemoteLost = int64(b.lost)
	st.RemoteJitter = time.Duration(int64(b.jitter) * int64(time.Second) / int64(l.cur.Format.ClockRate))
	if b.lsr == 0 {
		return
	}
	if rtt := int32(compact(ntpTime(at)) - b.lsr - b.dlsr); rtt >= 0 && rtt < 60<<16 { // else a clock was set, or it is invented
		st.RTT, st.HasRTT = duration16(uint32(rtt)), true
	}
}

// publish makes the figures readable for others.
func (l *Leg) publish() {
	if !l.pub.TryLock() {
		return
	}
	defer l.pub.Unlock()
	s := &l.stats
	c := l.buffer.Count()
	s.Late, s.Duplicate, s.Dropped, s.Missing, s.Restarts = c.Late, c.Duplicate, c.Dropped, c.Lost, c.Restarts
	s.Overflow = uint64(l.play.lostRTP) + uint64(l.play.lostRTCP)
	s.Remote, s.RemoteRTCP = l.dst.addr, l.dstRTCP.addr
	s.RemoteSSRC, s.HasRemoteSSRC = l.src.ssrc, l.src.known
	s.Expected = uint64(max(l.src.expected(), 0))
	s.Lost = l.src.expected() - l.src.received
	s.HasJitter = l.src.twice
	s.SRTP, s.HasLevel = false, false
	if p := l.cur; p != nil {
		s.Jitter = time.Duration((l.src.jitter >> 4) * int64(time.Second) / int64(p.Format.ClockRate))
		s.SRTP = p.in != nil
		s.HasLevel = p.Receive && s.Received > 0
		s.Level = l.play.power // turned into dBFS by who reads it
	}
	s.Delay, s.HasDelay = l.buffer.Delay()
	l.pub.Stats = *s
}

// Stats is what was measured up to some 100 ms ago, from any goroutine.
func (l *Leg) Stats() Stats {
	l.pub.Lock()
	s := l.pub.Stats
	l.pub.Unlock()
	if s.HasLevel {
		s.Level = audio.PowerDB(s.Level)
	}
	return s
}
