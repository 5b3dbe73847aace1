package wire

import (
	"bytes"
	"crypto/ecdh"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"
)

func opener(t testing.TB, n byte) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{n}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The secret in the page's example opens with the page's key, for the box and the place where it stands, and nowhere else.
func TestSealedExample(t *testing.T) {
	m := regexp.MustCompile("has the private key `([^`]+)`, and the secret above is `([^`]+)`").FindStringSubmatch(protocol(t))
	if m == nil {
		t.Fatal("no private key")
	}
	raw, err := b64Bytes(m[1], "key")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdh.X25519().NewPrivateKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	var d Desired
	if err := Decode([]byte(examples(t)["Desired"][0]), &d); err != nil {
		t.Fatal(err)
	}
	var s struct {
		SIP struct {
			Upstreams []struct {
				Password string `json:"password_sealed"`
			} `json:"upstreams"`
		} `json:"sip"`
	}
	if err := json.Unmarshal(d.Settings, &s); err != nil {
		t.Fatal(err)
	}
	sealed := s.SIP.Upstreams[0].Password
	right := Place{d.EID, d.Box, "sip.upstreams[0].password"}
	if got, err := OpenSealed(key, right, sealed); err != nil || string(got) != m[2] {
		t.Errorf("%q, %v", got, err)
	}
	for _, p := range []Place{{d.EID, d.Box, "sip.upstreams[1].password"}, {d.EID, "box-2", right.Key}, {"acme", d.Box, right.Key}, {}} {
		if got, err := OpenSealed(key, p, sealed); !errors.Is(err, ErrSealed) {
			t.Errorf("%+v: %q, %v", p, got, err)
		}
	}
}

func TestSeal(t *testing.T) {
	key, p := opener(t, 7), Place{"local", "box-1", "mqtt.password"}
	for _, secret := range []string{"x", "correct horse", strings.Repeat("y", MaxSecret)} {
		one, err := Seal(key.PublicKey(), p, []byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		two, _ := Seal(key.PublicKey(), p, []byte(secret))
		if one == two {
			t.Error("the same secret twice looks the same")
		}
		got, err := OpenSealed(key, p, one)
		if err != nil || string(got) != secret {
			t.Errorf("%d bytes: %v", len(secret), err)
		}
		if got, err := OpenSealed(opener(t, 8), p, one); !errors.Is(err, ErrSealed) {
			t.Errorf("another box opens it: %q, %v", got, err)
		}
		raw, _ := b64.DecodeString(one)
		for i := range min(len(raw), 64) {
			changed := bytes.Clone(raw)
			changed[i] ^= 1
			if got, err := OpenSealed(key, p, b64.EncodeToString(changed)); !errors.Is(err, ErrSealed) {
				t.Errorf("byte %d changed: %q, %v", i, got, err)
			}
		}
		for n := range min(len(raw), 64) {
			if got, err := OpenSealed(key, p, b64.EncodeToString(raw[:n])); !errors.Is(err, ErrSealed) {
				t.Errorf("cut at %d: %q, %v", n, got, err)
			}
		}
	}
	for _, secret := range []string{"", strings.Repeat("y", MaxSecret+1)} {
		if _, err := Seal(key.PublicKey(), p, []byte(secret)); err == nil {
			t.Errorf("%d bytes are sealed", len(secret))
		}
	}
	zero := b64.EncodeToString(make([]byte, 64)) // a public key that makes the shared secret known to all
	if got, err := OpenSealed(key, p, zero); !errors.Is(err, ErrSealed) {
		t.Errorf("%q, %v", got, err)
	}
}

func FuzzOpenSealed(f *testing.F) {
	key := opener(f, 7)
	one, _ := Seal(key.PublicKey(), Place{"local", "box-1", "a"}, []byte("x"))
	f.Add("a", one)
	f.Add("b", strings.Repeat("A", 8000))
	f.Fuzz(func(t *testing.T, at, sealed string) {
		got, err := OpenSealed(key, Place{"local", "box-1", at}, sealed)
		if err != nil {
			if !errors.Is(err, ErrSealed) {
				t.Fatal(err)
			}
		} else if at != "a" || string(got) != "x" { // each process of the fuzzer has a sealing of its own
			t.Fatalf("%q opens %q as %q", at, sealed, got)
		}
	})
}

func FuzzDesired(f *testing.F) {
	box, _ := NewBox("local", "box-0a1b2c")
	keys := NewKeySet(public(keyA))
	for _, text := range examples(f)["Desired"] {
		f.Add([]byte(text), true)
	}
	f.Add([]byte(`{"schema":2,"version":3}`), true)
	f.Add([]byte(`{"payload":"e30=","signatures":[]}`), false)
	f.Fuzz(func(t *testing.T, message []byte, signed bool) {
		if signed {
			var err error
			if message, err = Sign(message, keyA); err != nil {
				return
			}
		}
		d, hash, err := OpenDesired(box, message, keys)
		if err == nil {
			if !signed || d.Box != "box-0a1b2c" || d.EID != "local" || d.Version == 0 || d.ConfirmS < LeastConfirm {
				t.Fatalf("taken: %+v", d)
			}
			return
		}
		r := RefusalOf(err)
		r.Version, r.Hash, r.At = d.Version, hash, time.Unix(1795255200, 0)
		if _, err := Encode(&Reported{Schema: 1, Rejected: &r}); err != nil {
			t.Fatalf("%+v cannot be told: %v", r, err)
		}
	})
}

func FuzzEnrolAnswer(f *testing.F) {
	var asked EnrolRequest
	if err := Decode([]byte(examples(f)["EnrolRequest"][0]), &asked); err != nil {
		f.Fatal(err)
	}
	keys := NewKeySet(public(keyA))
	for _, text := range examples(f)["EnrolAnswer"] {
		f.Add([]byte(text), true)
		f.Add([]byte(text), false)
	}
	f.Fuzz(func(t *testing.T, message []byte, signed bool) {
		if signed {
			var err error
			if message, err = Sign(message, keyA); err != nil {
				return
			}
		}
		for _, s := range enrolStatuses {
			a, err := OpenEnrolAnswer(s, message, keys, &asked)
			if err == nil && (!signed || a.Status != s || a.Nonce != asked.Nonce || a.CSR != asked.CSRHash() || a.Box != asked.Box) {
				t.Fatalf("believed: %+v", a)
			}
		}
	})
}
