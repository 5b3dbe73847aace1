// Stands in for f2232848beb271df6b3d05f6df16e10cb8c9f94ecff709a5e32dd1f2bf1e64cf
//
// The original brings Unicode's tables of normal forms, writing directions and look-alikes, for the names of hosts that net/http's
// client and its proxies are given. Here such names are ASCII; others have to be written as xn--.

package idna

import "errors"

type labelError struct{ label, code_ string }

func (e labelError) code() string  { return e.code_ }
func (e labelError) Error() string { return "idna: invalid label " + e.label }

// Profile takes names that are ASCII already.
type Profile struct{}

// Lookup is the profile of names that are looked up.
var Lookup = &Profile{}

var errNotASCII = errors.New("idna: write the host's name in ASCII (xn--)")

// ToASCII gives s back if it is ASCII.
func (*Profile) ToASCII(s string) (string, error) {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return "", errNotASCII
		}
	}
	return s, nil
}

// ToASCII gives s back if it is ASCII.
func ToASCII(s string) (string, error) { return Lookup.ToASCII(s) }
