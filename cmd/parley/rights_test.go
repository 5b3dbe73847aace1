package main

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"parley/conference"
	"parley/conference/create"
)

// The holder of a token acts on the line that is certainly his, not on that of a stranger who says that the number is his.
func TestNobodyActsOnAStrangersLine(t *testing.T) {
	h := newHall(t)
	h.house.phone = &lodging{}
	if err := h.house.do(h.conf, conference.Command{Do: conference.Add, Member: conference.Member{ID: "stranger", Number: "3001", State: conference.Connected, Room: conference.Lobby}}); err != nil {
		t.Fatal(err)
	}
	h.do(conference.Command{Do: conference.Invite, Member: conference.Member{ID: "line", Number: "3002:3001"}})
	actor := func(name string) string { return h.conf.actor(conference.Actor{Name: name}).Member }
	if got := actor("3001"); got != "line" {
		t.Errorf("3001 is %q", got)
	}
	if got := actor("2003"); got != "m2" {
		t.Errorf("2003 is %q", got)
	}
	if got := actor("9"); got != "" {
		t.Errorf("9 is %q", got)
	}
}

// One person makes the box place one call at a time, and the room ring once.
func TestATransferAtATime(t *testing.T) {
	h := newHall(t)
	l := &leg{id: "new", roams: true}
	h.house.seat(h.conf, l, "m1")
	if _, err := h.house.roam(h.conf, "m1", "207"); !errors.Is(err, errRoams) {
		t.Error(err)
	}
	for range 3 {
		h.house.place.invited(h.conf, "m0")
	}
	if n := len(h.house.place.asked); n != 1 {
		t.Errorf("the room rings for %d", n)
	}
}

// The room that leaves while its member goes to a telephone is not put out of the next conference for that.
func TestTheRoomsNextConferenceIsItsOwn(t *testing.T) {
	h := newHall(t)
	p := h.house.place
	if err := p.enter(h.conf); err != nil {
		t.Fatal(err)
	}
	p.leg.gone = h.at.Add(firstSound)
	p.rest("left by key")
	if err := p.enter(h.conf); err != nil {
		t.Fatal(err)
	}
	h.at = h.at.Add(time.Minute)
	h.house.faded()
	if p.leg.meeting != h.conf {
		t.Error("the room is out")
	}
}

// However many conferences a host's token asks for, the box has memory for them.
func TestConferencesAreBounded(t *testing.T) {
	l := lodge(t, t.TempDir(), noon, nil)
	for i := range maxMade + 1 {
		_, err := l.create(create.Request{ID: fmt.Sprint(i), Kind: conference.Appointment, Creator: "2001", Start: noon.Add(time.Hour),
			End: noon.Add(2 * time.Hour), Max: 9}, conference.Actor{Name: "2001"}, nil)
		var field *create.FieldError
		if full := errors.As(err, &field) && field.Code == create.NoneFree; full != (i == maxMade) {
			t.Fatal(i, err)
		}
	}
}

// A telephone's REFER is no way past the passwords, and none for a stranger to have the box call somebody.
func TestWhoMayHaveOthersCalled(t *testing.T) {
	h := newHall(t)
	for id, m := range map[string]conference.Member{"host": {Role: conference.Chair}, "stranger": {Room: conference.Lobby}} {
		m.ID, m.State = id, conference.Connected
		if err := h.house.do(h.conf, conference.Command{Do: conference.Add, Member: m}); err != nil {
			t.Fatal(err)
		}
	}
	for _, secret := range []bool{false, true} {
		if secret {
			h.conf.user = create.Hash("115577")
		}
		for id, want := range map[string]bool{"host": true, "stranger": false, "m1": !secret, "nobody": false} {
			if got := h.conf.mayAdd(id); got != want {
				t.Errorf("%s, with passwords %v: %v", id, secret, got)
			}
		}
	}
}
