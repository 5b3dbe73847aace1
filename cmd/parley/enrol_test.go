package main_test

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
	"parley/cmd/parleyctl/fleet"
	"parley/mqtt"
	"parley/mqtt/wire"
)

// fleetOffice is a fleet's central side, and its keys.
type fleetOffice struct {
	*boxtest.Office
	t     *testing.T
	fleet *fleet.Fleet
}

func newFleetOffice(t *testing.T) *fleetOffice {
	t.Helper()
	o := &fleetOffice{Office: boxtest.NewOffice(t), t: t}
	var err error
	if o.fleet, err = fleet.Open(o.Dir); err != nil {
		t.Fatal(err)
	}
	return o
}

// operator is the operator's own connection.
func (o *fleetOffice) operator(box string) *central {
	o.t.Helper()
	ca, own, err := o.fleet.Access()
	if err != nil {
		o.t.Fatal(err)
	}
	names, err := o.fleet.Topics(box)
	if err != nil {
		o.t.Fatal(err)
	}
	return newCentral(o.t, mqtt.Config{URL: o.fleet.Broker, CA: ca, Certificate: own}, names)
}

// fresh lays out a box that nobody has touched since it was flashed: it has a name and the fleet's boot file.
func (o *fleetOffice) fresh(name string) *boxtest.Box {
	o.t.Helper()
	return freshBox(o.t, name, o.BootFile(), "")
}

func freshBox(t testing.TB, name, boot, dhcp string) *boxtest.Box {
	return boxtest.New(t, boxtest.Config{Settings: boxtest.Settings{
		"box": name, "provision": boxtest.Settings{"boot_file": boot, "dhcp_file": dhcp},
	}})
}

func enrolled(box *boxtest.Box) bool {
	_, err := os.Stat(filepath.Join(box.Data, "identity", "enrolled.json"))
	return err == nil
}

// Spec 6, X-9: a box comes from the flash, and nobody touches it: it asks, waits for the operator, is let in, gets its settings, and is
// registered at the PBX. Another one with its name and another key is refused until the operator releases the name, and then the
// first is out.
func TestFromFirstBootToRegistered(t *testing.T) {
	t.Parallel()
	o := newFleetOffice(t)
	serve := o.Serve()
	registrar := pbx(t)
	box := o.fresh("room-1")
	began := time.Now()
	box.Begin()
	serve.WaitLine("room-1 pending: desk, serial number room-1; to let it in: parleyctl provision allow "+o.Dir+" room-1", 30*time.Second)
	box.WaitLine("the enrolment waits for the operator", 20*time.Second)
	asked := time.Since(began)
	if out := o.Run("boxes", o.Dir); !strings.Contains(out, "1 box: 1 waits") {
		phonetest.Eventually(t, 10*time.Second, "the box is in the table: "+out, func() bool {
			return strings.Contains(o.Run("boxes", o.Dir), "1 box: 1 waits")
		})
	}
	o.Run("allow", o.Dir, "room-1")
	allowed := time.Now()
	c := o.operator("room-1")
	c.session(1) // it has begun anew, as a box of the enterprise
	t.Logf("asked %v after its start, with its settings' broker %v after it was allowed", asked.Round(time.Millisecond), time.Since(allowed).Round(time.Millisecond))
	if !enrolled(box) {
		t.Error("it keeps nothing of that")
	}

	file := filepath.Join(t.TempDir(), "room.yaml")
	write(t, file, fmt.Sprintf(`
place: {name: "{{box}}"}
conferences: [{number: "4711"}]
sip:
  upstreams:
    - {name: pbx, registrar: %q, user: box, password: trunk}
`, registrar.Addr()))
	told := time.Now()
	if out := o.Run("set", o.Dir, "room-1", file, "--confirm", "20s", "--wait"); !strings.Contains(out, "room-1: version 1 applied") {
		t.Fatal(out)
	}
	phonetest.Eventually(t, 20*time.Second, "the box is registered", func() bool {
		said := registrar.Messages()
		return strings.Contains(received(said), "Authorization: Digest") && strings.Contains(said, "SIP/2.0 200 OK")
	})
	t.Logf("applied, and registered at the PBX, %v after the settings were told; %v after the first start", time.Since(told).Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	if status := callStatus(t, box, "4711"); status != "" {
		t.Error(status)
	}
	if raw, _ := o.fleet.Told("room-1"); strings.Contains(string(raw), "trunk") || len(raw) == 0 {
		t.Errorf("a secret in the open, or nothing: %s", raw)
	}
	if out := o.Run("command", o.Dir, "room-1", "mute"); !strings.Contains(out, "done") {
		t.Error(out)
	}
	// Who stands before the box need not know whose it has become.
	if out, status := box.Ctl("support", "-http", "http://"+box.HTTP, "-o", filepath.Join(t.TempDir(), "bundle.gz")); status != 0 {
		t.Errorf("parleyctl support at the box: %d, %s", status, out)
	}
	if out := o.Run("boxes", o.Dir, "--width", "200"); !strings.Contains(out, "1 box: 1 ready") || !strings.Contains(out, "room-1  ready  1 ") {
		t.Error(out)
	}
	// Settings that cut it off undo themselves, and the operator is told.
	write(t, file, "mqtt: {broker: \"mqtts://127.0.0.1:1\"}\n")
	out, status := o.Ctl("set", o.Dir, "room-1", file, "--confirm", "5s", "--wait", "--timeout", "60s")
	if status != 1 || !strings.Contains(out, "room-1: version 2 undone: confirm_timeout (without mqtt") {
		t.Errorf("%d, %s", status, out)
	}
	if out := o.Run("boxes", o.Dir); !strings.Contains(out, "1 not 2") || !strings.Contains(out, "2: confirm_timeout") {
		t.Error(out)
	}
	sameName(t, o, serve, box)
}

// sameName brings a second box of the first one's name.
func sameName(t *testing.T, o *fleetOffice, serve *phonetest.Process, first *boxtest.Box) {
	t.Helper()
	second := o.fresh("room-1")
	second.Begin()
	second.WaitLine("already_claimed", 30*time.Second)
	serve.WaitLine("room-1 rejected", 10*time.Second)
	if enrolled(second) {
		t.Error("the second box is enrolled")
	}
	phonetest.Eventually(t, 10*time.Second, "the operator sees it", func() bool {
		return strings.Contains(o.Run("boxes", o.Dir), "another box asked in its name: already_claimed")
	})
	if out := o.Run("command", o.Dir, "room-1", "mute"); !strings.Contains(out, "done") {
		t.Errorf("the first: %s", out)
	}
	second.StopCleanly()

	// The operator releases the name; mosquitto reads which certificates count no more.
	o.Run("release", o.Dir, "room-1")
	if err := syscall.Kill(o.Broker.PID(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	second.Restart()
	second.WaitLine("the box is enrolled", 30*time.Second)
	first.Kill()
	first.Begin()
	first.WaitLine("revoked", 30*time.Second)
	// It has been told version 2, too, and undoes it as the first did: until then nobody reaches it.
	phonetest.Eventually(t, 30*time.Second, "the second is back from what cuts it off", func() bool {
		text := strings.Join(second.Lines(), "\n")
		undone := strings.LastIndex(text, "settings from outside do not hold")
		return undone >= 0 && strings.Contains(text[undone:], "mqtt: connected")
	})
	if out := o.Run("command", o.Dir, "room-1", "mute"); !strings.Contains(out, "done") {
		t.Errorf("the second, after the release: %s", out)
	}
}

// Spec 6: an answer that the operator has not signed for this very question changes nothing, whoever sends it; nor does one that he
// signed for another box, another key, or another time.
func TestForgedAnswers(t *testing.T) {
	t.Parallel()
	o := newFleetOffice(t)
	c := o.operator("room-1")
	asked := make(chan wire.EnrolRequest, 64)
	heard := make(chan string, 64) // answers that the broker has let through
	prov, _ := wire.NewProv("room-1")
	c.Subscribe(prov.Answers(), func(m mqtt.Message) {
		var r wire.EnrolRequest
		if m.Topic != prov.CSR() {
			heard <- m.Topic + " " + string(m.Payload)
		} else if wire.Decode(m.Payload, &r) == nil {
			asked <- r
		}
	})
	question := func() wire.EnrolRequest {
		t.Helper()
		select {
		case r := <-asked:
			return r
		case <-time.After(30 * time.Second):
			t.Fatal("the box does not ask")
		}
		panic("not reached")
	}
	box := o.fresh("room-1")
	box.Begin()
	r := question()
	answers := newForger(t, o, &r)

	// Another of the fleet has the same claim, and sends under the name of the box itself or under its own.
	member := o.member()
	for _, a := range answers.forged() {
		member.Publish(prov.Answer(a.status), a.message, 1, false)
	}
	phonetest.Eventually(t, 20*time.Second, "the member's messages are sent", func() bool { return member.Stats().Queued == 0 })
	genuine := answers.pending()
	publish(t, c, prov.Answer(wire.EnrolPending), genuine)
	if got := <-heard; got != prov.Answer(wire.EnrolPending)+" "+string(genuine) {
		t.Errorf("the broker let through: %s", got)
	}
	box.WaitLine("the enrolment waits for the operator", 20*time.Second)

	// Somebody gets past the broker's rules.
	for _, a := range answers.forged() {
		publish(t, c, prov.Answer(a.status), a.message)
	}
	box.WaitLine("not believed", 20*time.Second)
	nothingChanged(t, box, c, prov, answers)

	// The box asks in its next life; what was right in the last one is right no more.
	accepted := answers.accepted()
	box.Kill()
	for len(asked) > 0 {
		<-asked
	}
	box.Begin()
	r = question()
	publish(t, c, prov.Answer(wire.EnrolAccepted), accepted)
	box.WaitLine("an answer to something else", 20*time.Second)
	answers.asked = &r
	nothingChanged(t, box, c, prov, answers)
	publish(t, c, prov.Answer(wire.EnrolAccepted), answers.accepted())
	box.WaitLine("the box is enrolled", 20*time.Second)
	if c.session(2); !enrolled(box) {
		t.Error("the right answer is not kept")
	}
}

func publish(t *testing.T, c *central, topic string, message []byte) {
	t.Helper()
	if err := c.Publish(topic, message, 1, false); err != nil {
		t.Fatal(err)
	}
}

// nothingChanged holds that a box which asks has taken no answer. The answers before it have been looked at when the box asks again,
// which a genuine one has it do.
func nothingChanged(t *testing.T, box *boxtest.Box, c *central, prov wire.Prov, f *forger) {
	t.Helper()
	again := make(chan struct{}, 64)
	c.Subscribe(prov.CSR(), func(mqtt.Message) { again <- struct{}{} })
	publish(t, c, prov.Answer(wire.EnrolPending), f.pending())
	select {
	case <-again:
	case <-time.After(30 * time.Second):
		t.Fatal("the box asks no more")
	}
	if enrolled(box) {
		t.Error("the box believes that it is enrolled")
	}
	if strings.Contains(strings.Join(box.Lines(), "\n"), "the box begins anew") {
		t.Error("the box has begun anew")
	}
}

// member is another fresh box's connection, with the claim.
func (o *fleetOffice) member() *mqtt.Client {
	o.t.Helper()
	ca, _, _ := o.fleet.Access()
	claim, err := tls.LoadX509KeyPair(filepath.Join(o.Dir, "claim/claim.pem"), filepath.Join(o.Dir, "claim/claim.key"))
	if err != nil {
		o.t.Fatal(err)
	}
	c, err := mqtt.New(mqtt.Config{URL: o.fleet.Broker, CA: ca, Certificate: &claim, ClientID: "room-66"})
	if err != nil {
		o.t.Fatal(err)
	}
	done := make(chan struct{})
	ctx := o.t.Context()
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	o.t.Cleanup(func() { <-done })
	phonetest.Eventually(o.t, 20*time.Second, "the member is connected", func() bool { return c.Stats().Connected })
	return c
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Spec 6: discovery gives an address, never trust. A broker whose certificate another authority has signed, or that shows one
// of a box of the fleet, is not talked to, whoever named it.
func TestForeignBroker(t *testing.T) {
	t.Parallel()
	o := newFleetOffice(t)
	boot, err := o.fleet.BootFile()
	if err != nil {
		t.Fatal(err)
	}
	other := phonetest.NewAuthority(t).Issue(t, "127.0.0.1")
	pair := func(cert, key string) tls.Certificate {
		t.Helper()
		p, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for name, cert := range map[string]tls.Certificate{
		"another authority": pair(other.Cert, other.Key),
		"one of the fleet":  pair(filepath.Join(o.Dir, "claim/claim.pem"), filepath.Join(o.Dir, "claim/claim.key")),
		"the right one":     pair(filepath.Join(o.Dir, "broker/server.pem"), filepath.Join(o.Dir, "broker/server.key")),
	} {
		for _, by := range []string{"boot file", "DHCP"} {
			foreign, said := listenTLS(t, cert)
			dir := t.TempDir()
			file, dhcp, text := filepath.Join(dir, "provision.yaml"), filepath.Join(dir, "dhcp"), string(boot)
			if by == "DHCP" {
				text = strings.Replace(text, "broker: mqtts://"+o.Addr+"\n", "", 1)
				write(t, dhcp, "broker=mqtts://"+foreign+"\n")
			} else {
				text = strings.Replace(text, o.Addr, foreign, 1)
			}
			write(t, file, text)
			box := freshBox(t, "room-1", file, dhcp)
			box.Begin()
			outcome := <-said
			if right := name == "the right one"; right != strings.Contains(outcome, "MQTT") {
				t.Errorf("%s, named by %s: %q", name, by, outcome)
			} else if !right {
				box.WaitLine("mqtt: not connected", 20*time.Second)
			}
			box.StopCleanly()
		}
	}
}

// listenTLS is a broker that tells the first words that it hears over TLS, or why it hears none.
func listenTLS(t *testing.T, cert tls.Certificate) (addr string, said <-chan string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	words := make(chan string, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(10 * time.Second))
			b := make([]byte, 256)
			n, err := c.Read(b)
			text := string(b[:n])
			if n == 0 {
				text = fmt.Sprint(err)
			}
			c.Close()
			select {
			case words <- text:
			default:
			}
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String(), words
}
