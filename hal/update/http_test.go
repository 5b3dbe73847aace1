package update

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A file comes whole, from any offset on; from its beginning if it has become another.
func TestGet(t *testing.T) {
	file, tag := bytes.Repeat([]byte("0123456789"), 5000), `"one"`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/image", http.StatusFound)
			return
		}
		w.Header().Set("ETag", tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
	}))
	defer s.Close()
	for _, c := range []struct {
		path, tag string
		from, got int64
	}{
		{"/image", "", 0, 0}, {"/image", `"one"`, 12345, 12345}, {"/image", "", 49999, 49999}, {"/image", `"two"`, 12345, 0},
		{"/moved", `"one"`, 777, 777}, {"/image", `"one"`, 60000, 0},
	} {
		b, err := Get(t.Context(), s.URL+c.path, c.from, c.tag)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		content, err := io.ReadAll(b)
		b.Close()
		if err != nil || b.From != c.got || b.Total != 50000 || b.Tag != tag || !bytes.Equal(content, file[c.got:]) {
			t.Errorf("%+v: from %d of %d, %s, %d bytes, %v", c, b.From, b.Total, b.Tag, len(content), err)
		}
	}
}

// What may be better the next time is told apart from what will not.
func TestGetErrors(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/range":
			w.Header().Set("Content-Range", "bytes 7-9/10")
			w.WriteHeader(http.StatusPartialContent)
		case "/header":
			w.Header().Set("X", strings.Repeat("x", 2*maxHeader))
		case "/silent":
			hijacked, _, _ := w.(http.Hijacker).Hijack()
			hijacked.Close()
		default:
			var code int
			fmt.Sscanf(r.URL.Path, "/%d", &code)
			w.WriteHeader(code)
		}
	}))
	defer s.Close()
	for path, want := range map[string]error{
		"/404": ErrUnreachable, "/403": ErrUnreachable, "/500": errAgain, "/503": errAgain, "/429": errAgain, "/round": ErrUnreachable,
		"/range": ErrUnreachable, "/header": errAgain, "/silent": errAgain,
	} {
		if b, err := Get(t.Context(), s.URL+path, 5, ""); !errors.Is(err, want) {
			t.Errorf("%s: %v, %v", path, b, err)
		}
	}
	for _, address := range []string{"", "ftp://127.0.0.1/x", "http://", "http://[::1", "file:///etc/passwd", "//127.0.0.1/x"} {
		if _, err := Get(t.Context(), address, 0, ""); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%q: %v", address, err)
		}
	}
	s.Close()
	if _, err := Get(t.Context(), s.URL, 0, ""); !errors.Is(err, errAgain) {
		t.Errorf("%v", err)
	}
}

// A server that says nothing holds nobody up once the order is taken back.
func TestGetEnds(t *testing.T) {
	asked := make(chan struct{})
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(asked); <-over }))
	defer s.Close()
	defer close(over)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := Get(ctx, s.URL, 0, ""); err == nil {
		t.Error("it has come")
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 5-9/10")
	f.Add("bytes */10")
	f.Fuzz(func(t *testing.T, s string) {
		if from, total, err := contentRange(s); err == nil && (from < 0 || total < from) {
			t.Errorf("%q: %d of %d", s, from, total)
		}
	})
}
