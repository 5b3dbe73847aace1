package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// reader walks the layers' nodes along the table and gathers what is wrong.
type reader struct {
	from     Sources
	top      *Layer                // the last one that was read
	keys     []string              // full names of all settings, for "did you mean"
	seen     map[string]*yaml.Node // full name -> its value
	origin   map[*yaml.Node]*Layer // which layer a value stands in
	open     map[string]bool       // names of layers in which a secret itself stands
	problems Errors
}

// document gives the top mapping, or nil when the layer is empty or cannot be read.
func (r *reader) document(l *Layer) *yaml.Node {
	data := l.Data
	if l.Outside {
		return r.object(l)
	}
	if len(data) > MaxFile {
		r.problem(&Error{Problem: fmt.Sprintf("more than %d bytes", MaxFile), Remedy: "this is no settings file"})
		return nil
	}
	if !utf8.Valid(data) {
		r.problem(&Error{Problem: "not UTF-8", Remedy: "save it as UTF-8 text"})
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	err := decode(decoder, &doc)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		r.problem(syntax(err))
		return nil
	}
	switch err := decode(decoder, &more); {
	case err == nil:
		r.wrong(&more, "", "a second YAML document", "one file holds one document: take out the line with ---")
		return nil
	case !errors.Is(err, io.EOF):
		r.problem(syntax(err))
		return nil
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind == yaml.ScalarNode && doc.Content[0].Tag == "!!null" {
		return nil
	}
	return doc.Content[0]
}

// decode makes of a panic in the YAML library an error: a settings file must not end the process.
func decode(d *yaml.Decoder, to *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("yaml: cannot be read: %v", p)
		}
	}()
	return d.Decode(to)
}

// syntax makes an Error of the YAML library's, whose line stands in its text.
func syntax(err error) *Error {
	e := &Error{Problem: strings.TrimPrefix(err.Error(), "yaml: "), Remedy: "not valid YAML: look at the indentation and the quotes there"}
	if line, problem, ok := yamlLine(err.Error()); ok {
		e.Line, e.Column, e.Problem = line, 1, problem
	}
	return e
}

func (r *reader) problem(e *Error) {
	if len(r.problems) < maxProblems {
		if e.File == "" && r.top != nil {
			e.File = r.top.Name
		}
		r.problems = append(r.problems, e)
	}
}

// wrong notes a problem at node, which may be nil when the setting is in no layer.
func (r *reader) wrong(node *yaml.Node, path, problem, remedy string) *Error {
	e := &Error{Key: path, Problem: problem, Remedy: remedy}
	if node != nil {
		e.File, e.Line, e.Column = r.layer(node).Name, node.Line, node.Column
	}
	r.problem(e)
	return e
}

// plainNode refuses what makes one node stand for many.
func (r *reader) plainNode(path string, node *yaml.Node) bool {
	if node.Kind == yaml.AliasNode || node.Anchor != "" {
		r.wrong(node, path, "anchors and aliases are not accepted", "write the value out")
		return false
	}
	if node.Style&yaml.TaggedStyle != 0 {
		r.wrong(node, path, "tags such as "+quote(node.Tag)+" are not accepted", "write the plain value")
		return false
	}
	return true
}

// scalar gives the text of a plain value.
func (r *reader) scalar(path string, node *yaml.Node, may string) (string, bool) {
	if !r.plainNode(path, node) {
		return "", false
	}
	what := "one value is wanted"
	if may != "" {
		what += ": " + may
	}
	switch {
	case node.Kind != yaml.ScalarNode:
		r.wrong(node, path, "a "+kindName(node)+" stands here", what)
		return "", false
	case node.Tag == "!!null":
		r.wrong(node, path, "no value", what+"; for the default take the line out")
		return "", false
	case strings.ContainsFunc(node.Value, func(c rune) bool { return c < ' ' || c == 0x7f || c == utf8.RuneError }):
		r.wrong(node, path, "control characters in the value", "take them out")
		return "", false
	}
	return node.Value, true
}

// list checks that node is a list of at most max.
func (r *reader) list(path string, node *yaml.Node, max int) bool {
	if !r.plainNode(path, node) {
		return false
	}
	if node.Kind != yaml.SequenceNode {
		r.wrong(node, path, "a "+kindName(node)+" stands here", "a list is wanted: lines that begin with -, or [a, b]; [] is the empty one")
		return false
	}
	if len(node.Content) > max {
		r.wrong(node, path, fmt.Sprintf("%d entries", len(node.Content)), fmt.Sprintf("allowed: at most %d", max))
		return false
	}
	return true
}

// mapping takes the keys of node that fields knows, and refuses the others.
func (r *reader) mapping(path string, node *yaml.Node, fields section) {
	if !r.plainNode(path, node) {
		return
	}
	if node.Kind != yaml.MappingNode {
		r.wrong(node, path, "a "+kindName(node)+" stands here", "a section is wanted, with the keys "+strings.Join(keysOf(fields), ", "))
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		full := join(path, clip(key.Value))
		if key.Kind != yaml.ScalarNode || !r.plainNode(full, key) {
			if key.Kind != yaml.ScalarNode {
				r.wrong(key, path, "a "+kindName(key)+" stands where a key is wanted", "")
			}
			continue
		}
		if line, twice := first[key.Value]; twice {
			r.wrong(key, full, fmt.Sprintf("set twice, first in line %d", line), "take one of them out")
			continue
		}
		first[key.Value] = key.Line
		r.one(full, key, value, fields)
	}
	for _, s := range fields {
		r.secretOnce(path, s, first, node)
	}
}

// one sets the setting that key names.
func (r *reader) one(full string, key, value *yaml.Node, fields section) {
	r.seen[full] = value
	for _, s := range fields {
		if s.key == key.Value {
			s.value.set(r, full, value)
			return
		}
		hidden, ok := s.value.(*secret)
		if !ok {
			continue
		}
		if suffix, found := strings.CutPrefix(key.Value, s.key); found && slices.Contains(secretWays, suffix) {
			hidden.from(r, full, suffix, value)
			return
		}
	}
	r.wrong(key, full, "no such setting", r.didYouMean(key.Value, fields)).Kind = ErrUnknownSetting
}

// didYouMean looks among the section's own keys, then among the names of all sections.
func (r *reader) didYouMean(word string, fields section) string {
	own := keysOf(fields)
	if n := nearest(word, own); n != "" {
		return "did you mean " + n + "?"
	}
	for _, k := range r.keys {
		if k[strings.LastIndexByte(k, '.')+1:] == word {
			return "did you mean " + k + "?"
		}
	}
	return "allowed here: " + strings.Join(own, ", ")
}

// secretOnce refuses a secret that stands in two places.
func (r *reader) secretOnce(path string, s setting, lines map[string]int, node *yaml.Node) {
	if _, ok := s.value.(*secret); !ok {
		return
	}
	var given []string
	for _, suffix := range append([]string{""}, secretWays...) {
		if _, ok := lines[s.key+suffix]; ok {
			given = append(given, s.key+suffix)
		}
	}
	if len(given) > 1 {
		r.wrong(node, join(path, s.key), strings.Join(given, " and ")+" are both set", "keep one of them")
	}
}

func keysOf(fields section) []string {
	keys := make([]string, 0, len(fields))
	for _, s := range fields {
		keys = append(keys, s.key)
	}
	return keys
}

// names gives the full names of all settings below path; an item of a list is name[].
func names(path string, fields section) (all []string) {
	for _, s := range fields {
		full := join(path, s.key)
		all = append(all, full)
		switch v := s.value.(type) {
		case section:
			all = append(all, names(full, v)...)
		case lister:
			all = append(all, names(full+"[]", v.sample())...)
		}
	}
	return all
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "section"
	case yaml.SequenceNode:
		return "list"
	case yaml.AliasNode:
		return "alias"
	}
	return "single value"
}

// clip keeps a word of the file short enough for one line of an error.
func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}

func quote(s string) string { return strconv.QuoteToGraphic(clip(s)) }

// suggest is the opening of a remedy when a word is nearly one of the list.
func suggest(word string, list []string) string {
	if n := nearest(word, list); n != "" {
		return "did you mean " + n + "? "
	}
	return ""
}

// yamlText is s as a YAML scalar on one line, quoted where needed.
func yamlText(s string) string {
	out, err := yaml.Marshal(s)
	if err != nil {
		return strconv.Quote(s)
	}
	line := strings.TrimSuffix(string(out), "\n")
	if strings.Contains(line, "\n") {
		return strconv.Quote(s)
	}
	return line
}
