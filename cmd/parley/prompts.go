package main

import (
	"slices"

	"parley/audio"
	"parley/audio/opus"
	"parley/audio/prompt"
	"parley/audio/tone"
	"parley/audio/wav"
	"parley/conference"
	"parley/conference/menu"
	"parley/mixer"
)

// prompts tells members by voice what happens in their conference, and with a tone that somebody comes or goes:
//
//	event → door → menu.Tell for each leg → (settle) a player of the leg's own, or one for the whole hall → a port while it speaks
//
// What all in the hall are told is spoken once, so that those who only listen go on sharing one encoder. It belongs to the house's
// goroutine.
type prompts struct {
	house    *house
	library  *prompt.Library // nil: nothing is spoken
	due      []saying
	halls    map[*meeting]*announcer
	speaking []*announcer
	present  map[*meeting]map[string]bool // who is in the hall or a private room
	greets   map[*meeting]tone.Kind       // that are due
}

// saying is what one leg is to be told.
type saying struct {
	leg    *leg
	phrase menu.Phrase
	shared bool // with everybody in the hall
}

// announcer is a player with the legs that hear it.
type announcer struct {
	player *prompt.Player
	port   mixer.PortID // 0 while it is silent
	to     []*leg
	shared bool
}

// longestPrompt bounds a file that replaces a prompt, samples.
const longestPrompt = 30 * audio.SampleRate

func newPrompts(h *house, folder string) (*prompts, error) {
	p := &prompts{house: h, halls: map[*meeting]*announcer{}, present: map[*meeting]map[string]bool{}, greets: map[*meeting]tone.Kind{}}
	var err error
	p.library, err = prompt.New(prompt.Config{
		Codecs: []audio.Codec{opus.New(opus.Options{})}, Dir: folder, ReadWAV: wav.ReadAll, Log: h.log,
	})
	return p, err
}

// say speaks a phrase to one leg alone.
func (p *prompts) say(l *leg, ph menu.Phrase) {
	if p == nil || len(ph.Names) == 0 || l.port == 0 {
		return
	}
	if l.attendant.voice == nil {
		l.attendant.voice = p.announcer(l)
	}
	if v := l.attendant.voice; v != nil {
		v.player.Tell(prompt.Phrase(ph))
		p.raise(v)
	}
}

func (p *prompts) announcer(to ...*leg) *announcer {
	player, err := p.library.NewPlayer(p.house.cfg.Meetings.Language)
	if err != nil {
		p.house.log.Error("nothing can be spoken", "error", err)
		return nil
	}
	return &announcer{player: player, to: to}
}

// raise brings a voice that has something to say into the mixer.
func (p *prompts) raise(v *announcer) {
	if v.port != 0 {
		return
	}
	p.house.ports++
	v.port = p.house.ports
	p.house.mixer.Add(mixer.Port{ID: v.port, Source: v.player, Ungated: true})
	p.speaking = append(p.speaking, v)
	p.house.moved = true
}

// lower takes it out again.
func (p *prompts) lower(v *announcer) {
	p.house.mixer.Remove(v.port)
	v.port = 0
	if v.shared {
		v.to = nil
	}
	p.speaking = slices.DeleteFunc(p.speaking, func(o *announcer) bool { return o == v })
	p.house.moved = true
}

// look ends the voices that have said everything.
func (p *prompts) look() {
	if p == nil {
		return
	}
	for _, v := range slices.Clone(p.speaking) {
		if v.player.Idle() {
			p.lower(v)
		}
	}
}

// drop is for a leg that leaves its conference: nothing more is said to it.
func (p *prompts) drop(l *leg) {
	if p == nil {
		return
	}
	p.due = slices.DeleteFunc(p.due, func(s saying) bool { return s.leg == l })
	if v := l.attendant.voice; v != nil && v.port != 0 {
		v.player.Stop()
		p.lower(v)
	}
	for _, v := range p.speaking {
		v.to = slices.DeleteFunc(v.to, func(o *leg) bool { return o == l })
	}
	l.attendant = attendant{}
}

// toAll are the events that everybody in a hall is told in the same words.
var toAll = []conference.What{
	conference.RecordStarted, conference.RecordPaused, conference.RecordStopped, conference.Opened, conference.Warned,
	conference.Prolonged, conference.HouseClosed, conference.HouseOpened, conference.MessagesOnly,
}

func (p *prompts) opened(*meeting)   {}
func (p *prompts) placed(placeState) {}

// ended forgets a conference.
func (p *prompts) ended(r *meeting) {
	if v := p.halls[r]; v != nil && v.port != 0 {
		p.lower(v)
	}
	delete(p.halls, r)
	delete(p.present, r)
	delete(p.greets, r)
}

// happened notes what is to be said to whom.
func (p *prompts) happened(r *meeting, e conference.Event) {
	if r.kind == conference.Pair || e.What == conference.Talking || e.What == conference.Resting {
		return
	}
	p.greet(r, e)
	for _, l := range r.legs {
		m, ok := r.Member(l.member)
		if !ok || m.State != conference.Connected || l.port == 0 {
			continue
		}
		if ph, ok := menu.Tell(&e, &m); ok {
			p.due = append(p.due, saying{l, ph, m.Room == conference.Hall && slices.Contains(toAll, e.What)})
			p.house.moved = true
		}
	}
}

// greetMost is in how large a conference who comes and goes is still to be heard.
const greetMost = 20

// greet notes that the hall is to hear that somebody has come, or gone. Of several at once one is heard.
func (p *prompts) greet(r *meeting, e conference.Event) {
	id := e.Member.ID
	if p.present[r] == nil {
		p.present[r] = presentBut(r, id)
	}
	m, ok := r.Member(id)
	is := ok && m.In() && m.Room != conference.Lobby
	was := p.present[r][id]
	if id == "" || is == was {
		return
	}
	kind := tone.Went
	if is {
		p.present[r][id], kind = true, tone.Came
	} else {
		delete(p.present[r], id)
	}
	if p.house.cfg.Meetings.Greet && len(p.present[r]) < greetMost && len(p.present[r]) > 0 {
		p.greets[r] = kind
		p.house.moved = true
	}
}

// presentBut are those in the hall or a private room but one.
func presentBut(r *meeting, but string) map[string]bool {
	list := map[string]bool{}
	for _, m := range r.Snapshot().Members {
		if m.ID != but && m.In() && m.Room != conference.Lobby {
			list[m.ID] = true
		}
	}
	return list
}

// tell speaks what has come up since it was called last.
func (p *prompts) tell() {
	if p == nil {
		return
	}
	for r, kind := range p.greets {
		if p.house.tapes != nil {
			p.house.tapes.chime(r, kind)
		}
	}
	clear(p.greets)
	due := p.due
	p.due = nil
	phrases := map[*leg]int{}
	for _, s := range due {
		phrases[s.leg]++
	}
	told := map[*announcer][]string{} // what the halls have been told just now
	for _, s := range due {
		v := s.leg.attendant.voice
		if !s.shared || phrases[s.leg] > 1 || v != nil && v.port != 0 || !p.hall(s, told) {
			p.say(s.leg, s.phrase)
		}
	}
}

// hall has a leg hear a phrase with others, which is spoken once for all.
func (p *prompts) hall(s saying, told map[*announcer][]string) bool {
	r := s.leg.meeting
	if r == nil {
		return false
	}
	v := p.halls[r]
	if v == nil {
		if v = p.announcer(); v == nil {
			return false
		}
		v.shared = true
		p.halls[r] = v
	}
	if !slices.Contains(v.to, s.leg) {
		v.to = append(v.to, s.leg)
	}
	if !slices.Contains(told[v], s.phrase.Kind) {
		told[v] = append(told[v], s.phrase.Kind)
		v.player.Tell(prompt.Phrase(s.phrase))
	}
	p.raise(v)
	return true
}

// hear adds the voices that speak to what their legs hear. Whom something is said to alone does not hear at the same time what is
// said to all.
func (p *prompts) hear(matrix mixer.Hearing) {
	if p == nil {
		return
	}
	for _, v := range p.speaking {
		to := v.to
		if v.shared {
			to = slices.DeleteFunc(slices.Clone(to), func(l *leg) bool { return l.attendant.voice != nil && l.attendant.voice.port != 0 })
		}
		overlay(matrix, v.port, to)
	}
}

// overlay lets legs hear one port more. Those who have heard the same go on sharing one list, and with it one encoder.
func overlay(matrix mixer.Hearing, port mixer.PortID, to []*leg) {
	with := map[*mixer.PortID][]mixer.PortID{}
	for _, l := range to {
		if l.port == 0 {
			continue
		}
		var first *mixer.PortID
		if heard := matrix[l.port]; len(heard) > 0 {
			first = &heard[0]
		}
		list, ok := with[first]
		if !ok {
			list = append(slices.Clone(matrix[l.port]), port)
			with[first] = list
		}
		matrix[l.port] = list
	}
}
