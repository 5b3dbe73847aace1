package config

import (
	"encoding/pem"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Boot is the boot file: what a fresh box is told by whoever flashed it. It is the same for a whole fleet, and readable by whoever holds
// the storage: the claim is good for asking and for nothing else.
type Boot struct {
	Keys             []string // public keys of operators, base64: the only ones whose answers to an enrolment count
	CA               string   // PEM: who may sign the broker's certificate
	ClaimCertificate string   // PEM
	ClaimKey         Secret   // PEM
	Broker           string   // URL; empty: it is looked for
}

// bootSettings is the table of the boot file.
func bootSettings(b *Boot) section {
	return section{
		{"keys", &words{to: &b.Keys, def: []string{}, max: maxOperators, may: "list of public keys, base64", check: publicKey}, "Public keys of operators.", ""},
		{"ca", &block{&b.CA, "CERTIFICATE"}, "Who may sign the broker's certificate.", ""},
		{"claim", section{
			{"certificate", &block{&b.ClaimCertificate, "CERTIFICATE"}, "The claim's certificate.", ""},
			{"key", &secretBlock{&b.ClaimKey}, "Its private key.", ""},
		}, "What a box may ask with.", ""},
		{"broker", text(&b.Broker, "", "mqtts://host[:port]", orEmpty(secureURL)), "The broker.", ""},
	}
}

// LoadBoot reads a boot file. The error is an Errors, or wraps fs.ErrNotExist where there is none.
func LoadBoot(path string) (Boot, error) {
	l, err := ReadLayer(path)
	if err != nil {
		return Boot{}, err
	}
	return ParseBoot(l)
}

// ParseBoot is LoadBoot on bytes.
func ParseBoot(l Layer) (Boot, error) {
	var b Boot
	table := bootSettings(&b)
	table.reset()
	r := &reader{top: &l, keys: names("", table), seen: map[string]*yaml.Node{}, origin: map[*yaml.Node]*Layer{}}
	root := r.document(&l)
	if root != nil {
		table.set(r, "", root)
	}
	if len(r.problems) == 0 {
		for _, x := range []struct {
			key     string
			missing bool
		}{{"keys", len(b.Keys) == 0}, {"ca", b.CA == ""}, {"claim.certificate", b.ClaimCertificate == ""}, {"claim.key", !b.ClaimKey.Given()}} {
			if x.missing {
				r.wrong(root, x.key, "is missing", "a boot file is made by `parleyctl provision init`")
			}
		}
	}
	if len(r.problems) > 0 {
		return Boot{}, r.problems
	}
	return b, nil
}

// block is a text of several lines: PEM blocks of one type.
type block struct {
	to   *string
	kind string
}

func (b *block) reset()          { *b.to = "" }
func (b *block) text() string    { return yamlText(*b.to) }
func (b *block) allowed() string { return "PEM of " + b.kind }

func (b *block) set(r *reader, path string, node *yaml.Node) {
	if !r.plainNode(path, node) {
		return
	}
	if node.Kind != yaml.ScalarNode || !isPEM(node.Value, b.kind) {
		r.wrong(node, path, "wrong value", "allowed: "+b.allowed()+", as lines below the key, which ends in |")
		return
	}
	*b.to = node.Value
}

func isPEM(s, kind string) bool {
	rest, n := []byte(s), 0
	for len(strings.TrimSpace(string(rest))) > 0 {
		var p *pem.Block
		if p, rest = pem.Decode(rest); p == nil || !strings.HasSuffix(p.Type, kind) {
			return false
		}
		n++
	}
	return n > 0
}

// secretBlock is a private key in PEM.
type secretBlock struct{ to *Secret }

func (b *secretBlock) reset()          { *b.to = Secret{} }
func (b *secretBlock) text() string    { return yamlText(b.to.String()) }
func (b *secretBlock) allowed() string { return "PEM of a private key" }

func (b *secretBlock) set(r *reader, path string, node *yaml.Node) {
	var s string
	(&block{&s, "PRIVATE KEY"}).set(r, path, node)
	*b.to = Secret{s}
}

// secureURL wants a broker that proves who it is.
func secureURL(s string) string {
	if strings.HasPrefix(s, "mqtts://") {
		return brokerURL(s)
	}
	return "mqtts://host or mqtts://host:port"
}
