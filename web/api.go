package web

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"parley/conference"
	"parley/conference/create"
	"parley/conference/store"
	"parley/web/token"
)

// The way of a request to the API:
//
//	route ─► token ─► rate ─► handler ─► House (rights are judged there, too) ─► JSON
//
// No request is answered without a token that counts; there is no default one. A browser's page elsewhere cannot send one, so
// that nothing more is needed against forged requests.

// House is the one who runs the conferences. Errors are conference's, this package's, or a *create.FieldError; other ones are
// told to nobody but the log.
type House interface {
	// Look gives the conference with that number or uid, or all that there are for "". One that there is not is no error.
	Look(ctx context.Context, who token.Claims, conf string) ([]View, error)
	// Do carries out a command, unless ctx has ended before its turn. May is filled in, and By names who asks by his number, as a member; the number's line in the
	// roster is for the house to find. uid is the conference's.
	Do(ctx context.Context, who token.Claims, uid string, c conference.Command) (Outcome, error)
	// Create makes a conference, and invites into others who stands in Elsewhere. The same request of the same caller gives
	// the same conference.
	Create(ctx context.Context, who token.Claims, r create.Request) (Created, error)
}

// View is a conference as one caller may see it.
type View struct {
	conference.Snapshot
	State []byte          // as JSON: what the conference's topic tells
	Can   []conference.Do // what the caller may do
}

// Outcome is what came of a command.
type Outcome struct {
	Seq     uint64 // of the conference, after it
	Durable bool   // it outlives a power cut
}

// Created is a conference that was made.
type Created struct{ ConfName, UID string }

// Recording is what is known of one.
type Recording struct {
	ID      string    `json:"id"`
	Number  string    `json:"conf"`
	UID     string    `json:"uid"`
	Theme   string    `json:"theme,omitempty"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	Seconds float64   `json:"length_s"`
	Bytes   int64     `json:"bytes"`
	Speaker string    `json:"speaker,omitempty"` // of a track of one speaker: whose
	Of      string    `json:"of,omitempty"`      // of a track: the id of the whole
	Running bool      `json:"running,omitempty"`
	Broken  bool      `json:"broken,omitempty"`
	Head    string    `json:"head,omitempty"` // proves it: SHA-256 of the last link of its chain
}

// Recordings are the recordings that there are. Errors are ErrNotFound and ErrConflict, or others, which are the box's fault.
type Recordings interface {
	List() ([]Recording, error)
	// Open gives a recording as Ogg/Opus. What has a Close is closed.
	Open(id string) (io.ReadSeeker, Recording, error)
	Delete(id string) error
}

// Messages is the log of the conferences' messages.
type Messages interface {
	Since(uid string, after uint64, limit int) ([]store.Entry, error)
}

// Tokens tells who somebody is.
type Tokens interface {
	Verify(token string) (token.Claims, error)
}

// API is what people and systems steer conferences with. What is nil is answered with 404.
type API struct {
	Tokens     Tokens // required
	House      House  // required
	Recordings Recordings
	Index      func(id string) (any, error) // of a recording: who spoke when, notes; becomes JSON
	Files      *store.Files
	Shared     func(uid string, f store.Info) // is told of each file that is whole now; nil: nobody is
	Messages   Messages
	Support    func() ([]byte, error) // makes a support bundle, a gzip
	Zone       *time.Location         // of times without one; nil: the machine's
	Limits     create.Limits
	Rate       float64          // requests per second of one token, ten times as many at once; 0: 20
	Now        func() time.Time // nil: time.Now
}

const (
	houseTimeout = 5 * time.Second // for an answer of the house
	root         = "/api/v1/"
)

// handler answers one kind of request of somebody known. Its error becomes the answer.
type handler func(w http.ResponseWriter, r *http.Request, who *token.Claims) error

// api is the API at work.
type api struct {
	API
	server    *Server
	rates     *buckets // by token
	strangers *buckets // by address: who shows tokens that do not count
	transfers *slots
	once      *once
}

func newAPI(s *Server, c API) *api {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Zone == nil {
		c.Zone = time.Local
	}
	if c.Rate <= 0 {
		c.Rate = 20
	}
	return &api{
		API: c, server: s, transfers: newSlots(16, 4), once: newOnce(),
		rates: newBuckets(c.Rate, 10*c.Rate, c.Now), strangers: newBuckets(5, 50, c.Now),
	}
}

// methods are the handlers of one path; what is nil is not allowed.
type methods struct{ get, post, patch, remove handler }

// of finds the handler for a method. HEAD is GET, of which the server leaves the body away.
func (m *methods) of(method string) handler {
	switch method {
	case http.MethodGet, http.MethodHead:
		return m.get
	case http.MethodPost:
		return m.post
	case http.MethodPatch:
		return m.patch
	case http.MethodDelete:
		return m.remove
	}
	return nil
}

// routes is the whole of it.
func (a *api) routes() http.Handler {
	mux := http.NewServeMux()
	const conf = root + "conferences/{conf}"
	mux.Handle("/", a.guarded(nil))
	mux.Handle(root+createPath, a.guarded(&methods{post: a.create}))
	mux.Handle(root+"conferences", a.guarded(&methods{get: a.conferences}))
	mux.Handle(conf, a.guarded(&methods{get: a.state}))
	mux.Handle(conf+"/can", a.guarded(&methods{get: a.can}))
	mux.Handle(conf+"/commands", a.guarded(&methods{post: a.command}))
	mux.Handle(conf+"/messages", a.guarded(&methods{get: a.messages}))
	mux.Handle(conf+"/files", a.guarded(&methods{get: a.files, post: a.begin}))
	mux.Handle(conf+"/files/{id}", a.guarded(&methods{get: a.file, patch: a.upload, remove: a.deleteFile}))
	mux.Handle(root+"support", a.guarded(&methods{get: a.support}))
	mux.Handle(root+"recordings", a.guarded(&methods{get: a.recordings}))
	mux.Handle(root+"recordings/{id}", a.guarded(&methods{get: a.recording, remove: a.deleteRecording}))
	mux.Handle(root+"recordings/{id}/index", a.guarded(&methods{get: a.index}))
	return mux
}

// guarded lets through whoever has a token and has not asked too often, to one of the methods. None of them is 404.
func (a *api) guarded(m *methods) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		common(w.Header())
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
		if err := a.serve(w, r, m); err != nil {
			a.fail(w, r, err)
		}
	})
}

func (a *api) serve(w http.ResponseWriter, r *http.Request, m *methods) error {
	who, err := a.caller(w, r)
	if err != nil {
		return err
	}
	if m == nil {
		return &fault{Status: http.StatusNotFound, Code: "not_found", Message: "there is nothing here"}
	}
	h := m.of(r.Method)
	if h == nil {
		var allow []string
		for _, name := range []string{"GET", "POST", "PATCH", "DELETE"} {
			if m.of(name) != nil {
				allow = append(allow, name)
			}
		}
		w.Header().Set("Allow", strings.Join(allow, ", "))
		return &fault{Status: http.StatusMethodNotAllowed, Code: "method", Message: "want one of " + strings.Join(allow, ", ")}
	}
	return h(w, r, who)
}

// house gives a context for a question to the house.
func (a *api) house(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), houseTimeout)
}
