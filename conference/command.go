package conference

import "time"

// Do names what a command asks for.
type Do string

// What the box itself reports: of the member ID.
const (
	Add    Do = "add"    // Member comes in, in its State and Role; with Room Lobby he waits there for Admit, before the start he does so anyway
	Move   Do = "state"  // the member's call goes to State; Why says why it came to nothing
	Remove Do = "remove" // the member's call is over; Why says why. An invited one stays in the roster, Disconnected, and so does one with a host's mark
	Talk   Do = "talk"   // the member began to contribute sound
	Rest   Do = "rest"   // the member stopped
	Pass   Do = "pass"   // time passes: what is due happens
	Admit  Do = "admit"  // who had to prove himself in the lobby has done so: he comes in, as Member.Role
	Roam   Do = "roam"   // ID speaks from another terminal now: Member.Place and the terminal's reasons in Member.Mute are the new one's
)

// What people ask for. ID is the member whom it is about, By is who asks.
const (
	Mute   Do = "mute"   // sets Reason; without one it is the asker's own, Self or Host
	Unmute Do = "unmute" // clears Reason; without one it is the asker's own, else the first that is in the way
	Deafen Do = "deafen" // sets Reason, Host or Hold; without one it is Host
	Hear   Do = "hear"   // clears Reason

	Kick        Do = "kick"         // the call ends, and the member comes in again only if invited; Why
	Invite      Do = "invite"       // Member is to be called, at once or at the start: its Number, Name, Role, and Mute and Deaf as wished; its ID may be empty
	CloseHouse  Do = "close_house"  // nobody but hosts is heard in the hall
	OpenHouse   Do = "open_house"   //
	Lock        Do = "lock"         // nobody comes in who is not invited
	Unlock      Do = "unlock"       //
	HandOver    Do = "hand_over"    // ID, who is in, becomes host; By's member is none any more
	End         Do = "end"          // the conference is over
	Prolong     Do = "prolong"      // Until is the new end
	Transfer    Do = "transfer"     // ID (empty: oneself) is to be called at Member.Number, another terminal, and to speak from there when it answers
	AskFloor    Do = "ask_floor"    // ID (empty: oneself) stands in the queue, or has the floor at once
	YieldFloor  Do = "yield_floor"  // ID (empty: oneself) leaves the queue or gives the floor up
	Grant       Do = "grant"        // ID has the floor now; where all places are taken, To's is taken, else an error
	Refuse      Do = "refuse"       // ID is taken out of the queue
	TakeFloor   Do = "take_floor"   // ID loses the floor
	PassFloor   Do = "pass_floor"   // ID's floor goes to To
	Pin         Do = "pin"          // ID is the next to have the floor
	Reorder     Do = "reorder"      // ID goes to Position in the queue, from 0
	NextSpeaker Do = "next_speaker" // the next in the queue has the floor, in place of who has had it for the longest

	OpenRoom Do = "open_room" // IDs go into a private room, named Room if that is given; Unrecorded as wished
	MoveTo   Do = "move_to"   // ID goes into Room: a private one that there is, or the hall
	Return   Do = "return"    // ID, or with Room and no ID all in it, go back to the hall
	AskRoom  Do = "ask_room"  // By asks IDs into a private room; each answers
	Accept   Do = "accept"    // By's member accepts the wish of ID
	Decline  Do = "decline"   //
	CallHost Do = "call_host" // By's member asks the host into his private room

	Record      Do = "record"       // the recording starts, or goes on after a pause
	PauseRecord Do = "pause_record" //
	StopRecord  Do = "stop_record"  //
	Note        Do = "note"         // Text, a keyword, is noted at this moment of the recording

	ToMessages    Do = "to_messages" // the voice part rests: nobody is heard, messages go on
	ToVoice       Do = "to_voice"    //
	CloseMessages Do = "close_messages"
	OpenMessages  Do = "open_messages"
)

// Command is one wish. Which fields count depends on Do.
type Command struct {
	Do         Do
	ID         string // the member whom it is about
	IDs        []string
	To         string // PassFloor, Grant: another member
	Member     Member // Add, Invite
	State      State  // Move
	Reason     Reason // Mute, Unmute, Deafen, Hear
	Room       string
	Position   int
	Until      time.Time // Prolong
	Unrecorded bool      // OpenRoom
	Text       string    // Note: 1 to 64 characters, printable
	By         Actor     // who asks
	May        []Right   // what who asks may do by a token; the role of By's member adds to it, and ByHost and BySystem have all
	Why        string    // Remove, Move, Kick, End: the cause, in plain words
}

// What names what has happened.
type What string

// The events.
const (
	Joined          What = "joined"  // came into the roster, whatever the call's state
	Changed         What = "changed" // the call's state
	Left            What = "left"
	Muted           What = "muted"
	Unmuted         What = "unmuted"
	Deafened        What = "deafened"
	Heard           What = "hears"
	UnmuteRequested What = "unmute-requested" // somebody asked for what only the member can grant
	Talking         What = "talking"
	Resting         What = "resting"

	LobbyOpened   What = "lobby_opened"   // who comes early can wait now
	Opened        What = "opened"         // the conference has begun: invited members are called now
	Call          What = "call"           // the member is to be called, and stands as DialingOut already
	Kicked        What = "kicked"         // the member's call is to end, with Why
	Ended         What = "ended"          // the conference is over, with Why: all calls are to end
	Warned        What = "ending_soon"    // Until is the end
	Prolonged     What = "prolonged"      // Until is the new end
	HouseClosed   What = "house_closed"   //
	HouseOpened   What = "house_opened"   //
	Locked        What = "locked"         //
	Unlocked      What = "unlocked"       //
	BecameHost    What = "host"           // the member is a host now
	NoHost        What = "no_longer_host" //
	Transferred   What = "transfer"       // the member is to be called at Text, a terminal to change to: a Roam follows if it answers
	Queued        What = "queued"         // the member asked for the floor; Position in the queue, from 1
	QueueMoved    What = "queue_moved"    // the member's Position in the queue changed
	Unqueued      What = "unqueued"       // the member left the queue without the floor, with Why
	Granted       What = "granted"        // the member has the floor
	Yielded       What = "yielded"        // the member has it no more, with Why
	Pinned        What = "pinned"         //
	RoomOpened    What = "room_opened"    // Room
	RoomClosed    What = "room_closed"    // the last one has left it
	Moved         What = "moved"          // the member is in Room now (LegEventReport)
	NotMoved      What = "not_moved"      // the member could not be moved and stays where it was; Why
	RoomAsked     What = "room_asked"     // By asks the member into a private room
	RoomDeclined  What = "room_declined"  // the member declined, or did not answer in time
	HostCalled    What = "host_called"    // By asks the host into Room
	RecordStarted What = "record_started" //
	RecordPaused  What = "record_paused"  //
	RecordStopped What = "record_stopped" //
	Noted         What = "noted"          // Text
	MessagesOnly  What = "messages_only"  //
	VoiceAgain    What = "voice_again"    //
	MessagesOff   What = "messages_closed"
	MessagesOn    What = "messages_opened"
)

// Event is one thing that has happened, with the member as he is after it.
type Event struct {
	Seq        uint64
	At         time.Time
	Conference string
	UID        string
	What       What
	Member     Member
	Reason     Reason
	Room       string
	Position   int
	Until      time.Time
	Text       string
	By         Actor
	Why        string
}
