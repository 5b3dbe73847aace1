package conference

import "errors"

// What Apply can refuse a command for.
var (
	// ErrNoMember: the command names a member who is not in the roster.
	ErrNoMember = errors.New("no such member")
	// ErrTaken: a member with this id is in the roster already.
	ErrTaken = errors.New("member is in the roster already")
	// ErrFull: as many are in the roster as the conference takes.
	ErrFull = errors.New("conference is full")
	// ErrNotYours: a reason can be cleared only by whom it belongs to.
	ErrNotYours = errors.New("the reason is not the asker's to change")
	// ErrLocalOnly: the member's own key closed the microphone, and only that key opens it.
	ErrLocalOnly = errors.New("muted by the member's own key, which alone can open it")
	// ErrDenied: who asks may not do that.
	ErrDenied = errors.New("not allowed")
	// ErrLocked: the conference is locked, and who comes is not invited.
	ErrLocked = errors.New("conference is locked")
	// ErrBarred: who comes was kicked out, and not invited since.
	ErrBarred = errors.New("barred from the conference")
	// ErrNotYet: the conference has not begun, or its lobby is not open.
	ErrNotYet = errors.New("conference has not begun")
	// ErrOver: the conference has ended.
	ErrOver = errors.New("conference is over")
	// ErrAbsent: the member is not there: the call is not up, or he waits in the lobby.
	ErrAbsent = errors.New("member is not in the conference now")
	// ErrNoRoom: there is no such private room.
	ErrNoRoom = errors.New("no such room")
	// ErrNoQueue: the conference is open: everybody may speak.
	ErrNoQueue = errors.New("conference has no queue for the floor")
	// ErrNoPlace: all places on the floor are taken.
	ErrNoPlace = errors.New("all places on the floor are taken")
	// ErrListener: the member is in as a listener, and may not speak.
	ErrListener = errors.New("in as a listener only")
	// ErrNotRecording: nothing is recorded.
	ErrNotRecording = errors.New("nothing is being recorded")
	// ErrInvalid: the command makes no sense.
	ErrInvalid = errors.New("invalid command")
)
