package conference

import "slices"

// Takes says with which arguments a command is asked for. They have the same names at every door: member is Command.ID, members
// IDs; number and name are the Member's, and muted and deaf its marks; all others are named as in Command.
type Takes struct {
	Do        Do
	Must, May []string
	// Right lets one ask about anybody, Own about oneself; where Own is empty, only Right does.
	Right, Own Right
}

// arguments holds what people ask for, with what they have to say and may say.
var arguments = []struct {
	do        Do
	must, may []string
}{
	{do: Mute, may: []string{"member", "reason"}},
	{do: Unmute, may: []string{"member", "reason"}},
	{do: Deafen, may: []string{"member", "reason"}},
	{do: Hear, may: []string{"member", "reason"}},
	{do: Kick, must: []string{"member"}, may: []string{"why"}},
	{do: Invite, must: []string{"number"}, may: []string{"name", "muted", "deaf"}},
	{do: CloseHouse},
	{do: OpenHouse},
	{do: Lock},
	{do: Unlock},
	{do: HandOver, must: []string{"member"}},
	{do: End, may: []string{"why"}},
	{do: Prolong, must: []string{"until"}},
	{do: Transfer, must: []string{"number"}, may: []string{"member"}},
	{do: AskFloor, may: []string{"member"}},
	{do: YieldFloor, may: []string{"member"}},
	{do: Grant, must: []string{"member"}, may: []string{"to"}},
	{do: Refuse, must: []string{"member"}, may: []string{"why"}},
	{do: TakeFloor, must: []string{"member"}, may: []string{"why"}},
	{do: PassFloor, must: []string{"member", "to"}},
	{do: Pin, must: []string{"member"}},
	{do: Reorder, must: []string{"member", "position"}},
	{do: NextSpeaker},
	{do: OpenRoom, must: []string{"members"}, may: []string{"room", "unrecorded"}},
	{do: MoveTo, must: []string{"member"}, may: []string{"room"}},
	{do: Return, may: []string{"member", "room"}},
	{do: AskRoom, must: []string{"members"}},
	{do: Accept, may: []string{"member"}},
	{do: Decline, may: []string{"member"}},
	{do: CallHost},
	{do: Record},
	{do: PauseRecord},
	{do: StopRecord},
	{do: Note, must: []string{"text"}},
	{do: ToMessages},
	{do: ToVoice},
	{do: CloseMessages},
	{do: OpenMessages},
}

// Asked lists everything that people can ask of a conference, in the order of the vocabulary.
func Asked() []Takes {
	list := make([]Takes, 0, len(arguments))
	for _, a := range arguments {
		t, _ := TakesOf(a.do)
		list = append(list, t)
	}
	return list
}

// TakesOf is what a command is asked with; false if nobody can ask for it.
func TakesOf(do Do) (Takes, bool) {
	for _, a := range arguments {
		if a.do == do {
			t := Takes{Do: do, Must: a.must, May: a.may}
			for i := range verbs {
				if verbs[i].name == do {
					t.Right, t.Own = verbs[i].right, verbs[i].own
				}
			}
			return t, true
		}
	}
	return Takes{}, false
}

// Wished lists the reasons that a command may name; nil: it takes none. Of the others nobody can dispose, but their unmute can be
// asked for.
func Wished(do Do) []Reason {
	all := []Reason{Host, Self, Listener, Hardware, System}
	switch do {
	case Unmute:
		return all
	case Mute:
		return all[:3]
	case Deafen, Hear:
		return all[:1]
	}
	return nil
}

// Meant is the reason of a command that names none: another member's is the host's, one's own is one's own.
func Meant(do Do, member string) Reason {
	words := Wished(do)
	switch {
	case words == nil:
		return ""
	case member == "" && slices.Contains(words, Self):
		return Self
	}
	return Host
}
