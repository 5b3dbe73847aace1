// Package guard stands between the sockets and sipgo: only whole, strictly valid SIP messages in one canonical form get
// through; everything else is answered right there without state, or dropped and counted. It holds what RFC 4475 and
// RFC 5118 ask of a user agent on the wire, and what sipgo's own parser leaves open.
//
// It must not know calls, users or routing. What the agent supports comes in Options, what arrived goes out through a
// net.PacketConn or net.Listener that sipgo serves.
//
//	socket -> frame (bounded) -> lex -> judge -> canonical text -> sipgo
//	                              |       `---> 400, 406, 415, 416, 420, 501, 505, 513 back to where it came from
//	                              `-----------> dropped and counted
//	sipgo  -> responses get the peer's own Via list back; nothing to broadcast or multicast -> socket
//
// # Via
//
// sipgo sees one Via of the guard's making: the address that the message really came from, and a branch made of that
// address and of what the peer's own branch, Call-ID, From tag and CSeq say. So an answer goes where the request came from
// whatever its Via claims, two requests share a transaction only if they are the same one, somebody else's CANCEL finds
// nothing to cancel, and a peer of RFC 2543's time (no branch) is served like any other. The peer's list travels in a
// parameter of that Via and is put back, with received and rport (RFC 3581), when the response leaves.
//
// # What sipgo (v1.7.2) needs beside it
//
//   - sip.UDPMTUSize is a variable of sipgo; it refuses datagrams over UDPMTUSize-200 octets, responses too, with
//     sip.ErrUDPMTUCongestion. Set it to 65535 once, before anything runs: the responses that really leave are shorter than
//     what sipgo counts, and IP fragments what is too long for the link.
//   - sip.TransportBufferReadSize (32768) is what sipgo reads at most in a datagram; a longer one is answered with 513.
//   - Connections that sipgo dials itself do not pass the guard. Give requests over UDP the listener's address as Laddr, so
//     that they leave through the guarded socket; open TCP and TLS connections with Outbound.Dial.
package guard

import (
	"cmp"
	"crypto/rand"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Options says what the agent behind the guard supports, and bounds what a peer may make it hold. A zero field takes
// its default.
type Options struct {
	Methods    []string            // supported; others are answered with 501. Default: DefaultMethods
	Extensions []string            // option tags that Require may name; others are answered with 420. Default: none
	Bodies     map[string][]string // method -> media types of a body; others are answered with 415. A method that is not listed takes any. Default: DefaultBodies
	Accepts    map[string][]string // method -> media types that our answer has; an Accept without any of them gets 406. Default: INVITE application/sdp
	Schemes    []string            // of a request's URI; others are answered with 416. Default: sip, sips

	// ViaPort: answer to the Via's port unless the request asks for rport, as RFC 3261 §18.2.2 has it, for phones that send
	// from one port and listen on another. Otherwise answers go to the port that the request came from, always.
	ViaPort bool

	MaxMessage     int           // octets of one message on a stream, at most 65535, which is the default
	MessageTimeout time.Duration // a message on a stream is whole so long after its first octet, a connection's first one after its begin: 10 s
	IdleTimeout    time.Duration // a stream without a message, ping or pong for so long is closed: 20 min
	WriteTimeout   time.Duration // of one write to a stream: 5 s
	QuietBody      time.Duration // a message without Content-Length on a stream (RFC 2543) ends after so long a silence: 300 ms
	MaxConns       int           // open connections of one listener: 512
	MaxConnsPerIP  int           // of these from one address: 64

	// Screen is asked about every message that would pass, before sipgo makes a transaction of it or remembers its source. An
	// answer that is not nil is sent instead, without state; an ACK or a response is dropped then. A repetition asks again
	// and must get the same, so this is the place for "401" to who shows no credentials and "481" to what belongs to no
	// call, and not for judging a digest. It is called from the goroutines that read and must not block.
	Screen func(Envelope) *Answer

	Secret   []byte    // of Arrival stamps and of tags. Without one there are no stamps
	Counters *Counters // what was refused, by reason; may be shared between guards. May be nil
}

// DefaultMethods is what Options.Methods stands for if it is empty.
func DefaultMethods() []string {
	return []string{"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "INFO", "REFER", "SUBSCRIBE", "NOTIFY", "UPDATE", "PRACK"}
}

// DefaultBodies is what Options.Bodies stands for if it is nil.
func DefaultBodies() map[string][]string {
	return map[string][]string{
		"INVITE": {"application/sdp"}, "UPDATE": {"application/sdp"}, "PRACK": {"application/sdp"},
		"INFO": {"application/dtmf-relay", "application/dtmf"},
	}
}

// PacketConn guards a UDP socket. One goroutine reads from it; any may write and close. Its error from WriteTo is
// ErrDestination for an address that nothing is sent to.
func PacketConn(inner net.PacketConn, o Options) net.PacketConn {
	return &packetConn{PacketConn: inner, core: newCore(o), buf: make([]byte, 65536)}
}

// Listener guards the connections of a TCP or TLS listener (for TLS, the one of crypto/tls).
func Listener(inner net.Listener, o Options) net.Listener {
	return &listener{Listener: inner, core: newCore(o)}
}

// Envelope is what Screen sees of a message.
type Envelope struct {
	Arrival
	Status                 int    // of a response; 0 for a request
	Method                 string // a response has that of its CSeq
	URI, User              string // of the request line; User is the URI's user part as it stands there, escapes kept
	CallID, FromTag, ToTag string
	Authorization          []string
}

// Answer is what Screen has the guard say.
type Answer struct {
	Code    int // 300 to 699
	Reason  string
	Headers [][2]string // beyond those that every response has
}

// core is what judges messages: the options, ready for use. It does not change after newCore.
type core struct {
	o      Options
	tagKey []byte
}

func newCore(o Options) *core {
	if len(o.Methods) == 0 {
		o.Methods = DefaultMethods()
	}
	if o.Bodies == nil {
		o.Bodies = DefaultBodies()
	}
	if o.Accepts == nil {
		o.Accepts = map[string][]string{"INVITE": {"application/sdp"}}
	}
	if len(o.Schemes) == 0 {
		o.Schemes = []string{"sip", "sips"}
	}
	if o.MaxMessage <= 0 || o.MaxMessage > 65535 {
		o.MaxMessage = 65535
	}
	o.MessageTimeout = cmp.Or(o.MessageTimeout, 10*time.Second)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 20*time.Minute)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 5*time.Second)
	o.QuietBody = cmp.Or(o.QuietBody, 300*time.Millisecond)
	o.MaxConns = cmp.Or(o.MaxConns, 512)
	o.MaxConnsPerIP = cmp.Or(o.MaxConnsPerIP, 64)
	if o.Counters == nil {
		o.Counters = &Counters{}
	}
	c := &core{o: o, tagKey: slices.Clone(o.Secret)}
	if len(c.tagKey) == 0 {
		c.tagKey = make([]byte, 32)
		rand.Read(c.tagKey)
	}
	return c
}

// peer is where a message came from.
type peer struct {
	network       string // UDP, TCP or TLS, as a Via has it
	remote, local netip.AddrPort
	names         []string // of a certificate that TLS verified
}

// addrPort is a as an address, unmapped; the zero one if it is none.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	case nil:
	default:
		ap, _ = netip.ParseAddrPort(a.String())
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// reachable: a single host's address, to which an answer may go.
func reachable(ap netip.AddrPort) bool {
	a := ap.Addr()
	return a.IsValid() && ap.Port() != 0 && !a.IsUnspecified() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// verdict is what becomes of a message: at most one of pass and answer is set; with neither it is dropped.
type verdict struct {
	pass   []byte         // for sipgo
	answer []byte         // for the peer
	to     netip.AddrPort // where the answer goes, if the peer is to be reached by a datagram
	reason Reason         // why it did not pass
}

func foldIn(list []string, s string) bool {
	return slices.ContainsFunc(list, func(o string) bool { return strings.EqualFold(o, s) })
}
