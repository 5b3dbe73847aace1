package wire

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"
)

// What signed bookings can be refused for, beside what Verify refuses.
var (
	// ErrWrongBox: they are for another place or enterprise.
	ErrWrongBox = errors.New("for another box")
	// ErrStale: their version is not newer than what is known.
	ErrStale = errors.New("stale version")
)

// Bookings is what an Envelope on Box.Bookings holds: what is booked for the place in which the box stands, whole. It has no
// secrets: whoever may read the topic reads it.
type Bookings struct {
	EID      string    `json:"eid"`
	Box      string    `json:"box"`
	Version  uint64    `json:"version"` // only grows, so that an older list does not come back
	Bookings []Booking `json:"bookings"`
}

// Booking is one conference that the place is to take part in.
type Booking struct {
	// Conf is the conference's number, and UID, if the hub knows it, its uid. With Dial the conference is held elsewhere
	// and Dial is called; without, it is one of this box.
	Conf  string    `json:"conf"`
	UID   string    `json:"uid,omitempty"`
	Dial  string    `json:"dial,omitempty"` // digits, XXX:YYY or a SIP URI
	Theme string    `json:"theme,omitempty"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// Check tells what is wrong with the values.
func (b *Bookings) Check() error {
	if err := firstOf(named("eid", CheckEID(b.EID)), named("box", CheckBox(b.Box))); err != nil {
		return err
	}
	if b.Version == 0 {
		return invalid("version", "want a number from 1 on")
	}
	if len(b.Bookings) > MaxListed {
		return invalid("bookings", "%d at most", MaxListed)
	}
	for i, k := range b.Bookings {
		at := fmt.Sprintf("bookings[%d].", i)
		if err := firstOf(named(at+"conf", CheckConfName(k.Conf)), text(at+"theme", k.Theme, 0, 256), when(at+"start", k.Start),
			when(at+"end", k.End)); err != nil {
			return err
		}
		if k.UID != "" {
			if err := checkID(at+"uid", k.UID); err != nil {
				return err
			}
		}
		switch {
		case !k.End.After(k.Start):
			return invalid(at+"end", "must be after start")
		case len(k.Dial) > 128 || !each(k.Dial, numberChars):
			return invalid(at+"dial", "want at most 128 of digits, letters and +*#:;=@.[]_-")
		}
	}
	return nil
}

func (b *Bookings) fill() {
	b.Bookings = filled(b.Bookings)
	for i := range b.Bookings {
		b.Bookings[i].Theme = printable(b.Bookings[i].Theme, 256)
	}
}

// Now gives what the place is to join at that time: the booking that runs, or that begins within early; of several the one
// that began last, since an earlier one may be over before its end.
func (b *Bookings) Now(at time.Time, early time.Duration) (found Booking, ok bool) {
	for _, k := range b.Bookings {
		if at.Before(k.Start.Add(-early)) || !at.Before(k.End) {
			continue
		}
		if !ok || k.Start.After(found.Start) {
			found, ok = k, true
		}
	}
	return found, ok
}

// SignBookings checks a list and puts it into an envelope.
func SignBookings(b Bookings, keys ...ed25519.PrivateKey) ([]byte, error) {
	payload, err := Encode(&b)
	if err != nil {
		return nil, err
	}
	return Sign(payload, keys...)
}

// OpenBookings takes a list out of its envelope. It must be signed by a known key, for this box, and newer than known,
// the version that the box has (0: none); the same version again is ErrStale, too. The other errors are those of Verify
// and Decode.
func OpenBookings(box Box, envelope []byte, keys KeySet, known uint64) (Bookings, error) {
	payload, _, err := Verify(envelope, keys)
	if err != nil {
		return Bookings{}, err
	}
	var b Bookings
	if err := Decode(payload, &b); err != nil {
		return Bookings{}, err
	}
	switch {
	case b.EID != box.eid || b.Box != box.box:
		return Bookings{}, fmt.Errorf("%w: %s of %s", ErrWrongBox, b.Box, b.EID)
	case b.Version <= known:
		return Bookings{}, fmt.Errorf("%w: %d, and %d is known", ErrStale, b.Version, known)
	}
	return b, nil
}
