package main_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
	"parley/mqtt/wire"
)

// smallDisk is a folder on a file system of that size.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("parley-test", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small disk is made by mounting one, which is not allowed here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillUp leaves no room on a small disk; free makes room again.
func fillUp(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func announce(name string, content []byte) boxtest.Settings {
	sum := sha256.Sum256(content)
	return boxtest.Settings{"name": name, "size": len(content), "sha256": hex.EncodeToString(sum[:])}
}

// begin announces a file and returns its path.
func (c *chat) begin(name string, content []byte) string {
	c.t.Helper()
	return c.Must(201, "POST", "/api/v1/conferences/"+c.uid+"/files", c.token, announce(name, content)).Header.Get("Location")
}

// bring sends bytes of an upload from an offset on.
func (c *chat) bring(path string, offset int, content []byte) boxtest.Answer {
	c.t.Helper()
	return c.APIWith("PATCH", path, c.token, content, map[string]string{"Upload-Offset": strconv.Itoa(offset), "Content-Type": "application/offset+octet-stream"})
}

// broken announces all of it, brings a part, and breaks off.
func (c *chat) broken(path string, content []byte, part int) {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.HTTP)
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: box\r\nAuthorization: Bearer %s\r\nUpload-Offset: 0\r\nContent-Length: %d\r\n\r\n", path, c.token, len(content))
	if _, err := conn.Write(content[:part]); err != nil {
		c.t.Fatal(err)
	}
	conn.(*net.TCPConn).CloseWrite()
	http.ReadResponse(bufio.NewReader(conn), nil) // whatever it is: now the box has seen the end
}

// C-31: the host brings a file, over a connection that breaks and a box that is killed on the way; all are told of it by a
// message of the box's; members fetch it, whole and in ranges. Wrong bytes, too many, and people without the right are refused.
func TestSharedFiles(t *testing.T) {
	t.Parallel()
	broker := phonetest.StartMosquitto(t, phonetest.MosquittoConfig{})
	c := newChat(t, boxtest.Settings{"meetings": boxtest.Settings{"files_mb": 1}}, broker)
	content := make([]byte, 700_000)
	rand.NewChaCha8([32]byte{1}).Read(content)
	guest := c.Token("-role", "guest", "-number", "2003", "-conf", c.uid)

	path := c.begin("预算\u202e/Q3.pdf", content)
	c.broken(path, content, 300_000)
	offset := 0
	phonetest.Eventually(t, 10*time.Second, "what has arrived is kept", func() bool {
		offset, _ = strconv.Atoi(c.API("HEAD", path, c.token, nil).Header.Get("Upload-Offset"))
		return offset == 300_000
	})
	c.Kill()
	c.Restart()
	if got := c.API("HEAD", path, c.token, nil).Header.Get("Upload-Offset"); got != "300000" {
		t.Fatalf("after kill -9 the upload is at %s", got)
	}
	c.Must(404, "GET", path, guest, nil)
	if a := c.bring(path, 300_000, content[300_000:]); a.Status != 204 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	m := c.group.Wait("word of the file", 10*time.Second, func(m phonetest.Message) bool { return bytes.Contains(m.Payload, []byte("Q3.pdf")) })
	msg, err := wire.DecodeMessage(m.Payload)
	if err != nil || msg.Kind != wire.IMGroup || msg.From != c.Name || msg.Sig == "" || len(msg.Media) != 1 ||
		msg.Media[0] != (wire.Medium{Content: path, File: "预算_Q3.pdf", Size: 700_000}) {
		t.Errorf("%v %+v", err, msg)
	}
	if list := c.history(guest, 0); len(list) != 1 || list[0]["from"] != c.Name || list[0]["verified"] != true {
		t.Errorf("late comers find %v", list)
	}
	if a := c.Must(200, "GET", msg.Media[0].Content, guest, nil); !bytes.Equal(a.Body, content) {
		t.Error("other bytes")
	}
	if a := c.APIWith("GET", path, guest, nil, map[string]string{"Range": "bytes=300000-300009"}); a.Status != 206 || !bytes.Equal(a.Body, content[300_000:300_010]) {
		t.Errorf("a range: %d, %d bytes", a.Status, len(a.Body))
	}
	c.refusals(path, guest)
}

func (c *chat) refusals(path, guest string) {
	c.t.Helper()
	all := "/api/v1/conferences/" + c.uid + "/files"
	wrong := c.begin("wrong.txt", []byte("right"))
	if a := c.bring(wrong, 0, []byte("wrong")); a.Status != 422 || a.JSON["code"] != "wrong_hash" {
		c.t.Errorf("other bytes than announced: %d %s", a.Status, a.Body)
	}
	if a := c.API("POST", all, c.token, announce("big", make([]byte, 500_000))); a.Status != 507 || a.JSON["code"] != "quota" {
		c.t.Errorf("more than the conference may have: %d %s", a.Status, a.Body)
	}
	c.Must(403, "POST", all, guest, announce("x", []byte("x")))
	c.Must(403, "DELETE", path, guest, nil)
	if a := c.Must(200, "GET", all, guest, nil); len(a.JSON["files"].([]any)) != 1 {
		c.t.Errorf("%s", a.Body)
	}
	c.command("end") // and what was shared stays for its days
	c.Must(200, "GET", path, guest, nil)
	phonetest.Eventually(c.t, 10*time.Second, "nothing more comes in", func() bool {
		a := c.API("POST", all, c.token, announce("late", []byte("x")))
		if a.Status == 201 {
			c.Must(204, "DELETE", a.Header.Get("Location"), c.token, nil)
		}
		return a.Status == 409
	})
	c.Must(204, "DELETE", path, c.token, nil)
	c.Must(404, "GET", path, guest, nil)
	if seen := strings.Count(fmt.Sprint(c.logged()), "file-"); seen != 1 {
		c.t.Errorf("%d files are told", seen)
	}
}
