package fleet

import (
	"os"
	"strings"
	"testing"
	"time"

	"parley/mqtt/wire"
)

// What PROTOCOL.md lets a box do with its own topics, the rules of a fleet's broker let it do, too.
func TestRulesFollowThePage(t *testing.T) {
	page, err := os.ReadFile("../../../mqtt/wire/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```acl\n")
	rules, _, _ := strings.Cut(rest, "```")
	n := 0
	for line := range strings.Lines(rules) {
		line = strings.TrimSpace(strings.Replace(line, "/e/local/", "/e/{eid}/", 1))
		if !strings.HasPrefix(line, "pattern ") || !strings.Contains(line, "/box/%u/") {
			continue
		}
		n++
		if !strings.Contains(accessRules, "\n"+line+"\n") {
			t.Errorf("the page has %q, the fleet has not", line)
		}
	}
	if n < 12 {
		t.Errorf("the page has %d rules for boxes", n)
	}
}

// The power goes after an entry of the list was used and before the box is kept: the box comes in by it, and no other does.
func TestEnrolAfterPowerCut(t *testing.T) {
	f := newFleet(t)
	f.Allow([]string{"S1"})
	if err := f.claim("S1", "box-1"); err != nil {
		t.Fatal(err)
	}
	if a := answer(t, f, newRequest(t, "box-2", "S1")); a.Reason != wire.ReasonAlreadyClaimed {
		t.Errorf("another box: %+v", a)
	}
	if a := answer(t, f, newRequest(t, "box-1", "S1")); a.Status != wire.EnrolAccepted {
		t.Errorf("the box: %+v", a)
	}
}

// Whatever a box sends gets an answer that it can read, or none, and a certificate only if it is on the list.
func FuzzEnrol(f *testing.F) {
	fl := newFleet(f)
	good := newRequest(f, "box-1", "S1")
	payload, err := wire.Encode(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(payload)
	f.Add([]byte(strings.Replace(string(payload), "box-1", "operator", 2)))
	f.Add([]byte(strings.Replace(string(payload), "MI", "AA", 1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r wire.EnrolRequest
		if wire.Decode(b, &r) != nil {
			return
		}
		a, err := fl.Enrol(&r, time.Minute, noon)
		if err != nil {
			t.Fatal(err)
		}
		if a.Status == wire.EnrolAccepted {
			t.Errorf("accepted: %s", b)
		}
		envelope, err := fl.SignAnswer(a)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wire.OpenEnrolAnswer(a.Status, envelope, fl.Keys(), &r); err != nil {
			t.Error(err)
		}
	})
}
