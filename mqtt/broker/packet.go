package broker

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"
)

// The packets that a client sends (MQTT 3.1.1, section 2.2.1).
const (
	connect     = 1
	publish     = 3
	puback      = 4
	pubrec      = 5
	pubrel      = 6
	pubcomp     = 7
	subscribe   = 8
	unsubscribe = 10
	pingreq     = 12
	disconnect  = 14
)

// Bounds of what stands in packets.
const (
	maxRemaining = 268435455
	maxTopic     = 512 // bytes
	maxLevels    = 32  // of a topic: mochi walks them one function call each
	maxFilters   = 64  // of one packet
	maxClientID  = 128
	maxLogin     = 256 // user, password
)

// shortKinds are the packets whose length is known beforehand.
var shortKinds = map[byte]int{puback: 2, pubrec: 2, pubrel: 2, pubcomp: 2, pingreq: 0, disconnect: 0}

// flagsOf are the flags that each packet has to have (section 2.2.2); of publish they have a meaning.
var flagsOf = map[byte]byte{connect: 0, puback: 0, pubrec: 0, pubrel: 2, pubcomp: 0, subscribe: 2, unsubscribe: 2,
	pingreq: 0, disconnect: 0}

var kindNames = map[byte]string{connect: "CONNECT", publish: "PUBLISH", puback: "PUBACK", pubrec: "PUBREC", pubrel: "PUBREL",
	pubcomp: "PUBCOMP", subscribe: "SUBSCRIBE", unsubscribe: "UNSUBSCRIBE", pingreq: "PINGREQ", disconnect: "DISCONNECT"}

func kindName(kind byte) string {
	if n, ok := kindNames[kind]; ok {
		return n
	}
	return fmt.Sprintf("packet of type %d", kind)
}

// versionError is a CONNECT in another version of the protocol.
type versionError struct{ level byte }

func (e *versionError) Error() string { return fmt.Sprintf("MQTT 3.1.1 only, not level %d", e.level) }

// answer is a CONNACK that the other version understands: unsupported protocol version.
func (e *versionError) answer() []byte {
	if e.level >= 5 {
		return []byte{0x20, 3, 0, 0x84, 0}
	}
	return []byte{0x20, 2, 0, 1}
}

// checkPacket holds a packet from a client against MQTT 3.1.1, to its last byte. body is what follows the length.
func checkPacket(first byte, body []byte) error {
	kind, flags := first>>4, first&0x0f
	if want, ok := flagsOf[kind]; ok && flags != want {
		return refused("%s with flags %d", kindName(kind), flags)
	}
	if n, ok := shortKinds[kind]; ok {
		if len(body) != n {
			return refused("%s of %d bytes", kindName(kind), len(body))
		}
		if n == 2 && binary.BigEndian.Uint16(body) == 0 {
			return refused("%s for packet 0", kindName(kind))
		}
		return nil
	}
	r := reader{rest: body}
	switch kind {
	case connect:
		r.connect()
	case publish:
		r.publish(flags)
	case subscribe:
		r.filters(true)
	case unsubscribe:
		r.filters(false)
	default:
		return refused("%s is not a client's to send", kindName(kind))
	}
	if r.err != nil {
		return fmt.Errorf("%s: %w", kindName(kind), r.err)
	}
	return nil
}

// reader takes a packet apart. After the first fault it gives nothing more and keeps the fault.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = refused(format, args...)
	}
	r.rest = nil
}

func (r *reader) take(n int, what string) []byte {
	if len(r.rest) < n || r.err != nil {
		r.fail("ends within %s", what)
		return make([]byte, min(n, 2)) // never used for longer ones: field looks at err
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte(what string) byte     { return r.take(1, what)[0] }
func (r *reader) uint16(what string) uint16 { return binary.BigEndian.Uint16(r.take(2, what)) }

// field takes bytes with their length before them (section 1.5.3).
func (r *reader) field(what string, longest int) []byte {
	n := int(r.uint16(what))
	if r.err == nil && n > longest {
		r.fail("%s of %d bytes, %d at most", what, n, longest)
	}
	b := r.take(n, what)
	if r.err != nil {
		return nil
	}
	return b
}

// text takes a field of UTF-8. Control characters are refused too, as section 1.5.3 allows.
func (r *reader) text(what string, longest int) string {
	s := string(r.field(what, longest))
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c >= 0x7f && c < 0xa0 }) {
		r.fail("%s has bytes that are no text", what)
	}
	return s
}

func (r *reader) connect() {
	name, level := string(r.field("protocol name", 6)), r.byte("protocol level")
	if r.err == nil && (name != "MQTT" || level != 4) {
		if name == "MQTT" || name == "MQIsdp" {
			r.err = &versionError{level: level}
		}
		r.fail("protocol %q, level %d", name, level)
		return
	}
	flags := r.byte("flags")
	r.uint16("keep-alive")
	will, willQoS, willRetain := flags&4 != 0, flags>>3&3, flags&0x20 != 0
	user, password := flags&0x80 != 0, flags&0x40 != 0
	if flags&1 != 0 || willQoS == 3 || !will && (willQoS != 0 || willRetain) || password && !user {
		r.fail("flags %#x", flags)
	}
	if id := r.text("client id", maxClientID); id == "" && flags&2 == 0 {
		r.fail("a session that is to be kept needs a client id")
	}
	if will {
		r.topic("will topic")
		r.field("will payload", 65535)
	}
	if user {
		r.text("user", maxLogin)
	}
	if password {
		r.field("password", maxLogin)
	}
	r.end()
}

func (r *reader) publish(flags byte) {
	qos := flags >> 1 & 3
	if qos == 3 || qos == 0 && flags&8 != 0 {
		r.fail("flags %#x", flags)
	}
	r.topic("topic")
	if qos > 0 && r.uint16("packet id") == 0 {
		r.fail("packet id 0")
	}
	// The rest is payload.
}

func (r *reader) filters(qos bool) {
	if r.uint16("packet id") == 0 {
		r.fail("packet id 0")
	}
	if r.err == nil && len(r.rest) == 0 {
		r.fail("without a filter")
	}
	for n := 0; len(r.rest) > 0; n++ {
		if n == maxFilters {
			r.fail("more than %d filters", maxFilters)
			return
		}
		if f := r.text("filter", maxTopic); r.err == nil && !validFilter(f) {
			r.fail("filter %q", f)
		}
		if qos && r.byte("QoS") > 2 {
			r.fail("QoS above 2")
		}
	}
	r.end()
}

func (r *reader) topic(what string) {
	t := r.text(what, maxTopic)
	if r.err == nil && (!validFilter(t) || strings.ContainsAny(t, "+#") || strings.HasPrefix(t, "$")) {
		r.fail("%s %q", what, t)
	}
}

func (r *reader) end() {
	if len(r.rest) > 0 {
		r.fail("%d bytes too many", len(r.rest))
	}
}

// validFilter holds a filter against section 4.7. A topic is a filter without wildcards.
func validFilter(filter string) bool {
	if filter == "" || len(filter) > maxTopic || strings.Count(filter, "/") >= maxLevels {
		return false
	}
	levels := strings.Split(filter, "/")
	for i, l := range levels {
		if strings.ContainsAny(l, "+#") && len(l) > 1 || l == "#" && i != len(levels)-1 {
			return false
		}
	}
	return true
}
