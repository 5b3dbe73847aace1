package rtp

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtcp"
	pion "github.com/pion/rtp"

	"parley/audio"
)

// What we write is what another implementation reads.
func TestOutgoingRTCP(t *testing.T) {
	for _, cname := range []string{"", "a", "ab", "abc", "abcd", string(bytes.Repeat([]byte{'x'}, maxCNAME))} {
		for _, o := range []outgoing{
			{ssrc: 7}, {ssrc: 7, bye: true},
			{ssrc: 7, sender: true, ntp: 1 << 40, rtp: 9, packets: 3, bytes: 480},
			{ssrc: 7, sender: true, bye: true, block: &block{ssrc: 8, fraction: 64, lost: 3, highest: 0x1ffff, jitter: 5, lsr: 6, dlsr: 7}},
			{ssrc: 7, block: &block{ssrc: 8, lost: -1}},
		} {
			o.cname = cname
			buf := bytes.Repeat([]byte{0xee}, maxRTCPPacket)
			b := buf[:o.put(buf)]
			pkts, err := rtcp.Unmarshal(b)
			if err != nil {
				t.Fatalf("%+v: %v", o, err)
			}
			var reports []rtcp.ReceptionReport
			switch p := pkts[0].(type) {
			case *rtcp.SenderReport:
				if !o.sender || p.SSRC != o.ssrc || p.NTPTime != o.ntp || p.RTPTime != o.rtp || p.PacketCount != o.packets || p.OctetCount != o.bytes {
					t.Errorf("%+v became %+v", o, p)
				}
				reports = p.Reports
			case *rtcp.ReceiverReport:
				if o.sender || p.SSRC != o.ssrc {
					t.Errorf("%+v became %+v", o, p)
				}
				reports = p.Reports
			}
			if o.block != nil {
				want := rtcp.ReceptionReport{SSRC: o.block.ssrc, FractionLost: o.block.fraction, TotalLost: uint32(o.block.lost) & 0xffffff,
					LastSequenceNumber: o.block.highest, Jitter: o.block.jitter, LastSenderReport: o.block.lsr, Delay: o.block.dlsr}
				if len(reports) != 1 || reports[0] != want {
					t.Errorf("%+v became %+v", *o.block, reports)
				}
			} else if len(reports) != 0 {
				t.Errorf("a report block from nowhere: %+v", reports)
			}
			sdes, ok := pkts[1].(*rtcp.SourceDescription)
			if !ok || len(sdes.Chunks) != 1 || sdes.Chunks[0].Source != 7 || sdes.Chunks[0].Items[0].Text != cname {
				t.Errorf("%+v: %+v", o, pkts[1])
			}
			if _, bye := pkts[len(pkts)-1].(*rtcp.Goodbye); bye != o.bye {
				t.Errorf("%+v: goodbye %v", o, bye)
			}
			if r, ok := parseRTCP(b, 8); !ok || r.ssrc != 7 || r.sr != o.sender || r.bye != o.bye || r.hasBlock != (o.block != nil) ||
				o.block != nil && r.block != *o.block {
				t.Errorf("%+v is read as %+v", o, r)
			}
		}
	}
}

// Reports between two legs: round trip, the far end's view of loss and jitter, muxed and on a port of their own.
func TestReports(t *testing.T) {
	for _, mux := range []bool{false, true} {
		r := newRig(t)
		a, b := r.leg(loopback), r.leg(loopback)
		far := newPeer(t, a) // a relay that loses every tenth packet from a to b
		pa, pb := pcmu(far.port()), pcmu(far.port())
		pa.Mux, pb.Mux = mux, mux
		if !mux {
			pa.RemoteRTCP = netip.AddrPortFrom(loopback, uint16(b.LocalPort()+1))
			pb.RemoteRTCP = netip.AddrPortFrom(loopback, uint16(a.LocalPort()+1))
		}
		r.configure(a, pa)
		r.configure(b, pb)
		control := func(p []byte) { // to whom it did not come from
			to := a
			if be32(p[4:]) == a.SSRC() {
				to = b
			}
			far.dst.Port = to.LocalPort()
			far.raw(p)
			r.arrive(to.sock.rtp)
		}
		relay := func(to *Leg, drop bool) {
			p := far.read(time.Second)
			for isRTCP(p) {
				control(p)
				p = far.read(time.Second)
			}
			far.dst.Port = to.LocalPort()
			if p != nil && !drop {
				far.raw(p)
				r.arrive(to.sock.rtp)
			}
		}
		for i := range 2000 {
			if i%2 == 0 {
				a.WritePacket(a.Format(), speech(0))
				relay(b, i%20 == 10)
				b.WritePacket(b.Format(), speech(0))
				relay(a, false)
			}
			r.tick()
		}
		sa, sb := r.figures(a), r.figures(b)
		if !sa.HasRTT || sa.RTT > 40*time.Millisecond || !sb.HasRTT {
			t.Errorf("mux %v: round trip %v %v, %v", mux, sa.RTT, sa.HasRTT, sb.HasRTT)
		}
		if !sa.HasRemote || sa.RemoteLoss < 0.07 || sa.RemoteLoss > 0.13 || sa.RemoteLost < 30 {
			t.Errorf("mux %v: the far end of a reports a loss of %.3f, %d", mux, sa.RemoteLoss, sa.RemoteLost)
		}
		if sb.RemoteLoss != 0 || sb.Lost != 100 {
			t.Errorf("mux %v: b lost %d, its far end %.3f", mux, sb.Lost, sb.RemoteLoss)
		}
		if sa.Malformed+sa.Foreign+sb.Malformed+sb.Foreign != 0 || sa.LastRTCP.IsZero() {
			t.Errorf("mux %v: %+v %+v", mux, sa, sb)
		}
	}
}

// Reports come every 2.5 to 7.5 s, never all at once.
func TestReportInterval(t *testing.T) {
	r := newRig(t)
	l := r.leg(loopback)
	far := newPeer(t, l)
	p := pcmu(far.port())
	p.Mux = true
	r.configure(l, p)
	var last time.Time
	gaps := map[time.Duration]bool{}
	for range 30000 {
		r.tick()
		sent := l.rep.any
		l.rep.any = false
		if !sent {
			continue
		}
		if gap := r.now.Sub(last); !last.IsZero() {
			gaps[gap] = true
			if gap < 2500*time.Millisecond || gap > 7600*time.Millisecond {
				t.Errorf("%v between two reports", gap)
			}
		}
		last = r.now
	}
	if len(gaps) < 20 {
		t.Errorf("in five minutes only %d different gaps", len(gaps))
	}
}

// Figures of a stream with known jitter and loss, beside the formulas of RFC 3550.
func TestSourceFigures(t *testing.T) {
	var s source
	var want float64 // A.8 in floating point
	var last float64
	for i := range 2000 {
		if i%50 == 7 {
			continue
		}
		late := float64(i%5) * 3
		arrived := time.Duration((float64(i)*20 + late) * float64(time.Millisecond))
		s.admit(header{ssrc: 1, seq: uint16(65000 + i)})
		if !s.count(uint16(65000 + i)) {
			t.Fatal("not counted")
		}
		s.time(int64(arrived), uint32(i*160), 8000)
		if transit := late * 8; i > 0 {
			want += (max(transit-last, last-transit) - want) / 16
			last = transit
		}
	}
	if got := float64(s.jitter >> 4); got < want-3 || got > want+3 {
		t.Errorf("jitter %v, by the formula %v", got, want)
	}
	b := s.report(time.Time{})
	if b.lost != 40 || b.fraction != 40*256/2000 || b.highest != 65000+1999 {
		t.Errorf("%+v", b)
	}
	if b = s.report(time.Time{}); b.fraction != 0 || b.lost != 40 {
		t.Errorf("the second report %+v", b)
	}
}

// Foreign and broken RTCP is counted and changes nothing.
func TestForeignRTCP(t *testing.T) {
	r := newRig(t)
	l := r.leg(loopback)
	far, stranger := newPeer(t, l), newPeer(t, l)
	p := pcmu(4000)
	p.RemoteRTCP = netip.AddrPortFrom(loopback, uint16(far.port()))
	r.configure(l, p)
	far.dst.Port++
	stranger.dst.Port++
	buf := make([]byte, maxRTCPPacket)
	o := outgoing{ssrc: 5, sender: true, ntp: 1, block: &block{ssrc: l.SSRC(), fraction: 255}}
	good := buf[:o.put(buf)]
	stranger.raw(good)
	far.raw(good[:27])
	far.raw([]byte("nonsense"))
	r.arrive(l.sock.rtcp)
	if st := r.figures(l); st.Foreign != 1 || st.Malformed != 2 || st.HasRemote {
		t.Fatalf("%+v", st)
	}
	far.raw(good)
	r.arrive(l.sock.rtcp)
	if st := r.figures(l); !st.HasRemote || st.RemoteLoss < 0.99 || st.HasRTT {
		t.Fatalf("%+v", st)
	}
}

// Close says goodbye, once, and not to somebody who never heard from us.
func TestGoodbye(t *testing.T) {
	r := newRig(t)
	l, quiet := r.leg(loopback), r.leg(loopback)
	far, none := newPeer(t, l), newPeer(t, quiet)
	for _, x := range []struct {
		l *Leg
		p *peer
	}{{l, far}, {quiet, none}} {
		p := pcmu(x.p.port())
		p.Mux = true
		r.configure(x.l, p)
	}
	r.tick()
	l.WritePacket(l.Format(), speech(0))
	far.read(time.Second)
	l.Close()
	quiet.Close()
	rep, ok := parseRTCP(far.read(time.Second), 0)
	if !ok || !rep.bye || !rep.sr || rep.ssrc != l.SSRC() {
		t.Errorf("%+v %v", rep, ok)
	}
	if b := none.read(20 * time.Millisecond); b != nil {
		t.Errorf("a goodbye to somebody who knows nothing of us: %x", b)
	}
}

// Who has sent since the last report makes a sender report, who has not a receiver report.
func TestSenderAndReceiverReports(t *testing.T) {
	r := newRig(t)
	l := r.leg(loopback)
	far := newPeer(t, l)
	p := pcmu(far.port())
	p.Mux = true
	r.configure(l, p)
	r.tick()
	l.WritePacket(l.Format(), speech(0))
	first, _ := parseHeader(far.read(time.Second))
	r.tick()
	l.sendReport(r.now, false)
	rep, ok := parseRTCP(far.read(time.Second), 0)
	if !ok || !rep.sr || rep.ntp != ntpTime(r.now) || rep.rtp != first.timestamp+80 {
		t.Errorf("10 ms after timestamp %d: %+v", first.timestamp, rep)
	}
	l.sendReport(r.now, false)
	if rep, ok = parseRTCP(far.read(time.Second), 0); !ok || rep.sr {
		t.Errorf("nothing was sent since: %+v", rep)
	}
}

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func TestRTCPThatIsNoReport(t *testing.T) {
	app := []byte{0x80, 204, 0, 3, 0, 0, 0, 9, 'P', 'I', 'N', 'G', 'P', 'O', 'N', 'G'}
	if r, ok := parseRTCP(app, 1); !ok || r.ssrc != 9 || r.sr || r.hasBlock || r.bye {
		t.Errorf("APP is read as %+v %v", r, ok)
	}
	for name, b := range map[string][]byte{
		"cut":            app[:12],
		"another type":   append([]byte{0x80, 199}, app[2:]...),
		"another":        append(append([]byte{}, app...), 1, 2, 3, 4),
		"padding of 0":   append([]byte{0xa0}, append(app[1:15:15], 0)...),
		"padding of all": append([]byte{0xa0}, append(app[1:15:15], 16)...),
		"BYE of 31":      {0x9f, typeBYE, 0, 1, 0, 0, 0, 9},
		"RR of 31":       {0x9f, typeRR, 0, 1, 0, 0, 0, 9},
		"SR cut":         {0x80, typeSR, 0, 1, 0, 0, 0, 9},
	} {
		if r, ok := parseRTCP(b, 1); ok {
			t.Errorf("%s is taken as %+v", name, r)
		}
	}
}

// FuzzHeader: what we take as RTP another implementation takes too, with the same fields; and nothing makes us fall.
func FuzzHeader(f *testing.F) {
	f.Add([]byte{0x80, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3})
	f.Add([]byte{0xb2, 0x80, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0, 1, 9, 9, 9, 9, 7, 0, 2})
	f.Add([]byte{0x8f, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := parseHeader(b)
		if !ok {
			return
		}
		body, ok := payload(b, h)
		var p pion.Packet
		if err := p.Unmarshal(b); err != nil {
			return // it is stricter about what is inside extensions, which we skip
		}
		if !ok {
			t.Fatalf("we refuse what pion takes: %x", b)
		}
		if h.seq != p.SequenceNumber || h.timestamp != p.Timestamp || h.ssrc != p.SSRC || h.pt != p.PayloadType || h.marker != p.Marker ||
			!bytes.Equal(body, p.Payload) {
			t.Fatalf("%+v %x, pion %+v", h, body, p)
		}
	})
}

func FuzzRTCP(f *testing.F) {
	buf := make([]byte, maxRTCPPacket)
	o := outgoing{ssrc: 7, sender: true, bye: true, cname: "x", block: &block{ssrc: 8, lost: -5}}
	f.Add(append([]byte(nil), buf[:o.put(buf)]...))
	f.Add([]byte{0x81, 201, 0, 7, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := parseRTCP(b, 8)
		if !ok {
			return
		}
		pkts, err := rtcp.Unmarshal(b)
		if err != nil {
			return // it also judges packets that we skip
		}
		if sr, is := pkts[0].(*rtcp.SenderReport); is && (sr.SSRC != r.ssrc || r.sr && len(pkts) == 1 && sr.NTPTime != r.ntp) {
			t.Fatalf("%+v, pion %+v", r, sr)
		}
	})
}

// FuzzDatagrams sends any bytes from the right address through the whole way in, plain and with SRTP.
func FuzzDatagrams(f *testing.F) {
	f.Add([]byte{0x80, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3}, false)
	f.Add([]byte{0x80, 101, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 0x80, 0, 9}, false)
	f.Add([]byte{0x80, 200, 0, 6, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 4, 5, 6, 7}, true)
	r := newRig(f)
	from := netip.AddrPortFrom(loopback, 4000)
	plain, secure := r.leg(loopback), r.leg(loopback)
	p := pcmu(4000)
	p.Mux = true
	r.configure(plain, p)
	p.SRTP = &Keys{Suite: SuiteSHA1_80, Local: make([]byte, 30), Remote: make([]byte, 30)}
	r.configure(secure, p)
	plain.adopt()
	secure.adopt()
	f.Fuzz(func(t *testing.T, b []byte, srtp bool) {
		if len(b) > maxPacket {
			return
		}
		l := plain
		if srtp {
			l = secure
		}
		r.tick()
		l.packet(&datagram{from: from, data: append(make([]byte, 0, maxPacket), b...)}, r.now)
		l.ReadFrame(8000, new(audio.Frame))
		digitsOf(l)
	})
}
