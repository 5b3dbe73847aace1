package main

import (
	"cmp"
	"net/url"
	"strings"
	"sync"

	"parley/conference"
	"parley/sip"
)

// focus tells SIP subscribers how a conference stands (RFC 4575): what it is called, and who is in it. It is a door of the house, and
// asked by the agent on goroutines of its own.
type focus struct {
	host  string // in URIs
	agent *sip.Agent

	mu     sync.Mutex // guards states
	states map[string]*sip.ConferenceState
}

// opened tells how a conference stands now to whoever asked. The agent finds what is new in it.
func (f *focus) opened(r *meeting) {
	s := r.Snapshot()
	if s.Number == "" {
		return
	}
	state := f.state(r, &s)
	f.mu.Lock()
	f.states[s.Number] = state
	f.mu.Unlock()
	f.agent.NotifyConference(s.Number)
}

func (f *focus) state(r *meeting, s *conference.Snapshot) *sip.ConferenceState {
	state := &sip.ConferenceState{Entity: f.uri(s.Number), Subject: s.Theme, Max: s.Max, Locked: s.Locked, Private: r.secret()}
	for i := range s.Members {
		m := &s.Members[i]
		u := sip.ConferenceUser{
			ID: m.ID, Entity: f.uri(cmp.Or(m.Number, "member-"+m.ID)), Name: m.Name, Role: string(m.Role), Status: string(m.State),
			Why: m.Why, Sends: r.Heard(m.ID), Hears: m.Hears(),
		}
		if l := r.leg(m.ID); l != nil && l.call != nil {
			u.Outgoing = l.call.Direction() == sip.Out
		}
		if m.Room == conference.Lobby {
			u.Status = string(conference.Pending)
		}
		state.Users = append(state.Users, u)
	}
	return state
}

// uri is how a number can be called at this box.
func (f *focus) uri(number string) string {
	return "sip:" + strings.ReplaceAll(url.PathEscape(number), "@", "%40") + "@" + f.host
}

// info is what the agent sends of a conference.
func (f *focus) info(number string) (*sip.ConferenceState, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.states[number]
	return s, ok
}

func (f *focus) happened(r *meeting, e conference.Event) {
	if e.What != conference.Talking && e.What != conference.Resting { // nothing of it is in the document
		f.opened(r)
	}
}

// ended takes the conference away: its subscribers are told that there is nothing any more.
func (f *focus) ended(r *meeting) {
	number := r.Number()
	f.mu.Lock()
	delete(f.states, number)
	f.mu.Unlock()
	f.agent.NotifyConference(number)
}

func (f *focus) placed(placeState) {}
