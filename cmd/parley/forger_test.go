package main_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/mqtt/wire"
)

// forger makes answers to a question.
type forger struct {
	t        *testing.T
	office   *fleetOffice
	asked    *wire.EnrolRequest
	stranger ed25519.PrivateKey
}

func newForger(t *testing.T, o *fleetOffice, asked *wire.EnrolRequest) *forger {
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &forger{t, o, asked, stranger}
}

type forgedAnswer struct {
	status  wire.EnrolStatus
	message []byte
}

// accept is what an operator would answer who wants the box.
func (f *forger) accept() wire.EnrolAnswer {
	f.t.Helper()
	if _, err := f.office.fleet.Allow([]string{f.asked.Serial}); err != nil {
		f.t.Fatal(err)
	}
	a, err := f.office.fleet.Enrol(f.asked, time.Minute, time.Now())
	if err != nil || a.Status != wire.EnrolAccepted {
		f.t.Fatalf("%+v, %v", a, err)
	}
	return a
}

func (f *forger) sign(a wire.EnrolAnswer, keys ...ed25519.PrivateKey) []byte {
	f.t.Helper()
	b, err := wire.SignEnrolAnswer(a, keys...)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

func (f *forger) accepted() []byte { return f.sign(f.accept(), f.office.fleet.Operator()) }

// pending is genuine, and has the box ask again in a second.
func (f *forger) pending() []byte {
	a := f.asked.Answer(wire.EnrolPending)
	a.RetryAfter = 1
	return f.sign(a, f.office.fleet.Operator())
}

// forged are answers that the box must not believe.
func (f *forger) forged() []forgedAnswer {
	operator, right := f.office.fleet.Operator(), f.accept()
	change := func(to func(*wire.EnrolAnswer)) wire.EnrolAnswer {
		a := right
		to(&a)
		return a
	}
	elsewhere := change(func(a *wire.EnrolAnswer) {
		a.Broker, a.Keys = "mqtts://evil.example.com", []string{publicHalf(f.stranger)}
	})
	asOperator, err := wire.Sign([]byte(`{}`), operator)
	if err != nil {
		f.t.Fatal(err)
	}
	// A stranger's signature under the name of the operator's key.
	named := strings.Replace(string(f.sign(elsewhere, f.stranger)), wire.KeyID(f.stranger.Public().(ed25519.PublicKey)),
		wire.KeyID(operator.Public().(ed25519.PublicKey)), 1)
	own, _ := os.ReadFile(filepath.Join(f.office.Dir, "claim", "claim.pem"))
	list := []forgedAnswer{
		{wire.EnrolAccepted, f.sign(elsewhere, f.stranger)},
		{wire.EnrolAccepted, []byte(named)},
		{wire.EnrolAccepted, asOperator},
		{wire.EnrolAccepted, f.sign(change(func(a *wire.EnrolAnswer) { a.Box = "room-2" }), operator)},
		{wire.EnrolAccepted, f.sign(change(func(a *wire.EnrolAnswer) { a.Nonce = rand.Text() }), operator)},
		{wire.EnrolAccepted, f.sign(change(func(a *wire.EnrolAnswer) { a.CSR = strings.Repeat("0", 64) }), operator)},
		{wire.EnrolAccepted, f.sign(change(func(a *wire.EnrolAnswer) { a.Seal = strings.Repeat("A", 43) + "=" }), operator)},
		{wire.EnrolAccepted, f.sign(change(func(a *wire.EnrolAnswer) { a.Certificate = string(own) }), operator)}, // of another key
		{wire.EnrolRejected, f.sign(right, operator)},                                                             // on another topic
		{wire.EnrolAccepted, []byte("{")},
	}
	return list
}
