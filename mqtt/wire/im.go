package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"
)

// IMKind is what sort of message it is: bits 7 to 4 of the TYPE byte.
type IMKind byte

// The kinds of message.
const (
	IMPoint     IMKind = 0x0 // point to point
	IMToPhone   IMKind = 0x1 // from a PC to a phone
	IMFromPhone IMKind = 0x2 // from a phone to a PC
	IMPublic    IMKind = 0xe // of a public account
	IMGroup     IMKind = 0xf // to a group
)

var imKinds = []IMKind{IMPoint, IMToPhone, IMFromPhone, IMPublic, IMGroup}

// Message is the payload of User.IM: a TYPE byte and JSON. ID, From, TS and Sig stand in the first medium's object, and
// may all be missing; From is to be believed only with a Sig that is right, or where the broker binds it.
type Message struct {
	Kind  IMKind
	Media []Medium // at most MaxMedia
	ID    string   // the sender's; with it a message that comes twice is known for what it is
	From  string
	TS    int64  // Unix time in milliseconds at which it was sent; 0: not told
	Sig   string // base64 of an Ed25519 signature over SignedBytes
}

// Medium is one part of a message.
type Medium struct {
	Content string // "co": the text, or the URL under which the file lies
	File    string // "fn": the file's name, to be shown and never to be used as a path; empty: no file
	Size    int64  // "si": bytes, of files only; 0: not told
}

// MaxMedia is how many media a message can have: what four bits count.
const MaxMedia = 15

// Form is how a medium is to be shown. It follows from the name and the content: the payload has no field for it.
type Form string

// The forms of media.
const (
	Text    Form = "text"
	Picture Form = "picture"
	Voice   Form = "voice"
	File    Form = "file"
	Video   Form = "video"
	Link    Form = "link"
)

var forms = map[string]Form{
	".jpg": Picture, ".jpeg": Picture, ".png": Picture, ".gif": Picture, ".webp": Picture, ".bmp": Picture,
	".amr": Voice, ".opus": Voice, ".ogg": Voice, ".wav": Voice, ".mp3": Voice, ".m4a": Voice, ".aac": Voice,
	".mp4": Video, ".webm": Video, ".mov": Video, ".3gp": Video, ".mkv": Video,
}

// Form tells how the medium is to be shown: a file by the ending of its name, what is a URL and nothing else as a link.
func (m Medium) Form() Form {
	switch {
	case m.File != "":
		if f, ok := forms[strings.ToLower(path.Ext(m.File))]; ok {
			return f
		}
		return File
	case isURL(m.Content) && !strings.ContainsAny(m.Content, " \t\r\n"):
		return Link
	}
	return Text
}

func isURL(s string) bool {
	scheme, rest, ok := strings.Cut(s, "://")
	return ok && rest != "" && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

// DecodeMessage reads a message. The count in the TYPE byte must be that of the media: none is no JSON at all, one an
// object, several an array of objects. Keys that are not known are passed over; one that is there twice is an error, and so
// is everything that Check refuses. The error is a *FieldError, with paths such as "[1].fn".
func DecodeMessage(b []byte) (Message, error) {
	if len(b) == 0 || len(b) > MaxPayload {
		return Message{}, &FieldError{Kind: ErrTooLarge, Want: fmt.Sprintf("%d bytes, 1 to %d", len(b), MaxPayload)}
	}
	m, count, body := Message{Kind: IMKind(b[0] >> 4)}, int(b[0]&0xf), b[1:]
	if count == 0 {
		if len(body) > 0 {
			return Message{}, invalid("", "TYPE counts no media, and there is something")
		}
		return m, m.Check()
	}
	objects, err := imObjects(body, count)
	if err != nil {
		return Message{}, err
	}
	for i, raw := range objects {
		at := ""
		if count > 1 {
			at = fmt.Sprintf("[%d].", i)
		}
		if err := m.read(at, raw, i == 0); err != nil {
			return Message{}, err
		}
	}
	return m, m.Check()
}

// imObjects checks the JSON as a whole and takes it apart.
func imObjects(body []byte, count int) ([]json.RawMessage, error) {
	if !utf8.Valid(body) {
		return nil, &FieldError{Kind: ErrMalformed, Want: "must be UTF-8"}
	}
	w := walker{dec: json.NewDecoder(bytes.NewReader(body))}
	w.dec.UseNumber()
	if err := w.value(nil, "", 0); err != nil {
		return nil, err
	}
	if _, err := w.dec.Token(); err != io.EOF {
		return nil, &FieldError{Kind: ErrMalformed, Want: "there is something after the end"}
	}
	if body = bytes.TrimSpace(body); body[0] == '{' && count == 1 {
		return []json.RawMessage{body}, nil
	}
	var objects []json.RawMessage
	if body[0] != '[' || count == 1 || json.Unmarshal(body, &objects) != nil || len(objects) != count {
		return nil, invalid("", "TYPE counts %d media: want one object, or an array of as many as are counted", count)
	}
	return objects, nil
}

// read takes the keys that are known out of one medium's object, by their exact names.
func (m *Message) read(at string, raw json.RawMessage, first bool) error {
	var object map[string]json.RawMessage
	if raw[0] != '{' || json.Unmarshal(raw, &object) != nil {
		return invalid(strings.TrimSuffix(at, "."), "want an object")
	}
	medium := Medium{}
	into := map[string]any{"co": &medium.Content, "fn": &medium.File}
	if first {
		into["id"], into["from"], into["ts"], into["sig"] = &m.ID, &m.From, &m.TS, &m.Sig
	}
	for key, v := range into {
		if value, ok := object[key]; ok && (string(value) == "null" || json.Unmarshal(value, v) != nil) {
			return invalid(at+key, "is of another type")
		}
	}
	if _, ok := object["co"]; !ok {
		return invalid(at+"co", "is missing")
	}
	if size, ok := object["si"]; ok {
		n, err := strconv.ParseInt(strings.Trim(string(size), `"`), 10, 64) // "500", as it was first written down, or 500
		if err != nil || n < 0 || medium.File == "" {
			return invalid(at+"si", "want a number of bytes, and fn")
		}
		medium.Size = n
	}
	m.Media = append(m.Media, medium)
	return nil
}

// imObject is a medium as it is written.
type imObject struct {
	Content string `json:"co"`
	File    string `json:"fn,omitempty"`
	Size    string `json:"si,omitempty"`
	ID      string `json:"id,omitempty"`
	From    string `json:"from,omitempty"`
	TS      int64  `json:"ts,omitempty"`
	Sig     string `json:"sig,omitempty"`
}

// EncodeMessage writes a message, after its own check.
func EncodeMessage(m Message) ([]byte, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	objects := make([]imObject, len(m.Media))
	for i, medium := range m.Media {
		objects[i] = imObject{Content: medium.Content, File: medium.File, Size: medium.size()}
	}
	var body any = objects
	if len(objects) > 0 {
		objects[0].ID, objects[0].From, objects[0].TS, objects[0].Sig = m.ID, m.From, m.TS, m.Sig
	}
	if len(objects) == 1 {
		body = objects[0]
	}
	out := []byte{m.Type()}
	if len(objects) > 0 {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, &FieldError{Kind: ErrInvalidValue, Want: err.Error()}
		}
		out = append(out, text...)
	}
	if len(out) > MaxPayload {
		return nil, &FieldError{Kind: ErrTooLarge, Want: fmt.Sprintf("%d bytes, %d at most", len(out), MaxPayload)}
	}
	return out, nil
}

// size is "si" as it is written: a text; empty where it is not told.
func (m Medium) size() string {
	if m.Size == 0 {
		return ""
	}
	return strconv.FormatInt(m.Size, 10)
}

// Type is the TYPE byte.
func (m *Message) Type() byte { return byte(m.Kind)<<4 | byte(len(m.Media)) }
