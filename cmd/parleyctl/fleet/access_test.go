package fleet_test

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"parley/cmd/parley/phonetest"
	"parley/cmd/parleyctl/fleet"
	"parley/mqtt"
	"parley/mqtt/wire"
)

// server is a fleet with its broker, as the folder says that it is to be run.
type server struct {
	*fleet.Fleet
	t      *testing.T
	dir    string
	addr   string
	broker *phonetest.Process
}

func serve(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, dir: filepath.Join(t.TempDir(), "fleet"), addr: fmt.Sprintf("127.0.0.1:%d", phonetest.PortBlock(t))}
	var err error
	if s.Fleet, err = fleet.Create(s.dir, fleet.Options{EID: "acme", Broker: "mqtts://" + s.addr, Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	s.start()
	return s
}

func (s *server) start() {
	s.t.Helper()
	s.broker = phonetest.Start(s.t, s.dir, "mosquitto", "-c", filepath.Join(s.dir, "broker", "mosquitto.conf"))
	phonetest.TakesConnections(s.t, "mosquitto", s.addr)
}

// enrol gives a box its certificate, past the broker.
func (s *server) enrol(box string) tls.Certificate {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	seal, _ := ecdh.X25519().GenerateKey(rand.Reader)
	r := &wire.EnrolRequest{Schema: 1, Nonce: rand.Text(), Box: box, Serial: "S-" + box, Model: "desk", Firmware: "dev", Seal: wire.EncodeSealKey(seal.PublicKey())}
	if r.CSR, err = wire.NewCSR(key, box, r.Seal); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.Allow([]string{r.Serial}); err != nil {
		s.t.Fatal(err)
	}
	a, err := s.Enrol(r, time.Minute, time.Now())
	if err != nil || a.Status != wire.EnrolAccepted {
		s.t.Fatalf("%+v, %v", a, err)
	}
	der, _ := x509.MarshalPKCS8PrivateKey(key)
	pair, err := tls.X509KeyPair([]byte(a.Certificate), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil {
		s.t.Fatal(err)
	}
	return pair
}

func (s *server) claim() tls.Certificate {
	s.t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.dir, "claim/claim.pem"), filepath.Join(s.dir, "claim/claim.key"))
	if err != nil {
		s.t.Fatal(err)
	}
	return pair
}

// client connects with a certificate until the test's end.
func (s *server) client(id string, cert tls.Certificate, prepare func(*mqtt.Client)) *mqtt.Client {
	s.t.Helper()
	ca, _, err := s.Access()
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := mqtt.New(mqtt.Config{URL: s.Broker, CA: ca, Certificate: &cert, ClientID: id, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	prepare(c)
	done := make(chan struct{})
	ctx := s.t.Context()
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	s.t.Cleanup(func() { <-done })
	return c
}

// Spec 6: a claim may ask in its own client's name and hear the answers to that, and nothing else; a box has its own topics; the operator
// has all. Run on a real broker, with the settings and rules that Create makes.
func TestAccessRules(t *testing.T) {
	s := serve(t)
	_, own, err := s.Access()
	if err != nil {
		t.Fatal(err)
	}
	certs := map[string]tls.Certificate{"operator": *own, "box-1": s.enrol("box-1"), "box-2": s.enrol("box-2"), "fresh-1": s.claim(), "fresh-2": s.claim()}
	ids := slices.Sorted(maps.Keys(certs)) // the client's id; that of a claim says nothing about its name
	box, _ := wire.NewBox("acme", "box-1")
	elsewhere, _ := wire.NewBox("other", "box-1")
	fresh, _ := wire.NewProv("fresh-1")
	again, _ := wire.NewProv("box-1")
	conf, _ := wire.NewConf("acme", "1000")
	alert, _ := box.Alert("card")
	type who = []string
	boxes, both := who{"box-1", "box-2"}, who{"box-1", "operator"}
	topics := []struct {
		topic            string
		writers, readers who
	}{
		{fresh.CSR(), who{"fresh-1", "operator"}, who{"fresh-1", "operator"}},
		{fresh.Answer(wire.EnrolAccepted), who{"operator"}, who{"fresh-1", "operator"}},
		{fresh.Answer(wire.EnrolRejected), who{"operator"}, who{"fresh-1", "operator"}},
		{again.CSR(), both, both},
		{again.Answer(wire.EnrolAccepted), who{"operator"}, both},
		{box.State(), both, both},
		{box.Info(), both, who{"operator"}},
		{box.Cmd(wire.VerbDial), who{"operator"}, both},
		{box.Res(wire.VerbDial), both, who{"operator"}},
		{box.Desired(), who{"operator"}, both},
		{box.Reported(), both, who{"operator"}},
		{box.Support(), both, who{"operator"}},
		{box.Bookings(), who{"operator"}, both},
		{box.Mute(), both, who{"operator"}},
		{box.Tele(), both, who{"operator"}},
		{alert, both, who{"operator"}},
		{box.LevelsLease(), who{"operator"}, both},
		{"/e/acme/box/box-1/fw/desired", who{"operator"}, both},
		{"/e/acme/box/box-1/fw/reported", both, who{"operator"}},
		{"/e/acme/box/claim/state", who{"operator"}, who{"operator"}},
		{conf.Notice(), append(boxes, "operator"), append(boxes, "operator")},
		{elsewhere.State(), nil, nil},
		{elsewhere.Desired(), nil, nil},
		{"/elsewhere", nil, nil},
	}
	var mu sync.Mutex
	heard := map[string]map[string]bool{}
	clients := map[string]*mqtt.Client{}
	for _, id := range ids {
		heard[id] = map[string]bool{}
		clients[id] = s.client(id, certs[id], func(c *mqtt.Client) {
			c.Subscribe("/#", func(m mqtt.Message) {
				mu.Lock()
				defer mu.Unlock()
				heard[id][m.Topic+" by "+string(m.Payload)] = true
			})
		})
	}
	connected := func() bool {
		return !slices.ContainsFunc(ids, func(id string) bool { return clients[id].Stats().Subscribed == 0 })
	}
	phonetest.Eventually(t, 20*time.Second, "all are connected", connected)
	want := map[string]map[string]bool{}
	for _, id := range ids {
		want[id] = map[string]bool{}
	}
	for _, x := range topics {
		for _, writer := range ids {
			clients[writer].Publish(x.topic, []byte(writer), 1, false)
			for _, reader := range ids {
				if slices.Contains(x.writers, writer) && slices.Contains(x.readers, reader) {
					want[reader][x.topic+" by "+writer] = true
				}
			}
		}
	}
	phonetest.Eventually(t, 20*time.Second, "all is delivered", func() bool {
		for _, c := range clients {
			if c.Stats().Queued > 0 {
				return false
			}
		}
		return true
	})
	// What each may hear comes in order; the last word of the operator, to each, comes after all that was let through.
	last := map[string]string{"box-1": box.Cmd(wire.VerbMute), "box-2": "/e/acme/box/box-2/cmd/mute", "fresh-1": fresh.Answer(wire.EnrolPending),
		"fresh-2": "/e/_/prov/fresh-2/pending", "operator": "/e/acme/operator/echo"}
	for _, id := range ids {
		clients["operator"].Publish(last[id], []byte("end"), 1, false)
		want[id][last[id]+" by end"] = true
		if id != "operator" {
			want["operator"][last[id]+" by end"] = true
		}
	}
	phonetest.Eventually(t, 20*time.Second, "the last word", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, id := range ids {
			if !heard[id][last[id]+" by end"] {
				return false
			}
		}
		return true
	})
	mu.Lock()
	defer mu.Unlock()
	for _, id := range ids {
		for s := range heard[id] {
			if !want[id][s] {
				t.Errorf("%s hears %s", id, s)
			}
		}
		for s := range want[id] {
			if !heard[id][s] {
				t.Errorf("%s does not hear %s", id, s)
			}
		}
	}
}

// Who shows no certificate of the fleet's, or one that was withdrawn, does not get in; who gets in and was withdrawn later is
// kept out the next time.
func TestWhoGetsIn(t *testing.T) {
	s := serve(t)
	box := s.enrol("box-1")
	ca, _, _ := s.Access()
	getsIn := func(cert *tls.Certificate) bool {
		t.Helper()
		conf := &tls.Config{RootCAs: ca, ServerName: "127.0.0.1"}
		if cert != nil {
			conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		}
		raw, err := net.DialTimeout("tcp", s.addr, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		raw.SetDeadline(time.Now().Add(10 * time.Second))
		c := tls.Client(raw, conf)
		// CONNECT, client id "x", clean session; the broker answers CONNACK 0 or closes.
		c.Write([]byte{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 10, 0, 1, 'x'})
		answer := make([]byte, 4)
		n, _ := c.Read(answer)
		return n == 4 && answer[0] == 0x20 && answer[3] == 0
	}
	other := serve(t)
	stranger, claim := other.enrol("box-1"), s.claim()
	for _, x := range []struct {
		what string
		cert *tls.Certificate
		want bool
	}{{"a box", &box, true}, {"a claim", &claim, true}, {"no certificate", nil, false}, {"a box of another fleet", &stranger, false}} {
		if got := getsIn(x.cert); got != x.want {
			t.Errorf("%s: gets in %v", x.what, got)
		}
	}
	if err := s.Release("box-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	s.broker.Stop()
	s.start()
	if getsIn(&box) {
		t.Error("a withdrawn certificate gets in")
	}
	again := s.enrol("box-1")
	if !getsIn(&again) {
		t.Error("the one after it does not")
	}
}
