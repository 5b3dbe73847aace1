package sdp

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// static are the payload types that mean something without an rtpmap (RFC 3551, 6), as far as we can use them.
var static = map[string]Codec{
	"0": {Name: "PCMU", ClockRate: 8000, Channels: 1, PayloadType: 0},
	"8": {Name: "PCMA", ClockRate: 8000, Channels: 1, PayloadType: 8},
	"9": {Name: "G722", ClockRate: 8000, Channels: 1, PayloadType: 9},
}

func malformed(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, a...))
}

type parser struct {
	d       Description
	conn    netip.Addr // of the session
	hasConn bool
	dir     Direction
	ptime   int
	seen    [26]bool // session lines
	dirSet  []bool   // per stream: it has a direction of its own
}

// Parse reads a description. What it does not know it skips; what it needs must be right. Lines may end in CR LF or LF.
func Parse(body []byte) (*Description, error) {
	if len(body) > MaxSize {
		return nil, malformed("more than %d bytes", MaxSize)
	}
	p := parser{}
	rest := string(body)
	for n := 1; rest != ""; n++ {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		line = strings.TrimSuffix(line, "\r")
		if line == "" && strings.Trim(rest, "\r\n") == "" {
			break
		}
		if n > MaxLines {
			return nil, malformed("more than %d lines", MaxLines)
		}
		if err := p.line(n, line); err != nil {
			return nil, err
		}
	}
	if !p.seen['v'-'a'] || !p.seen['o'-'a'] {
		return nil, malformed("no v= or o= line")
	}
	p.inherit()
	return &p.d, nil
}

func (p *parser) line(n int, line string) error {
	if len(line) > MaxLine {
		return malformed("line %d is longer than %d bytes", n, MaxLine)
	}
	if len(line) < 2 || line[1] != '=' || line[0] < 'a' || line[0] > 'z' {
		return malformed("line %d is not <letter>=<value>", n)
	}
	for i := range len(line) {
		if line[i] < ' ' && line[i] != '\t' || line[i] == 0x7f {
			return malformed("control character in line %d", n)
		}
	}
	kind, value := line[0], line[2:]
	if n == 1 && kind != 'v' {
		return malformed("the first line is not v=")
	}
	if len(p.d.Media) == 0 {
		if strings.IndexByte("vostc", kind) >= 0 && p.seen[kind-'a'] && kind != 't' {
			return malformed("a second %c= line", kind)
		}
		p.seen[kind-'a'] = true
	} else if kind == 'v' || kind == 'o' {
		return malformed("a second %c= line", kind)
	}
	switch kind {
	case 'v':
		if value != "0" {
			return malformed("version %.20q", value)
		}
	case 'o':
		return p.origin(value)
	case 'c':
		return p.connection(value)
	case 'm':
		return p.media(value)
	case 'a':
		return p.attribute(value)
	}
	return nil
}

func (p *parser) origin(value string) error {
	f := strings.Fields(value)
	if len(f) != 6 {
		return malformed("o= has %d parts, not 6", len(f))
	}
	// Some write more than 64 bits there; the numbers only serve to compare, and only a sender compares its own.
	id, err1 := number(f[1])
	version, err2 := number(f[2])
	if err1 != nil || err2 != nil {
		return malformed("o= numbers %.40q %.40q", f[1], f[2])
	}
	addr, err := address(f[3], f[4], f[5])
	if err != nil {
		return err
	}
	p.d.Origin = Origin{Username: f[0], ID: id, Version: version, Addr: addr}
	return nil
}

// number reads a decimal number; one that does not fit is as large as can be.
func number(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err == nil {
		return n, nil
	}
	if len(s) > 40 {
		return 0, ErrMalformed
	}
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, ErrMalformed
		}
	}
	if s == "" {
		return 0, ErrMalformed
	}
	return n, nil
}

// address reads "IN IP4 192.0.2.1"; a name instead of a number gives an address that is not valid.
func address(net, typ, addr string) (netip.Addr, error) {
	if net != "IN" || typ != "IP4" && typ != "IP6" {
		return netip.Addr{}, malformed("address type %.20q %.20q", net, typ)
	}
	a, err := netip.ParseAddr(addr)
	if err != nil {
		if !name(addr) {
			return netip.Addr{}, malformed("address %.60q", addr)
		}
		return netip.Addr{}, nil
	}
	if a.Is4() != (typ == "IP4") || a.Zone() != "" {
		return netip.Addr{}, malformed("%.60q is not an %s address", addr, typ)
	}
	return a.Unmap(), nil
}

// name tells a host name from rubbish. Something made of digits and dots only was meant to be an address.
func name(s string) bool {
	letter := false
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			letter = true
		case c >= '0' && c <= '9' || c == '.' || c == '-':
		default:
			return false
		}
	}
	return letter && len(s) <= 255
}

func (p *parser) connection(value string) error {
	f := strings.Fields(value)
	if len(f) != 3 {
		return malformed("c= has %d parts, not 3", len(f))
	}
	host, _, _ := strings.Cut(f[2], "/") // multicast: ttl and count
	a, err := address(f[0], f[1], host)
	if err != nil {
		return err
	}
	if n := len(p.d.Media); n > 0 {
		m := &p.d.Media[n-1]
		if !m.HasConn { // more of them are for layered coding
			m.Conn, m.HasConn = a, true
		}
		return nil
	}
	p.conn, p.hasConn = a, true
	return nil
}

func (p *parser) media(value string) error {
	if len(p.d.Media) == MaxMedia {
		return malformed("more than %d m= lines", MaxMedia)
	}
	f := strings.Fields(value)
	if len(f) < 4 {
		return malformed("m= has %d parts, fewer than 4", len(f))
	}
	if len(f)-3 > MaxFormats {
		return malformed("more than %d formats in an m= line", MaxFormats)
	}
	port, count, many := strings.Cut(f[1], "/")
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return malformed("port %.20q", f[1])
	}
	if many {
		if _, err := strconv.ParseUint(count, 10, 16); err != nil {
			return malformed("port %.20q", f[1])
		}
	}
	m := Media{Type: f[0], Port: uint16(n), Proto: f[2], Formats: f[3:]}
	if m.rtp() {
		if err := m.formats(); err != nil {
			return err
		}
	}
	p.d.Media = append(p.d.Media, m)
	p.dirSet = append(p.dirSet, false)
	return nil
}

// rtp tells whether the stream is one that we could take part in.
func (m *Media) rtp() bool {
	if m.Type != "audio" {
		return false
	}
	switch m.Proto {
	case "RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF":
		return true
	}
	return false
}

// secure: the profile demands SRTP.
func (m *Media) secure() bool { return m.Proto == "RTP/SAVP" || m.Proto == "RTP/SAVPF" }

// formats makes a codec of every payload type; those that rtpmap does not explain stay without a name.
func (m *Media) formats() error {
	m.Codecs = make([]Codec, 0, len(m.Formats))
	for _, f := range m.Formats {
		pt, err := strconv.ParseUint(f, 10, 7)
		if err != nil {
			return malformed("payload type %.20q", f)
		}
		c := static[f]
		c.PayloadType = uint8(pt)
		m.Codecs = append(m.Codecs, c)
	}
	return nil
}

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
