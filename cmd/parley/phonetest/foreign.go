package phonetest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Foreign is a terminal that is not ours: mosquitto_pub and mosquitto_sub, with exact bytes, at any broker.
type Foreign struct {
	t    testing.TB
	args []string
}

// NewForeign is one at a broker's host:port. args are further ones for both programs, such as "-u", "2001", "-P", "secret".
func NewForeign(t testing.TB, addr string, args ...string) *Foreign {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return &Foreign{t: t, args: append([]string{"-h", host, "-p", port}, args...)}
}

// Foreign is a terminal at this broker, as this user.
func (m *Mosquitto) Foreign(user string) *Foreign {
	m.t.Helper()
	return &Foreign{t: m.t, args: m.Client(user)}
}

// Publish publishes exactly these bytes with QoS 1, and waits until the broker has them. more are further arguments, such as "-r".
func (f *Foreign) Publish(topic string, payload []byte, more ...string) {
	f.t.Helper()
	if out, err := f.publish(topic, payload, more); err != nil {
		f.t.Fatalf("mosquitto_pub %s: %v: %s", topic, err, out)
	}
}

// Refused tries the same and fails the test unless the broker refuses it: as MQTT 5, which alone has a word for it.
func (f *Foreign) Refused(topic string, payload []byte, more ...string) {
	f.t.Helper()
	out, err := f.publish(topic, payload, append([]string{"-V", "5"}, more...))
	if err == nil && !strings.Contains(strings.ToLower(string(out)), "not authorized") {
		f.t.Errorf("%s takes what it should refuse: %s", topic, out)
	}
}

func (f *Foreign) publish(topic string, payload []byte, more []string) ([]byte, error) {
	f.t.Helper()
	args := append(append([]string(nil), f.args...), "-q", "1", "-t", topic)
	if len(payload) == 0 {
		args = append(args, "-n")
	} else {
		args = append(args, "-s")
	}
	cmd := exec.Command(Need(f.t, "mosquitto_pub"), append(args, more...)...)
	cmd.Stdin = bytes.NewReader(payload)
	return cmd.CombinedOutput()
}

// Message is what a Foreign has received.
type Message struct {
	Topic    string
	Payload  []byte
	Retained bool // was there before the subscription
}

// Inbox is the messages of one subscription.
type Inbox struct {
	t       testing.TB
	filter  string
	process *Process
}

// inboxMark begins a line that is a message; others are mosquitto_sub's own talk.
const inboxMark = "message "

// Subscribe runs mosquitto_sub with QoS 1, and waits until the broker has granted the subscription.
func (f *Foreign) Subscribe(filter string, more ...string) *Inbox {
	f.t.Helper()
	args := append(append([]string(nil), f.args...), "-d", "-q", "1", "-F", inboxMark+"%r %x %t", "-t", filter)
	p := Start(f.t, f.t.TempDir(), "stdbuf", append([]string{"-oL", Need(f.t, "mosquitto_sub")}, append(args, more...)...)...)
	granted := p.WaitLine("Subscribed (mid: ", 20*time.Second)
	if !strings.HasSuffix(granted, ": 0") && !strings.HasSuffix(granted, ": 1") {
		f.t.Fatalf("mosquitto_sub %s: %s", filter, granted)
	}
	return &Inbox{t: f.t, filter: filter, process: p}
}

// Messages are all so far, in the order in which they came.
func (i *Inbox) Messages() []Message {
	i.t.Helper()
	var all []Message
	for _, line := range i.process.Lines() {
		rest, ok := strings.CutPrefix(line, inboxMark)
		if !ok {
			continue
		}
		m, err := parseMessage(rest)
		if err != nil {
			i.t.Fatalf("mosquitto_sub said %.200q: %v", line, err)
		}
		all = append(all, m)
	}
	return all
}

// parseMessage reads "retained hex topic"; the hex of an empty payload is nothing.
func parseMessage(line string) (Message, error) {
	parts := strings.SplitN(line, " ", 3)
	if len(parts) != 3 {
		return Message{}, fmt.Errorf("%d parts", len(parts))
	}
	payload, err := hex.DecodeString(parts[1])
	return Message{Topic: parts[2], Payload: payload, Retained: parts[0] == "1"}, err
}

// Wait waits for a message that is so, and returns the first. Messages that came before the call count.
func (i *Inbox) Wait(what string, timeout time.Duration, ok func(Message) bool) Message {
	i.t.Helper()
	var found Message
	seen := 0
	Eventually(i.t, timeout, fmt.Sprintf("in %s: %s", i.filter, what), func() bool {
		all := i.Messages()
		for ; seen < len(all); seen++ {
			if ok(all[seen]) {
				found = all[seen]
				return true
			}
		}
		return false
	})
	return found
}

// Close ends the subscription.
func (i *Inbox) Close() { i.process.Stop() }
