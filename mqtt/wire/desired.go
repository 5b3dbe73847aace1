package wire

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// SettingsSchema is the only form of Desired that this version knows.
const SettingsSchema = 1

// The bounds of Desired.ConfirmS, in seconds.
const (
	LeastConfirm = 3
	MostConfirm  = 3600
)

// ErrSchema: a document is in a form that this version does not know.
var ErrSchema = errors.New("schema is not supported")

// Desired is what an Envelope on Box.Desired holds: the settings that the box is to have, whole. They replace those before.
type Desired struct {
	Schema  int    `json:"schema"`
	EID     string `json:"eid"`
	Box     string `json:"box"`
	Version uint64 `json:"version"` // only grows
	// Exp, if not 0, is the Unix time in seconds from which on the document is not taken any more. One that has been taken stays.
	Exp      int64 `json:"exp,omitempty"`
	ConfirmS int   `json:"confirm_s"` // in which the box must have proved that it is still in reach, else they are undone
	// Settings has the keys of the settings file. A secret stands in it sealed: key_sealed, see Seal.
	Settings json.RawMessage `json:"settings"`
}

// Check tells what is wrong with the values, those of Settings left out.
func (d *Desired) Check() error {
	if err := firstOf(named("eid", CheckEID(d.EID)), named("box", CheckBox(d.Box))); err != nil {
		return err
	}
	switch {
	case d.Schema != SettingsSchema:
		return invalid("schema", "want %d", SettingsSchema)
	case d.Version == 0:
		return invalid("version", "want a number from 1 on")
	case d.Exp < 0:
		return invalid("exp", "want a Unix time in seconds")
	case d.ConfirmS < LeastConfirm || d.ConfirmS > MostConfirm:
		return invalid("confirm_s", "want %d to %d", LeastConfirm, MostConfirm)
	case len(d.Settings) == 0 || d.Settings[0] != '{':
		return invalid("settings", "want an object")
	}
	return nil
}

// desiredHead is what a document of any schema has.
type desiredHead struct {
	Schema  int    `json:"schema"`
	EID     string `json:"eid"`
	Box     string `json:"box"`
	Version uint64 `json:"version"`
}

func (d *desiredHead) Check() error { return nil }

// SignDesired checks a document and puts it into an envelope.
func SignDesired(d Desired, keys ...ed25519.PrivateKey) ([]byte, error) {
	payload, err := Encode(&d)
	if err != nil {
		return nil, err
	}
	return Sign(payload, keys...)
}

// OpenDesired takes a document out of its envelope. It must be signed by a known key and be for this box; whether it is new and in time
// is for the caller to judge. hash is HashOf(envelope). With an error, d.Version is that of a document which is signed by a known key, as
// far as it could be read. The errors are ErrSchema, ErrWrongBox, and those of Verify and Decode.
func OpenDesired(box Box, envelope []byte, keys KeySet) (d Desired, hash string, err error) {
	hash = HashOf(envelope)
	payload, _, err := Verify(envelope, keys)
	if err != nil {
		return Desired{}, hash, err
	}
	var head desiredHead
	if err := DecodeKnown(payload, &head); err != nil {
		return Desired{}, hash, err
	}
	if head.Schema != SettingsSchema {
		return Desired{Version: head.Version}, hash, fmt.Errorf("%w: %d, and %d is", ErrSchema, head.Schema, SettingsSchema)
	}
	if head.EID != box.eid || head.Box != box.box {
		return Desired{}, hash, fmt.Errorf("%w: %.40q of %.40q", ErrWrongBox, head.Box, head.EID)
	}
	if err := Decode(payload, &d); err != nil {
		return Desired{Version: head.Version}, hash, err
	}
	return d, hash, nil
}

// OpenKept takes a document apart that was OpenDesired before, and has been kept since: it does not judge it again.
func OpenKept(envelope []byte) (d Desired, err error) {
	var e Envelope
	if err := Decode(envelope, &e); err != nil {
		return Desired{}, err
	}
	payload, err := b64Bytes(e.Payload, "payload")
	if err != nil {
		return Desired{}, err
	}
	err = Decode(payload, &d)
	return d, err
}

// HashOf names a message in an envelope by the SHA-256 of its payload, in hexadecimal; what is no envelope by that of the whole.
func HashOf(envelope []byte) string {
	var e Envelope
	content := envelope
	if Decode(envelope, &e) == nil {
		if payload, err := b64Bytes(e.Payload, "payload"); err == nil {
			content = payload
		}
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// The reasons for which desired settings are refused, beside ReasonBadSignature, ReasonUnknownKey, ReasonWrongBox, ReasonExpired,
// ReasonInvalidJSON, ReasonUnknownField, ReasonInvalidValue and ReasonStorageFull.
const (
	ReasonStaleVersion   = "stale_version"      // not newer than what the box has had
	ReasonSchema         = "schema_unsupported" // in a form that this firmware does not know
	ReasonMissingSecret  = "missing_secret"     // is not there, or was not sealed to this box's key for this place
	ReasonApplyFailed    = "apply_failed"       // the box could not run with them
	ReasonConfirmTimeout = "confirm_timeout"    // the box ran with them and was out of reach
	ReasonRolledBack     = "rolled_back"        // the box ended again and again while it ran with them
)

// SettingsReasons lists every reason of a Refusal.
func SettingsReasons() []string {
	return []string{ReasonBadSignature, ReasonUnknownKey, ReasonWrongBox, ReasonExpired, ReasonStaleVersion, ReasonSchema, ReasonInvalidJSON,
		ReasonUnknownField, ReasonInvalidValue, ReasonMissingSecret, ReasonBusy, ReasonApplyFailed, ReasonConfirmTimeout, ReasonStorageFull,
		ReasonRolledBack}
}

// RefusalOf says for which reason a document is refused. err is of OpenDesired.
func RefusalOf(err error) Refusal {
	r := Refusal{Reason: ReasonInvalidJSON, Detail: printable(err.Error(), maxDetail)}
	for sentinel, reason := range map[error]string{
		ErrUnsigned: ReasonBadSignature, ErrBadSignature: ReasonBadSignature, ErrUnknownKey: ReasonUnknownKey, ErrWrongBox: ReasonWrongBox,
		ErrSchema: ReasonSchema, ErrUnknownField: ReasonUnknownField, ErrInvalidValue: ReasonInvalidValue,
	} {
		if errors.Is(err, sentinel) {
			r.Reason = reason
		}
	}
	var field *FieldError
	if errors.As(err, &field) {
		r.Path = printable(field.Path, maxPath)
	}
	return r
}

const (
	maxDetail = 256 // bytes
	maxPath   = 256
	maxDrift  = 64
)

// Reported is the payload of Box.Reported: which settings the box has, and what became of those that it was sent.
type Reported struct {
	Schema  int      `json:"schema"`
	Applied *Version `json:"applied,omitempty"` // what the box runs with now, on trial or for good; none: it has none from outside
	Good    *Version `json:"good,omitempty"`    // what it goes back to, and begins with after a power cut
	Trial   *Trial   `json:"trial,omitempty"`   // Applied has not proved itself yet
	Pending *Pending `json:"pending,omitempty"` // taken, and waits
	// Rejected is the newest document that was refused or undone. It is told until a newer one is applied for good.
	Rejected *Refusal `json:"rejected,omitempty"`
	Drift    []Drift  `json:"drift"` // where the box differs by what was set on itself
}

// Version is one document of settings.
type Version struct {
	Version uint64    `json:"version"`
	Hash    string    `json:"hash"` // HashOf its envelope
	At      time.Time `json:"at"`   // of the beginning with it
}

// Trial says how a document is proving itself.
type Trial struct {
	Version  uint64   `json:"version"`
	ConfirmS int      `json:"confirm_s"`
	Try      int      `json:"try"`               // from 1 on
	Missing  []string `json:"missing,omitempty"` // of mqtt, sound, sip: what is not there yet
}

// Pending says what a document waits for.
type Pending struct {
	Version uint64 `json:"version"`
	Reason  string `json:"reason"` // busy: for the end of calls; clock_unset: for the time
}

// Refusal says why a document does not hold.
type Refusal struct {
	Version uint64    `json:"version,omitempty"` // absent: it could not be read, or is not to be believed
	Hash    string    `json:"hash"`
	Reason  string    `json:"reason"`           // one of SettingsReasons
	Path    string    `json:"path,omitempty"`   // of the field, such as settings.card.volume
	Detail  string    `json:"detail,omitempty"` // for people
	At      time.Time `json:"at"`
}

// Drift is one setting that was changed on the box. Secrets are not told.
type Drift struct {
	Key     string `json:"key"`
	Central string `json:"central"`
	Local   string `json:"local"`
}

// Check tells what is wrong with the values.
func (r *Reported) Check() error {
	if r.Schema != SettingsSchema {
		return invalid("schema", "want %d", SettingsSchema)
	}
	if err := firstOf(r.Applied.check("applied."), r.Good.check("good."), r.Trial.check(), r.Rejected.check()); err != nil {
		return err
	}
	if r.Pending != nil {
		if err := oneOf("pending.reason", r.Pending.Reason, []string{ReasonBusy, ReasonClockUnset}); err != nil {
			return err
		}
	}
	if len(r.Drift) > maxDrift {
		return invalid("drift", "%d at most", maxDrift)
	}
	for i, d := range r.Drift {
		at := fmt.Sprintf("drift[%d].", i)
		if err := firstOf(text(at+"key", d.Key, 1, maxPath), text(at+"central", d.Central, 0, maxDetail), text(at+"local", d.Local, 0, maxDetail)); err != nil {
			return err
		}
	}
	return nil
}

func (v *Version) check(at string) error {
	if v == nil {
		return nil
	}
	if v.Version == 0 {
		return invalid(at+"version", "want a number from 1 on")
	}
	return firstOf(checkHash(at+"hash", v.Hash), when(at+"at", v.At))
}

func (t *Trial) check() error {
	if t == nil {
		return nil
	}
	if t.Version == 0 || t.Try < 1 {
		return invalid("trial", "version and try count from 1 on")
	}
	return texts("trial.missing", t.Missing, 8, 128)
}

func (r *Refusal) check() error {
	if r == nil {
		return nil
	}
	return firstOf(checkHash("rejected.hash", r.Hash), oneOf("rejected.reason", r.Reason, SettingsReasons()),
		text("rejected.path", r.Path, 0, maxPath), text("rejected.detail", r.Detail, 0, maxDetail), when("rejected.at", r.At))
}

func checkHash(path, s string) error {
	if b, err := hex.DecodeString(s); err != nil || len(b) != sha256.Size {
		return invalid(path, "want 64 hexadecimal digits")
	}
	return nil
}

func (r *Reported) fill() {
	r.Drift = filled(r.Drift)
	r.Drift = r.Drift[:min(len(r.Drift), maxDrift)]
	for i, d := range r.Drift {
		r.Drift[i] = Drift{Key: printable(d.Key, maxPath), Central: printable(d.Central, maxDetail), Local: printable(d.Local, maxDetail)}
	}
	if r.Rejected != nil {
		r.Rejected.Tidy()
	}
}

// Tidy makes what others have written in it fit to be told: printable, and cut.
func (r *Refusal) Tidy() {
	r.Path, r.Detail = printable(r.Path, maxPath), printable(r.Detail, maxDetail)
}
