package fleet

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strings"
)

const listHead = `# Who may enrol: one serial number or box's name per line. What follows # is for people.
`

func (f *Fleet) makeList() error { return f.write("allowed", []byte(listHead)) }

// Allowed gives the list of who may enrol.
func (f *Fleet) Allowed() ([]string, error) {
	b, err := f.read("allowed")
	if err != nil {
		return nil, err
	}
	return ParseList(b)
}

// ParseList reads one name per line; what follows # is left out.
func ParseList(b []byte) (names []string, err error) {
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		name, _, _ := strings.Cut(lines.Text(), "#")
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if err := checkSerial(name); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		names = append(names, name)
	}
	return names, lines.Err()
}

// checkSerial takes what boards print on themselves.
func checkSerial(s string) error {
	if len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("%w: a serial number has 1 to 64 visible ASCII characters, and no blank: %.80q", ErrInvalid, s)
	}
	return nil
}

// Allow puts names on the list, and tells how many were not on it.
func (f *Fleet) Allow(names []string) (added int, err error) {
	for _, n := range names {
		if err := checkSerial(n); err != nil {
			return 0, err
		}
	}
	err = f.locked(func() error {
		b, err := f.read("allowed")
		if err != nil {
			return err
		}
		old, err := ParseList(b)
		if err != nil {
			return fmt.Errorf("%s: %w", f.path("allowed"), err)
		}
		if len(b) > 0 && b[len(b)-1] != '\n' {
			b = append(b, '\n')
		}
		for _, n := range names {
			if !slices.Contains(old, n) {
				old, b, added = append(old, n), append(append(b, n...), '\n'), added+1
			}
		}
		return f.write("allowed", b)
	})
	return added, err
}

// Deny takes names off the list, and tells how many were on it. A box that has enrolled stays so: see Release.
func (f *Fleet) Deny(names []string) (removed int, err error) {
	err = f.locked(func() error {
		b, err := f.read("allowed")
		if err != nil {
			return err
		}
		var keep strings.Builder
		for line := range strings.Lines(string(b)) {
			name, _, _ := strings.Cut(line, "#")
			if name = strings.TrimSpace(name); name != "" && slices.Contains(names, name) {
				removed++
				continue
			}
			keep.WriteString(line)
		}
		return f.write("allowed", []byte(keep.String()))
	})
	return removed, err
}
