package sdp

import (
	"encoding/base64"
	"net/netip"
	"strconv"
	"strings"
)

// Marshal writes the description as it goes over the wire. A description that Parse has read loses what Parse skipped.
func (d *Description) Marshal() []byte {
	var b strings.Builder
	o := d.Origin
	user := o.Username
	if user == "" {
		user = "-"
	}
	b.WriteString("v=0\r\no=" + user + " " + strconv.FormatUint(o.ID, 10) + " " + strconv.FormatUint(o.Version, 10) + " ")
	writeAddr(&b, o.Addr)
	b.WriteString("s=-\r\n")
	if c := d.conn(); c.IsValid() {
		b.WriteString("c=")
		writeAddr(&b, c)
	}
	b.WriteString("t=0 0\r\n")
	for i := range d.Media {
		d.Media[i].write(&b, d.conn())
	}
	return []byte(b.String())
}

// conn is the address that stands in the session: the first stream's in use.
func (d *Description) conn() netip.Addr {
	for i := range d.Media {
		if d.Media[i].Port != 0 && d.Media[i].Conn.IsValid() {
			return d.Media[i].Conn
		}
	}
	return d.Origin.Addr
}

func writeAddr(b *strings.Builder, a netip.Addr) {
	if a.Is6() && !a.Is4In6() {
		b.WriteString("IN IP6 " + a.WithZone("").String() + "\r\n")
		return
	}
	if !a.IsValid() {
		a = netip.IPv4Unspecified()
	}
	b.WriteString("IN IP4 " + a.Unmap().String() + "\r\n")
}

func (m *Media) write(b *strings.Builder, session netip.Addr) {
	b.WriteString("m=" + m.Type + " " + strconv.Itoa(int(m.Port)) + " " + m.Proto)
	for _, f := range m.Formats {
		b.WriteString(" " + f)
	}
	b.WriteString("\r\n")
	if m.Port == 0 {
		return
	}
	if m.Conn.IsValid() && m.Conn != session {
		b.WriteString("c=")
		writeAddr(b, m.Conn)
	}
	attr := func(key, value string) { b.WriteString("a=" + key + ":" + value + "\r\n") }
	if m.MID != "" {
		attr("mid", m.MID)
	}
	for _, c := range m.Codecs {
		pt := strconv.Itoa(int(c.PayloadType))
		enc := c.Name + "/" + strconv.Itoa(c.ClockRate)
		if c.Channels > 1 {
			enc += "/" + strconv.Itoa(c.Channels)
		}
		attr("rtpmap", pt+" "+enc)
		if c.Fmtp != "" {
			attr("fmtp", pt+" "+c.Fmtp)
		}
	}
	if m.Ptime > 0 {
		attr("ptime", strconv.Itoa(m.Ptime))
	}
	if m.MaxPtime > 0 {
		attr("maxptime", strconv.Itoa(m.MaxPtime))
	}
	if m.RTCPPort != 0 {
		attr("rtcp", strconv.Itoa(int(m.RTCPPort)))
	}
	if m.Mux {
		b.WriteString("a=rtcp-mux\r\n")
	}
	for _, c := range m.Crypto {
		attr("crypto", strconv.Itoa(c.Tag)+" "+c.Suite+" inline:"+base64.StdEncoding.EncodeToString(c.Key))
	}
	b.WriteString("a=" + m.Direction.String() + "\r\n")
}
