// Package record is the tape: it hears and does not speak. A Tape takes 10 ms frames from the mixer, encodes them on a goroutine of
// its own and keeps them as Ogg/Opus (RFC 3533, RFC 7845) in short segments that a power cut cannot spoil; a Library is the folder
// of all recordings.
//
// It knows sound, files and names given to it. It must not know the mixer, conferences, rights, or which codec library encodes.
//
//	mixer's tick -> WriteFrame -> ring (10 s) -> Run: encode -> page (500 ms) -> segment (60 s), index -> disk
//
// A recording is a folder:
//
//	index.jsonl    one Line per event, appended: start, segment, speak, note, pause, resume, room, lost, end
//	000000.opus    segments, each a whole Ogg/Opus file; together they have neither gap nor overlap
//
// The first line is "start"; a recording without an "end" is being made, or was cut off (see Recover). Every segment's line and the
// last one hold the SHA-256 of all that stands in the index before them, and a segment's line that of its file: whoever changes
// anything breaks the chain from there on.
package record

import (
	"errors"
	"time"
)

var (
	// ErrDiskFull: less than Config.Reserve is free.
	ErrDiskFull = errors.New("record: the disk is nearly full")
	// ErrStalled: the files have not grown for Config.Stall although the tape runs.
	ErrStalled = errors.New("record: the recording does not grow")
	// ErrLost: frames came faster than they could be written for longer than the ring holds; silence stands in their place.
	ErrLost = errors.New("record: sound was lost")
	// ErrLong: the recording is as long as one may be, and whole; another one can go on.
	ErrLong = errors.New("record: the recording has become long")
	// ErrConfig: a Config that makes no tape.
	ErrConfig = errors.New("record: wrong configuration")
	// ErrID: not a recording's name: 1 to 64 of a-z, 0-9 and -, not beginning with -.
	ErrID = errors.New("record: not a recording's id")
	// ErrExists: there is a recording of this id.
	ErrExists = errors.New("record: the recording exists")
	// ErrNotFound: there is no recording of this id.
	ErrNotFound = errors.New("record: no such recording")
	// ErrRunning: the recording is being made.
	ErrRunning = errors.New("record: the recording is still running")
	// ErrText: a note that is empty, longer than MaxNote, or not UTF-8.
	ErrText = errors.New("record: not a note")
	// ErrFull: more is said about a recording than can be written down.
	ErrFull = errors.New("record: the index is full")
	// ErrBroken: what is on the disk is not what was written there.
	ErrBroken = errors.New("record: broken recording")
)

// Bounds of what goes into an index, bytes.
const (
	MaxNote = 4096
	maxName = 256
	maxLine = 64 << 10
	// maxIndex is the longest index that is read.
	maxIndex = 64 << 20
	// maxSegment is the longest segment that is read: an hour at 256 kb/s fits.
	maxSegment = 128 << 20
)

// The tape's sound: 48 kHz mono in packets of 20 ms.
const (
	packetSamples = 960
	// lookahead is by how much libopus's sound comes out later than it goes in (application Audio, 48 kHz), samples.
	lookahead = 312
	// preroll is what a segment repeats of the one before so that a decoder that begins there has settled: 80 ms (RFC 7845, 4.2).
	preroll = 4
	// pagePackets is the longest page: 500 ms.
	pagePackets = 25
)

// Meta says what a recording is of.
type Meta struct {
	UID     string `json:"uid,omitempty"`    // the conference's, never reused
	Number  string `json:"number,omitempty"` // of the conference
	Theme   string `json:"theme,omitempty"`
	By      string `json:"by,omitempty"`      // who had it started
	Speaker string `json:"speaker,omitempty"` // of a track of one speaker: whose
	Of      string `json:"of,omitempty"`      // of a track: the id of the recording that it belongs to
}

// The kinds of a Line.
const (
	KindStart   = "start"   // V, Meta, ID
	KindSegment = "segment" // File, Start, Length, Bytes, Head, Pages, SHA256, Prev
	KindSpeak   = "speak"   // Member, Name, On
	KindNote    = "note"    // Text, By
	KindPause   = "pause"   // By; silence from here on
	KindResume  = "resume"  // By
	KindRoom    = "room"    // Room, On: true if it is left out of the recording from here on
	KindLost    = "lost"    // Length: silence stands for what was lost; Position is where it begins
	KindEnd     = "end"     // Length of all, Prev, Reason
)

// Line is one line of an index. Which of its members mean something depends on Kind.
type Line struct {
	Kind     string    `json:"kind"`
	At       time.Time `json:"at"`
	Position int64     `json:"ms"` // in the recording, ms
	V        int       `json:"v,omitempty"`
	ID       string    `json:"id,omitempty"`
	Meta     *Meta     `json:"meta,omitempty"`

	File   string `json:"file,omitempty"`
	Start  int64  `json:"start,omitempty"`  // of a segment, samples at 48 kHz from the beginning of the recording
	Length int64  `json:"length,omitempty"` // samples
	Bytes  int64  `json:"bytes,omitempty"`  // of the file
	Head   int64  `json:"head,omitempty"`   // bytes of the file before its own sound
	Pages  int    `json:"pages,omitempty"`  // Ogg pages in the file
	SHA256 string `json:"sha256,omitempty"` // of the file, hex
	Prev   string `json:"prev,omitempty"`   // SHA-256 of the index before this line, hex

	Member    string `json:"member,omitempty"`
	Name      string `json:"name,omitempty"`
	On        bool   `json:"on,omitempty"`
	Text      string `json:"text,omitempty"`
	By        string `json:"by,omitempty"`
	Room      string `json:"room,omitempty"`
	Reason    string `json:"reason,omitempty"`    // why it ended; empty: because it was to
	Recovered bool   `json:"recovered,omitempty"` // written by Recover
}
