package main

import (
	"fmt"
	"slices"
	"testing"

	"parley/conference"
	"parley/mixer"
)

// spokenTo gives a hall prompts, which are never done with speaking, since nobody decodes them.
func spokenTo(t *testing.T) *hall {
	t.Helper()
	h := newHall(t)
	p, err := newPrompts(h.house, "")
	if err != nil {
		t.Fatal(err)
	}
	h.house.prompts = p
	h.house.doors = append(h.house.doors, p)
	return h
}

// told lists whom a voice speaks to, and whether it is the hall's.
func (h *hall) told() (all []string, each []string) {
	h.house.settle()
	matrix := mixer.Hearing{}
	h.house.prompts.hear(matrix)
	for _, v := range h.house.prompts.speaking {
		for _, l := range v.to {
			switch hears := slices.Contains(matrix[l.port], v.port); {
			case v.shared && hears:
				all = append(all, l.member)
			case hears:
				each = append(each, l.member)
			}
		}
	}
	slices.Sort(all)
	slices.Sort(each)
	return all, each
}

// What all in the hall are told is spoken once; in a private room, and while something is said to him alone, each hears a voice of his own.
func TestOneVoiceForTheHall(t *testing.T) {
	h := spokenTo(t)
	h.do(conference.Command{Do: conference.OpenRoom, IDs: []string{"m1", "m2"}, Room: "aside"})
	if all, each := h.told(); len(all) != 0 || !slices.Equal(each, []string{"m1", "m2"}) {
		t.Errorf("a private room is told to all in the hall %v, and one by one to %v", all, each)
	}
	h.do(conference.Command{Do: conference.Mute, ID: "m3", Reason: conference.Host})
	h.do(conference.Command{Do: conference.Record})
	all, each := h.told()
	if !slices.Equal(all, []string{"m0", "m4"}) || !slices.Equal(each, []string{"m1", "m2", "m3"}) {
		t.Errorf("the recording is told to all in the hall %v, and one by one to %v", all, each)
	}
	h.do(conference.Command{Do: conference.CloseHouse})
	if all, each := h.told(); !slices.Equal(all, []string{"m0", "m4"}) || len(each) != 3 {
		t.Errorf("the house's microphones are told to all in the hall %v, and one by one to %v", all, each)
	}
	for _, v := range h.house.prompts.speaking {
		if n := len(v.to); v.shared && n != 2 {
			t.Errorf("the hall's voice speaks to %d", n)
		}
	}

	h.drop(0, 3)
	if all, each := h.told(); !slices.Equal(all, []string{"m4"}) || !slices.Equal(each, []string{"m1", "m2"}) {
		t.Errorf("after two have left, all in the hall are %v, and one by one %v", all, each)
	}
	h.drop(1, 2, 4)
	h.house.end(h.conf, "over")
	if n := len(h.house.prompts.speaking); n != 0 {
		t.Errorf("%d voices speak after the end", n)
	}
}

// Listeners who share a list, and with it an encoder, go on doing so with a prompt on top.
func TestListenersWithAPromptShareAList(t *testing.T) {
	shared, own := []mixer.PortID{7, 8}, []mixer.PortID{7}
	matrix := mixer.Hearing{1: shared, 2: shared, 3: own, 6: shared}
	overlay(matrix, 99, []*leg{{port: 1}, {port: 2}, {port: 3}, {port: 4}, {port: 5}, {}})
	want := mixer.Hearing{1: {7, 8, 99}, 2: {7, 8, 99}, 3: {7, 99}, 4: {99}, 5: {99}, 6: {7, 8}}
	for port, list := range want {
		if !slices.Equal(matrix[port], list) {
			t.Errorf("%d hears %v, want %v", port, matrix[port], list)
		}
	}
	if len(matrix) != len(want) || &matrix[1][0] != &matrix[2][0] || &matrix[4][0] != &matrix[5][0] || len(shared) != 2 {
		t.Errorf("lists are not shared: %v", matrix)
	}
}

// C-22: of those who come and go there is a tone, in a conference that is not too large, if there is anybody to hear it.
func TestGreeting(t *testing.T) {
	h := spokenTo(t)
	p := h.house.prompts
	h.house.tapes = newTapes(h.house, t.TempDir())
	heard := func() int { h.house.settle(); n := len(h.house.tapes.chimes); h.house.tapes.chimes = nil; return n }
	add := func(id string, s conference.State) {
		t.Helper()
		if err := h.house.do(h.conf, conference.Command{Do: conference.Add, Member: conference.Member{ID: id, Number: id, State: s}}); err != nil {
			t.Fatal(err)
		}
	}
	heard()
	add("rings", conference.Alerting)
	if n := heard(); n != 0 {
		t.Errorf("%d tones for who only rings", n)
	}
	h.do(conference.Command{Do: conference.Mute, ID: "m1", Reason: conference.Host})
	if n := heard(); n != 0 {
		t.Errorf("%d tones for who is muted", n)
	}
	if err := h.house.do(h.conf, conference.Command{Do: conference.Move, ID: "rings", State: conference.Connected}); err != nil {
		t.Fatal(err)
	}
	if n := heard(); n != 1 {
		t.Errorf("%d tones for who comes", n)
	}
	add("a", conference.Connected)
	add("b", conference.Connected)
	if n := heard(); n != 1 {
		t.Errorf("%d tones for two who come at once", n)
	}
	if err := h.house.do(h.conf, conference.Command{Do: conference.Remove, ID: "a"}); err != nil {
		t.Fatal(err)
	}
	if n := heard(); n != 1 {
		t.Errorf("%d tones for who leaves", n)
	}
	for len(p.present[h.conf]) < greetMost-1 {
		add(fmt.Sprint("guest ", len(p.present[h.conf])), conference.Connected)
	}
	heard()
	add("one too many", conference.Connected)
	if n := heard(); n != 0 {
		t.Errorf("%d tones in a conference of %d", n, greetMost)
	}
	h.house.cfg.Meetings.Greet = false
	if err := h.house.do(h.conf, conference.Command{Do: conference.Remove, ID: "b"}); err != nil {
		t.Fatal(err)
	}
	if n := heard(); n != 0 {
		t.Errorf("%d tones although none are wanted", n)
	}
}
