package web

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/VictoriaMetrics/metrics"
)

// Handler is the server's pages, behind its users, for GET and HEAD only, and the API, behind its tokens.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", s.index)
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.config.Live) })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.config.Ready) })
	mux.HandleFunc("/metrics", s.metrics)
	pages := s.readOnly(s.known(mux))
	if s.config.API == nil {
		return pages
	}
	all := http.NewServeMux()
	all.Handle("/", pages)
	all.Handle("/api/", newAPI(s, *s.config.API).routes())
	return all
}

// readOnly refuses every method that could change something.
func (s *Server) readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		common(h)
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// common sets what holds for all answers.
func common(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
}

// known asks for name and password (RFC 7617) when there are users. All users are compared, and by hash, so that the time
// it takes tells nothing.
func (s *Server) known(next http.Handler) http.Handler {
	if len(s.config.Users) == 0 {
		return next
	}
	type hashes struct{ name, password [sha256.Size]byte }
	users := make([]hashes, len(s.config.Users))
	for i, u := range s.config.Users {
		users[i] = hashes{sha256.Sum256([]byte(u.Name)), sha256.Sum256([]byte(u.Password))}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, p, _ := r.BasicAuth()
		name, password := sha256.Sum256([]byte(n)), sha256.Sum256([]byte(p))
		right := 0
		for _, u := range users {
			right |= subtle.ConstantTimeCompare(name[:], u.name[:]) & subtle.ConstantTimeCompare(password[:], u.password[:])
		}
		if right != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="parley", charset="UTF-8"`)
			http.Error(w, "name and password are wanted", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Report is the body of /healthz and /readyz.
type Report struct {
	OK     bool     `json:"ok"`
	Checks []Result `json:"checks"`
}

// Result is one check of a Report.
type Result struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"` // why not
}

// report asks all checks.
func report(checks []Check) Report {
	r := Report{OK: true, Checks: make([]Result, 0, len(checks))}
	for _, c := range checks {
		x := Result{Name: c.Name, OK: true}
		if err := c.Probe(); err != nil {
			x.OK, x.Reason, r.OK = false, err.Error(), false
		}
		r.Checks = append(r.Checks, x)
	}
	return r
}

// answer is 200 when all checks hold, else 503; the body says which.
func answer(w http.ResponseWriter, checks []Check) {
	r := report(checks)
	body, err := json.Marshal(r)
	if err != nil { // strings and booleans always marshal
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	code := http.StatusOK
	if !r.OK {
		code = http.StatusServiceUnavailable
	}
	write(w, code, "application/json", append(body, '\n'))
}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	s.config.Set.WritePrometheus(&b)
	metrics.WriteProcessMetrics(&b)
	write(w, http.StatusOK, "text/plain; version=0.0.4; charset=utf-8", b.Bytes())
}

const indexHead = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>%[1]s · Parley</title>
<style>body{font:16px/1.5 sans-serif;max-width:40em;margin:2em auto;padding:0 1em}td{padding:0 1em 0 0}.no{color:#b00}</style></head>
<body><h1>%[1]s</h1>
<p>A Parley conference box%[2]s. It is %[3]s.</p>
<table>`

const indexFoot = `</table>
<p><a href="/healthz">healthz</a> · <a href="/readyz">readyz</a> · <a href="/metrics">metrics</a></p>
</body></html>
`

// index is written by hand: html/template would make the linker keep a sixth of the binary that nobody uses.
func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	r := report(s.config.Ready)
	version, state := "", "ready"
	if s.config.Version != "" {
		version = ", version " + escape.Replace(s.config.Version)
	}
	if !r.OK {
		state = `<strong class="no">not ready</strong>`
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, indexHead, escape.Replace(s.config.Box), version, state)
	for _, c := range r.Checks {
		mark, text := "", "ok"
		if !c.OK {
			mark, text = ` class="no"`, escape.Replace(c.Reason)
		}
		fmt.Fprintf(&b, "<tr><td>%s</td><td%s>%s</td></tr>\n", escape.Replace(c.Name), mark, text)
	}
	b.WriteString(indexFoot)
	write(w, http.StatusOK, "text/html; charset=utf-8", b.Bytes())
}

// write sends a whole body with its length.
func write(w http.ResponseWriter, code int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	w.Write(body) // a reader that is gone is its own affair
}

// escape makes a text harmless in HTML. Package html does the same and brings 50 kB of entities for the way back.
var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;")
