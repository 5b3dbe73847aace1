// Package config is the box's settings: one YAML file, every setting documented, defaulted and checked.
//
// The table in table.go is the only place where a setting is declared: reading, checking, the commented default file and
// docs/settings.md are all made from it. The package opens no socket and starts nothing; it must not know what the
// settings are used for beyond what is needed to say that a value is wrong.
package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Bounds on what is read, so that no file can make the box allocate without end.
const (
	// MaxFile is the largest settings file that is read, in bytes.
	MaxFile = 256 << 10
	// MaxSecretFile is the largest file that a `_file` key may name, in bytes.
	MaxSecretFile = 4 << 10
	// maxProblems is how many problems of one file are told at once.
	maxProblems = 20
)

// Config is the whole of the settings. Load and Default make it; its zero value is not a valid configuration.
type Config struct {
	EID         string // enterprise, the root of every MQTT topic: /e/{eid}
	Box         string // this box's name in topics, [a-z0-9-]
	Data        string // folder of everything that must outlive the process
	User        string // whom the box becomes when it is started as root; empty: nobody else
	LockMemory  bool   // what the program uses is never swapped out
	Board       string // name of a board that package board knows
	Card        Card
	Place       Place
	Keys        Keys
	Listen      Listen
	SIP         SIP
	Opus        Opus
	RTP         RTP
	MQTT        MQTT
	HTTP        HTTP
	Provision   Provision
	Update      Update
	Watchdog    Watchdog
	Conferences []Conference // the standing ones
	Meetings    Meetings
	Recording   Recording
	Log         Log

	warnings []string
}

// Card is the sound card.
type Card struct {
	Device     string // "auto", an ALSA name such as "hw:0", or "file"
	Microphone string // WAV that card "file" plays as its microphone; empty is the built-in sentence
	Speaker    string // WAV that card "file" writes; empty is <data>/speaker.wav
	Volume     int    // of the speaker, %
	Ducking    bool   // half-duplex ducking on a real card
}

// AutoAnswer says whether a call to the place is taken without a key.
type AutoAnswer string

// The values of AutoAnswer.
const (
	AnswerOff   AutoAnswer = "off"   // a key must be pressed
	AnswerMuted AutoAnswer = "muted" // taken, with the place muted
	AnswerOpen  AutoAnswer = "open"  // taken, and the room is heard
)

// Place is the room itself.
type Place struct {
	Number      string        // that callers dial to reach the room
	Name        string        // shown in rosters
	Join        string        // what the join key calls: a number or a SIP URI
	JoinAtStart bool          // join when the box has started
	AutoAnswer  AutoAnswer    // calls to the place
	NoAnswer    time.Duration // a call of the join key is given up after it, one to the room refused
}

// Keys is how the keys behave.
type Keys struct {
	Debounce    time.Duration // a level counts when it has lasted so long
	DoublePress time.Duration // two presses of one key within it are one
	ResetHold   time.Duration // how long the reset key is held
	Stuck       time.Duration // a key that is down so long is reported as stuck
	Chatter     int           // edges per second from which a key is reported as chattering
}

// Listen is where the box can be reached. Broker and HTTP have addresses of their own.
type Listen struct {
	LAN    bool     // SIP and RTP beyond loopback
	SIPUDP []string // host:port
	SIPTCP []string // host:port
	SIPTLS []string // host:port
	RTP    string   // IP address of the RTP sockets
}

// SRTP is the policy for encrypted sound.
type SRTP string

// The values of SRTP.
const (
	SRTPDisable SRTP = "disable" // never offered, refused
	SRTPAllow   SRTP = "allow"   // over TLS, where both sides can
	SRTPRequire SRTP = "require" // a call without it is refused
)

// SIP is the agent, its phones and its ways out.
type SIP struct {
	Advertise        string // host or address put into Via, Contact and SDP; empty is the one a packet leaves from
	Realm            string // of the digest
	Users            []User
	TrustLoopback    bool // no digest from loopback
	MaxCallsPerUser  int  // calls at one time per caller
	SessionExpires   time.Duration
	SRTP             SRTP
	AllowRefer       bool
	Codecs           []string // "opus", "g722", "pcmu", "pcma", the preferred one first
	TLS              TLS
	Upstreams        []Upstream
	Routes           []Route
	RegisterExpires  time.Duration // longest registration given to a phone
	MaxRegistrations int           // contacts over all users
}

// User is a phone or person that may register and call. Exactly one of Password and HA1 is set.
type User struct {
	Name     string
	Password Secret
	HA1      Secret // hex MD5 of name:realm:password
}

// Upstream is a PBX or provider that the box registers with.
type Upstream struct {
	Name      string
	Registrar string // SIP URI or host[:port]
	User      string
	Password  Secret
	Proxy     string // outbound proxy, SIP URI or host[:port]; empty is the registrar
	Transport string // "udp", "tcp", "tls"
	Expires   time.Duration
}

// Route says where numbers outside the box go.
type Route struct {
	Prefix   string   // numbers that begin so
	Strip    int      // digits taken off the front
	Prepend  string   // put in front after that
	Gateways []string // names of upstreams or SIP URIs, tried in order
	Identity string   // user part of From; empty is the caller's own
}

// Opus is how Opus is encoded.
type Opus struct {
	Bitrate    int // bit/s
	Complexity int // 0…10
}

// RTP is the ports and the patience of the media.
type RTP struct {
	First        int           // first port, even
	Last         int           // last port, odd
	Rest         time.Duration // a port is not used again for so long after a call
	JitterTarget time.Duration // sound kept in the jitter buffer
	AlertAfter   time.Duration // without a packet: alert
	HangupAfter  time.Duration // without a packet: BYE
}

// BrokerEmbedded is the value of MQTT.Broker that starts the broker inside the box.
const BrokerEmbedded = "embedded"

// MQTT is the broker, and the way to it.
type MQTT struct {
	Broker   string // BrokerEmbedded, or an mqtt:// or mqtts:// URL
	User     string
	Password Secret
	CA       string // file
	Cert     string // file, client certificate
	Key      string // file
	Listen   string // host:port of the embedded broker
	TLS      TLS    // of the embedded broker
	Users    []Account
	ACL      string // file, access rules of the embedded broker in mosquitto's form; empty is none
}

// HTTP is health and metrics.
type HTTP struct {
	Listen string // host:port; empty is off
	TLS    TLS
	Users  []Account
}

// Provision is how the box comes by an enterprise and by settings from outside.
type Provision struct {
	BootFile string   // beside the image, for one box or a fleet: whom to trust, and a claim to enrol with
	DHCPFile string   // what the DHCP client has learnt
	Enrol    bool     // ask to be enrolled while it is not
	Keys     []string // public keys of operators, base64
}

// Watchdog is what becomes of a box that does not go on.
type Watchdog struct {
	Device string // of the machine's watchdog: "auto" is the board's, "off" none
}

// Update is how firmware is replaced.
type Update struct {
	Slots   string        // folder with the slots as files; empty: those of the machine
	Confirm time.Duration // in which new firmware must prove healthy
	Keys    []string      // public keys of who makes firmware, base64
}

// TLS names the files of a listener.
type TLS struct {
	Cert, Key string // PEM files
	CA        string // PEM file: clients must show a certificate that it signed
}

// Given tells whether a certificate was named.
func (t TLS) Given() bool { return t.Cert != "" }

// Account is a name and a password.
type Account struct {
	Name     string
	Password Secret
}

// Conference is a standing conference.
type Conference struct {
	Number string
	Name   string
	Max    int // members
}

// Meetings is about conferences that are made by API.
type Meetings struct {
	TimeZone string        // "Local", "UTC", "+08:00" or an IANA name: Zone reads it
	Lobby    time.Duration // the lobby opens so long before the start
	Warning  time.Duration // and people are told so long before the end; 0: not
	HostGone string        // "wait" or "heir", in the words of conference.HostRule
	Language string        // of prompts: "en" or "zh"
	Greet    bool          // a tone when somebody joins or leaves
	Keep     int           // days that messages and files are kept after the end
	Files    int           // MB that the files of one conference may have
	AllFiles int           // MB that those of all may have
}

// Zone is the time zone of the settings.
func (m Meetings) Zone() *time.Location {
	z, err := parseZone(m.TimeZone)
	if err != nil {
		return time.Local // Load has refused all others
	}
	return z
}

// Recording is about recordings of conferences.
type Recording struct {
	Auto    bool // every conference made by API, from its start
	Bitrate int  // bit/s
	Quota   int  // of all together, 10⁶ bytes
	Keep    int  // days
	Tracks  bool // one of each speaker beside the whole
	Reserve int  // free space below which nothing is recorded, 10⁶ bytes
}

// Log is what is logged and how.
type Log struct {
	Level  string // "debug", "info", "warn", "error"
	Format string // "text", "json"
}

// Load reads the file at path; an empty path gives the defaults. env (os.Getenv in the program) answers the `_env` keys
// and XDG_STATE_HOME, and may be nil. The error is an Errors, or says why the file could not be read.
func Load(path string, env func(string) string) (Config, error) {
	if path == "" {
		return Parse("", nil, env)
	}
	l, err := ReadLayer(path)
	if err != nil {
		return Config{}, err
	}
	return ParseLayers(Sources{Env: env}, l)
}

// Default is the configuration of a box without a settings file.
func Default() Config {
	c, err := Parse("", nil, os.Getenv)
	if err != nil { // a test holds that the defaults pass their own checks
		panic(err)
	}
	return c
}

// Parse is Load on bytes. name stands in errors, and relative names in `_file` keys are taken from its folder.
func Parse(name string, data []byte, env func(string) string) (Config, error) {
	return ParseLayers(Sources{Env: env}, NewLayer(name, data))
}

// Warnings are things that are allowed and probably not meant, one sentence each.
func (c Config) Warnings() []string { return c.warnings }

// ErrTooLarge is a file beyond its bound.
var ErrTooLarge = errors.New("file is too large")

// ErrNotAFile is a path that is no regular file.
var ErrNotAFile = errors.New("not a regular file")

// readBounded reads a regular file of at most limit bytes: a FIFO or device would make the start hang.
func readBounded(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", path, ErrNotAFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: %w: more than %d bytes", path, ErrTooLarge, limit)
	}
	return data, nil
}
