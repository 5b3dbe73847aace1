package wire

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"
)

var box1Time = time.Unix(1795255200, 0).UTC()

func fwKeys() (operator, maker, stranger ed25519.PrivateKey) {
	key := func(s string) ed25519.PrivateKey {
		seed := sha256.Sum256([]byte(s))
		return ed25519.NewKeyFromSeed(seed[:])
	}
	return key("operator"), key("maker"), key("stranger")
}

func fwManifest(t testing.TB, key ed25519.PrivateKey) Envelope {
	t.Helper()
	b, err := Sign([]byte(`{"the":"manifest"}`), key)
	if err != nil {
		t.Fatal(err)
	}
	var e Envelope
	if err := Decode(b, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// an order counts if it is signed by who may command the box, for this box, around a manifest of who may make firmware.
func TestFwDesired(t *testing.T) {
	operator, maker, stranger := fwKeys()
	box, _ := NewBox("local", "box-1")
	keys := NewKeySet(operator.Public().(ed25519.PublicKey))
	makers := NewKeySet(maker.Public().(ed25519.PublicKey))
	good := FwDesired{Schema: 1, EID: "local", Box: "box-1", Order: 3, URL: "http://192.0.2.1/image", Manifest: fwManifest(t, maker)}
	with := func(f func(*FwDesired)) FwDesired {
		d := good
		f(&d)
		return d
	}
	spoilt := good.Manifest
	spoilt.Signatures = append([]Signature(nil), spoilt.Signatures...)
	spoilt.Payload = b64.EncodeToString([]byte(`{"the":"other"}`))
	for name, c := range map[string]struct {
		order FwDesired
		key   ed25519.PrivateKey
		err   error
		want  string // reason
	}{
		"good":             {good, operator, nil, ""},
		"a stranger's":     {good, stranger, ErrUnknownKey, ReasonUnknownKey},
		"the maker's":      {good, maker, ErrUnknownKey, ReasonUnknownKey},
		"another box":      {with(func(d *FwDesired) { d.Box = "box-2" }), operator, ErrWrongBox, ReasonWrongBox},
		"another place":    {with(func(d *FwDesired) { d.EID = "else" }), operator, ErrWrongBox, ReasonWrongBox},
		"foreign manifest": {with(func(d *FwDesired) { d.Manifest = fwManifest(t, stranger) }), operator, ErrUnknownKey, ReasonUnknownKey},
		"spoilt manifest":  {with(func(d *FwDesired) { d.Manifest = spoilt }), operator, ErrBadSignature, ReasonBadSignature},
		"plain manifest":   {with(func(d *FwDesired) { d.Manifest.Signatures = nil }), operator, ErrUnsigned, ReasonUnsigned},
	} {
		b, err := SignFwDesired(c.order, c.key)
		if err != nil {
			t.Fatal(name, err)
		}
		d, manifest, err := OpenFwDesired(box, b, keys, makers)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
		if c.err == nil {
			if d.Order != 3 || string(manifest) != `{"the":"manifest"}` {
				t.Errorf("%s: %+v %s", name, d, manifest)
			}
			continue
		}
		if r := RefuseFw(d.Order, b, err, box1Time); r.Reason != c.want || r.Detail == "" {
			t.Errorf("%s: %+v, want %s", name, r, c.want)
		}
	}
	for name, d := range map[string]FwDesired{
		"schema": with(func(d *FwDesired) { d.Schema = 2 }), "no order": with(func(d *FwDesired) { d.Order = 0 }),
		"ftp": with(func(d *FwDesired) { d.URL = "ftp://192.0.2.1/image" }), "exp": with(func(d *FwDesired) { d.Exp = -1 }),
		"password in the address": with(func(d *FwDesired) { d.URL = "http://me:secret@192.0.2.1/image" }),
		"long":                    with(func(d *FwDesired) { d.URL += strings.Repeat("x", maxURL) }),
	} {
		if _, err := SignFwDesired(d, operator); !errors.Is(err, ErrInvalidValue) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzFwDesired(f *testing.F) {
	operator, maker, _ := fwKeys()
	box, _ := NewBox("local", "box-1")
	keys := NewKeySet(operator.Public().(ed25519.PublicKey), maker.Public().(ed25519.PublicKey))
	for _, text := range examples(f)["FwDesired"] {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		b, err := Sign(payload, operator)
		if err != nil || len(payload) == 0 {
			return
		}
		d, _, err := OpenFwDesired(box, b, keys, keys)
		if err == nil {
			if _, err := Encode(&d); err != nil {
				t.Errorf("taken, and cannot be written: %v", err)
			}
			return
		}
		r := FwReported{Schema: 1, Running: FwRunning{Version: "1"}, At: box1Time, Rejected: RefuseFw(d.Order, b, err, box1Time)}
		if _, err := Encode(&r); err != nil {
			t.Errorf("the refusal cannot be told: %v", err)
		}
	})
}
