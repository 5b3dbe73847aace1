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
	block := func(name string) (string, error) {
		b, err := f.read(name)
		text := strings.TrimRight(string(b), "\n")
		return "|\n  " + strings.ReplaceAll(text, "\n", "\n  ") + "\n", err
	}
	var blocks [3]string
	for i, name := range []string{"ca/ca.pem", "claim/claim.pem", "claim/claim.key"} {
		var err error
		if blocks[i], err = block(name); err != nil {
			return err
		}
	}
	pub := f.operator.Public().(ed25519.PublicKey)
	text := fmt.Sprintf(bootFile, f.EID, f.Broker, wire.EncodePublicKey(pub), blocks[0], blocks[1], blocks[2])
	return f.write(bootName, []byte(text))
}

const bootName = "boot/provision.yaml"

// BootFile is what goes onto every SD card, as /boot/parley/provision.yaml there.
func (f *Fleet) BootFile() ([]byte, error) { return f.read(bootName) }

const bootFile = `# Boxes of the fleet %s: where they ask to be taken in, and whose answer they believe.
schema: 1
broker: %s
operator_keys:
  - %s
ca: %sclaim_certificate: %sclaim_key: %s`
