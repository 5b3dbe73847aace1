package update

import (
	"errors"
	"time"
)

// Phase is how far an update is.
type Phase string

// The phases, in their order. Updated and Failed are ends.
const (
	Queued      Phase = "QUEUED"
	Downloading Phase = "DOWNLOADING"
	Downloaded  Phase = "DOWNLOADED" // all of it came, and is what was signed
	Verified    Phase = "VERIFIED"   // it is in the slot, as read back from there
	Updating    Phase = "UPDATING"   // the boot loader is to try it, or it is being tried
	Updated     Phase = "UPDATED"
	Failed      Phase = "FAILED"
)

// over tells whether nothing more comes of it.
func (p Phase) over() bool { return p == "" || p == Updated || p == Failed }

// Order asks for an update.
type Order struct {
	ID        uint64 // only grows; one that is not above the last one is the same again
	URL       string // of the image, http or https
	Downgrade bool   // it may be older than what runs, or the same again
	Manifest  Manifest
}

// Record is what is kept of an update when the power is cut. Times are for people.
type Record struct {
	Order Order     `json:"order"`
	Phase Phase     `json:"phase"`
	At    time.Time `json:"at"` // of Phase
	// Reason names for a machine why it failed, Detail says it; of an update that goes on, what it waits for, or how its try came out.
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`

	Slot   Slot   `json:"slot,omitempty"`   // into which it goes
	Done   int64  `json:"done,omitempty"`   // bytes of the image that are in the slot for certain
	Tag    string `json:"tag,omitempty"`    // the server's name for the file of which they are
	Head   []byte `json:"head,omitempty"`   // the image's first bytes, which are written last
	Was    Health `json:"was"`              // of the box before it
	Asked  int    `json:"asked,omitempty"`  // how often the machine was restarted to have it tried
	Starts int    `json:"starts,omitempty"` // how often the box has started in the slot that is tried
}

// Health is what of the box works.
type Health struct {
	Sound bool `json:"sound"` // the card is open
	MQTT  bool `json:"mqtt"`  // connected to the broker, its own or another
	SIP   bool `json:"sip"`   // listens, and is registered wherever it is to be
}

// lacks names what worked before and does not now; empty: nothing.
func (h Health) lacks(was Health) string {
	for _, c := range []struct {
		was, is bool
		text    string
	}{
		{was.Sound, h.Sound, "the sound card did not open"},
		{was.MQTT, h.MQTT, "the broker was not reached"},
		{was.SIP, h.SIP, "SIP did not listen or register"},
	} {
		if c.was && !c.is {
			return c.text
		}
	}
	return ""
}

// Store keeps the record, whole or not at all.
type Store interface {
	Load() (Record, error)
	Save(Record) error
}

// What an update can fail for, beside ErrBoard, ErrArch, ErrDowngrade and ErrNoSlots.
var (
	// ErrTooLarge: a part does not fit into its partition.
	ErrTooLarge = errors.New("the image does not fit into the slot")
	// ErrUnreachable: the file could not be had.
	ErrUnreachable = errors.New("the image cannot be had")
	// ErrSize: the file is shorter or longer than what was signed.
	ErrSize = errors.New("the file is not as long as the image")
	// ErrHash: the file is not what was signed.
	ErrHash = errors.New("the file is not the image that was signed")
	// ErrWrite: the slot or the boot state could not be written, or does not hold what was written.
	ErrWrite = errors.New("the slot cannot be written")
	// ErrStore: the record could not be kept.
	ErrStore = errors.New("the data folder cannot be written")
	// ErrNotTried: the machine was restarted, and the boot loader did not try the slot.
	ErrNotTried = errors.New("the boot loader did not try the new firmware")
	// ErrRolledBack: it was tried, was not healthy, and what ran before runs again.
	ErrRolledBack = errors.New("the new firmware was tried, and the old one runs again")
	// ErrWithdrawn: the order was taken back.
	ErrWithdrawn = errors.New("the order was taken back")
)

// reasons are the words for machines.
var reasons = []struct {
	err  error
	word string
}{
	{ErrNoSlots, "no_slots"}, {ErrBoard, "wrong_board"}, {ErrArch, "wrong_arch"}, {ErrDowngrade, "downgrade"}, {ErrTooLarge, "too_large"},
	{ErrUnreachable, "unreachable"}, {ErrSize, "wrong_size"}, {ErrHash, "bad_hash"}, {ErrWrite, "write_failed"}, {ErrStore, "storage_full"},
	{ErrNotTried, "not_tried"}, {ErrRolledBack, "rolled_back"}, {ErrWithdrawn, "withdrawn"},
}

// Reasons lists every word that Record.Reason can be.
func Reasons() (words []string) {
	for _, r := range reasons {
		words = append(words, r.word)
	}
	return words
}

func reasonOf(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.word
		}
	}
	return "write_failed"
}
