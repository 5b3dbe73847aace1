package config

import (
	"fmt"
	"log/slog"
)

// redacted is what a secret prints as.
const redacted = "(secret)"

// Secret is a text that no log, dump or answer shows: every way of printing it gives "(secret)", or nothing when unset.
type Secret struct{ text string }

// Reveal gives the text to whoever must prove knowledge of it.
func (s Secret) Reveal() string { return s.text }

// Given tells whether there is one.
func (s Secret) Given() bool { return s.text != "" }

// String hides the text.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return redacted
}

// Format hides the text from every verb of fmt, %#v and %x too.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// MarshalText hides the text from JSON, YAML and XML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the text from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
