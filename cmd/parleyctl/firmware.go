package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"parley/hal/update"
	"parley/mqtt/wire"
)

const firmwareUsage = `parleyctl firmware: make firmware that a box takes, and order it

  firmware key FILE                       make a key to sign firmware with; prints its public half, for update.keys
  firmware pack IMAGE --version V --board B --arch A --kernel FILE --root FILE [--key FILE]
                                          make an image of a kernel and a root file system, and IMAGE.manifest, signed
  firmware sign MANIFEST --key FILE       sign a manifest that was packed without a key, or once more
  firmware show MANIFEST                  what is in a manifest, and who has signed it
  firmware order MANIFEST --url URL       have one box run it; the flags of parleyctl cmd say which
  provision update DIR BOX MANIFEST --url URL
                                          have a box of a fleet run it, or --all

Each has -h. docs/update.md tells the whole.
`

// cmdFirmware makes and orders firmware.
func cmdFirmware(ctx context.Context, args []string) error {
	commands := map[string]func(context.Context, []string) error{
		"key": firmwareKey, "pack": firmwarePack, "sign": firmwareSign, "show": firmwareShow, "order": firmwareOrder,
	}
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Print(firmwareUsage)
		return nil
	}
	if run := commands[args[0]]; run != nil {
		return run(ctx, args[1:])
	}
	fmt.Fprintf(os.Stderr, "parleyctl: firmware has no command %q\n\n%s", args[0], firmwareUsage)
	return errUsage
}

func firmwareKey(_ context.Context, args []string) error {
	words, err := arguments(flag.NewFlagSet("firmware key", flag.ContinueOnError), args, "firmware key FILE", 1, 1)
	if err != nil {
		return err
	}
	key, err := wire.CreateKey(words[0])
	if err != nil {
		return err
	}
	fmt.Println(wire.EncodePublicKey(key.Public().(ed25519.PublicKey)))
	return nil
}

func firmwarePack(_ context.Context, args []string) error {
	flags := flag.NewFlagSet("firmware pack", flag.ContinueOnError)
	m := update.Manifest{Schema: update.Schema, Built: time.Now().Unix()}
	flags.StringVar(&m.Version, "version", "", "the firmware's `version`, such as 1.4.2 or 1.4.2-7")
	flags.StringVar(&m.Arch, "arch", "", "`processor`: armv7 or arm64")
	flags.Int64Var(&m.Built, "built", m.Built, "when it was built, Unix `seconds`")
	boards := flags.String("board", "", "`boards` for which it is, with commas")
	kernel := flags.String("kernel", "", "`file` with the kernel, a FIT")
	root := flags.String("root", "", "`file` with the root file system")
	keyFile := flags.String("key", "", "`file` with the key to sign with")
	words, err := arguments(flags, args, "firmware pack IMAGE --version V --board B --arch A --kernel FILE --root FILE [--key FILE]", 1, 1)
	if err != nil {
		return err
	}
	m.Boards = strings.FieldsFunc(*boards, func(r rune) bool { return r == ',' || r == ' ' })
	if *kernel == "" || *root == "" {
		return wrong("firmware pack needs --kernel and --root")
	}
	out, err := os.Create(words[0])
	if err != nil {
		return err
	}
	for _, p := range []struct{ name, file string }{{"kernel", *kernel}, {"root", *root}} {
		part, err := packPart(out, p.name, p.file)
		if err != nil {
			return errors.Join(err, out.Close(), os.Remove(words[0]))
		}
		m.Parts, m.Size = append(m.Parts, part), m.Size+part.Size
	}
	err = m.Check()
	if err == nil {
		err = out.Sync()
	}
	if err != nil {
		return errors.Join(err, out.Close(), os.Remove(words[0]))
	}
	if err := out.Close(); err != nil {
		return err
	}
	payload, err := json.Marshal(m)
	if err != nil {
		return err
	}
	manifest := words[0] + ".manifest"
	if *keyFile == "" {
		fmt.Printf("wrote %s, %d bytes, and %s, which has to be signed\n", words[0], m.Size, manifest)
		return os.WriteFile(manifest, append(payload, '\n'), 0o644)
	}
	if err := writeSigned(manifest, payload, *keyFile); err != nil {
		return err
	}
	fmt.Printf("wrote %s, %d bytes, and %s\n", words[0], m.Size, manifest)
	return nil
}

// packPart appends a file to the image.
func packPart(out io.Writer, name, file string) (update.Part, error) {
	in, err := os.Open(file)
	if err != nil {
		return update.Part{}, err
	}
	defer in.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, sum), in)
	return update.Part{Name: name, Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))}, err
}

func writeSigned(path string, payload []byte, keyFile string) error {
	key, err := wire.LoadKey(keyFile)
	if err != nil {
		return err
	}
	b, err := wire.Sign(payload, key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// readManifest reads a manifest, in an envelope or, not signed yet, without one.
func readManifest(path string) (m update.Manifest, payload []byte, e wire.Envelope, err error) {
	in, err := os.Open(path)
	if err != nil {
		return m, nil, e, err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, wire.MaxPayload))
	if err != nil {
		return m, nil, e, err
	}
	payload = []byte(strings.TrimSpace(string(b)))
	if wire.Decode(b, &e) == nil {
		// Unsigned is what it is called where no key is known, too: the bytes are given all the same.
		if payload, _, err = wire.Verify(b, nil); len(payload) == 0 {
			return m, nil, e, fmt.Errorf("%s: %w", path, err)
		}
	}
	if m, err = update.ParseManifest(payload); err != nil {
		return m, nil, e, fmt.Errorf("%s: %w", path, err)
	}
	return m, payload, e, nil
}

func firmwareSign(_ context.Context, args []string) error {
	flags := flag.NewFlagSet("firmware sign", flag.ContinueOnError)
	keyFile := flags.String("key", "", "`file` with the key to sign with")
	words, err := arguments(flags, args, "firmware sign MANIFEST --key FILE", 1, 1)
	if err != nil {
		return err
	}
	if *keyFile == "" {
		return wrong("firmware sign needs --key")
	}
	_, payload, e, err := readManifest(words[0])
	if err != nil {
		return err
	}
	key, err := wire.LoadKey(*keyFile)
	if err != nil {
		return err
	}
	b, err := wire.Sign(payload, key)
	if err != nil {
		return err
	}
	var signed wire.Envelope
	if err := wire.Decode(b, &signed); err != nil {
		return err
	}
	for _, s := range e.Signatures {
		if s.KeyID != signed.Signatures[0].KeyID {
			signed.Signatures = append(signed.Signatures, s)
		}
	}
	if b, err = wire.Encode(&signed); err != nil {
		return err
	}
	return os.WriteFile(words[0], append(b, '\n'), 0o644)
}

func firmwareShow(_ context.Context, args []string) error {
	words, err := arguments(flag.NewFlagSet("firmware show", flag.ContinueOnError), args, "firmware show MANIFEST", 1, 1)
	if err != nil {
		return err
	}
	m, _, e, err := readManifest(words[0])
	if err != nil {
		return err
	}
	fmt.Printf("version  %s, built %s\nfor      %s, %s\n", m.Version, time.Unix(m.Built, 0).UTC().Format(time.RFC3339), strings.Join(m.Boards, ", "), m.Arch)
	for _, p := range m.Parts {
		fmt.Printf("%-8s %9d bytes, SHA-256 %s\n", p.Name, p.Size, p.SHA256)
	}
	for _, s := range e.Signatures {
		fmt.Println("signed   by key", harmless(s.KeyID))
	}
	if len(e.Signatures) == 0 {
		fmt.Println("not signed")
	}
	return nil
}
