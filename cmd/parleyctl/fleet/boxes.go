package fleet

import (
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"slices"
	"strings"
	"time"

	"parley/mqtt/wire"
)

// Box is what is known of one box that has enrolled.
type Box struct {
	Box         string    `json:"box"`
	Serial      string    `json:"serial"`
	Model       string    `json:"model"`
	Firmware    string    `json:"firmware"` // as of when it enrolled
	Key         string    `json:"key"`      // SHA-256 of its public key for TLS, in hexadecimal
	Seal        string    `json:"seal"`     // to which its secrets are sealed
	Certificate string    `json:"certificate"`
	Entry       string    `json:"entry"` // of the list, by which it was let in
	Enrolled    time.Time `json:"enrolled"`
	Released    bool      `json:"released,omitempty"` // another key may take its place
	Revoked     []string  `json:"revoked,omitempty"`  // serial numbers of certificates that count no more, in hexadecimal
	Version     uint64    `json:"version,omitempty"`  // of the settings that it was told last
}

// SealKey is the key to which the box's secrets are sealed.
func (b *Box) SealKey() (*ecdh.PublicKey, error) { return wire.ParseSealKey(b.Seal) }

func boxFile(name string) string { return "boxes/" + name + ".json" }

// Box gives what is known of a box. The error is ErrUnknownBox if it has never enrolled.
func (f *Fleet) Box(name string) (*Box, error) {
	if err := wire.CheckBox(name); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	var b Box
	err := f.readJSON(boxFile(name), &b)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s has not enrolled here", ErrUnknownBox, name)
	}
	return &b, err
}

// Boxes gives all boxes that have enrolled, by name.
func (f *Fleet) Boxes() ([]*Box, error) {
	list, err := os.ReadDir(f.path("boxes"))
	if err != nil {
		return nil, err
	}
	var all []*Box
	for _, e := range list {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || wire.CheckBox(name) != nil {
			continue
		}
		b, err := f.Box(name)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

func (f *Fleet) save(b *Box) error { return f.writeJSON(boxFile(b.Box), b) }

// Release lets another key take a box's place, for one that was repaired or flashed anew, and withdraws the certificate that it has.
// Whether another may come is still the list's to say.
func (f *Fleet) Release(name string, now time.Time) error {
	return f.locked(func() error {
		b, err := f.Box(name)
		if err != nil {
			return err
		}
		if b.Released {
			return nil
		}
		cert, err := parseCert([]byte(b.Certificate))
		if err != nil {
			return err
		}
		b.Released, b.Revoked = true, append(b.Revoked, cert.SerialNumber.Text(16))
		if err := f.save(b); err != nil {
			return err
		}
		all, err := f.Boxes()
		if err != nil {
			return err
		}
		var serials []*big.Int
		for _, b := range all {
			for _, s := range b.Revoked {
				if n, ok := new(big.Int).SetString(s, 16); ok {
					serials = append(serials, n)
				}
			}
		}
		return f.revoke(serials, now)
	})
}

// claims says which box has come in by which entry of the list: an entry lets in one box only.
func (f *Fleet) claims() (map[string]string, error) {
	claims := map[string]string{}
	if err := f.readJSON("claims.json", &claims); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return claims, nil
}

// entryFor finds the entry of the list that lets a box in: its serial number or its name. Of one that another box has used, taken
// names that box.
func (f *Fleet) entryFor(box, serial string) (entry, taken string, err error) {
	list, err := f.Allowed()
	if err != nil {
		return "", "", err
	}
	claims, err := f.claims()
	if err != nil {
		return "", "", err
	}
	for _, name := range []string{serial, box} {
		if !slices.Contains(list, name) {
			continue
		}
		if by := claims[name]; by != "" && by != box {
			taken = by
			continue
		}
		return name, "", nil
	}
	return "", taken, nil
}

func (f *Fleet) claim(entry, box string) error {
	claims, err := f.claims()
	if err != nil || claims[entry] == box {
		return err
	}
	claims[entry] = box
	return f.writeJSON("claims.json", claims)
}

// Order is settings that a box is to have.
type Order struct {
	Settings json.RawMessage
	ConfirmS int
	Above    uint64 // the version must be greater than this, which the box knows
}

// Sign gives an order the next version, signs it, and keeps it before anybody is told.
func (f *Fleet) Sign(name string, o Order) (version uint64, envelope []byte, err error) {
	err = f.locked(func() error {
		b, err := f.Box(name)
		if err != nil {
			return err
		}
		b.Version = max(b.Version, o.Above) + 1
		d := wire.Desired{Schema: wire.SettingsSchema, EID: f.EID, Box: name, Version: b.Version, ConfirmS: o.ConfirmS, Settings: o.Settings}
		if envelope, err = wire.SignDesired(d, f.operator); err != nil {
			return err
		}
		version = b.Version
		if err := f.save(b); err != nil {
			return err
		}
		return f.write("desired/"+name+".json", envelope)
	})
	return version, envelope, err
}

// Told gives the settings that a box was told last, in their envelope; none: nil.
func (f *Fleet) Told(name string) ([]byte, error) {
	b, err := f.read("desired/" + name + ".json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
