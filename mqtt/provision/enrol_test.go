package provision

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley/mqtt/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// office is an operator who answers.
type office struct {
	t     testing.TB
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
	caPEM string
}

func newOffice(t testing.TB) *office {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	return &office{t, key, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

func (o *office) certificate(pub any) string {
	o.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour)}, o.cert, pub, o.key)
	if err != nil {
		o.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func (o *office) accept(r wire.EnrolRequest) wire.EnrolAnswer {
	o.t.Helper()
	csr, err := r.OpenCSR()
	if err != nil {
		o.t.Fatal(err)
	}
	a := r.Answer(wire.EnrolAccepted)
	a.EID, a.Broker, a.CA, a.Certificate = "acme", "mqtts://hub.example.com:8883", o.caPEM, o.certificate(csr.PublicKey)
	a.Keys = []string{wire.EncodePublicKey(stranger.Public().(ed25519.PublicKey))}
	return a
}

func sealed(t testing.TB, a wire.EnrolAnswer, key ed25519.PrivateKey) []byte {
	t.Helper()
	b, err := wire.SignEnrolAnswer(a, key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// line is a Link to a broker in this process.
type line struct {
	mu     sync.Mutex
	take   func(string, []byte)
	filter string
	answer func(r wire.EnrolRequest, tell func(wire.EnrolStatus, []byte))
	down   bool
	asked  int
}

func (l *line) Subscribe(filter string, take func(string, []byte)) error {
	l.filter, l.take = filter, take
	return nil
}

func (l *line) Publish(topic string, payload []byte) error {
	var r wire.EnrolRequest
	if err := wire.Decode(payload, &r); err != nil {
		return err
	}
	l.mu.Lock()
	l.asked++
	l.mu.Unlock()
	l.take(topic, payload) // a broker tells a subscriber its own message, too
	names, _ := wire.NewProv(r.Box)
	if topic != names.CSR() || l.filter != names.Answers() {
		return errors.New("wrong topics")
	}
	if l.answer != nil {
		l.answer(r, func(s wire.EnrolStatus, b []byte) { l.take(names.Answer(s), b) })
	}
	return nil
}

func (l *line) Up() bool                      { return !l.down }
func (l *line) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (l *line) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

// newcomer runs an enrolment until it is done or the test ends.
type newcomer struct {
	id     *Identity
	done   chan struct{}
	told   []string
	places []string // dialled
}

func enrol(t *testing.T, lines map[string]*line) *newcomer {
	t.Helper()
	return enrolAs(t, lines, func(*Identity, *EnrolConfig) {})
}

func enrolAs(t *testing.T, lines map[string]*line, change func(*Identity, *EnrolConfig)) *newcomer {
	t.Helper()
	n := &newcomer{done: make(chan struct{})}
	var err error
	if n.id, err = OpenIdentity("i", true, newDisk()); err != nil {
		t.Fatal(err)
	}
	places := func(context.Context) (list []Place) {
		for _, url := range []string{"mqtts://a", "mqtts://b", "mqtts://c"} {
			if lines[url] != nil {
				list = append(list, Place{URL: url, From: "test", Shown: url == "mqtts://c"})
			}
		}
		return list
	}
	cfg := EnrolConfig{
		Box: "box-1", Serial: "s1", Model: "desk", Firmware: "1", Identity: n.id, Places: places,
		Keys: []string{wire.EncodePublicKey(operator.Public().(ed25519.PublicKey))},
		Dial: func(url string) (Link, error) {
			n.places = append(n.places, url)
			return lines[url], nil
		},
		Done: func() { close(n.done) }, Tell: func(s string) { n.told = append(n.told, s) },
		Log:     slog.New(slog.NewTextHandler(io.Discard, nil)),
		Connect: 200 * time.Millisecond, First: time.Millisecond, Most: 10 * time.Millisecond, Refused: time.Millisecond,
	}
	change(n.id, &cfg)
	e, err := NewEnrolment(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return n
}

func (n *newcomer) wait(t *testing.T) {
	t.Helper()
	select {
	case <-n.done:
	case <-time.After(30 * time.Second):
		t.Fatal("is not enrolled")
	}
}

// Spec 6: a box asks, waits while it is told to wait, and keeps whole what it is given. A broker that is not there is passed over.
func TestEnrolment(t *testing.T) {
	o := newOffice(t)
	asked := 0
	var nonce string
	there := &line{answer: func(r wire.EnrolRequest, tell func(wire.EnrolStatus, []byte)) {
		asked++
		if nonce == "" {
			nonce = r.Nonce
		}
		if r.Nonce != nonce || r.Box != "box-1" || r.Serial != "s1" {
			t.Errorf("asks as %+v", r)
		}
		switch asked {
		case 1: // nobody answers
		case 2:
			a := r.Answer(wire.EnrolRejected)
			a.Reason = wire.ReasonAlreadyClaimed
			tell(wire.EnrolRejected, sealed(t, a, operator))
		case 3:
			a := r.Answer(wire.EnrolPending)
			a.RetryAfter = 1
			tell(wire.EnrolPending, sealed(t, a, operator))
		default:
			tell(wire.EnrolAccepted, sealed(t, o.accept(r), operator))
		}
	}}
	n := enrol(t, map[string]*line{"mqtts://a": {down: true}, "mqtts://b": there})
	n.wait(t)
	if !slices.Equal(n.places, []string{"mqtts://a", "mqtts://b"}) || !slices.Contains(n.told, wire.ReasonAlreadyClaimed) || n.told[len(n.told)-1] != "" {
		t.Errorf("was at %v, told %q", n.places, n.told)
	}
	again, err := OpenIdentity("i", false, n.id.fs)
	if err != nil || again.Enrolled == nil || again.Enrolled.Answer.EID != "acme" || !again.TLS.Equal(n.id.TLS) || !again.Seal.Equal(n.id.Seal) {
		t.Fatalf("%+v, %v", again, err)
	}
	if len(again.Enrolled.Keys) != 2 {
		t.Errorf("keys %v", again.Enrolled.Keys)
	}
	own, ca, err := again.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := own.Leaf.Verify(x509.VerifyOptions{Roots: ca, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Error(err)
	}
}

// A stolen box of the fleet, or a foreign broker, cannot enrol another: only what the operator has signed for this very question counts.
func TestForgedAnswers(t *testing.T) {
	o := newOffice(t)
	var old *wire.EnrolRequest // of another run of the box
	forged := 0
	l := &line{}
	l.answer = func(r wire.EnrolRequest, tell func(wire.EnrolStatus, []byte)) {
		if forged > 0 {
			if l.asked > 5 {
				tell(wire.EnrolAccepted, sealed(t, o.accept(r), operator))
			}
			return
		}
		right := o.accept(r)
		change := func(f func(*wire.EnrolAnswer)) wire.EnrolAnswer {
			a := right
			f(&a)
			return a
		}
		thief, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		other, _ := OpenIdentity("x", true, newDisk())
		csr, _ := wire.NewCSR(other.TLS, "box-1", wire.EncodeSealKey(other.Seal.PublicKey()))
		q := r
		q.CSR, q.Seal = csr, wire.EncodeSealKey(other.Seal.PublicKey())
		old = &q
		genuine := sealed(t, right, operator)
		for _, b := range [][]byte{
			nil, []byte("x"), []byte(`{}`), genuine[:len(genuine)/2],
			sealed(t, right, stranger),          // another member of the fleet
			sealed(t, o.accept(*old), operator), // for another key
			sealed(t, change(func(a *wire.EnrolAnswer) { a.Nonce = rand.Text() }), operator),                         // a replay
			sealed(t, change(func(a *wire.EnrolAnswer) { a.Box = "box-2" }), operator),                               // for another box
			sealed(t, change(func(a *wire.EnrolAnswer) { a.Seal = q.Seal }), operator),                               // for another sealing key
			sealed(t, change(func(a *wire.EnrolAnswer) { a.Certificate = o.certificate(thief.Public()) }), operator), // somebody's certificate
		} {
			forged++
			for _, s := range []wire.EnrolStatus{wire.EnrolAccepted, wire.EnrolPending, wire.EnrolRejected} {
				tell(s, b)
			}
		}
		tell(wire.EnrolPending, genuine) // under another topic
		tell(wire.EnrolRejected, genuine)
		tell("else", genuine)
	}
	n := enrol(t, map[string]*line{"mqtts://a": l, "mqtts://c": {}})
	n.wait(t)
	if forged != 10 || n.id.Enrolled.Answer.EID != "acme" {
		t.Errorf("%d forged", forged)
	}
	if l.count() < 5 {
		t.Errorf("believed after %d questions", l.count())
	}
	if slices.Contains(n.places, "mqtts://c") {
		t.Error("a broker was used that only the local network has named")
	}
}

// A box that is enrolled and cannot reach its broker asks once more. The same answer changes nothing, another one does.
func TestEnrolmentOnceMore(t *testing.T) {
	o := newOffice(t)
	var first wire.EnrolAnswer
	moved := "mqtts://elsewhere.example.com"
	l := &line{}
	l.answer = func(r wire.EnrolRequest, tell func(wire.EnrolStatus, []byte)) {
		a := r.Answer(wire.EnrolAccepted)
		a.EID, a.Broker, a.Certificate, a.CA, a.Keys = first.EID, first.Broker, first.Certificate, first.CA, first.Keys
		if l.asked > 6 {
			a.Broker = moved
		}
		tell(wire.EnrolAccepted, sealed(t, a, operator))
	}
	n := enrolAs(t, map[string]*line{"mqtts://a": l}, func(id *Identity, c *EnrolConfig) {
		seal := wire.EncodeSealKey(id.Seal.PublicKey())
		csr, err := wire.NewCSR(id.TLS, "box-1", seal)
		if err != nil {
			t.Fatal(err)
		}
		first = o.accept(wire.EnrolRequest{Box: "box-1", CSR: csr, Seal: seal})
		if err := id.Keep(Enrolled{Answer: first}); err != nil {
			t.Fatal(err)
		}
		var asked atomic.Int32
		c.Wanted = func() bool { return asked.Add(1) > 3 }
	})
	n.wait(t)
	if n.id.Enrolled.Answer.Broker != moved || l.count() < 7 {
		t.Errorf("%+v after %d questions", n.id.Enrolled.Answer, l.count())
	}
}

// Keys are on the disk before anybody hears of them, whatever fails; none that is there is ever replaced.
func TestIdentity(t *testing.T) {
	whole := newDisk()
	first, err := OpenIdentity("i", true, whole)
	if err != nil {
		t.Fatal(err)
	}
	operations := whole.ops
	for k := 1; k <= operations; k++ {
		d := newDisk()
		d.failAt, d.fails = k, errFull
		id, err := OpenIdentity("i", true, d)
		after := d.crash(func(int) int { return 0 })
		again, e := OpenIdentity("i", true, after)
		if e != nil {
			t.Fatalf("operation %d: %v", k, e)
		}
		if err == nil && (!id.TLS.Equal(again.TLS) || !id.Seal.Equal(again.Seal)) {
			t.Errorf("operation %d: a key was given that is not kept", k)
		}
	}
	for _, name := range []string{"i/" + tlsKeyFile, "i/" + sealKeyFile} {
		d := newDisk()
		for n, b := range whole.names {
			d.names[n] = b
		}
		for _, text := range []string{"", "x", strings.ToLower(whole.names[name]), whole.names["i/"+tlsKeyFile] + whole.names["i/"+sealKeyFile], strings.Repeat("x", 1<<20)} {
			if text == whole.names[name] || name == "i/"+tlsKeyFile && strings.HasPrefix(text, whole.names[name]) {
				continue
			}
			d.names[name] = text
			if _, err := OpenIdentity("i", true, d); !errors.Is(err, ErrIdentity) && err == nil {
				t.Errorf("%s: %.20q: %v", name, text, err)
			}
			if d.names[name] != text {
				t.Errorf("%s was replaced", name)
			}
		}
	}
	if id, err := OpenIdentity("i", false, newDisk()); err != nil || id.TLS != nil || id.Seal != nil || id.Enrolled != nil {
		t.Errorf("%+v, %v", id, err)
	}
	for _, text := range []string{"", "x", "{}", `{"answer":{"schema":1,"status":"pending"}}`} {
		whole.names["i/"+enrolledFile] = text
		if id, err := OpenIdentity("i", true, whole); err != nil || id.Enrolled != nil || !id.TLS.Equal(first.TLS) {
			t.Errorf("%q: %+v, %v", text, id, err)
		}
	}
}
