package update

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Schema is the form of manifests that this program knows.
const Schema = 1

// MaxManifest is the longest manifest that is read, in bytes.
const MaxManifest = 16 << 10

// maxImage is the largest image, in bytes.
const maxImage = 4 << 30

// ErrManifest: a manifest is not one, or of a form that this program does not know.
var ErrManifest = errors.New("not a manifest")

// Manifest says what is in an image: a file with the parts of a slot one after the other. It is signed by whoever may replace firmware.
type Manifest struct {
	Schema  int      `json:"schema"`
	Version string   `json:"version"` // see ParseVersion
	Boards  []string `json:"boards"`  // for which the image is
	Arch    string   `json:"arch"`    // "armv7" or "arm64"
	Built   int64    `json:"built"`   // Unix time, seconds
	Size    int64    `json:"size"`    // of the file, in bytes
	// Parts are in the file in this order. The first one is what the boot loader begins with.
	Parts []Part `json:"parts"`
}

// Part is what goes into one partition of a slot.
type Part struct {
	Name   string `json:"name"` // of the partition, without its slot: "kernel", "root"
	Size   int64  `json:"size"` // in bytes
	SHA256 string `json:"sha256"`
}

// parts are the names that a part may have, in their order.
var parts = []string{"kernel", "root"}

// ParseManifest reads the bytes that were signed. Errors wrap ErrManifest.
func ParseManifest(b []byte) (Manifest, error) {
	var m Manifest
	if len(b) > MaxManifest {
		return m, fmt.Errorf("%w: longer than %d bytes", ErrManifest, MaxManifest)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	if d.More() {
		return Manifest{}, fmt.Errorf("%w: there is something after the end", ErrManifest)
	}
	if err := m.Check(); err != nil {
		return Manifest{}, err
	}
	return m, nil
}

// Check tells what is wrong with the values. Errors wrap ErrManifest.
func (m *Manifest) Check() error {
	bad := func(what string) error { return fmt.Errorf("%w: %s", ErrManifest, what) }
	switch {
	case m.Schema != Schema:
		return bad(fmt.Sprintf("schema %d, want %d", m.Schema, Schema))
	case len(m.Boards) == 0 || len(m.Boards) > 32:
		return bad("boards: 1 to 32 names")
	case m.Arch != "armv7" && m.Arch != "arm64":
		return bad("arch: armv7 or arm64")
	case len(m.Parts) != len(parts):
		return bad("parts: want " + strings.Join(parts, ", "))
	case m.Built < 0:
		return bad("built: a Unix time in seconds")
	}
	if _, err := ParseVersion(m.Version); err != nil {
		return fmt.Errorf("%w: %w", ErrManifest, err)
	}
	var sum int64
	for i, p := range m.Parts {
		hash, err := hex.DecodeString(p.SHA256)
		switch {
		case p.Name != parts[i]:
			return bad("parts: want " + strings.Join(parts, ", "))
		case p.Size < headSize || p.Size > maxImage:
			return bad(p.Name + ": size")
		case err != nil || len(hash) != 32 || strings.ToLower(p.SHA256) != p.SHA256:
			return bad(p.Name + ": sha256: 64 small hexadecimal digits")
		}
		sum += p.Size
	}
	if sum != m.Size {
		return bad("size is not that of all parts")
	}
	return nil
}

// Host is what an image must fit.
type Host struct {
	Board   string
	Arch    string // "armv7" or "arm64"; empty: it is not known, and any will do
	Version string // of the firmware that runs
}

// What an image can be refused for.
var (
	// ErrBoard: it is for other boards.
	ErrBoard = errors.New("the image is for another board")
	// ErrArch: it is for another processor.
	ErrArch = errors.New("the image is for another processor")
	// ErrDowngrade: it is older than what runs, and nobody has signed that it may be.
	ErrDowngrade = errors.New("the image is older than what runs")
)

// Fits tells why an image cannot be taken, unless it can. downgrade is whether it may be older than what runs.
func (h Host) Fits(m Manifest, downgrade bool) error {
	if !slices.Contains(m.Boards, h.Board) {
		return fmt.Errorf("%w: %s, and this is %s", ErrBoard, strings.Join(m.Boards, ", "), h.Board)
	}
	if h.Arch != "" && m.Arch != h.Arch {
		return fmt.Errorf("%w: %s, and this is %s", ErrArch, m.Arch, h.Arch)
	}
	want, err := ParseVersion(m.Version)
	if err != nil {
		return err
	}
	// What runs and has no version that can be compared is somebody's own build: everything is newer.
	if now, err := ParseVersion(h.Version); err == nil && want.Before(now) && !downgrade {
		return fmt.Errorf("%w: %s, and %s runs", ErrDowngrade, m.Version, h.Version)
	}
	return nil
}

// Version is a firmware's: three numbers, and how many changes after them.
type Version [4]uint32

// ErrVersion: a text is no version.
var ErrVersion = errors.New("not a version such as 1.4.2 or 1.4.2-7")

// ParseVersion reads 1.4.2 or, as `git describe` names what comes after it, 1.4.2-7-gabcdef1, with or without a v in front. Errors wrap
// ErrVersion.
func ParseVersion(s string) (v Version, err error) {
	bad := fmt.Errorf("%w: %.40q", ErrVersion, s)
	if len(s) > 64 {
		return v, bad
	}
	main, rest, changed := strings.Cut(strings.TrimPrefix(s, "v"), "-")
	numbers := strings.Split(main, ".")
	if changed {
		count, hash, named := strings.Cut(rest, "-")
		if named && (!strings.HasPrefix(hash, "g") || len(hash) < 2 || strings.Trim(hash[1:], "0123456789abcdef") != "") {
			return v, bad
		}
		numbers = append(numbers, count)
	}
	if want := 3; len(numbers) != want && !(changed && len(numbers) == want+1) {
		return v, bad
	}
	for i, n := range numbers {
		u, err := strconv.ParseUint(n, 10, 32)
		if err != nil || n[0] == '+' {
			return Version{}, bad
		}
		v[i] = uint32(u)
	}
	return v, nil
}

// Before tells whether v is older than o.
func (v Version) Before(o Version) bool { return slices.Compare(v[:], o[:]) < 0 }
