package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Layer is one source of settings. What lies over it replaces single values and whole lists; sections are laid into each other.
type Layer struct {
	Name string // in errors: the file, or what else it is
	Data []byte // YAML; of an Outside one, a JSON object
	// Outside: it came over the network. It may not set what makes the box this box, nor look into its files and environment for
	// secrets, and has none in the open.
	Outside bool

	folder string                                        // that relative names in `_file` keys are in
	shared bool                                          // everybody may read it
	read   func(path string, most int64) ([]byte, error) // nil: readBounded
}

// ownSettings are what a layer from outside may not set: they say who the box is, or how it is kept and reached by those who set it.
var ownSettings = []string{"eid", "box", "board", "data", "user", "provision", "update"}

// What an Error can be of, beside a wrong value.
var (
	// ErrUnknownSetting: there is no such setting.
	ErrUnknownSetting = errors.New("no such setting")
	// ErrNoSecret: a secret that is needed is not there, or cannot be had from where it is said to be.
	ErrNoSecret = errors.New("no secret")
)

// Sources is where values come from that do not stand in a layer.
type Sources struct {
	Env func(string) string // answers the `_env` keys and XDG_STATE_HOME; may be nil
	// Unseal opens what stands at key_sealed; key is the secret's full name. nil: nothing can be opened.
	Unseal func(key, sealed string) (string, error)
}

// ReadLayer reads a settings file.
func ReadLayer(path string) (Layer, error) {
	data, err := readBounded(path, MaxFile)
	if err != nil {
		return Layer{}, fmt.Errorf("settings: %w", err)
	}
	l := NewLayer(path, data)
	if info, err := os.Stat(path); err == nil {
		l.shared = info.Mode().Perm()&0o007 != 0
	}
	return l, nil
}

// NewLayer is ReadLayer on bytes.
func NewLayer(name string, data []byte) Layer {
	return Layer{Name: name, Data: data, folder: filepath.Dir(name)}
}

// ParseLayers makes a configuration of the defaults and of what lies over them, the last layer on top. The error is an Errors; each of
// its entries names its layer.
func ParseLayers(from Sources, layers ...Layer) (Config, error) {
	if from.Env == nil {
		from.Env = func(string) string { return "" }
	}
	if from.Unseal == nil {
		from.Unseal = func(string, string) (string, error) { return "", errors.New("this box cannot open seals here") }
	}
	var c Config
	table := settings(&c)
	table.reset()
	r := &reader{from: from, keys: names("", table), seen: map[string]*yaml.Node{}, origin: map[*yaml.Node]*Layer{}}
	var root *yaml.Node
	for i := range layers {
		r.top = &layers[i]
		if n := r.document(r.top); n != nil {
			r.claim(n)
			root = lay(root, n)
		}
	}
	if root != nil && len(r.problems) == 0 {
		table.set(r, "", root)
	}
	if len(r.problems) == 0 {
		r.finish(&c)
	}
	if len(r.problems) > 0 {
		return Config{}, r.problems
	}
	for _, l := range layers {
		if l.shared && r.open[l.Name] {
			c.warnings = append(c.warnings, l.Name+" holds secrets and everybody may read it: chmod 600 "+l.Name)
		}
	}
	return c, nil
}

// claim notes that a node and all below it are of the layer that is being read.
func (r *reader) claim(n *yaml.Node) {
	r.origin[n] = r.top
	for _, below := range n.Content {
		r.claim(below)
	}
}

// layer is where a node comes from; of none, the last layer.
func (r *reader) layer(n *yaml.Node) *Layer {
	if l := r.origin[n]; l != nil {
		return l
	}
	if r.top == nil {
		return &Layer{}
	}
	return r.top
}

// lay gives what is seen when over lies on under. Neither is changed.
func lay(under, over *yaml.Node) *yaml.Node {
	if under == nil || !isSection(under) || !isSection(over) {
		return over
	}
	set := map[string]*yaml.Node{} // by over, with every way of giving a secret
	for i := 0; i+1 < len(over.Content); i += 2 {
		set[stem(over.Content[i].Value)] = over.Content[i+1]
	}
	merged := *under
	merged.Content = nil
	done := map[string]bool{}
	for i := 0; i+1 < len(under.Content); i += 2 {
		key, value := under.Content[i], under.Content[i+1]
		upper, ok := set[stem(key.Value)]
		switch {
		case !ok:
			merged.Content = append(merged.Content, key, value)
		case isSection(upper) && isSection(value) && !done[key.Value]:
			done[key.Value] = true
			merged.Content = append(merged.Content, key, lay(value, upper))
		}
	}
	for i := 0; i+1 < len(over.Content); i += 2 {
		if key := over.Content[i]; !done[key.Value] {
			merged.Content = append(merged.Content, key, over.Content[i+1])
		}
	}
	return &merged
}

// isSection tells whether a node is a plain mapping; one with an anchor or tag is left whole, so that it is refused.
func isSection(n *yaml.Node) bool {
	return n.Kind == yaml.MappingNode && n.Anchor == "" && n.Style&yaml.TaggedStyle == 0
}

// secretWays are the endings of a secret's keys.
var secretWays = []string{"_file", "_env", "_sealed"}

// stem is a key without what says where its secret is.
func stem(key string) string {
	for _, way := range secretWays {
		if s, ok := strings.CutSuffix(key, way); ok {
			return s
		}
	}
	return key
}

// object reads a JSON object as if it were YAML. Whoever hands it over has seen that it is bounded in size and depth.
func (r *reader) object(l *Layer) *yaml.Node {
	d := json.NewDecoder(bytes.NewReader(l.Data))
	d.UseNumber()
	n, err := jsonNode(d, 0)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something after the end")
		}
	}
	if err != nil {
		r.problem(&Error{File: l.Name, Problem: "not JSON: " + err.Error()})
		return nil
	}
	return n
}

func jsonNode(d *json.Decoder, depth int) (*yaml.Node, error) {
	const deepest = 16
	token, err := d.Token()
	if err != nil || depth > deepest {
		return nil, errors.New("cut short, wrong or too deep")
	}
	switch t := token.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		if t == '[' {
			n = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		}
		for d.More() {
			below, err := jsonNode(d, depth+1) // of an object, keys and values in turn, as YAML has them
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, below)
		}
		_, err := d.Token()
		return n, err
	case string:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: t}, nil
	case json.Number:
		tag := "!!int"
		if strings.ContainsAny(t.String(), ".eE") {
			tag = "!!float"
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: t.String()}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(t)}, nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
}

// outside holds that a layer from outside leaves alone what is not for it.
func (r *reader) outside(c *Config) {
	for _, key := range ownSettings {
		for path, node := range r.seen {
			if (path == key || strings.HasPrefix(path, key+".") && node.Kind == yaml.ScalarNode) && r.layer(node).Outside {
				r.wrong(node, path, "cannot be set from outside", "set it on the box")
			}
		}
	}
	if node := r.seen["mqtt.broker"]; node != nil && r.layer(node).Outside && c.MQTT.Broker == BrokerEmbedded {
		r.wrong(node, "mqtt.broker", "would cut the box off from where this comes from", "name a broker")
	}
}
