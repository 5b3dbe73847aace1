package view

import "time"

// Snapshot is everything that the view shows. Texts may come from anywhere: they are made harmless when they are drawn.
type Snapshot struct {
	Box    string // the box's name
	State  string // "ready", "alert", …
	Alerts []string
	Now    time.Time
	Uptime time.Duration

	Muted  bool     // the gate, as it is
	Reason []string // why
	Call   string   // what the place is doing: "in 1000", "calling 1000", "ringing: Alice", ""
	Status string   // the rung of the ladder that the status lamp shows

	MuteLamp, StatusLamp bool // lit; a View fills them in
	Volume               int  // %
	Card                 string
	Microphone, Speaker  Measure // dBFS

	Conferences []Conference
	Addresses   []Address // where the box can be reached, and its data folder
	Help        bool      // show what the keys do; a View fills it in
	Log         []string  // the latest last; a View fills it in
	NoColour    bool
}

// Conference is one conference and who is in it.
type Conference struct {
	Number, Name string
	Members      []Member
}

// Member is one person, or the place itself.
type Member struct {
	Name, Number string
	State        string // RFC 4575: "connected", "alerting", "on-hold", …
	Codec        string // "opus", …
	Transport    string // "udp", "tcp", "tls"; empty for the place
	SRTP         bool
	Talking      bool
	Mute         []string // reasons

	Level  Measure // of what is heard from the member, dBFS RMS
	Delay  Measure // ms in our buffers
	Jitter Measure // ms
	Loss   Measure // % of the packets to us
	RTT    Measure // ms
}

// Address is a service and where it is.
type Address struct{ Name, Value string }

// Measure is a figure that was measured. The zero value was not, and is shown as a dash.
type Measure struct {
	Value float64
	Known bool
}

// Measured is a figure that was.
func Measured(v float64) Measure { return Measure{v, true} }
