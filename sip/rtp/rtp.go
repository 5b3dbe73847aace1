// Package rtp is the media side of a call: sockets, RTP, RTCP, SRTP, telephone events, and the leg that the mixer hears and
// feeds.
//
//	Poller.Drain   epoll → recvmmsg → [RTCP | SRTP → header → source, payload type, SSRC] → jitter buffer, events
//	Leg.ReadFrame  jitter buffer → decode, recover, conceal → slew → 10 ms
//	Leg.WritePacket  header → SRTP → sendto          (telephone events take the place of sound while they last)
//
// Drain, ReadFrame and WritePacket belong to one goroutine, the tick; all sockets of a Poller are received there, so no
// packet wakes a goroutine and nothing is locked against another one. Everything else may be called from any goroutine:
// Configure hands an immutable set of parameters over through an atomic pointer, Stats reads what the tick published, and
// Close waits for the few microseconds that the tick may be inside the leg.
//
// It knows neither SIP nor SDP nor who hears whom. Linux only.
package rtp

import (
	"errors"
	"net/netip"
	"time"

	"parley/audio"
)

// Errors of this package.
var (
	ErrPortsExhausted = errors.New("no free pair of RTP ports")
	ErrClosed         = errors.New("the leg is closed")
	ErrParams         = errors.New("impossible media parameters")
	ErrNoEvents       = errors.New("the far end takes no telephone events")
	ErrDigit          = errors.New("not a DTMF digit")
	ErrBusy           = errors.New("too many digits wait")
)

// SDES suites, by their names in RFC 4568.
const (
	SuiteSHA1_80 = "AES_CM_128_HMAC_SHA1_80"
	SuiteSHA1_32 = "AES_CM_128_HMAC_SHA1_32"
)

// Keys are the SRTP keys of a leg: 16 bytes of key followed by 14 bytes of salt for each direction (RFC 4568, 6.1).
type Keys struct {
	Suite string // SuiteSHA1_80 or SuiteSHA1_32
	// Local protects what we send, Remote what we receive.
	Local, Remote []byte
}

// Params is what offer and answer have agreed on. The Leg keeps a copy.
type Params struct {
	// Codec makes the decoder. nil: the one of LegConfig.Codecs that has the Format's name.
	Codec audio.Codec
	// Format is that of both directions; its Ptime is that of what we send.
	Format audio.Format
	// PayloadType is that of sound in both directions: an answer repeats the offer's numbers.
	PayloadType uint8
	// EventPT is the payload type of telephone events (RFC 4733), -1 for none.
	EventPT int
	// EventClock is the clock of event durations, Hz; 0 is the Format's.
	EventClock int
	// Remote is where RTP comes from and goes to; not valid: nothing is sent (but see Latch).
	Remote netip.AddrPort
	// RemoteRTCP is the same for RTCP; not valid: Remote's port + 1. Not looked at with Mux.
	RemoteRTCP netip.AddrPort
	// Mux: RTP and RTCP share a port (RFC 5761).
	Mux bool
	// Send and Receive are the directions. With neither, RTCP still goes on.
	Send, Receive bool
	// Latch is the address that the far end's signalling comes from, if it may be behind NAT: the first valid packet from
	// Remote or from any port of Latch fixes the far end's address until Latch or Remote is configured anew. Not valid:
	// Remote alone counts.
	Latch netip.Addr
	// SRTP is nil for plain RTP.
	SRTP *Keys
}

// EventKind says what an Event reports.
type EventKind uint8

const (
	// DigitDown: a telephone event has begun; each digit has exactly one.
	DigitDown EventKind = iota + 1
	// DigitUp: it has ended, or its end was lost; Duration is its length as far as known.
	DigitUp
	// SpurtStart: sound has begun to come.
	SpurtStart
	// SpurtEnd: no sound has come for a while.
	SpurtEnd
)

// Event is something that the tick has seen on a leg.
type Event struct {
	Kind     EventKind
	Digit    byte // '0'-'9', '*', '#', 'A'-'D'
	Duration time.Duration
}

// Stats is what was measured on a leg. What has not been measured says so: there are no invented figures.
type Stats struct {
	Received, ReceivedBytes uint64 // valid RTP packets from the far end, and their payload
	Sent, SentBytes         uint64
	SendErrors              uint64

	Expected  uint64        // by sequence numbers, since the last SSRC
	Lost      int64         // expected less received (RFC 3550, 6.4.1): duplicates can make it negative
	Jitter    time.Duration // interarrival jitter (RFC 3550, A.8) of kernel arrival times
	HasJitter bool          // at least two packets

	RTT    time.Duration // last round trip by LSR and DLSR
	HasRTT bool

	RemoteLoss   float64       // share of our packets that the far end missed in its last report, 0-1
	RemoteLost   int64         // cumulative
	RemoteJitter time.Duration // as the far end measures it
	HasRemote    bool          // the far end has reported

	Late, Duplicate uint64 // packets
	Dropped         uint64 // good packets thrown away to bring the delay down
	Missing         uint64 // packets that were not there when their turn came
	Restarts        uint64 // of the jitter buffer
	Concealed       uint64 // 10 ms frames with concealment in them
	Slewed          int64  // samples left out (less samples put in) to follow the sender's clock

	Foreign      uint64 // packets from elsewhere
	Malformed    uint64 // not RTP or RTCP
	WrongType    uint64 // payload type that was not agreed on
	WrongSSRC    uint64 // valid but of another stream that has not proved itself
	SRTPFailures uint64 // not authentic, or replayed
	Overflow     uint64 // lost in the socket's queue, as the kernel counts
	DecodeErrors uint64
	EventsLost   uint64 // Events that nobody fetched in time

	First, LastPacket time.Time // arrival of valid RTP; zero: none yet
	LastRTCP          time.Time
	Goodbye           bool // the last RTCP packet was the far end's BYE

	Level    float64 // of the last second or so of received sound, dBFS RMS
	HasLevel bool
	Delay    time.Duration // playout delay: how long the fastest packets wait here
	HasDelay bool

	Remote, RemoteRTCP netip.AddrPort // where packets go now, after latching
	RemoteSSRC         uint32
	HasRemoteSSRC      bool
	SRTP               bool
}

// Age is how long no valid packet has come: since the last one, or since from if there never was one.
func (s *Stats) Age(now, from time.Time) time.Duration {
	if s.LastPacket.After(from) {
		from = s.LastPacket
	}
	return max(0, now.Sub(from))
}
