package fleet

import (
	"crypto/ed25519"
	"fmt"
	"strings"

	"parley/mqtt/wire"
)

// makeBoot writes what goes onto every SD card, the same for the whole fleet. It has a secret, the claim's key, which is good for asking
// only; who has it can ask in the name of any box, and gets nothing unless that box is on the list and has not enrolled.
func (f *Fleet) makeBoot() error {
	var blocks [3]string
	for i, part := range []struct{ name, indent string }{{"ca/ca.pem", "\n  "}, {"claim/claim.pem", "\n    "}, {"claim/claim.key", "\n    "}} {
		b, err := f.read(part.name)
		if err != nil {
			return err
		}
		blocks[i] = "|" + part.indent + strings.ReplaceAll(strings.TrimRight(string(b), "\n"), "\n", part.indent) + "\n"
	}
	pub := f.operator.Public().(ed25519.PublicKey)
	text := fmt.Sprintf(bootFile, f.EID, f.Broker, wire.EncodePublicKey(pub), blocks[0], blocks[1], blocks[2])
	return f.write(bootName, []byte(text))
}

const bootName = "boot/provision.yaml"

// BootFile is what goes onto every SD card, as /boot/parley/provision.yaml there.
func (f *Fleet) BootFile() ([]byte, error) { return f.read(bootName) }

const bootFile = `# Boxes of the fleet %s: where they ask to be taken in, and whose answer they believe.
broker: %s
keys: ["%s"]
ca: %sclaim:
  certificate: %s  key: %s`
