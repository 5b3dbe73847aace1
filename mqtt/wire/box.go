package wire

import (
	"fmt"
	"math"
	"slices"
	"time"
	"unicode/utf8"
)

// StateWord is what a box says of itself.
type StateWord string

// The states of a box.
const (
	Init         StateWord = "init"
	Ready        StateWord = "ready"
	Updating     StateWord = "updating"
	Alerting     StateWord = "alert"
	Disconnected StateWord = "disconnected" // told on a clean exit
	Lost         StateWord = "lost"         // told by the broker, as the box's last will
)

var stateWords = []StateWord{Init, Ready, Updating, Alerting, Disconnected, Lost}

// BoxState is the payload of Box.State.
type BoxState struct {
	State StateWord `json:"state"`
	// Sess grows with every start of the box. A lost with an older one than the newest that was seen is to be ignored.
	Sess uint64 `json:"sess"`
}

// Check tells what is wrong with the values.
func (s *BoxState) Check() error {
	if err := oneOf("state", s.State, stateWords); err != nil {
		return err
	}
	if s.Sess == 0 {
		return invalid("sess", "want a number from 1 on")
	}
	return nil
}

// Supersedes tells whether s is news to somebody who last believed old: a lost of an earlier session, that comes late
// because the broker noticed late, is not.
func (s BoxState) Supersedes(old BoxState) bool { return s.State != Lost || s.Sess >= old.Sess }

// BoxInfo is the payload of Box.Info.
type BoxInfo struct {
	Model     string   `json:"model"`
	Serial    string   `json:"serial"`
	Firmware  string   `json:"firmware"`
	Slot      string   `json:"slot,omitempty"`      // which of the two firmware slots runs
	Addresses []string `json:"addresses,omitempty"` // IP addresses
	Features  []string `json:"features,omitempty"`
	Schemas   []string `json:"schemas,omitempty"` // of the payloads that the box understands
}

// Check tells what is wrong with the values.
func (i *BoxInfo) Check() error {
	return firstOf(text("model", i.Model, 1, 64), text("serial", i.Serial, 0, 64), text("firmware", i.Firmware, 1, 64),
		text("slot", i.Slot, 0, 16), texts("addresses", i.Addresses, 32, 64), texts("features", i.Features, 32, 64),
		texts("schemas", i.Schemas, 32, 64))
}

// KeyPress is the payload of Box.Keys.
type KeyPress struct {
	Key   string    `json:"key"`   // mute, join, volume_up, volume_down, reset
	Event string    `json:"event"` // pressed, released, long, double, stuck, chattering, healed
	At    time.Time `json:"at"`
}

// Check tells what is wrong with the values.
func (k *KeyPress) Check() error {
	return firstOf(oneOf("key", k.Key, []string{"mute", "join", "volume_up", "volume_down", "reset"}),
		oneOf("event", k.Event, []string{"pressed", "released", "long", "double", "stuck", "chattering", "healed"}),
		when("at", k.At))
}

// The words of a gate.
const (
	Open   = "open"
	Closed = "closed"
)

// Gate is the payload of Box.Mute: the microphone's gate as it is, closed for as long as there is a reason.
type Gate struct {
	Gate    string   `json:"gate"` // open, closed
	Reasons []Reason `json:"reasons"`
}

// Reason is one cause for which somebody is not heard, or hears nothing.
type Reason struct {
	Reason string    `json:"reason"` // hardware, self, host, listener, hold, system
	By     string    `json:"by"`     // key, member, host, system, remote
	Name   string    `json:"name,omitempty"`
	Since  time.Time `json:"since"`
}

// Check tells what is wrong with the values.
func (g *Gate) Check() error {
	if err := firstOf(oneOf("gate", g.Gate, []string{Open, Closed}), reasons("reasons", g.Reasons)); err != nil {
		return err
	}
	if (len(g.Reasons) > 0) != (g.Gate == Closed) {
		return invalid("gate", "closed exactly while there is a reason")
	}
	return nil
}

// Calls is the payload of Box.Call: every call of the box.
type Calls struct {
	Calls []Call `json:"calls"`
}

// Call is one call.
type Call struct {
	ID        string    `json:"id"` // what hangup takes
	Direction string    `json:"direction"`
	Number    string    `json:"number"`          // the other end's
	State     string    `json:"state"`           // dialing-out, alerting, connected, on-hold, disconnected
	Place     bool      `json:"place,omitempty"` // the place itself calls or is called
	Conf      string    `json:"conf,omitempty"`  // the conference it is in
	Codec     string    `json:"codec,omitempty"`
	Secure    bool      `json:"secure,omitempty"` // SRTP
	Since     time.Time `json:"since"`            // of State
	Code      int       `json:"code,omitempty"`   // SIP status that ended it
	Why       string    `json:"why,omitempty"`    // why it ended, in plain words
}

// Check tells what is wrong with the values.
func (c *Calls) Check() error {
	if len(c.Calls) > MaxListed {
		return invalid("calls", "%d at most", MaxListed)
	}
	for i, call := range c.Calls {
		at := fmt.Sprintf("calls[%d].", i)
		if err := firstOf(text(at+"id", call.ID, 1, 64), oneOf(at+"direction", call.Direction, []string{"in", "out"}),
			text(at+"number", call.Number, 0, 128), oneOf(at+"state", call.State, memberStates), when(at+"since", call.Since),
			text(at+"conf", call.Conf, 0, maxConfName), text(at+"codec", call.Codec, 0, 32), text(at+"why", call.Why, 0, 256)); err != nil {
			return err
		}
		if call.Code != 0 && (call.Code < 100 || call.Code > 699) {
			return invalid(at+"code", "want a SIP status, 100 to 699")
		}
	}
	return nil
}

// Alert is the payload of Box.Alert while the alert holds.
type Alert struct {
	Sev   string    `json:"sev"` // info, warning, error
	Text  string    `json:"text"`
	Since time.Time `json:"since"`
}

const (
	maxAlert      = 512 // bytes
	maxCallNumber = 48  // bytes; MaxListed calls are to fit into MaxPayload
)

// Check tells what is wrong with the values.
func (a *Alert) Check() error {
	return firstOf(oneOf("sev", a.Sev, []string{"info", "warning", "error"}), text("text", a.Text, 1, maxAlert), when("since", a.Since))
}

// Tele is the payload of Box.Tele. What could not be measured is absent.
type Tele struct {
	At     time.Time `json:"at"`
	UpS    uint64    `json:"up_s"`              // seconds since the start
	CPU    *float64  `json:"cpu,omitempty"`     // of one core, 0 to 1 and above
	MemKiB *uint64   `json:"mem_kib,omitempty"` // resident
	Legs   []LegTele `json:"legs,omitempty"`
}

// LegTele is the quality of one call.
type LegTele struct {
	Call     string   `json:"call"`
	LossPct  *float64 `json:"loss_pct,omitempty"` // of packets, 0 to 100
	JitterMs *float64 `json:"jitter_ms,omitempty"`
	RTTMs    *float64 `json:"rtt_ms,omitempty"`
	DelayMs  *float64 `json:"delay_ms,omitempty"` // of playout
}

// Check tells what is wrong with the values.
func (t *Tele) Check() error {
	if err := firstOf(when("at", t.At), number("cpu", t.CPU, 0, 1024)); err != nil {
		return err
	}
	if len(t.Legs) > MaxListed {
		return invalid("legs", "%d at most", MaxListed)
	}
	for i, l := range t.Legs {
		at := fmt.Sprintf("legs[%d].", i)
		if err := firstOf(text(at+"call", l.Call, 1, 64), number(at+"loss_pct", l.LossPct, 0, 100),
			number(at+"jitter_ms", l.JitterMs, 0, 1e6), number(at+"rtt_ms", l.RTTMs, 0, 1e6),
			number(at+"delay_ms", l.DelayMs, 0, 1e6)); err != nil {
			return err
		}
	}
	return nil
}

// Quietest is the level, in dBFS, that stands for silence.
const Quietest = -127.0

// Levels is the payload of Box.Levels.
type Levels struct {
	At      time.Time `json:"at"`
	Members []Level   `json:"members"`
}

// Level is how loud one member was since the last message, in dBFS from Quietest to 0.
type Level struct {
	ID   string  `json:"id"` // as in the roster
	RMS  float64 `json:"rms"`
	Peak float64 `json:"peak"`
}

// DBFS brings a level into the range and precision (0.1 dB) in which it travels; what is no number is silence.
func DBFS(level float64) float64 {
	if math.IsNaN(level) {
		return Quietest
	}
	return math.Round(min(max(level, Quietest), 0)*10) / 10
}

// Check tells what is wrong with the values.
func (l *Levels) Check() error {
	if err := when("at", l.At); err != nil {
		return err
	}
	if len(l.Members) > MaxListed {
		return invalid("members", "%d at most", MaxListed)
	}
	for i, m := range l.Members {
		at := fmt.Sprintf("members[%d].", i)
		if err := firstOf(text(at+"id", m.ID, 1, 64), number(at+"rms", &m.RMS, Quietest, 0),
			number(at+"peak", &m.Peak, Quietest, 0)); err != nil {
			return err
		}
	}
	return nil
}

// MaxLease is the longest that levels can be asked for at once.
const MaxLease = 60 * time.Second

// Lease is the payload of Box.LevelsLease: levels are told for TTL from its arrival on, and it can be renewed or, with 0,
// given back.
type Lease struct {
	ID  string `json:"id"` // the asker's; a new lease with the same id replaces the old one
	TTL int    `json:"ttl_s"`
}

// Check tells what is wrong with the values.
func (l *Lease) Check() error {
	if err := text("id", l.ID, 1, 64); err != nil {
		return err
	}
	if l.TTL < 0 || l.TTL > int(MaxLease/time.Second) {
		return invalid("ttl_s", "want 0 to %d", int(MaxLease/time.Second))
	}
	return nil
}

// MaxListed is how many calls, legs and members a payload lists at most.
const MaxListed = 256

// What is told is brought into form first: texts that others chose are made printable and cut, lists are never null, and those
// that have no end by themselves are cut.

func (g *Gate) fill()   { g.Reasons = filled(g.Reasons) }
func (a *Alert) fill()  { a.Text = printable(a.Text, maxAlert) }
func (t *Tele) fill()   { t.Legs = t.Legs[:min(len(t.Legs), MaxListed)] }
func (l *Levels) fill() { l.Members = filled(l.Members) }

func (c *Calls) fill() {
	c.Calls = filled(c.Calls)
	for i := range c.Calls {
		c.Calls[i].Number, c.Calls[i].Why = printable(c.Calls[i].Number, maxCallNumber), printable(c.Calls[i].Why, 256)
	}
}

// filled is the list with at most MaxListed entries, and not nil.
func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list[:min(len(list), MaxListed)]
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func oneOf[T ~string](path string, v T, words []T) error {
	if !slices.Contains(words, v) {
		return invalid(path, "want one of %v", words)
	}
	return nil
}

// text takes runes, and none that control: what is read here is shown on terminals and in logs.
func text(path, s string, shortest, longest int) error {
	if len(s) < shortest || len(s) > longest {
		return invalid(path, "want %d to %d bytes", shortest, longest)
	}
	for _, r := range s {
		if r < ' ' || r >= 0x7f && controls(r) {
			return invalid(path, "must not have control characters and marks of direction")
		}
	}
	return nil
}

// controls tells whether a rune from 0x7f on is none to be seen: a control character, what ends a line or a paragraph, or a mark of
// direction, which would turn around what others have written beside it.
func controls(r rune) bool {
	switch {
	case r < 0xa0, r == utf8.RuneError, r == 0x61c, r == 0x200e, r == 0x200f, r == 0xfeff:
		return true
	}
	return r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

func texts(path string, list []string, most, longest int) error {
	if len(list) > most {
		return invalid(path, "%d at most", most)
	}
	for i, s := range list {
		if err := text(fmt.Sprintf("%s[%d]", path, i), s, 1, longest); err != nil {
			return err
		}
	}
	return nil
}

func number(path string, v *float64, least, most float64) error {
	if v != nil && !(*v >= least && *v <= most) { // so that NaN is refused
		return invalid(path, "want %g to %g", least, most)
	}
	return nil
}

func when(path string, t time.Time) error {
	if t.IsZero() {
		return invalid(path, "want a time")
	}
	return nil
}
