package fleet

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"parley/cmd/parley/config"
	"parley/mqtt/wire"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newFleet(t testing.TB) *Fleet {
	t.Helper()
	f, err := Create(filepath.Join(t.TempDir(), "fleet"), Options{EID: "acme", Broker: "mqtts://127.0.0.1:8883", Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// newRequest is a box's that nobody knows yet.
func newRequest(t testing.TB, box, serial string) *wire.EnrolRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return again(t, key, box, serial)
}

func again(t testing.TB, key *ecdsa.PrivateKey, box, serial string) *wire.EnrolRequest {
	t.Helper()
	seal, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := &wire.EnrolRequest{Schema: 1, Nonce: rand.Text(), Box: box, Serial: serial, Model: "desk", Firmware: "dev", Seal: wire.EncodeSealKey(seal.PublicKey())}
	if r.CSR, err = wire.NewCSR(key, box, r.Seal); err != nil {
		t.Fatal(err)
	}
	return r
}

// answer asks, and takes the answer as the box would.
func answer(t testing.TB, f *Fleet, r *wire.EnrolRequest) wire.EnrolAnswer {
	t.Helper()
	a, err := f.Enrol(r, time.Minute, noon)
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := f.SignAnswer(a)
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.OpenEnrolAnswer(a.Status, envelope, f.Keys(), r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Spec 6: pending is the default, the list decides, the same key gets the same answer, another key none until the box is released, and
// all of that stands on the disk.
func TestEnrol(t *testing.T) {
	f := newFleet(t)
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	first := again(t, key, "box-1", "S1")
	if a := answer(t, f, first); a.Status != wire.EnrolPending || a.RetryAfter != 60 {
		t.Fatalf("not on the list: %+v", a)
	}
	if n, err := f.Allow([]string{"S1", "box-7", "S1"}); n != 2 || err != nil {
		t.Fatalf("%d put on the list, %v", n, err)
	}
	granted := answer(t, f, first)
	if granted.Status != wire.EnrolAccepted || granted.EID != "acme" || granted.Broker != "mqtts://127.0.0.1:8883" {
		t.Fatalf("on the list: %+v", granted)
	}
	f, err := Open(f.dir) // what follows is another process
	if err != nil {
		t.Fatal(err)
	}
	if a := answer(t, f, again(t, key, "box-1", "S1")); a.Certificate != granted.Certificate {
		t.Errorf("the same key: %+v", a)
	}
	if a := answer(t, f, newRequest(t, "box-1", "S1")); a.Reason != wire.ReasonAlreadyClaimed {
		t.Errorf("another key: %+v", a)
	}
	if a := answer(t, f, newRequest(t, "box-2", "S1")); a.Reason != wire.ReasonAlreadyClaimed {
		t.Errorf("another box with a serial number that has been used: %+v", a)
	}
	if a := answer(t, f, newRequest(t, "box-7", "S99")); a.Status != wire.EnrolAccepted {
		t.Errorf("on the list by name: %+v", a)
	}

	if err := f.Release("box-1", noon); err != nil {
		t.Fatal(err)
	}
	second := newRequest(t, "box-1", "S1")
	renewed := answer(t, f, second)
	if renewed.Status != wire.EnrolAccepted || renewed.Certificate == granted.Certificate {
		t.Errorf("released: %+v", renewed)
	}
	if a := answer(t, f, again(t, key, "box-1", "S1")); a.Reason != wire.ReasonAlreadyClaimed {
		t.Errorf("the first key, after another has come: %+v", a)
	}
	if err := f.Release("box-1", noon); err != nil {
		t.Fatal(err)
	}
	if n, err := f.Deny([]string{"S1"}); n != 1 || err != nil {
		t.Fatalf("%d taken off the list, %v", n, err)
	}
	if a := answer(t, f, second); a.Status != wire.EnrolPending {
		t.Errorf("released, and off the list: %+v", a)
	}
	testRevoked(t, f, granted.Certificate, renewed.Certificate)
}

func pemBytes(t *testing.T, b []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(b)
	if block == nil {
		t.Fatal("no PEM")
	}
	return block.Bytes
}

func testRevoked(t *testing.T, f *Fleet, certs ...string) {
	t.Helper()
	block, err := os.ReadFile(f.path("broker/crl.pem"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(pemBytes(t, block))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := f.authority()
	if err := list.CheckSignatureFrom(a.cert); err != nil {
		t.Error(err)
	}
	if len(list.RevokedCertificateEntries) != len(certs) {
		t.Errorf("%d certificates are withdrawn", len(list.RevokedCertificateEntries))
	}
	for _, text := range certs {
		cert, err := parseCert([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, e := range list.RevokedCertificateEntries {
			found = found || e.SerialNumber.Cmp(cert.SerialNumber) == 0
		}
		if !found {
			t.Errorf("%s is not withdrawn", cert.SerialNumber)
		}
	}
}

// A request that is not the box's own, or wants a name that has another meaning at the broker, gets no certificate, whatever the list says.
func TestEnrolRefused(t *testing.T) {
	f := newFleet(t)
	names := []string{"operator", "claim", "2001", "box-1", "hub"}
	if _, err := f.Allow(names); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		want := wire.ReasonInvalidCSR
		if name == "box-1" {
			want = ""
		}
		if a := answer(t, f, newRequest(t, name, "S-"+name)); a.Reason != want {
			t.Errorf("%s: %+v", name, a)
		}
	}
	stolen, mine := newRequest(t, "box-2", "S2"), newRequest(t, "box-2", "S2")
	f.Allow([]string{"S2"})
	stolen.Seal = mine.Seal
	if a := answer(t, f, stolen); a.Reason != wire.ReasonInvalidCSR {
		t.Errorf("somebody else's sealing key: %+v", a)
	}
}

// Certificates: the broker's is good for its names, those of boxes are good for clients only, and no box can play the broker.
func TestCertificates(t *testing.T) {
	f := newFleet(t)
	f.Allow([]string{"S1"})
	box := answer(t, f, newRequest(t, "box-1", "S1"))
	ca, own, err := f.Access()
	if err != nil {
		t.Fatal(err)
	}
	server, err := tls.LoadX509KeyPair(f.path("broker/server.pem"), f.path("broker/server.key"))
	if err != nil {
		t.Fatal(err)
	}
	leaf := func(der []byte) *x509.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	boxCert, err := parseCert([]byte(box.Certificate))
	if err != nil {
		t.Fatal(err)
	}
	claimPair, err := tls.LoadX509KeyPair(f.path("claim/claim.pem"), f.path("claim/claim.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		what   string
		cert   *x509.Certificate
		name   string
		server bool
		client bool
	}{
		{"broker", leaf(server.Certificate[0]), "127.0.0.1", true, false},
		{"operator", leaf(own.Certificate[0]), operatorName, false, true},
		{"claim", leaf(claimPair.Certificate[0]), claimName, false, true},
		{"box", boxCert, "box-1", false, true},
	} {
		if x.cert.Subject.CommonName != x.name || x.cert.IsCA {
			t.Errorf("%s: %s, CA %v", x.what, x.cert.Subject, x.cert.IsCA)
		}
		verify := func(usage x509.ExtKeyUsage) bool {
			// A box without a clock believes in the time at which its program was built, or worse.
			for _, at := range []time.Time{noon, time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)} {
				if _, err := x.cert.Verify(x509.VerifyOptions{Roots: ca, KeyUsages: []x509.ExtKeyUsage{usage}, CurrentTime: at}); err != nil {
					return false
				}
			}
			return true
		}
		if s, c := verify(x509.ExtKeyUsageServerAuth), verify(x509.ExtKeyUsageClientAuth); s != x.server || c != x.client {
			t.Errorf("%s: good for a server %v, for a client %v", x.what, s, c)
		}
	}
	if err := leaf(server.Certificate[0]).VerifyHostname("127.0.0.1"); err != nil {
		t.Error(err)
	}
}

// Create makes what is closed to others, and touches no fleet that is there.
func TestCreate(t *testing.T) {
	f := newFleet(t)
	err := filepath.WalkDir(f.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(f.dir, Options{EID: "acme", Broker: "mqtts://127.0.0.1", Now: noon}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second time: %v", err)
	}
	for _, o := range []Options{
		{EID: "", Broker: "mqtts://h"}, {EID: "a/b", Broker: "mqtts://h"}, {EID: "_", Broker: "mqtts://h"}, {EID: "acme", Broker: "mqtt://h"},
		{EID: "acme", Broker: ""}, {EID: "acme", Broker: "mqtts://u:p@h"}, {EID: "acme", Broker: "mqtts://h/x"},
	} {
		if _, err := Create(filepath.Join(t.TempDir(), "x"), o); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrNoFleet) {
		t.Errorf("an empty folder: %v", err)
	}
	boot, err := config.LoadBoot(f.path("boot/provision.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair([]byte(boot.ClaimCertificate), []byte(boot.ClaimKey.Reveal()))
	if err != nil || boot.Broker != f.Broker || len(boot.Keys) != 1 || boot.Keys[0] != wire.EncodePublicKey(f.operator.Public().(ed25519.PublicKey)) {
		t.Errorf("%+v, %v", boot, err)
	}
	ca, _, _ := f.Access()
	if leaf, err := x509.ParseCertificate(pair.Certificate[0]); err != nil || leaf.Subject.CommonName != claimName {
		t.Error(err)
	} else if _, err := leaf.Verify(x509.VerifyOptions{Roots: ca, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
}

// Versions only grow, also above what the box knows better, and what was told is kept.
func TestSign(t *testing.T) {
	f := newFleet(t)
	f.Allow([]string{"S1"})
	answer(t, f, newRequest(t, "box-1", "S1"))
	for _, x := range []struct{ above, want uint64 }{{0, 1}, {0, 2}, {9, 10}, {3, 11}} {
		v, envelope, err := f.Sign("box-1", Order{Settings: []byte(`{"card":{"volume":5}}`), ConfirmS: 60, Above: x.above})
		if err != nil || v != x.want {
			t.Errorf("above %d: %d, %v", x.above, v, err)
		}
		names, _ := f.Topics("box-1")
		if d, _, err := wire.OpenDesired(names, envelope, f.Keys()); err != nil || d.Version != x.want {
			t.Errorf("%+v, %v", d, err)
		}
		if told, err := f.Told("box-1"); err != nil || string(told) != string(envelope) {
			t.Errorf("kept: %s, %v", told, err)
		}
	}
	if _, _, err := f.Sign("box-2", Order{Settings: []byte(`{}`), ConfirmS: 60}); !errors.Is(err, ErrUnknownBox) {
		t.Errorf("a box that has not enrolled: %v", err)
	}
}
