package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// setting is one line of the table.
type setting struct {
	key     string
	value   value
	meaning string
	auto    string // says where the default comes from, when it is not the same on every machine
}

// value is where a setting is kept, and what it may be.
type value interface {
	reset()                                      // to the default
	set(r *reader, path string, node *yaml.Node) // from the file; problems go to r
	text() string                                // as YAML, on one line; secrets hidden
	allowed() string                             // for the documentation; empty when anything goes
}

// scalar reads a plain value: parse gets its text and answers what would be right if it is wrong.
type scalar[T any] struct {
	to    *T
	def   T
	parse func(string) (T, string)
	show  func(T) string
	may   string
	tag   string // YAML type that the text must have; empty takes any scalar
}

func (s *scalar[T]) reset()          { *s.to = s.def }
func (s *scalar[T]) text() string    { return s.show(*s.to) }
func (s *scalar[T]) allowed() string { return s.may }

func (s *scalar[T]) set(r *reader, path string, node *yaml.Node) {
	text, ok := r.scalar(path, node, s.may)
	if !ok {
		return
	}
	if s.tag != "" && node.Tag != s.tag {
		r.wrong(node, path, "wrong value "+quote(text), "allowed: "+s.may)
		return
	}
	v, remedy := s.parse(text)
	if remedy != "" {
		r.wrong(node, path, "wrong value "+quote(text), remedy)
		return
	}
	*s.to = v
}

func plain(s string) string { return yamlText(s) }

// text is any string that passes check, which answers "" or what would be right.
func text(to *string, def string, may string, check func(string) string) value {
	return &scalar[string]{to: to, def: def, may: may, show: plain, parse: func(s string) (string, string) {
		return s, check(s)
	}}
}

// choice is one word of a list.
func choice[T ~string](to *T, def T, words ...T) value {
	var list []string
	for _, w := range words {
		list = append(list, string(w))
	}
	may := strings.Join(list, ", ")
	return &scalar[T]{to: to, def: def, may: may,
		show: func(v T) string { return yamlText(string(v)) },
		parse: func(s string) (T, string) {
			if !slices.Contains(list, s) {
				return "", suggest(s, list) + "allowed: " + may
			}
			return T(s), ""
		}}
}

// integer is a whole number from low to high, with its unit.
func integer(to *int, def, low, high int, unit string) value {
	may := strings.TrimSpace(fmt.Sprintf("%d…%d %s", low, high, unit))
	return &scalar[int]{to: to, def: def, may: may, tag: "!!int", show: strconv.Itoa, parse: func(s string) (int, string) {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return 0, "allowed: a whole number, " + may
		}
		return n, ""
	}}
}

// duration is a time with its unit, such as 20ms, 30s or 1h30m.
func duration(to *time.Duration, def, low, high time.Duration) value {
	may := showDuration(low) + "…" + showDuration(high)
	return &scalar[time.Duration]{to: to, def: def, may: may, show: showDuration, parse: func(s string) (time.Duration, string) {
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, "a number with its unit (ms, s, m, h), such as " + showDuration(def) + "; allowed: " + may
		}
		if d < low || d > high {
			return 0, "allowed: " + may
		}
		return d, ""
	}}
}

func showDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// toggle is true or false.
func toggle(to *bool, def bool) value {
	return &scalar[bool]{to: to, def: def, may: "true, false", tag: "!!bool", show: strconv.FormatBool, parse: func(s string) (bool, string) {
		switch s {
		case "true":
			return true, ""
		case "false":
			return false, ""
		}
		return false, "allowed: true, false"
	}}
}

// words is a list of strings, each checked alone.
type words struct {
	to    *[]string
	def   []string
	max   int
	may   string
	check func(string) string
}

func (w *words) reset()          { *w.to = slices.Clone(w.def) }
func (w *words) allowed() string { return w.may }
func (w *words) text() string {
	quoted := make([]string, len(*w.to))
	for i, s := range *w.to {
		quoted[i] = yamlText(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func (w *words) set(r *reader, path string, node *yaml.Node) {
	if node.Kind == yaml.ScalarNode && node.Tag != "!!null" { // one is a list of one
		node = &yaml.Node{Kind: yaml.SequenceNode, Line: node.Line, Column: node.Column, Content: []*yaml.Node{node}}
	}
	if !r.list(path, node, w.max) {
		return
	}
	list := make([]string, 0, len(node.Content))
	for i, n := range node.Content {
		item := fmt.Sprintf("%s[%d]", path, i)
		s, ok := r.scalar(item, n, w.may)
		if !ok {
			continue
		}
		if remedy := w.check(s); remedy != "" {
			r.wrong(n, item, "wrong value "+quote(s), remedy)
			continue
		}
		if slices.Contains(list, s) {
			r.wrong(n, item, quote(s)+" is there twice", "take one of them out")
			continue
		}
		list = append(list, s)
	}
	*w.to = list
}

// section is a mapping of settings.
type section []setting

func (s section) allowed() string { return "" }
func (s section) text() string    { return "" }
func (s section) reset() {
	for _, x := range s {
		x.value.reset()
	}
}
func (s section) set(r *reader, path string, node *yaml.Node) { r.mapping(path, node, s) }

// items is a list of mappings.
type items[T any] struct {
	to     *[]T
	def    []T
	max    int
	fields func(*T) section
}

// lister is what printing needs to know of any items.
type lister interface {
	value
	rows() []section // what is there
	sample() section // one item with its defaults
}

func (l *items[T]) reset()          { *l.to = slices.Clone(l.def) }
func (l *items[T]) allowed() string { return fmt.Sprintf("at most %d", l.max) }
func (l *items[T]) text() string    { return "[]" }
func (l *items[T]) sample() section {
	s := l.fields(new(T))
	s.reset()
	return s
}
func (l *items[T]) rows() (rows []section) {
	for i := range *l.to {
		rows = append(rows, l.fields(&(*l.to)[i]))
	}
	return rows
}

func (l *items[T]) set(r *reader, path string, node *yaml.Node) {
	if !r.list(path, node, l.max) {
		return
	}
	var list []T // an empty list is nil, as the default is
	if len(node.Content) > 0 {
		list = make([]T, len(node.Content))
	}
	for i, n := range node.Content {
		fields := l.fields(&list[i])
		fields.reset()
		fields.set(r, fmt.Sprintf("%s[%d]", path, i), n)
	}
	*l.to = list
}

// secret is a text that may also stand in a file (key_file), in the environment (key_env), or sealed to the box's key (key_sealed).
type secret struct {
	to    *Secret
	may   string
	check func(string) string
}

func (s *secret) reset()          { *s.to = Secret{} }
func (s *secret) allowed() string { return s.may }
func (s *secret) text() string    { return yamlText(s.to.String()) }

func (s *secret) set(r *reader, path string, node *yaml.Node) {
	if r.layer(node).Outside {
		r.wrong(node, path, "a secret stands in the open", "seal it to the box's key, as "+path+"_sealed").Kind = ErrNoSecret
		return
	}
	if t, ok := r.scalar(path, node, s.may); ok {
		if r.open == nil {
			r.open = map[string]bool{}
		}
		r.open[r.layer(node).Name] = true
		s.take(r, path, node, t)
	}
}

// take keeps the text; the errors do not repeat it.
func (s *secret) take(r *reader, path string, node *yaml.Node, t string) {
	if remedy := s.check(t); remedy != "" {
		r.wrong(node, path, "wrong value", remedy)
		return
	}
	*s.to = Secret{t}
}

// from takes the secret from where the key with this suffix points.
func (s *secret) from(r *reader, path, suffix string, node *yaml.Node) {
	where, ok := r.scalar(path, node, map[string]string{"_sealed": "base64"}[suffix])
	if !ok {
		return
	}
	l := r.layer(node)
	if l.Outside && suffix != "_sealed" {
		r.wrong(node, path, "files and environment of the box are not for settings from outside", "seal the secret to the box's key, as "+stem(path)+"_sealed").Kind = ErrNoSecret
		return
	}
	t, remedy, err := "", "", error(nil)
	switch suffix {
	case "_env":
		if t, remedy = r.from.Env(where), "set it, or name another variable"; t == "" {
			err = errors.New("the environment has no " + quote(where))
		}
	case "_sealed":
		t, err = r.from.Unseal(stem(path), where)
		remedy = "seal it anew to this box's key, for this very setting"
	default:
		var data []byte
		data, err = l.file(where)
		t, remedy = strings.TrimRight(string(data), "\r\n"), "name a file that the box may read"
		if err != nil {
			err = fmt.Errorf("cannot read the file: %w", err)
		}
	}
	if err != nil {
		r.wrong(node, path, err.Error(), remedy).Kind = ErrNoSecret
		return
	}
	s.take(r, path, node, t)
}

// file reads what a `_file` key of the layer names.
func (l *Layer) file(path string) ([]byte, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(l.folder, path)
	}
	if l.read != nil {
		return l.read(path, MaxSecretFile)
	}
	return readBounded(path, MaxSecretFile)
}
