package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"parley/conference"
	"parley/mqtt/wire"
	"parley/web"
)

// A support bundle is what somebody far away needs to know of a box that does not do as it should: one text, compressed, made
// of sections. Asked for by a signed command it comes by MQTT, by HTTP it is the answer, and `parley support` beside the box writes
// it to a file, with less in it if the box does not run.
//
// No secret is in it: settings print as they print everywhere, of the data folder there are names and sizes only, and what the log
// should happen to hold of the settings' secrets is taken out.

// maxBundle is the longest bundle, compressed: it is one message. The log is what gives way.
const maxBundle = wire.MaxPayload

// errBusy: one bundle at a time.
var errBusy = fmt.Errorf("%w: another bundle is being made", web.ErrUnavailable)

// section is one part of a bundle.
type section struct {
	title string
	write func(w io.Writer)
}

// patience is how long a section may take: a box of which a part is stuck is one that support is to hear of.
const patience = 3 * time.Second

// text is what a section has to say, with its title.
func (s *section) text() []byte {
	said := make(chan []byte, 1)
	go func() {
		var b bytes.Buffer
		s.write(&b)
		said <- b.Bytes()
	}()
	head := fmt.Appendf(nil, "\n=== %s ===\n", s.title)
	select {
	case text := <-said:
		return append(head, text...)
	case <-time.After(patience):
		return fmt.Appendf(head, "whoever knows does not answer\n")
	}
}

// pack makes a bundle of sections and the log, of which as much stands in it as there is room for.
func pack(sections []section, log func(most int) []byte) ([]byte, error) {
	var facts []byte
	for _, s := range sections {
		facts = append(facts, s.text()...)
	}
	for most := ringSize; ; {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		z.Write(facts)
		io.WriteString(z, "\n=== log ===\n")
		z.Write(log(most))
		if err := z.Close(); err != nil {
			return nil, err
		}
		if out.Len() <= maxBundle {
			return out.Bytes(), nil
		}
		if most < 1<<10 {
			return nil, fmt.Errorf("%d bytes, and %d are allowed", out.Len(), maxBundle)
		}
		most = most * maxBundle / out.Len() * 3 / 4 // what is left should fit, and if not, what is left of that
	}
}

// support makes bundles of a box that runs.
type support struct {
	box    *box
	wanted chan func(bundle []byte, err error)
	making sync.Mutex
}

func newSupport(b *box) *support {
	return &support{box: b, wanted: make(chan func([]byte, error), 1)}
}

// Run makes what was asked for by order, until ctx ends.
func (s *support) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case done := <-s.wanted:
			done(s.bundle())
		}
	}
}

// order asks for a bundle; done is called by another goroutine.
func (s *support) order(done func(bundle []byte, err error)) error {
	select {
	case s.wanted <- done:
		return nil
	default:
		return errBusy
	}
}

// bundle makes one.
func (s *support) bundle() ([]byte, error) {
	if !s.making.TryLock() {
		return nil, errBusy
	}
	defer s.making.Unlock()
	b := s.box
	hide := hider(b.cfg)
	sections := append([]section{
		{"box", b.aboutBox},
		{"alerts", b.aboutAlerts},
		{"health", b.aboutHealth},
		{"settings", func(w io.Writer) { io.WriteString(w, b.cfg.String()) }},
		{"settings and firmware from outside", b.aboutFleet},
		{"conferences and calls", b.aboutCalls},
		{"metrics", func(w io.Writer) { b.figures.WritePrometheus(w) }},
	}, aboutFolder(b.data.dir, hide)...)
	return pack(append(sections, aboutMachine()...), func(most int) []byte {
		return []byte(hide.Replace(string(b.lines.last(most))))
	})
}

// orderSupport publishes a bundle, and then says so.
func orderSupport(h *house, _ wire.Verdict, s settle) {
	if err := h.support(s); err != nil {
		s.rejected(wire.ReasonBusy, err.Error())
	}
}

// publishSupport has a bundle made and published; the command is answered when it is on its way.
func (b *box) publishSupport(answer settle) error {
	return b.support.order(func(bundle []byte, err error) {
		if err == nil {
			err = b.client.Publish(b.topics.box.Support(), bundle, 1, false)
		}
		b.house.post(func() {
			if err != nil {
				answer.failed(err)
				return
			}
			answer(wire.Answer{Status: wire.Done, Detail: fmt.Sprintf("%d bytes on %s", len(bundle), b.topics.box.Support())})
		})
	})
}

func (b *box) aboutBox(w io.Writer) {
	now := time.Now()
	fmt.Fprintf(w, "box %s, enterprise %s, board %s\nfirmware %s\nnow %s, clock believed: %v\nsession %d, began %s, up %s\n",
		b.cfg.Box, b.cfg.EID, b.board.Name, firmware(), now.Format(time.RFC3339), b.clock.believed(), b.session, b.began.Format(time.RFC3339),
		now.Sub(b.began).Round(time.Second))
	fmt.Fprintf(w, "card: %s\n", cardText(b.card.Status()))
	m := b.client.Stats()
	fmt.Fprintf(w, "mqtt: connected %v, waiting %d\n", m.Connected, m.Queued)
	for _, l := range b.agent.Addrs() {
		fmt.Fprintf(w, "listens: sip %s %s\n", l.Network, l.Addr)
	}
	for _, r := range b.agent.Registrations() {
		fmt.Fprintf(w, "upstream %s: registered %v\n", r.Name, r.Registered)
	}
}

func (b *box) aboutAlerts(w io.Writer) {
	var lines []string
	b.house.ask(func() {
		for id, f := range b.house.faults {
			lines = append(lines, fmt.Sprintf("%s since %s: %s\n", id, f.since.UTC().Format(time.RFC3339), f.text))
		}
	})
	slices.Sort(lines)
	io.WriteString(w, strings.Join(lines, ""))
}

func (b *box) aboutHealth(w io.Writer) {
	for _, c := range append(b.liveChecks(), b.readyChecks()...) {
		state := "ok"
		if err := c.Probe(); err != nil {
			state = err.Error()
		}
		fmt.Fprintf(w, "%s: %s\n", c.Name, state)
	}
}

// aboutCalls tells how many are where, and how each call sounds; not who they are.
func (b *box) aboutCalls(w io.Writer) {
	var text strings.Builder
	b.house.ask(func() {
		h := b.house
		p := h.place.state()
		fmt.Fprintf(&text, "the place: muted %v, calling %v, rings %d\n", p.Muted, p.Calling, len(p.Rings))
		for _, r := range h.meetings {
			count := map[conference.State]int{}
			for _, m := range r.Snapshot().Members {
				count[m.State]++
			}
			fmt.Fprintf(&text, "conference %s, uid %s, %s, %s: members %v, legs %d\n", r.Number(), r.UID(), r.kind, r.Phase(), count, len(r.legs))
		}
		for c, l := range h.legs {
			info := c.Info()
			fmt.Fprintf(&text, "call %s: %s over %s, srtp %v", l.id, info.Format.Codec, info.Transport, info.SRTP)
			if media := c.Leg(); media != nil {
				fmt.Fprintf(&text, ", %+v", media.Stats())
			}
			text.WriteByte('\n')
		}
	})
	io.WriteString(w, text.String())
}
