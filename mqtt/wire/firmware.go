package wire

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// FwSchema is the only form of FwDesired that this version knows.
const FwSchema = 1

// FwDesired is what an Envelope on Box.FwDesired holds: the order to run a firmware.
type FwDesired struct {
	Schema int    `json:"schema"`
	EID    string `json:"eid"`
	Box    string `json:"box"`
	Order  uint64 `json:"order"` // only grows; the same again is no new order
	// Exp, if not 0, is the Unix time in seconds from which on the order is not taken any more.
	Exp int64  `json:"exp,omitempty"`
	URL string `json:"url"` // of the image, http:// or https://
	// Downgrade allows a firmware that is older than what runs, or the same again.
	Downgrade bool     `json:"downgrade,omitempty"`
	Manifest  Envelope `json:"manifest"` // around what says what is in the image
}

// maxURL is the longest address of an image, in bytes.
const maxURL = 1024

// Check tells what is wrong with the values, those in Manifest left out.
func (d *FwDesired) Check() error {
	if err := firstOf(named("eid", CheckEID(d.EID)), named("box", CheckBox(d.Box)), text("url", d.URL, 8, maxURL)); err != nil {
		return err
	}
	switch {
	case d.Schema != FwSchema:
		return invalid("schema", "want %d", FwSchema)
	case d.Order == 0:
		return invalid("order", "want a number from 1 on")
	case d.Exp < 0:
		return invalid("exp", "want a Unix time in seconds")
	case !strings.HasPrefix(d.URL, "http://") && !strings.HasPrefix(d.URL, "https://"):
		return invalid("url", "want an address that begins with http:// or https://")
	case strings.ContainsAny(d.URL, " @"):
		return invalid("url", "must not have a blank or a password")
	}
	var field *FieldError
	if err := d.Manifest.Check(); errors.As(err, &field) {
		return &FieldError{Path: "manifest." + field.Path, Kind: field.Kind, Want: field.Want}
	}
	return nil
}

func (d *FwDesired) fill() { d.Manifest.fill() }

// SignFwDesired checks an order and puts it into an envelope.
func SignFwDesired(d FwDesired, keys ...ed25519.PrivateKey) ([]byte, error) {
	payload, err := Encode(&d)
	if err != nil {
		return nil, err
	}
	return Sign(payload, keys...)
}

// OpenFwDesired takes an order out of its envelope, and the manifest that was signed out of the order's. The order must be signed by one of
// keys and be for this box, the manifest be signed by one of makers; whether the order is new and in time is for the caller to judge. With an
// error, d.Order is that of an order which is signed, as far as it could be read. The errors are ErrWrongBox and those of Verify and Decode.
func OpenFwDesired(box Box, envelope []byte, keys, makers KeySet) (d FwDesired, manifest []byte, err error) {
	payload, _, err := Verify(envelope, keys)
	if err != nil {
		return FwDesired{}, nil, err
	}
	if err := Decode(payload, &d); err != nil {
		return FwDesired{Order: d.Order}, nil, err
	}
	if d.EID != box.eid || d.Box != box.box {
		return FwDesired{}, nil, fmt.Errorf("%w: %.40q of %.40q", ErrWrongBox, d.Box, d.EID)
	}
	inner, err := Encode(&d.Manifest)
	if err != nil {
		return d, nil, err
	}
	if manifest, _, err = Verify(inner, makers); err != nil {
		return d, nil, fmt.Errorf("manifest: %w", err)
	}
	return d, manifest, nil
}

// The states of an update.
const (
	FwQueued      = "QUEUED"
	FwDownloading = "DOWNLOADING"
	FwDownloaded  = "DOWNLOADED" // all of it came, and is what was signed
	FwVerified    = "VERIFIED"   // it is in the slot, as read back from there
	FwUpdating    = "UPDATING"   // the box restarts into it, and looks whether all works
	FwUpdated     = "UPDATED"
	FwFailed      = "FAILED"
)

// FwStates lists them in their order.
func FwStates() []string {
	return []string{FwQueued, FwDownloading, FwDownloaded, FwVerified, FwUpdating, FwUpdated, FwFailed}
}

// ReasonInvalidManifest: what an order holds is signed, and is no manifest that this firmware knows.
const ReasonInvalidManifest = "invalid_manifest"

// FwRefusals lists the reasons for which an order is refused, in which case the one before it stands.
func FwRefusals() []string {
	return []string{ReasonUnsigned, ReasonUnknownKey, ReasonBadSignature, ReasonWrongBox, ReasonInvalidJSON, ReasonUnknownField, ReasonInvalidValue,
		ReasonInvalidManifest, ReasonStaleOrder, ReasonExpired}
}

// ReasonStaleOrder: an order's number is below that of one that the box has had.
const ReasonStaleOrder = "stale_order"

// FwReasons lists the reasons for which an update has failed.
func FwReasons() []string {
	return []string{"no_slots", "wrong_board", "wrong_arch", "downgrade", "too_large", "unreachable", "wrong_size", "bad_hash", "write_failed",
		"storage_full", "not_tried", ReasonRolledBack, "withdrawn"}
}

// FwReported is the payload of Box.FwReported: how the newest order stands.
type FwReported struct {
	Schema  int       `json:"schema"`
	Running FwRunning `json:"running"`
	Order   uint64    `json:"order,omitempty"`
	State   string    `json:"state,omitempty"`   // one of FwStates; absent: nothing was ordered yet
	Version string    `json:"version,omitempty"` // that was ordered
	Slot    string    `json:"slot,omitempty"`    // into which it goes
	Done    int64     `json:"done,omitempty"`    // bytes of the image that are there
	Size    int64     `json:"size,omitempty"`    // of the image, in bytes
	Reason  string    `json:"reason,omitempty"`  // of FwFailed: one of FwReasons
	Detail  string    `json:"detail,omitempty"`  // for people: why, or what is waited for
	At      time.Time `json:"at"`                // of State
	// Rejected is the last order that was refused, until a good one comes.
	Rejected *FwRefusal `json:"rejected,omitempty"`
}

// FwRunning is what runs.
type FwRunning struct {
	Version string `json:"version"`
	Slot    string `json:"slot,omitempty"` // absent: the box has no slots
}

// FwRefusal says why an order was refused.
type FwRefusal struct {
	Order  uint64    `json:"order,omitempty"`  // absent: it could not be read, or is not to be believed
	Hash   string    `json:"hash"`             // HashOf the message
	Reason string    `json:"reason"`           // one of FwRefusals
	Detail string    `json:"detail,omitempty"` // for people
	At     time.Time `json:"at"`
}

// RefuseFw says for which reason an order is refused. err is of OpenFwDesired.
func RefuseFw(order uint64, envelope []byte, err error, at time.Time) *FwRefusal {
	r := RefusalOf(err)
	if !slices.Contains(FwRefusals(), r.Reason) {
		r.Reason = ReasonInvalidValue
	}
	if errors.Is(err, ErrUnsigned) {
		r.Reason = ReasonUnsigned
	}
	return &FwRefusal{Order: order, Hash: HashOf(envelope), Reason: r.Reason, Detail: r.Detail, At: at}
}

// Check tells what is wrong with the values.
func (r *FwReported) Check() error {
	err := firstOf(text("running.version", r.Running.Version, 1, 64), text("running.slot", r.Running.Slot, 0, 1),
		oneOf("state", r.State, append(FwStates(), "")), text("version", r.Version, 0, 64), text("slot", r.Slot, 0, 1),
		oneOf("reason", r.Reason, append(FwReasons(), "")), text("detail", r.Detail, 0, maxDetail), when("at", r.At))
	switch {
	case err != nil:
		return err
	case r.Schema != FwSchema:
		return invalid("schema", "want %d", FwSchema)
	case (r.Reason != "") != (r.State == FwFailed):
		return invalid("reason", "is there exactly if the state is %s", FwFailed)
	case r.Done < 0 || r.Size < 0 || r.Done > r.Size:
		return invalid("done", "want 0 to size")
	case r.Rejected == nil:
		return nil
	}
	return firstOf(checkHash("rejected.hash", r.Rejected.Hash), oneOf("rejected.reason", r.Rejected.Reason, FwRefusals()), text("rejected.detail", r.Rejected.Detail, 0, maxDetail),
		when("rejected.at", r.Rejected.At))
}

func (r *FwReported) fill() {
	r.Detail = printable(r.Detail, maxDetail)
	if r.Rejected != nil {
		r.Rejected.Detail = printable(r.Rejected.Detail, maxDetail)
	}
}
