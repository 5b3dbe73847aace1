package fleet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Settings makes of a settings file the JSON that a desired document carries. secrets are the names of those settings that must
// not travel as they are; seal is given each one's path, such as "sip.upstreams[0].password", and gives what stands in its place,
// under the same key with _sealed after it. As everywhere, a secret may stand in a file of its own (relative to folder) or in the
// environment.
type Settings struct {
	Folder  string
	Env     func(string) string
	Secrets []string
	Seal    func(path, secret string) (string, error)
}

// maxSecret is the longest file with a secret that is read, in bytes.
const maxSecret = 4 << 10

// JSON converts one file.
func (s *Settings) JSON(text []byte) (json.RawMessage, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 {
		return json.RawMessage("{}"), nil
	}
	var out bytes.Buffer
	if err := s.node(&out, "", doc.Content[0]); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func (s *Settings) node(out *bytes.Buffer, path string, n *yaml.Node) error {
	switch n.Kind {
	case yaml.MappingNode:
		return s.mapping(out, path, n)
	case yaml.SequenceNode:
		out.WriteByte('[')
		for i, c := range n.Content {
			if i > 0 {
				out.WriteByte(',')
			}
			if err := s.node(out, fmt.Sprintf("%s[%d]", path, i), c); err != nil {
				return err
			}
		}
		out.WriteByte(']')
		return nil
	case yaml.ScalarNode:
		out.WriteString(scalar(n))
		return nil
	}
	return fmt.Errorf("%w: line %d: %s: anchors and aliases are not accepted", ErrInvalid, n.Line, path)
}

func (s *Settings) mapping(out *bytes.Buffer, path string, n *yaml.Node) error {
	out.WriteByte('{')
	for i := 0; i+1 < len(n.Content); i += 2 {
		if i > 0 {
			out.WriteByte(',')
		}
		key, value := n.Content[i].Value, n.Content[i+1]
		at := key
		if path != "" {
			at = path + "." + key
		}
		name, how := s.secret(at)
		if name == "" {
			out.WriteString(quoted(key) + ":")
			if err := s.node(out, at, value); err != nil {
				return err
			}
			continue
		}
		plain, err := s.reveal(how, value)
		if err != nil {
			return fmt.Errorf("line %d: %s: %w", value.Line, at, err)
		}
		sealed, err := s.Seal(name, plain)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		out.WriteString(quoted(name[strings.LastIndexByte(name, '.')+1:]+"_sealed") + ":" + quoted(sealed))
	}
	out.WriteByte('}')
	return nil
}

var entry = regexp.MustCompile(`\[\d+\]`)

// secret tells whether a key holds a secret: it gives the secret's own path, and how the key has it.
func (s *Settings) secret(at string) (name, how string) {
	for _, how := range []string{"", "_file", "_env"} {
		if name, ok := strings.CutSuffix(at, how); ok && slices.Contains(s.Secrets, entry.ReplaceAllString(name, "[]")) {
			return name, how
		}
	}
	return "", ""
}

func (s *Settings) reveal(how string, n *yaml.Node) (string, error) {
	switch how {
	case "_env":
		v := s.Env(n.Value)
		if v == "" {
			return "", fmt.Errorf("%w: the environment has no %q", ErrInvalid, n.Value)
		}
		return v, nil
	case "_file":
		path := n.Value
		if !filepath.IsAbs(path) {
			path = filepath.Join(s.Folder, path)
		}
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
		if len(b) > maxSecret {
			return "", fmt.Errorf("%w: %s has more than %d bytes", ErrInvalid, path, maxSecret)
		}
		return strings.TrimRight(string(b), "\r\n"), err
	}
	return n.Value, nil
}

var wholeNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})$`)

// scalar writes a value so that it reads the same as JSON. What only looks like a number (007) stays a text.
func scalar(n *yaml.Node) string {
	plain := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	switch {
	case plain && n.Tag == "!!null":
		return "null"
	case plain && (n.Value == "true" || n.Value == "false"), plain && wholeNumber.MatchString(n.Value):
		return n.Value
	}
	return quoted(n.Value)
}

func quoted(s string) string {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.Encode(s)
	return strings.TrimSuffix(out.String(), "\n")
}
