package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"

	"parley/conference"
	"parley/conference/create"
	"parley/conference/store"
	"parley/web/token"
)

// What a House and Recordings can say beside conference's errors.
var (
	// ErrNoConference: there is none with that number or uid.
	ErrNoConference = errors.New("no such conference")
	// ErrWrongUID: another conference has that number now.
	ErrWrongUID = errors.New("another conference has this number now")
	// ErrNotFound: no recording with that id.
	ErrNotFound = errors.New("not found")
	// ErrConflict: makes no sense as things stand. What wraps it is told.
	ErrConflict = errors.New("conflict")
	// ErrNotDurable: it must last, cannot be kept now, and was not done.
	ErrNotDurable = errors.New("cannot be written to disk, so it was not done")
	// ErrUnavailable: the means are missing now. What wraps it is told.
	ErrUnavailable = errors.New("not available now")
)

// fault is an error as it is told: its HTTP status, and a JSON object.
type fault struct {
	Status  int    `json:"-"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Field   string `json:"field,omitempty"`
}

func (f *fault) Error() string { return f.Code + ": " + f.Message }

// faults says what is told of which error; the first that fits holds. Their own text is told, as it names what is wrong.
var faults = []struct {
	err    *error // a pointer, so that the table needs no code to be made
	status int
	code   string
}{
	{&token.ErrClockUnset, http.StatusServiceUnavailable, "clock_unset"},
	{&token.ErrExpired, http.StatusUnauthorized, "token_expired"},
	{&token.ErrNotYet, http.StatusUnauthorized, "token_not_yet"},
	{&token.ErrRevoked, http.StatusUnauthorized, "token_revoked"},
	{&token.ErrUnknownKey, http.StatusUnauthorized, "unknown_key"},
	{&token.ErrAudience, http.StatusUnauthorized, "bad_token"},
	{&token.ErrAlgorithm, http.StatusUnauthorized, "bad_token"},
	{&token.ErrSignature, http.StatusUnauthorized, "bad_token"},
	{&token.ErrIssuer, http.StatusUnauthorized, "bad_token"},
	{&token.ErrLifetime, http.StatusUnauthorized, "bad_token"},
	{&token.ErrMalformed, http.StatusUnauthorized, "bad_token"},

	{&ErrNoConference, http.StatusNotFound, "no_conference"},
	{&ErrWrongUID, http.StatusConflict, "wrong_uid"},
	{&ErrNotFound, http.StatusNotFound, "not_found"},
	{&ErrConflict, http.StatusConflict, "conflict"},
	{&ErrNotDurable, http.StatusServiceUnavailable, "not_durable"},
	{&ErrUnavailable, http.StatusServiceUnavailable, "unavailable"},
	{&errReused, http.StatusConflict, "id_reused"},

	{&conference.ErrDenied, http.StatusForbidden, "forbidden"},
	{&conference.ErrNotYours, http.StatusForbidden, "forbidden"},
	{&conference.ErrListener, http.StatusForbidden, "forbidden"},
	{&conference.ErrLocalOnly, http.StatusConflict, "local_only"},
	{&conference.ErrNoMember, http.StatusNotFound, "no_member"},
	{&conference.ErrNoRoom, http.StatusNotFound, "no_room"},
	{&conference.ErrAbsent, http.StatusConflict, "absent"},
	{&conference.ErrFull, http.StatusConflict, "full"},
	{&conference.ErrLocked, http.StatusConflict, "locked"},
	{&conference.ErrBarred, http.StatusConflict, "barred"},
	{&conference.ErrNotYet, http.StatusConflict, "not_yet"},
	{&conference.ErrOver, http.StatusConflict, "over"},
	{&conference.ErrNoQueue, http.StatusConflict, "no_queue"},
	{&conference.ErrNoPlace, http.StatusConflict, "no_place"},
	{&conference.ErrNotRecording, http.StatusConflict, "not_recording"},
	{&conference.ErrTaken, http.StatusConflict, "conflict"},
	{&conference.ErrInvalid, http.StatusUnprocessableEntity, "invalid_value"},

	{&store.ErrOffset, http.StatusConflict, "wrong_offset"},
	{&store.ErrHash, http.StatusUnprocessableEntity, "wrong_hash"},
	{&store.ErrInvalid, http.StatusUnprocessableEntity, "invalid_value"},
	{&store.ErrNotFound, http.StatusNotFound, "not_found"},
	{&store.ErrBusy, http.StatusConflict, "busy"},
	{&store.ErrFinished, http.StatusConflict, "finished"},
	{&store.ErrIncomplete, http.StatusConflict, "incomplete"},
	{&store.ErrTooLarge, http.StatusRequestEntityTooLarge, "too_large"},
	{&store.ErrQuota, http.StatusInsufficientStorage, "quota"},
	{&store.ErrSpace, http.StatusInsufficientStorage, "storage_full"},
	{&store.ErrClosed, http.StatusConflict, "over"},

	{&context.DeadlineExceeded, http.StatusServiceUnavailable, "busy"},
	{&context.Canceled, http.StatusServiceUnavailable, "busy"},
	{&os.ErrDeadlineExceeded, http.StatusRequestTimeout, "timeout"},
}

// fieldFaults says the same of what is wrong in a body, where it is not just a wrong value.
var fieldFaults = []struct {
	in     create.Code
	status int
	code   string
}{
	{create.Malformed, http.StatusBadRequest, "invalid_json"},
	{create.TooLarge, http.StatusRequestEntityTooLarge, "too_large"},
	{create.Unknown, http.StatusUnprocessableEntity, "unknown_field"},
	{create.Taken, http.StatusConflict, "taken"},
	{create.NoneFree, http.StatusConflict, "none_free"},
	{create.NoConference, http.StatusUnprocessableEntity, "no_conference"},
	{create.Denied, http.StatusForbidden, "forbidden"},
	{create.Limited, http.StatusTooManyRequests, "busy"},
	{create.Reused, http.StatusConflict, "id_reused"},
	{create.NotKept, http.StatusServiceUnavailable, "not_durable"},
	{create.Unavailable, http.StatusServiceUnavailable, "unavailable"},
}

// faultOf finds what is told of an error, and whether it is the box's own fault, of which nothing is told.
func faultOf(err error) (f fault, ours bool) {
	var told *fault
	var field *create.FieldError
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &told):
		return *told, false
	case errors.As(err, &field):
		f = fault{http.StatusUnprocessableEntity, "invalid_value", field.Error(), field.Field}
		for _, k := range fieldFaults {
			if k.in == field.Code {
				f.Status, f.Code = k.status, k.code
			}
		}
		return f, false
	case errors.As(err, &long):
		return fault{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: "the body is too long"}, false
	}
	for _, k := range faults {
		if errors.Is(err, *k.err) {
			return fault{Status: k.status, Code: k.code, Message: harmless(err.Error())}, false
		}
	}
	return fault{Status: http.StatusInternalServerError, Code: "internal", Message: "the box failed; its log says why"}, true
}

// fail answers with an error.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	f, ours := faultOf(err)
	if ours {
		a.server.config.Log.Error("a request failed", "method", r.Method, "path", harmless(r.URL.Path), "error", err)
	}
	if r.URL.Path == root+createPath {
		f.Code = string(createCode(err, f.Status))
	}
	writeJSON(w, f.Status, &f)
}

// createCode is the code of the create call's own table for an error.
func createCode(err error, status int) create.Code {
	var field *create.FieldError
	if errors.As(err, &field) {
		return field.Code
	}
	switch status {
	case http.StatusUnauthorized:
		return create.Unauthorized
	case http.StatusForbidden:
		return create.Denied
	case http.StatusTooManyRequests:
		return create.Limited
	case http.StatusRequestEntityTooLarge:
		return create.TooLarge
	case http.StatusUnprocessableEntity:
		return create.Invalid
	}
	if errors.Is(err, ErrNotDurable) {
		return create.NotKept
	}
	return create.Unavailable
}

// harmless cuts a text and takes out what could control a terminal or end a log's line.
func harmless(s string) string {
	out := []rune{}
	for _, r := range s {
		if len(out) >= 256 {
			break
		}
		if !create.Printable(string(r), 1) {
			r = '?'
		}
		out = append(out, r)
	}
	return string(out)
}

// writeJSON sends v. What cannot become JSON is our own mistake.
func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"code":"internal","message":"no JSON"}`)
	}
	write(w, status, "application/json", append(body, '\n'))
}
