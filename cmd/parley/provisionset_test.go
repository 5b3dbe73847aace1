package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/config"
	"parley/cmd/parley/phonetest"
	"parley/mqtt/wire"
)

// The operator learns what becomes of what he tells, also when a box is off, refuses, or knows more than his folder does; and noise
// of others keeps nobody from being taken in.
func TestOperatorIsTold(t *testing.T) {
	t.Parallel()
	o := newFleetOffice(t)
	o.Serve()
	if out, status := o.Ctl("serve", o.Dir); status != 1 || !strings.Contains(out, "another parleyctl provision serve runs") {
		t.Errorf("a second server: %d, %s", status, out)
	}
	boot, err := config.LoadBoot(filepath.Join(o.Dir, "boot", "provision.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	o.Run("allow", o.Dir, "S1", "S2")
	noise(t, o)
	one, two := newLightBox(t, "room-1", "S1", boot), newLightBox(t, "room-2", "S2", boot)
	off := switchOn([]*lightBox{one, two})
	phonetest.Eventually(t, 30*time.Second, "two boxes have come in", func() bool {
		return strings.Contains(o.Run("boxes", o.Dir), "2 boxes: 2 ready")
	})

	file := filepath.Join(t.TempDir(), "room.yaml")
	write(t, file, "place: {name: \"{{box}} {{serial}}\"}\nsip: {users: [{name: \"201\", password: secret}]}\n")
	if out := o.Run("set", o.Dir, "--all", file, "--wait"); !strings.Contains(out, "2 boxes have these settings") {
		t.Error(out)
	}
	for _, x := range []struct{ want, args string }{
		{"room-3 has not enrolled here", "room-3 " + file}, {"say for whom", file}, {"say for whom", "room-1 " + file + " --all"},
		{"--confirm is from 3s to 3600s", "room-1 " + file + " --confirm 1s"}, {"no such file", "room-1 " + file + ".not"},
	} {
		if out, status := o.Ctl(append([]string{"set", o.Dir}, strings.Fields(x.args)...)...); status == 0 || !strings.Contains(out, x.want) {
			t.Errorf("set %s: %d, %s", x.args, status, out)
		}
	}

	// Off, and on again.
	if err := off(); err != nil {
		t.Fatal(err)
	}
	out, status := o.Ctl("set", o.Dir, "room-1", file, "--wait", "--timeout", "1s")
	if status != 1 || !strings.Contains(out, "room-1: version 2: nothing was heard of it yet") {
		t.Errorf("a box that is off: %d, %s", status, out)
	}
	if out := o.Run("boxes", o.Dir); !strings.Contains(out, "1→2") || !strings.Contains(out, "1 box is without the settings that were told") {
		t.Error(out)
	}
	off = switchOn([]*lightBox{one, two})
	phonetest.Eventually(t, 30*time.Second, "the box has what it missed", func() bool {
		return !strings.Contains(o.Run("boxes", o.Dir), "→")
	})

	// The operator's folder comes from an old copy, which has forgotten versions.
	record := filepath.Join(o.Dir, "boxes", "room-1.json")
	var kept map[string]any
	raw, err := os.ReadFile(record)
	if err == nil {
		err = json.Unmarshal(raw, &kept)
	}
	if err != nil {
		t.Fatal(err)
	}
	delete(kept, "version")
	raw, _ = json.Marshal(kept)
	write(t, record, string(raw))
	write(t, file, "place: {name: \"after all\"}\n")
	if out := o.Run("set", o.Dir, "room-1", file, "--wait"); !strings.Contains(out, "room-1: version 3 applied") {
		t.Error(out)
	}

	// Somebody with the broker's rights, and without the operator's key, tells it something newer.
	c := o.operator("room-1")
	docs := newBadDocs(t)
	docs.box = c.box
	forged := docs.sign(docs.payload(`{}`, field{"version", "9"}))
	c.tell(forged)
	c.report("the refusal", func(r wire.Reported) bool { return r.Rejected != nil && r.Rejected.Reason == wire.ReasonUnknownKey })
	if out := o.Run("boxes", o.Dir, "--bad"); !strings.Contains(out, "told what is not yours: unknown_key") || strings.Contains(out, "room-2") {
		t.Error(out)
	}
	if err := off(); err != nil {
		t.Error(err)
	}
}

// noise is what somebody with a stolen claim may send: requests that cannot be read, and many that can.
func noise(t *testing.T, o *fleetOffice) {
	t.Helper()
	member := o.member()
	prov, err := wire.NewProv("room-66")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		member.Publish(prov.CSR(), fmt.Appendf(nil, `{"schema":1,"nonce":"%d"`, i), 1, i == 0)
	}
	phonetest.Eventually(t, 20*time.Second, "the noise is sent", func() bool { return member.Stats().Queued == 0 })
}
