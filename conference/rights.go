package conference

// Right is one thing that somebody may do, by a role or a token.
type Right string

// The rights. Those of a guest come first.
const (
	RightSee     Right = "see"     // roster and state
	RightFloor   Right = "floor"   // ask for the floor and give it up
	RightMessage Right = "message" // write, and read what was written
	RightNote    Right = "note"    // keyword notes in the recording
	RightFiles   Right = "files"   // list and fetch shared files
	RightPrivate Right = "private" // ask others into a private room
	RightMute    Right = "mute"    // mute, silence and make listeners of others
	RightHouse   Right = "house"   // close and open the house's microphones, lock
	RightKick    Right = "kick"
	RightInvite  Right = "invite"
	RightGrant   Right = "grant" // run the floor
	RightEnd     Right = "end"   // end and prolong
	RightHand    Right = "hand"  // make another the host
	RightRecord  Right = "record"
	RightRooms   Right = "rooms"  // place people in private rooms and fetch them back
	RightShare   Right = "share"  // upload and delete shared files
	RightMode    Right = "mode"   // move the conference to messages and back, close them
	RightCreate  Right = "create" // make conferences
)

// MemberRole is what a member is in one conference.
type MemberRole string

// The roles of members.
const (
	Guest MemberRole = "guest"
	Chair MemberRole = "host"
)

var guestRights = []Right{RightSee, RightFloor, RightMessage, RightNote, RightFiles, RightPrivate}

var chairRights = append(append([]Right(nil), guestRights...), RightMute, RightHouse, RightKick, RightInvite, RightGrant,
	RightEnd, RightHand, RightRecord, RightRooms, RightShare, RightMode)

// Rights lists what a role may do.
func (r MemberRole) Rights() []Right { return append([]Right(nil), r.rights()...) }

func (r MemberRole) rights() []Right {
	if r == Chair {
		return chairRights
	}
	return guestRights
}
