package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"parley/cmd/parleyctl/fleet"
	"parley/mqtt"
	"parley/mqtt/wire"
)

// server answers boxes that ask to be taken in. Requests wait in a bounded queue, since each answer waits for the disk: a box whose
// request was dropped asks again.
type server struct {
	fleet *fleet.Fleet
	link  *link
	retry time.Duration
	asked chan mqtt.Message
	heard chan string // boxes that said something
	out   io.Writer

	told    map[string]string // box -> what was printed of it last
	waiting map[string]fleet.Waiting
	seen    map[string]time.Time
	news    bool // waiting or seen have changed since they were kept
}

// maxWaiting is how many boxes that are not on the list are remembered.
const maxWaiting = 1000

func provisionServe(ctx context.Context, args []string) error {
	flags := newFlags("serve")
	retry := flags.Duration("retry", time.Minute, "a box that is not on the list asks again after this `time`")
	words, err := arguments(flags, args, "provision serve DIR [flags]", 1, 1)
	if err != nil {
		return err
	}
	if *retry < time.Second || *retry > 24*time.Hour {
		return wrong("--retry is from 1s to 24h")
	}
	f, err := fleet.Open(words[0])
	if err != nil {
		return err
	}
	release, err := f.Serving()
	if err != nil {
		return err
	}
	defer release()
	s := &server{fleet: f, link: newLink(f), retry: *retry, asked: make(chan mqtt.Message, 256), heard: make(chan string, 1024), out: os.Stdout,
		told: map[string]string{}, waiting: map[string]fleet.Waiting{}}
	if s.seen, err = f.Seen(); err != nil {
		return err
	}
	s.link.subs[wire.CSRs] = func(m mqtt.Message) {
		if m.Retained {
			return // a question is for now
		}
		select {
		case s.asked <- m:
		default:
		}
	}
	for _, leaf := range []string{"state", "tele"} {
		s.link.subs["/e/"+f.EID+"/box/+/"+leaf] = s.note
	}
	return s.link.run(ctx, s.serve)
}

// note remembers that a box is there.
func (s *server) note(m mqtt.Message) {
	var state wire.BoxState
	if m.Retained || wire.DecodeKnown(m.Payload, &state) == nil && state.State == wire.Lost {
		return // that is the broker's word
	}
	select {
	case s.heard <- boxOf(m.Topic):
	default:
	}
}

func (s *server) serve(ctx context.Context) error {
	if err := s.link.caughtUp(ctx); err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil
		}
		return err
	}
	fmt.Fprintf(s.out, "answering boxes of %s at %s; ^C ends\n", s.fleet.EID, s.fleet.Broker)
	keep := time.NewTicker(2 * time.Second)
	defer keep.Stop()
	for {
		select {
		case m := <-s.asked:
			if err := s.answer(m, time.Now()); err != nil {
				return err
			}
		case box := <-s.heard:
			s.seen[box], s.news = time.Now().UTC().Truncate(time.Second), true
		case <-keep.C:
			if err := s.keep(); err != nil {
				return err
			}
		case <-ctx.Done():
			return s.keep()
		}
	}
}

func (s *server) keep() error {
	if !s.news {
		return nil
	}
	s.news = false
	return errors.Join(s.fleet.KeepWaiting(s.waiting), s.fleet.KeepSeen(s.seen))
}

func (s *server) answer(m mqtt.Message, now time.Time) error {
	var r wire.EnrolRequest
	topic, err := wire.ParseTopic(m.Topic)
	if err == nil {
		err = wire.Decode(m.Payload, &r)
	}
	if err == nil && r.Box != topic.Box {
		err = fmt.Errorf("it is for %s", r.Box)
	}
	if err != nil {
		s.say(harmless(m.Topic), "a request that cannot be read: "+err.Error())
		return nil
	}
	a, err := s.fleet.Enrol(&r, s.retry, now)
	if err != nil {
		return err
	}
	envelope, err := s.fleet.SignAnswer(a)
	if err != nil {
		return err
	}
	prov, err := wire.NewProv(r.Box)
	if err != nil {
		return err
	}
	s.remember(&r, a, now)
	return s.link.client.Publish(prov.Answer(a.Status), envelope, 1, false)
}

// remember keeps who waits for the operator, and tells him, once.
func (s *server) remember(r *wire.EnrolRequest, a wire.EnrolAnswer, now time.Time) {
	serial := harmless(r.Serial)
	what := fmt.Sprintf("%s: %s, serial number %s", a.Status, harmless(r.Model), serial)
	switch a.Status {
	case wire.EnrolPending:
		what += fmt.Sprintf("; to let it in: parleyctl provision allow %s %s", s.fleet.Dir(), serial)
	case wire.EnrolRejected:
		what += fmt.Sprintf("; %s: %s", a.Reason, a.Detail)
	}
	if a.Status == wire.EnrolAccepted {
		delete(s.waiting, r.Box)
	} else if w, ok := s.waiting[r.Box]; ok || len(s.waiting) < maxWaiting {
		if !ok {
			w.Since = now.UTC().Truncate(time.Second)
		}
		w.Serial, w.Model, w.Reason = serial, harmless(r.Model), a.Reason
		s.waiting[r.Box] = w
	}
	s.news = true
	s.say(r.Box, what)
}

// say prints what is news of a box.
func (s *server) say(box, what string) {
	if s.told[box] == what {
		return
	}
	if len(s.told) >= 10*maxWaiting {
		clear(s.told)
	}
	s.told[box] = what
	fmt.Fprintln(s.out, time.Now().Format("15:04:05"), box, strings.ReplaceAll(what, "\n", " "))
}
