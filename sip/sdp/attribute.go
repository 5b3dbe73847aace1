package sdp

import (
	"encoding/base64"
	"net/netip"
	"strconv"
	"strings"
)

func (p *parser) attribute(value string) error {
	key, v, _ := strings.Cut(value, ":")
	for d, s := range directionNames {
		if key == s {
			if n := len(p.d.Media); n > 0 {
				p.d.Media[n-1].Direction, p.dirSet[n-1] = Direction(d), true
			} else {
				p.dir = Direction(d)
			}
			return nil
		}
	}
	if len(p.d.Media) == 0 {
		if key == "ptime" {
			p.ptime = milliseconds(v)
		}
		return nil
	}
	m := &p.d.Media[len(p.d.Media)-1]
	switch key {
	case "mid":
		m.MID = v
	case "ptime":
		m.Ptime = milliseconds(v)
	case "maxptime":
		m.MaxPtime = milliseconds(v)
	case "rtcp-mux":
		m.Mux = true
	case "rtpmap":
		return m.rtpmap(v)
	case "fmtp":
		return m.fmtp(v)
	case "rtcp":
		return m.rtcp(v)
	case "crypto":
		m.crypto(v)
	}
	return nil
}

// milliseconds reads a ptime; nonsense counts as not given, since it is only a wish.
func milliseconds(s string) int {
	s, _, _ = strings.Cut(strings.TrimSpace(s), ".")
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n > 1000 {
		return 0
	}
	return int(n)
}

func (m *Media) codec(pt string) (*Codec, error) {
	n, err := strconv.ParseUint(pt, 10, 7)
	if err != nil {
		return nil, malformed("payload type %.20q", pt)
	}
	for i := range m.Codecs {
		if m.Codecs[i].PayloadType == uint8(n) {
			return &m.Codecs[i], nil
		}
	}
	return nil, nil // for a payload type that the m= line does not list: of no interest
}

func (m *Media) rtpmap(v string) error {
	if !m.rtp() {
		return nil
	}
	pt, enc, ok := strings.Cut(v, " ")
	if !ok {
		return malformed("rtpmap %.60q", v)
	}
	c, err := m.codec(pt)
	if c == nil {
		return err
	}
	part := strings.Split(strings.TrimSpace(enc), "/")
	if len(part) < 2 || len(part) > 3 || part[0] == "" {
		return malformed("rtpmap %.60q", v)
	}
	rate, err := strconv.ParseUint(part[1], 10, 31)
	if err != nil || rate == 0 {
		return malformed("rtpmap %.60q", v)
	}
	channels := uint64(1)
	if len(part) == 3 {
		if channels, err = strconv.ParseUint(part[2], 10, 8); err != nil || channels == 0 {
			return malformed("rtpmap %.60q", v)
		}
	}
	c.Name, c.ClockRate, c.Channels = part[0], int(rate), int(channels)
	return nil
}

func (m *Media) fmtp(v string) error {
	if !m.rtp() {
		return nil
	}
	pt, params, _ := strings.Cut(v, " ")
	c, err := m.codec(pt)
	if c == nil {
		return err
	}
	c.Fmtp = strings.TrimSpace(params)
	return nil
}

// rtcp reads a=rtcp (RFC 3605): a port, and perhaps an address.
func (m *Media) rtcp(v string) error {
	f := strings.Fields(v)
	if len(f) != 1 && len(f) != 4 {
		return malformed("a=rtcp:%.60q", v)
	}
	n, err := strconv.ParseUint(f[0], 10, 16)
	if err != nil {
		return malformed("a=rtcp:%.60q", v)
	}
	m.RTCPPort = uint16(n)
	if len(f) == 4 {
		a, err := address(f[1], f[2], f[3])
		if err != nil {
			return err
		}
		if a.IsValid() && n > 0 {
			m.RTCP = netip.AddrPortFrom(a, uint16(n))
		}
	}
	return nil
}

// crypto reads a=crypto (RFC 4568, 9.1). Lines that we cannot use are passed over, as 5.1.2 says: another suite, session
// parameters, several keys, an MKI.
func (m *Media) crypto(v string) {
	m.HasCrypto = true
	f := strings.Fields(v)
	if len(f) != 3 || len(m.Crypto) == MaxCrypto {
		return
	}
	tag, err := strconv.ParseUint(f[0], 10, 30)
	if err != nil || f[1] != SuiteSHA1_80 && f[1] != SuiteSHA1_32 {
		return
	}
	inline, ok := strings.CutPrefix(f[2], "inline:")
	if !ok || strings.Contains(inline, ";") {
		return
	}
	part := strings.Split(inline, "|")
	if len(part) > 2 || len(part) == 2 && strings.Contains(part[1], ":") { // key|lifetime only
		return
	}
	key, err := base64.StdEncoding.DecodeString(part[0])
	if err != nil {
		key, err = base64.RawStdEncoding.DecodeString(part[0])
	}
	if err != nil || len(key) != KeySize {
		return
	}
	m.Crypto = append(m.Crypto, Crypto{Tag: int(tag), Suite: f[1], Key: key})
}

// inherit gives the streams what stands in the session.
func (p *parser) inherit() {
	for i := range p.d.Media {
		m := &p.d.Media[i]
		if !m.HasConn {
			m.Conn, m.HasConn = p.conn, p.hasConn
		}
		if !p.dirSet[i] {
			m.Direction = p.dir
		}
		if m.Ptime == 0 {
			m.Ptime = p.ptime
		}
		if m.RTCPPort != 0 && !m.RTCP.IsValid() && m.Conn.IsValid() {
			m.RTCP = netip.AddrPortFrom(m.Conn, m.RTCPPort)
		}
	}
}
