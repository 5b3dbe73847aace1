package sdp

import (
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
