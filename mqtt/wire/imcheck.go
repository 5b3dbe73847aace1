package wire

import (
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Check tells what is wrong with the values.
func (m *Message) Check() error {
	switch {
	case !slices.Contains(imKinds, m.Kind):
		return invalid("", "TYPE has the kind %#x, which is none", byte(m.Kind))
	case len(m.Media) > MaxMedia:
		return invalid("", "%d media at most", MaxMedia)
	case len(m.Media) == 0 && (m.ID != "" || m.From != "" || m.TS != 0 || m.Sig != ""):
		return invalid("", "without a medium there is no place for id, from, ts and sig")
	case m.TS < 0:
		return invalid("ts", "want a Unix time in milliseconds")
	case m.Sig != "" && (m.ID == "" || m.From == ""):
		return invalid("sig", "needs id and from")
	}
	for i, medium := range m.Media {
		at := ""
		if len(m.Media) > 1 {
			at = fmt.Sprintf("[%d].", i)
		}
		if err := medium.check(at); err != nil {
			return err
		}
	}
	return m.checkSender()
}

func (m *Message) checkSender() error {
	if m.ID != "" {
		if err := checkID("id", m.ID); err != nil {
			return err
		}
	}
	if m.From != "" {
		if err := named("from", CheckUser(m.From)); err != nil {
			return err
		}
	}
	if m.Sig != "" {
		if b, err := b64Bytes(m.Sig, "sig"); err != nil || len(b) != ed25519.SignatureSize {
			return invalid("sig", "want base64 of %d bytes", ed25519.SignatureSize)
		}
	}
	return nil
}

// check lets line ends, tabs and marks of direction pass in a text: some scripts need them. A file's name is shown to people
// who then decide whether to open it: it has no path, and nothing that changes the order in which it is read.
func (m Medium) check(at string) error {
	if m.Size < 0 || m.File == "" && m.Size != 0 {
		return invalid(at+"si", "want a number of bytes, and fn")
	}
	if err := text(at+"fn", m.File, 0, 255); err != nil {
		return err
	}
	if strings.ContainsAny(m.File, "/\\") || m.File == "." || m.File == ".." {
		return invalid(at+"fn", "want a name without a path")
	}
	content := m.Content
	if m.File == "" {
		content = strings.Map(func(r rune) rune {
			if r == '\n' || r == '\r' || r == '\t' || r >= 0xa0 && r != utf8.RuneError && controls(r) {
				return -1
			}
			return r
		}, content)
	}
	return text(at+"co", content, 0, MaxPayload)
}

// SignedBytes are what Sig is over, for a message on that topic: lines that end in LF, namely "parley-im-1", the topic, TYPE
// as two hexadecimal digits, id, from, ts (0 where it is not told), and then for each medium one line with the hexadecimal
// SHA-256 of co, the hexadecimal SHA-256 of fn (of nothing, where there is none) and si in digits ("-", where it is not told or 0), with
// a space between. So nothing depends on how the JSON is written.
func (m *Message) SignedBytes(topic string) []byte {
	var b strings.Builder
	for _, line := range []string{"parley-im-1", topic, fmt.Sprintf("%02x", m.Type()), m.ID, m.From, strconv.FormatInt(m.TS, 10)} {
		b.WriteString(line + "\n")
	}
	for _, medium := range m.Media {
		b.WriteString(hexSum(medium.Content) + " " + hexSum(medium.File) + " " + cmp.Or(medium.size(), "-") + "\n")
	}
	return []byte(b.String())
}

func hexSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// Sign sets Sig, for that topic. ID and From must be there; the error is a *FieldError.
func (m *Message) Sign(topic string, key ed25519.PrivateKey) error {
	if m.ID == "" || m.From == "" || len(m.Media) == 0 {
		return invalid("sig", "needs id, from and a medium")
	}
	m.Sig = b64.EncodeToString(ed25519.Sign(key, m.SignedBytes(topic)))
	return m.Check()
}

// Verify tells whether Sig is that of the owner of pub, for a message that came on that topic. That pub belongs to
// From, and that TS is not long ago and ID is new, is the caller's to know. The error is ErrUnsigned or ErrBadSignature.
func (m *Message) Verify(topic string, pub ed25519.PublicKey) error {
	if m.Sig == "" {
		return ErrUnsigned
	}
	sig, err := b64Bytes(m.Sig, "sig")
	if err != nil || len(pub) != ed25519.PublicKeySize || !ed25519.Verify(pub, m.SignedBytes(topic), sig) {
		return ErrBadSignature
	}
	return nil
}
