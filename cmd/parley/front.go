package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sort"
	"strings"
	"time"

	"parley/audio/card"
	"parley/board"
	"parley/cmd/parley/view"
	"parley/conference"
	"parley/hal"
	"parley/hal/gpio"
)

// front is what the person at the machine sees: the live view on board desk, lines of text elsewhere.
type front struct {
	view *view.View // nil unless keys and lamps are on the terminal
	out  io.Writer
	box  *box
}

// options are the flags of `parley run`.
type options struct {
	plain bool // lines of text even on a terminal
	keys  bool // keys from standard input even if it is no terminal

	layers *layers // where the settings come from; nil: from nowhere else
}

func newFront(b *box, o options, quit func(), out io.Writer) *front {
	f := &front{box: b, out: out}
	if b.board.Terminal {
		f.view = view.New(view.Config{
			In: os.Stdin, Out: os.Stdout, Snapshot: f.snapshot, Quit: quit, Debounce: b.cfg.Keys.Debounce,
			Pipe: o.keys, Plain: o.plain, NoColour: os.Getenv("NO_COLOR") != "",
		})
		f.out = f.view
	}
	return f
}

// logs is where log lines go.
func (f *front) logs() io.Writer {
	if f.view != nil {
		return f.view
	}
	return os.Stderr
}

// wires are the keys and lamps of the board. release gives them back, after everything has stopped.
func (b *box) wires(f *front) (keys hal.Keys, lamps hal.Lamps, release func(), err error) {
	if b.board.Terminal {
		return f.view, f.view, func() {}, nil
	}
	conf := gpio.Config{Chip: b.board.Chip, Fault: b.onLine}
	for _, k := range b.board.Keys {
		key, err := hal.KeyByName(k.Key)
		if err != nil {
			return nil, nil, nil, err
		}
		pull := map[board.Pull]gpio.Pull{board.PullNone: gpio.PullNone, board.PullUp: gpio.PullUp, board.PullDown: gpio.PullDown}[k.Pull]
		conf.Keys = append(conf.Keys, gpio.KeyLine{Key: key, Line: k.Line, ActiveLow: k.ActiveLow, Pull: pull})
	}
	for _, l := range b.board.Lamps {
		lamp, err := hal.LampByName(l.Lamp)
		if err != nil {
			return nil, nil, nil, err
		}
		conf.Lamps = append(conf.Lamps, gpio.LampLine{Lamp: lamp, Line: l.Line, ActiveLow: l.ActiveLow})
	}
	pins, err := gpio.Open(conf)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("setting `board`: %s: %w", b.board.Name, err)
	}
	return pins, pins, pins.Close, nil
}

// onLine is told when the line of a key is lost, and when it is back.
func (b *box) onLine(k hal.Key, err error) {
	b.house.post(func() {
		b.house.fault("gpio-"+k.String(), err != nil, fmt.Sprintf("the %s key is not heard: %v", k, err))
	})
}

// ready tells where the box can be reached.
func (f *front) ready() {
	fmt.Fprintf(f.out, "parley is ready after %d ms\n", time.Since(f.box.began).Milliseconds())
	for _, a := range f.addresses() {
		fmt.Fprintf(f.out, "  %-5s %s\n", a.Name, a.Value)
	}
	if f.view != nil && !f.view.Live() {
		fmt.Fprintln(f.out, "  keys  m mute, j join or leave, + - volume, q quit (on a terminal, or with -keys)")
	}
	if f.box.files {
		fmt.Fprintln(f.out, "  no sound card is used: the microphone is a file, and what the speaker plays is recorded")
	} else if f.box.cfg.Card.Ducking {
		fmt.Fprintln(f.out, "  half duplex: the microphone is turned down while the speaker is loud (card.ducking)")
	}
	if f.box.mic.Closed() {
		fmt.Fprintln(f.out, "  the place is muted: the mute key opens the microphone")
	}
	if f.box.cfg.Place.JoinAtStart {
		fmt.Fprintf(f.out, "  the place joins %s now (place.join_at_start)\n", f.box.cfg.Place.Join)
	}
}

func (f *front) addresses() []view.Address {
	var sip []string
	for _, l := range f.box.agent.Addrs() {
		sip = append(sip, strings.ToUpper(l.Network)+" "+l.Addr)
	}
	list := []view.Address{{Name: "SIP", Value: strings.Join(sip, ", ")}}
	if f.box.broker != nil {
		list = append(list, view.Address{Name: "MQTT", Value: f.box.broker.Addr().String() + " (embedded)"})
	} else {
		list = append(list, view.Address{Name: "MQTT", Value: f.box.cfg.MQTT.Broker})
	}
	if f.box.web != nil {
		list = append(list, view.Address{Name: "HTTP", Value: f.box.web.URL()})
	}
	rtp := fmt.Sprintf("%d-%d", f.box.cfg.RTP.First, f.box.cfg.RTP.Last)
	return append(list, view.Address{Name: "RTP", Value: rtp}, view.Address{Name: "data", Value: f.box.cfg.Data})
}

func (f *front) happened(r *meeting, e conference.Event) {
	level := slog.LevelInfo
	if e.What == conference.Talking || e.What == conference.Resting {
		level = slog.LevelDebug
	}
	attrs := []slog.Attr{slog.String("member", e.Member.ID), slog.String("number", e.Member.Number)}
	if r.Number() != "" {
		attrs = append(attrs, slog.String("conference", r.Number()))
	}
	if e.What == conference.Joined || e.What == conference.Changed {
		attrs = append(attrs, slog.String("state", string(e.Member.State)))
	}
	if e.Reason != "" {
		attrs = append(attrs, slog.String("reason", string(e.Reason)))
	}
	if e.Why != "" {
		attrs = append(attrs, slog.String("why", e.Why))
	}
	f.box.log.LogAttrs(context.Background(), level, string(e.What), attrs...)
}

func (f *front) opened(*meeting)   {}
func (f *front) ended(*meeting)    {}
func (f *front) placed(placeState) {}

// snapshot is what the view shows now.
func (f *front) snapshot() view.Snapshot {
	b := f.box
	s := view.Snapshot{
		Box: b.cfg.Box, Now: time.Now(), Uptime: time.Since(b.began), State: "ready",
		Volume: b.card.Volume(), Card: cardText(b.card.Status()), Addresses: f.addresses(),
	}
	b.house.ask(func() { f.fill(&s) })
	return s
}

func cardText(s card.Status) string {
	text := s.Name
	if text == "" {
		text = s.Device
	}
	if s.State != card.Open {
		text += ", " + s.State.String()
	}
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	return text
}

// fill adds what belongs to the house; it runs on the house's goroutine.
func (f *front) fill(s *view.Snapshot) {
	h, p := f.box.house, f.box.house.place.state()
	s.Muted, s.Reason, s.Call = p.Muted, p.Reasons, callText(h.place, p)
	for id, what := range h.faults {
		s.Alerts = append(s.Alerts, id+": "+what.text)
		s.State = "alert"
	}
	sort.Strings(s.Alerts)
	if sound, ok := h.mixer.State(placePort); ok {
		s.Microphone = view.Measured(sound.RMS)
	}
	s.Speaker = view.Measured(f.box.speaker.dBFS())
	s.Status = f.box.lamps.shown().String()
	for _, r := range h.meetings {
		snapshot := r.Snapshot()
		shown := view.Conference{Number: snapshot.Number, Name: snapshot.Theme}
		for _, m := range snapshot.Members {
			shown.Members = append(shown.Members, f.member(r.leg(m.ID), m))
		}
		s.Conferences = append(s.Conferences, shown)
	}
}

func callText(p *place, s placeState) string {
	switch {
	case len(s.Rings) > 0:
		return "ringing: " + s.Rings[0].name()
	case s.Calling:
		return "calling " + p.out.call.Number()
	case s.Meeting == nil && s.Result != "":
		return "last call: " + s.Result
	case s.Meeting == nil:
		return ""
	case s.Meeting.Number() != "":
		return "in " + s.Meeting.Number()
	}
	return "in a call"
}

func (f *front) member(l *leg, m conference.Member) view.Member {
	v := view.Member{Name: m.Name, Number: m.Number, State: string(m.State), Talking: m.Talks, Mute: m.Mute.Names()}
	if l == nil {
		return v // is expected, or has left
	}
	if sound, ok := f.box.mixer.State(l.port); ok {
		v.Level = view.Measured(sound.RMS)
	}
	if l.call == nil {
		return v
	}
	info := l.call.Info()
	v.Codec, v.Transport, v.SRTP = info.Format.Codec, info.Transport, info.SRTP
	media := l.call.Leg()
	if media == nil {
		return v
	}
	q := media.Stats()
	if q.HasDelay {
		v.Delay = view.Measured(milliseconds(q.Delay))
	}
	if q.HasJitter {
		v.Jitter = view.Measured(milliseconds(q.Jitter))
	}
	if q.HasRTT {
		v.RTT = view.Measured(milliseconds(q.RTT))
	}
	if q.Expected > 0 {
		v.Loss = view.Measured(100 * max(0, float64(q.Lost)) / float64(q.Expected))
	}
	return v
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// onCard is told how the sound card is.
func (b *box) onCard(s card.Status) {
	gone := s.State == card.Absent || s.State == card.Lost || s.State == card.Stalled || s.State == card.Open && s.Reason != ""
	b.house.post(func() { b.house.fault("card", gone, cardText(s)) })
}
