package conference

import (
	"cmp"
	"fmt"
)

func house(s *Snapshot) *bool    { return &s.House }
func lock(s *Snapshot) *bool     { return &s.Locked }
func messages(s *Snapshot) *bool { return &s.Messages }

// toggle sets one flag of the conference.
func toggle(flag func(*Snapshot) *bool, to bool, what What) func(*step) error {
	return func(s *step) error {
		if f := flag(&s.at); *f != to {
			*f = to
			s.tell(what, nil)
		}
		return nil
	}
}

// handOver makes somebody who is in a host, and who hands over no longer one.
func (s *step) handOver() error {
	m, err := s.member(s.cmd.ID)
	switch {
	case err != nil:
		return err
	case !m.In() || m.Proving:
		return fmt.Errorf("%s: %w", m.ID, ErrAbsent)
	case m.Role == Chair:
		return nil
	}
	s.promote(m)
	s.tell(BecameHost, m)
	if from := s.self(s.cmd.By); from != nil && from != m && from.Role == Chair {
		from.Role = Guest
		s.tell(NoHost, from)
	}
	return nil
}

func (s *step) record() error {
	r := &s.at.Recording
	switch {
	case r.On && !r.Paused:
		return nil
	case r.On:
		r.Paused = false
	default:
		by := string(s.cmd.By.Role)
		if me := s.self(s.cmd.By); me != nil {
			by = me.ID
		}
		*r = Recording{On: true, Since: s.now, By: cmp.Or(s.cmd.By.Name, by)}
	}
	s.tell(RecordStarted, nil)
	return nil
}

func (s *step) pauseRecord() error {
	if !s.at.Recording.Paused {
		s.at.Recording.Paused = true
		s.tell(RecordPaused, nil)
	}
	return nil
}

func (s *step) stopRecord() error {
	s.stopTape()
	return nil
}

func (s *step) stopTape() {
	if s.at.Recording.On {
		s.at.Recording = Recording{}
		s.tell(RecordStopped, nil)
	}
}

func (s *step) note() error {
	if !printable(s.cmd.Text, 64) {
		return fmt.Errorf("%w: a note is 1 to 64 printable characters", ErrInvalid)
	}
	s.tell(Noted, s.self(s.cmd.By)).Text = s.cmd.Text
	return nil
}

func (s *step) toMessages() error {
	if s.at.Mode != ByMessages {
		s.at.Mode = ByMessages
		s.tell(MessagesOnly, nil)
	}
	return nil
}

func (s *step) toVoice() error {
	if s.at.Mode == ByMessages {
		s.at.Mode = ByVoice
		s.tell(VoiceAgain, nil)
	}
	return nil
}
