package boxtest

import (
	"crypto/ed25519"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"parley/mqtt/wire"
)

func TestMain(m *testing.M) {
	code := m.Run()
	Clean()
	os.Exit(code)
}

func TestAPI(t *testing.T) {
	var asked *http.Request
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		asked, body = r, string(b)
		if r.URL.Path == "/text" {
			w.WriteHeader(http.StatusTeapot)
			io.WriteString(w, "no JSON")
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"id":"1"}`)
	}))
	defer server.Close()
	b := &Box{t: t, HTTP: strings.TrimPrefix(server.URL, "http://")}

	a := b.Must(http.StatusCreated, "POST", "/x?y=1", "tok", map[string]any{"theme": "a<b"})
	if a.JSON["id"] != "1" || a.Header.Get("Set-Cookie") == "" {
		t.Errorf("%+v", a)
	}
	if asked.Method != "POST" || asked.URL.RawQuery != "y=1" || asked.Header.Get("Authorization") != "Bearer tok" || body != `{"theme":"a\u003cb"}` {
		t.Errorf("%+v with %q", asked, body)
	}
	a = b.APIWith("PATCH", "/text", "", []byte{0, 1}, map[string]string{"Upload-Offset": "7", "Content-Type": "application/octet-stream"})
	if a.Status != http.StatusTeapot || a.JSON != nil || string(a.Body) != "no JSON" {
		t.Errorf("%+v", a)
	}
	if body != "\x00\x01" || asked.Header.Get("Authorization") != "" || asked.Header.Get("Upload-Offset") != "7" ||
		asked.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%+v with %q", asked.Header, body)
	}
}

func TestToken(t *testing.T) {
	b := New(t, Config{})
	key, err := wire.LoadOrCreateKey(filepath.Join(b.Data, "token.key"))
	if err != nil {
		t.Fatal(err)
	}
	signed := b.Token("-role", "host", "-ttl", "1h", "-number", "2001")
	dot := max(0, strings.LastIndex(signed, "."))
	text, signature := signed[:dot], strings.TrimPrefix(signed[dot:], ".")
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !ed25519.Verify(key.Public().(ed25519.PublicKey), []byte(text), raw) {
		t.Fatalf("%q is not signed with the box's key: %v", signed, err)
	}
	claims, err := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[1])
	if err != nil || !strings.Contains(string(claims), `"2001"`) || !strings.Contains(string(claims), `"host"`) {
		t.Errorf("%s, %v", claims, err)
	}
}
