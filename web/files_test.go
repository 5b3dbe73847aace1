package web_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"parley/conference"
	"parley/web"
	"parley/web/token"
)

func sum(content string) string {
	s := sha256.Sum256([]byte(content))
	return hex.EncodeToString(s[:])
}

// begin announces an upload and returns its path.
func (g *rig) begin(token, name, content string) string {
	g.t.Helper()
	a := g.want(201, nil, "POST", "conferences/1000/files", token, fmt.Sprintf(`{"name":%q,"size":%d,"sha256":%q}`, name, len(content), sum(content)))
	path, ok := strings.CutPrefix(a.head.Get("Location"), "/api/v1/")
	if !ok || !strings.HasSuffix(path, "/"+a.body["id"].(string)) {
		g.t.Fatalf("%s %v", a.text, a.head)
	}
	return path
}

// C-31: an upload that broke off goes on where it stopped, and is a file when all of it is there and right.
func TestUpload(t *testing.T) {
	g := newRig(t, nil)
	host, guest := g.token(nil), g.guest("2003")
	content := strings.Repeat("0123456789", 20000)
	path := g.begin(host, `bericht "预算".pdf`, content)

	a := g.want(204, nil, "PATCH", path, host, content[:70000], "Upload-Offset", "0")
	if a.head.Get("Upload-Offset") != "70000" {
		t.Error(a.head)
	}
	g.want(404, "not_found", "GET", path, guest, "")
	g.want(409, "incomplete", "GET", path, host, "")
	if a := g.want(200, nil, "GET", "conferences/1000/files", guest, ""); len(a.body["files"].([]any)) != 0 {
		t.Errorf("half a file is listed: %s", a.text)
	}
	if a := g.want(409, "wrong_offset", "PATCH", path, host, content[60000:], "Upload-Offset", "60000"); a.head.Get("Upload-Offset") != "70000" {
		t.Errorf("the right offset is told: %v", a.head)
	}
	g.want(422, "invalid_value", "PATCH", path, host, "x")
	g.want(422, "invalid_value", "PATCH", path, host, "x", "Upload-Offset", "-1")
	g.want(403, "forbidden", "PATCH", path, guest, content[70000:], "Upload-Offset", "70000")

	// The connection breaks in the middle of the next part.
	c, err := net.Dial("tcp", strings.TrimPrefix(g.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "PATCH /api/v1/%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nUpload-Offset: 70000\r\nContent-Length: %d\r\n\r\n%s",
		path, host, len(content)-70000, content[70000:130000])
	c.Close()
	offset := ""
	for end := time.Now().Add(10 * time.Second); offset != "130000" && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		a := g.ask("HEAD", path, host, "")
		if offset = a.head.Get("Upload-Offset"); a.status != 200 || a.head.Get("Upload-Length") != "200000" {
			t.Fatalf("%d %v", a.status, a.head)
		}
	}
	if offset != "130000" {
		t.Fatalf("what came before the connection broke is kept: %s", offset)
	}
	g.want(204, nil, "PATCH", path, host, content[130000:], "Upload-Offset", "130000")

	a = g.ask("GET", path, guest, "")
	if a.status != 200 || a.text != content || a.head.Get("Content-Type") != "application/octet-stream" || a.head.Get("X-Content-Type-Options") != "nosniff" ||
		!strings.HasPrefix(a.head.Get("Content-Disposition"), "attachment; ") || !strings.Contains(a.head.Get("Content-Disposition"), "filename*=UTF-8''bericht%20_%E9%A2%84%E7%AE%97_.pdf") {
		t.Errorf("%d %d bytes %v", a.status, len(a.text), a.head)
	}
	if a := g.ask("GET", path, guest, "", "Range", "bytes=199990-", "If-Range", a.head.Get("ETag")); a.status != 206 || a.text != content[199990:] || a.head.Get("Content-Range") != "bytes 199990-199999/200000" {
		t.Errorf("%d %q %v", a.status, a.text, a.head)
	}
	if a := g.ask("GET", path, guest, "", "Range", "bytes=200000-"); a.status != 416 {
		t.Error(a.status)
	}
	a = g.want(200, nil, "GET", "conferences/1000/files", guest, "")
	if f := a.body["files"].([]any); len(f) != 1 || f[0].(map[string]any)["by"] != "2001" || f[0].(map[string]any)["sha256"] != sum(content) {
		t.Error(a.text)
	}
	g.want(403, "forbidden", "DELETE", path, guest, "")
	g.want(404, "no_conference", "GET", path, g.guest("9"), "")
	g.want(204, nil, "DELETE", path, host, "")
	g.want(404, "not_found", "GET", path, host, "")
}

func TestUploadRefused(t *testing.T) {
	g := newRig(t, nil)
	host := g.token(nil)
	// Other bytes than announced.
	path := g.begin(host, "a", "right")
	g.want(422, "wrong_hash", "PATCH", path, host, "wrong", "Upload-Offset", "0")
	g.want(404, "not_found", "PATCH", path, host, "right", "Upload-Offset", "0")
	// More than announced.
	path = g.begin(host, "a", "right")
	g.want(413, "too_large", "PATCH", path, host, "right and more", "Upload-Offset", "0")

	const all = "conferences/1000/files"
	for body, code := range map[string]string{
		`{`: "invalid_json", `{"name":"a"}`: "invalid_value", `{"name":"","size":1,"sha256":"` + sum("") + `"}`: "invalid_value",
		`{"name":"a","size":-1,"sha256":"` + sum("") + `"}`: "invalid_value", `{"name":"a","size":1e3,"sha256":"` + sum("") + `"}`: "invalid_value",
		`{"name":"a","size":1,"sha256":"zz"}`: "invalid_value", `{"name":"a","size":1,"sha256":"` + strings.Repeat("z", 64) + `"}`: "invalid_value",
		`{"name":"a","size":1,"sha256":"` + sum("") + `","dir":".."}`: "unknown_field", `{"name":7,"size":1,"sha256":"` + sum("") + `"}`: "invalid_value",
	} {
		if a := g.ask("POST", all, host, body); a.body["code"] != code || a.status != 422 && a.status != 400 {
			t.Errorf("%s: %d %s", body, a.status, a.text)
		}
	}
	if a := g.ask("POST", all, host, `{"name":"a","size":9000000000000,"sha256":"`+sum("")+`"}`); a.status != 413 && a.status != 507 {
		t.Errorf("9 TB: %d %s", a.status, a.text)
	}
	g.want(403, "forbidden", "POST", all, g.guest("2003"), `{}`)
	for _, id := range []string{"%2e%2e%2findex", "x%00y", strings.Repeat("a", 300)} {
		if a := g.ask("GET", all+"/"+id, host, ""); a.status != 404 && a.status != 422 {
			t.Errorf("%s: %d %s", id, a.status, a.text)
		}
	}
}

// The files of a conference that is over are still there for whom its uid was named to, and for nobody who has only its number.
func TestFilesAfterTheEnd(t *testing.T) {
	g := newRig(t, nil)
	host := g.token(nil)
	path := g.begin(host, "a", "x")
	g.want(204, nil, "PATCH", path, host, "x", "Upload-Offset", "0")
	g.house.mu.Lock()
	g.house.all = g.house.all[1:]
	g.house.open(conference.Rules{Number: "1000", UID: "uid-later", Kind: conference.Standing}, "2003")
	g.house.mu.Unlock()
	named := g.token(func(c *token.Claims) { c.Role, c.Subject, c.Conference = token.Guest, "2009", "uid-1000" })
	numbered := g.token(func(c *token.Claims) { c.Conference = "1000" })
	for _, token := range []string{named, host} {
		if a := g.ask("GET", path, token, ""); a.status != 200 || a.text != "x" {
			t.Errorf("%d %s", a.status, a.text)
		}
	}
	g.want(403, "wrong_conference", "GET", path, numbered, "")
	g.want(404, "no_conference", "GET", path, g.guest("2003"), "")
	if a := g.want(200, nil, "GET", "conferences/1000/files", numbered, ""); a.body["uid"] != "uid-later" || len(a.body["files"].([]any)) != 0 {
		t.Error(a.text)
	}
}

// C-21: recordings are listed, fetched in ranges and deleted, each with its right.
func TestRecordings(t *testing.T) {
	g := newRig(t, nil)
	started := time.Unix(1_900_000_000, 0).UTC()
	g.tapes.content = strings.Repeat("OggS", 5000)
	g.tapes.list = []web.Recording{
		{ID: "old", Number: "1000", UID: "uid-0999", Started: started, Ended: started.Add(time.Hour), Head: "h1"},
		{ID: "new", Number: "1000", UID: "uid-1000", Started: started, Ended: started.Add(time.Hour), Head: "h2"},
		{ID: "now", Number: "1001", UID: "uid-1001", Started: started, Running: true},
	}
	ids := func(token string) (ids string) {
		a := g.want(200, nil, "GET", "recordings", token, "")
		for _, r := range a.body["recordings"].([]any) {
			ids += r.(map[string]any)["id"].(string) + " "
		}
		return ids
	}
	numbered := g.token(func(c *token.Claims) { c.Conference = "1000" })
	older := g.token(func(c *token.Claims) { c.Conference = "uid-0999" })
	for token, want := range map[string]string{g.token(nil): "old new now ", numbered: "new ", older: "old "} {
		if got := ids(token); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	g.want(403, "forbidden", "GET", "recordings", g.guest("2002"), "")
	g.want(403, "forbidden", "GET", "recordings/new", g.guest("2002"), "")
	g.want(404, "not_found", "GET", "recordings/old", numbered, "") // the number was another's then
	g.want(404, "not_found", "GET", "recordings/x", numbered, "")
	g.want(404, "not_found", "GET", "recordings/..%2fx", numbered, "")

	a := g.ask("GET", "recordings/new", numbered, "")
	if a.status != 200 || a.text != g.tapes.content || a.head.Get("Content-Type") != "audio/ogg" || a.head.Get("ETag") != `"h2"` || a.head.Get("Accept-Ranges") != "bytes" {
		t.Errorf("%d %d bytes %v", a.status, len(a.text), a.head)
	}
	if a := g.ask("GET", "recordings/new", numbered, "", "Range", "bytes=4-7"); a.status != 206 || a.text != "OggS" {
		t.Errorf("%d %q", a.status, a.text)
	}
	if a := g.ask("GET", "recordings/new", numbered, "", "If-None-Match", `"h2"`); a.status != 304 {
		t.Error(a.status)
	}
	if a := g.want(200, nil, "GET", "recordings/new/index", numbered, ""); a.body["index"].([]any)[0] != "line of new" || a.body["recording"].(map[string]any)["uid"] != "uid-1000" {
		t.Error(a.text)
	}
	g.want(403, "forbidden", "DELETE", "recordings/new", g.token(nil), "")
	g.want(404, "not_found", "DELETE", "recordings/new", older, "")
	g.want(204, nil, "DELETE", "recordings/new", numbered, "")
	g.want(204, nil, "DELETE", "recordings/old", g.admin(), "")
	g.want(409, "conflict", "DELETE", "recordings/now", g.admin(), "")
	if len(g.tapes.list) != 1 {
		t.Error(g.tapes.list)
	}
}

// Without recordings, files and messages there is nothing to fetch, and nothing breaks.
func TestNothingThere(t *testing.T) {
	g := newRig(t, func(a *web.API) { a.Recordings, a.Files, a.Index = nil, nil, nil })
	for _, path := range []string{"recordings", "recordings/x", "recordings/x/index", "conferences/1000/files/x", "conferences/1000/messages"} {
		g.want(404, "not_found", "GET", path, g.admin(), "")
	}
	if a := g.want(200, nil, "GET", "conferences/1000/files", g.admin(), ""); len(a.body["files"].([]any)) != 0 {
		t.Error(a.text)
	}
}

// A client that takes its time and goes on is served; only so many at a time are.
func TestTransfersBounded(t *testing.T) {
	g := newRig(t, nil)
	host := g.token(nil)
	var conns []net.Conn
	for range 4 {
		path := g.begin(host, "slow", "123456")
		c, err := net.Dial("tcp", strings.TrimPrefix(g.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "PATCH /api/v1/%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nUpload-Offset: 0\r\nExpect: 100-continue\r\nContent-Length: 6\r\n\r\n", path, host)
		// The server asks for the body when it reads it: now it has its place.
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "100") {
			t.Fatalf("%q %v", line, err)
		}
		conns = append(conns, c)
	}
	path := g.begin(host, "one more", "1")
	g.want(503, "busy", "PATCH", path, host, "1", "Upload-Offset", "0")
	other := g.token(func(c *token.Claims) { c.Subject = "2002" })
	g.want(204, nil, "PATCH", path, other, "1", "Upload-Offset", "0")
	for _, c := range conns {
		for _, b := range []string{"12", "345", "6"} {
			fmt.Fprint(c, b)
		}
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		line, err := http.ReadResponse(bufio.NewReader(c), nil)
		for err == nil && line.StatusCode == 100 {
			line, err = http.ReadResponse(bufio.NewReader(c), nil)
		}
		if err != nil || line.StatusCode != 204 {
			t.Errorf("%v %v", line, err)
			continue
		}
		io.Copy(io.Discard, line.Body)
		line.Body.Close()
	}
	path = g.begin(host, "again", "1")
	g.want(204, nil, "PATCH", path, host, "1", "Upload-Offset", "0")
}
