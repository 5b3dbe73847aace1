package wire

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
)

func sealKey(t testing.TB) string {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return EncodeSealKey(key.PublicKey())
}

// Spec 6: a request is worth something only with the box's own key, name and sealing key in it.
func TestOpenCSR(t *testing.T) {
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	seal := sealKey(t)
	good, err := NewCSR(p256, "box-1", seal)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := NewCSR(p256, "box-2", seal)
	wide, _ := NewCSR(p384, "box-1", seal)
	edwards, _ := NewCSR(ed, "box-1", seal)
	request := func(csr, seal string) EnrolRequest {
		return EnrolRequest{Schema: EnrolSchema, Nonce: "0123456789abcdef", Box: "box-1", Serial: "1", Model: "desk", Firmware: "dev", CSR: csr, Seal: seal}
	}
	for name, x := range map[string]struct {
		r    EnrolRequest
		want string
	}{
		"its own":              {request(good, seal), ""},
		"another box's":        {request(other, seal), "common name"},
		"another sealing key":  {request(good, sealKey(t)), "organizational unit"},
		"another curve":        {request(wide, seal), "P-256"},
		"another kind of key":  {request(edwards, seal), "P-256"},
		"two":                  {request(good+good, seal), "one request"},
		"nothing":              {request("", seal), "one request"},
		"signature cut":        {request(strings.Replace(good, "\n-----END", "\nAAAA\n-----END", 1), seal), "csr"},
		"not a request at all": {request("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", seal), "csr"},
	} {
		_, err := x.r.OpenCSR()
		if x.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.Is(err, ErrInvalidValue) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The request that the page shows is one, and the answers there are to it.
func TestCSRExample(t *testing.T) {
	all := examples(t)
	var r EnrolRequest
	if err := Decode([]byte(all["EnrolRequest"][0]), &r); err != nil {
		t.Fatal(err)
	}
	if _, err := r.OpenCSR(); err != nil {
		t.Error(err)
	}
	for _, text := range all["EnrolAnswer"] {
		var a EnrolAnswer
		if err := Decode([]byte(text), &a); err != nil || a.CSR != r.CSRHash() {
			t.Errorf("%v: an answer to %s, and the request is %s", err, a.CSR, r.CSRHash())
		}
	}
}
