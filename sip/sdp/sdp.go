// Package sdp is the offer/answer model (RFC 3264) for one audio stream, as pure functions on session descriptions (RFC 8866).
//
//	Parse   text → Description                  Description.Marshal   → text
//	Offer   what we can (+ what stands) → our offer
//	Answer  their offer + what we can → our answer, and what is agreed
//	Accept  our offer + their answer → what is agreed
//
// Everything that comes from outside is bounded before it is stored: MaxSize, MaxLine, MaxMedia and the like. Names in
// addresses are not resolved. It knows neither SIP, sockets, codecs' code nor who is called.
package sdp

import (
	"errors"
	"net/netip"
)

// What a description may be at most.
const (
	MaxSize    = 16 << 10 // bytes
	MaxLine    = 2048     // bytes
	MaxLines   = 512
	MaxMedia   = 16
	MaxFormats = 64 // payload types in one m= line
	MaxCrypto  = 16 // a=crypto lines of one stream
)

// Errors of this package. A malformed description is a 400, the others are a 488.
var (
	ErrMalformed      = errors.New("malformed session description")
	ErrNoAudio        = errors.New("no usable audio stream")
	ErrNoCommonCodec  = errors.New("no common codec")
	ErrCryptoRequired = errors.New("SRTP is required here")
	ErrCryptoRefused  = errors.New("SRTP is not done here")
	ErrMismatch       = errors.New("the answer does not fit the offer")
)

// Codec is one entry of an m= line.
type Codec struct {
	Name        string // encoding name as we write it: "opus", "G722", "PCMU", "PCMA", "telephone-event"
	ClockRate   int    // Hz, as in rtpmap: 8000 for G722 (RFC 3551, 4.5.2), 48000 for opus
	Channels    int    // 0 and 1 are the same
	PayloadType uint8
	Fmtp        string
}

// EventName is the encoding name of telephone events (RFC 4733).
const EventName = "telephone-event"

// Direction is seen from the one whose description it stands in.
type Direction uint8

// Directions (RFC 3264, 5.1).
const (
	SendRecv Direction = iota
	SendOnly
	RecvOnly
	Inactive
)

var directionNames = [...]string{SendRecv: "sendrecv", SendOnly: "sendonly", RecvOnly: "recvonly", Inactive: "inactive"}

func (d Direction) String() string {
	if int(d) < len(directionNames) {
		return directionNames[d]
	}
	return "?"
}

// Sends tells whether the one whose description it is sends.
func (d Direction) Sends() bool { return d == SendRecv || d == SendOnly }

// Receives tells whether the one whose description it is receives.
func (d Direction) Receives() bool { return d == SendRecv || d == RecvOnly }

// Make puts a direction together.
func Make(sends, receives bool) Direction {
	switch {
	case sends && receives:
		return SendRecv
	case sends:
		return SendOnly
	case receives:
		return RecvOnly
	}
	return Inactive
}

// Policy says what to do about SRTP with keys in the description (SDES, RFC 4568). Keys in clear text are worth nothing: where
// the signalling is not TLS, the policy to use is Disable.
type Policy uint8

const (
	// Disable: plain RTP. We offer RTP/AVP without keys; an offer of RTP/SAVP is refused, keys in an RTP/AVP offer are ignored.
	Disable Policy = iota
	// Allow: we offer RTP/AVP with a=crypto, the opportunistic form that phones without SRTP ignore and that baresip
	// ("srtp"), Asterisk (optimistic encryption) and Linphone take up. An offer in either form is answered in its form.
	Allow
	// Require: we offer RTP/SAVP; an offer without usable keys is refused.
	Require
)

// SDES suites (RFC 4568, 6.2).
const (
	SuiteSHA1_80 = "AES_CM_128_HMAC_SHA1_80"
	SuiteSHA1_32 = "AES_CM_128_HMAC_SHA1_32"
)

// KeySize is the length of master key and salt of both suites, in bytes.
const KeySize = 30

// Crypto is one a=crypto line that we can use.
type Crypto struct {
	Tag   int
	Suite string
	Key   []byte // master key and salt
}

// Media is one m= section.
type Media struct {
	Type    string // "audio", "video", …
	Port    uint16 // 0: refused or removed
	Proto   string // "RTP/AVP", …
	Formats []string
	Codecs  []Codec // of audio over RTP, in the order of the m= line; static payload types need no rtpmap
	// Conn is the address of c=, here or else in the session. HasConn: there is one; Conn is not valid if it is a name.
	Conn    netip.Addr
	HasConn bool

	Direction Direction
	Ptime     int // ms, 0 if not given
	MaxPtime  int
	Mux       bool // a=rtcp-mux
	RTCP      netip.AddrPort
	RTCPPort  uint16 // a=rtcp, 0 if not given
	Crypto    []Crypto
	HasCrypto bool // there was an a=crypto line, usable or not
	MID       string
}

// Origin is the o= line.
type Origin struct {
	Username    string
	ID, Version uint64
	Addr        netip.Addr // not valid if it is a name
}

// Description is one session description. Treat it as read-only.
type Description struct {
	Origin Origin
	Media  []Media
}

// Local is what we can and want, and where we are.
type Local struct {
	// Origin's Username, ID and Addr go into o=; the version counts by itself from Origin.Version.
	Origin Origin
	// Addr is our RTP port as the far end is to see it (the advertised address).
	Addr netip.AddrPort
	// Alt is the same port at an address of the other family, if we have one there. An answer takes the one that fits the
	// offer; an offer has Addr.
	Alt netip.AddrPort
	// RTCP is our RTCP port at the same address; 0 is the RTP port + 1.
	RTCP uint16
	// Codecs in our order of preference, telephone-event excluded. PayloadType is used in offers for what has none yet.
	Codecs []Codec
	// Events says whether telephone-event is offered and answered.
	Events bool
	// Ptime is what we would like to receive, ms: a multiple of 10 up to 60, 0 for 20.
	Ptime int
	// Direction is what we want: SendRecv in a call, SendOnly or Inactive to hold.
	Direction Direction
	// Mux offers rtcp-mux, and takes it if offered.
	Mux bool
	// SRTP is the policy, Key our master key and salt (KeySize bytes; needed unless the policy is Disable). Use one key
	// per leg and keep it over re-INVITEs: the same key with the same SSRC goes on where it was.
	SRTP Policy
	Key  []byte
}

// Agreed is what offer and answer come to, from our side.
type Agreed struct {
	Codec Codec // with the payload type of both directions and our own Fmtp
	// RemoteFmtp is what the far end says about receiving the codec.
	RemoteFmtp string
	Ptime      int // of what we send, ms
	EventPT    int // -1: none
	// EventClock is the clock of the events' durations: the codec's, or 8000 where the far end offers nothing else.
	EventClock int
	Remote     netip.AddrPort // not valid if the far end gave a name or 0.0.0.0
	RemoteRTCP netip.AddrPort
	Mux        bool
	// Send and Receive are ours.
	Send, Receive bool
	// Held: the far end does not want our sound (sendonly, inactive, or the address 0.0.0.0).
	Held bool
	// SRTP is nil for plain RTP.
	SRTP *SRTP
	// Index is the number of the m= line.
	Index int
}

// SRTP are the keys agreed on.
type SRTP struct {
	Suite         string
	Local, Remote []byte // KeySize bytes each
}
