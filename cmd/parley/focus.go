package main

import (
	"encoding/xml"
	"sync"

	"parley/conference"
	"parley/sip"
)

// focus tells SIP subscribers how a conference stands (RFC 4575): what it is called and how many are in it. It is a door of
// the house, and asked by the agent on goroutines of its own.
type focus struct {
	host  string // in the conference's URI
	agent *sip.Agent

	mu        sync.Mutex // guards documents and version
	documents map[string][]byte
	version   uint32
}

type conferenceInfo struct {
	XMLName xml.Name `xml:"urn:ietf:params:xml:ns:conference-info conference-info"`
	Entity  string   `xml:"entity,attr"`
	State   string   `xml:"state,attr"`
	Version uint32   `xml:"version,attr"`
	Subject string   `xml:"conference-description>subject,omitempty"`
	Max     int      `xml:"conference-description>maximum-user-count,omitempty"`
	Users   int      `xml:"conference-state>user-count"`
	Active  bool     `xml:"conference-state>active"`
}

// opened makes the document of a conference and tells it to whoever asked.
func (f *focus) opened(r *meeting) {
	s := r.Snapshot()
	if s.Number == "" {
		return
	}
	f.mu.Lock()
	f.version++
	document, err := xml.Marshal(conferenceInfo{
		Entity: "sip:" + s.Number + "@" + f.host, State: "full", Version: f.version, Subject: s.Theme, Max: s.Max,
		Users: connected(s), Active: connected(s) > 0,
	})
	if err == nil {
		f.documents[s.Number] = append([]byte(xml.Header), document...)
	}
	f.mu.Unlock()
	f.agent.NotifyConference(s.Number)
}

func connected(s conference.Snapshot) (n int) {
	for _, m := range s.Members {
		if m.State == conference.Connected || m.State == conference.OnHold {
			n++
		}
	}
	return n
}

// info is what the agent sends.
func (f *focus) info(number string) ([]byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, ok := f.documents[number]
	return d, ok
}

func (f *focus) happened(r *meeting, e conference.Event) {
	if e.What == conference.Joined || e.What == conference.Left || e.What == conference.Changed {
		f.opened(r)
	}
}

func (f *focus) ended(*meeting)    {}
func (f *focus) placed(placeState) {}
