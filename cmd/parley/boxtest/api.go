package boxtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

// Answer is what the box's HTTP answered.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	JSON   map[string]any // nil if the body is no JSON object
}

// API asks the box over HTTP. token "" sends none; body is nil, a string or bytes as they are, or else something to be sent as JSON.
func (b *Box) API(method, path, token string, body any) Answer {
	b.t.Helper()
	return b.APIWith(method, path, token, body, nil)
}

// APIWith is API with further headers, which have the last word.
func (b *Box) APIWith(method, path, token string, body any, header map[string]string) Answer {
	b.t.Helper()
	var raw []byte
	kind := ""
	switch v := body.(type) {
	case nil:
	case []byte:
		raw = v
	case string:
		raw = []byte(v)
	default:
		var err error
		if raw, err = json.Marshal(v); err != nil {
			b.t.Fatal(err)
		}
	}
	if body != nil {
		kind = "application/json"
	}
	req, err := http.NewRequest(method, "http://"+b.HTTP+path, bytes.NewReader(raw))
	if err != nil {
		b.t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	client := http.Client{
		Timeout:       30 * time.Second,
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	a := Answer{Status: res.StatusCode, Header: res.Header}
	if a.Body, err = io.ReadAll(io.LimitReader(res.Body, 64<<20)); err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	if json.Unmarshal(a.Body, &a.JSON) != nil {
		a.JSON = nil
	}
	return a
}

// Must is API, and fails the test unless the answer has this status.
func (b *Box) Must(status int, method, path, token string, body any) Answer {
	b.t.Helper()
	a := b.API(method, path, token, body)
	if a.Status != status {
		b.t.Fatalf("%s %s: %d, want %d: %.500s", method, path, a.Status, status, a.Body)
	}
	return a
}

// Token has parleyctl sign a token with the box's key; args are those of `parleyctl token`, such as "-role", "host", "-number", "2001".
func (b *Box) Token(args ...string) string {
	b.t.Helper()
	out, status := b.Ctl(append([]string{"token", "-eid", b.EID}, args...)...)
	if status != 0 {
		b.t.Fatalf("parleyctl token %v: exit status %d: %s", args, status, out)
	}
	return strings.TrimSpace(out)
}
