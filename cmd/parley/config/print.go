package config

import (
	"fmt"
	"strings"
)

// String is the configuration as YAML with every secret hidden.
func (c Config) String() string {
	var b strings.Builder
	(&printer{out: &b, plain: true}).section(settings(&c), "")
	return b.String()
}

// GoString is String: %#v shows no secret either.
func (c Config) GoString() string { return c.String() }

// Defaults is a settings file that says what a box without one does: every key with its default, what it may be, and its
// meaning. Secrets, settings whose default comes from the machine, and samples of list entries are commented out.
func Defaults() string {
	var c Config
	table := settings(&c)
	table.reset()
	var b strings.Builder
	b.WriteString("# The settings of parley, each with its default. Copy what you want to change.\n")
	(&printer{out: &b}).section(table, "")
	return b.String()
}

// printer writes a table as YAML.
type printer struct {
	out   *strings.Builder
	plain bool // values only: no comments, no samples
}

func (p *printer) section(fields section, indent string) {
	for _, s := range fields {
		p.comment(s, indent)
		switch v := s.value.(type) {
		case section:
			fmt.Fprintf(p.out, "%s%s:\n", indent, s.key)
			p.section(v, indent+"  ")
		case lister:
			p.list(s.key, v, indent)
		case *secret:
			if !p.plain {
				fmt.Fprintf(p.out, "%s# %s:\n", indent, s.key)
			} else if v.to.Given() {
				fmt.Fprintf(p.out, "%s%s: %s\n", indent, s.key, v.text())
			}
		default:
			hash := ""
			if s.auto != "" && !p.plain {
				hash = "# "
			}
			fmt.Fprintf(p.out, "%s%s%s: %s\n", indent, hash, s.key, v.text())
		}
	}
}

// comment writes what a setting means, what it may be, and where its default comes from, in lines of at most 100 letters.
func (p *printer) comment(s setting, indent string) {
	if p.plain {
		return
	}
	if indent == "" {
		p.out.WriteByte('\n')
	}
	words := s.meaning
	if may := s.value.allowed(); may != "" {
		words += " [" + may + "]"
	}
	if s.auto != "" {
		words += " Default: " + s.auto + "."
	}
	if _, ok := s.value.(*secret); ok {
		words += " Or " + s.key + "_file: a file that holds it; or " + s.key + "_env: the environment variable that does; or " + s.key + "_sealed."
	}
	for _, line := range wrap(words, 100-len(indent)) {
		fmt.Fprintf(p.out, "%s# %s\n", indent, line)
	}
}

// list writes a list's entries, or a commented sample of one where there is none.
func (p *printer) list(key string, l lister, indent string) {
	rows := l.rows()
	if len(rows) == 0 {
		fmt.Fprintf(p.out, "%s%s: []\n", indent, key)
		if !p.plain {
			p.entry(l.sample(), indent+"# ")
		}
		return
	}
	fmt.Fprintf(p.out, "%s%s:\n", indent, key)
	for _, row := range rows {
		p.entry(row, indent)
	}
}

// entry writes one list entry: its first key follows the dash.
func (p *printer) entry(fields section, indent string) {
	var b strings.Builder
	inner := printer{out: &b, plain: p.plain}
	inner.section(fields, "    ")
	dashed := false
	for line := range strings.Lines(b.String()) {
		if !dashed && !strings.HasPrefix(line, "    #") {
			dashed = true
			line = "  - " + line[4:]
		}
		p.out.WriteString(indent + line)
	}
}

// Markdown is docs/settings.md: one table per section.
func Markdown() string {
	var c Config
	table := settings(&c)
	table.reset()
	var b strings.Builder
	b.WriteString("# Settings\n\n" +
		"One YAML file: `parley run -config FILE`, else `parley.yaml` in the data folder. Every setting has a default, and no file\n" +
		"at all is fine; `parley settings` prints one that says what a box without one does. An unknown key or a wrong value is an\n" +
		"error with file, line and what would be right; `parley check-config FILE` looks without starting. Durations have their\n" +
		"unit: `20ms`, `30s`, `1h30m`. A file is at most 256 KiB of plain YAML, without anchors, aliases and tags.\n\n" +
		"A *secret* `x` may stand in the file as `x`, in a file of its own as `x_file` (relative to the settings file), in the\n" +
		"environment as `x_env`, or sealed to the box's key as `x_sealed`. It is never printed.\n\n" +
		"Settings come in layers, each over the ones before: the defaults, this file, what the enrolment gave (`eid`, `box` and\n" +
		"`mqtt.broker`), the settings from outside (signed, over MQTT: docs/provisioning.md), and `local.yaml` in the data folder, for\n" +
		"what is set on the box itself and is to stay. Sections are laid into each other; a single value or a list replaces the one\n" +
		"below. From outside, `eid`, `box`, `board`, `data`, `user` and what is under `provision` or `update` cannot be set, nor can\n" +
		"`mqtt.broker` become `embedded`, and secrets come sealed.\n\n" +
		"This page is made from the table in `cmd/parley/config/table.go`; a test holds the two equal.\n")
	markdownSection(&b, "", "General", "", table)
	return b.String()
}

// markdownSection writes the settings of one section, then the sections in it.
func markdownSection(b *strings.Builder, path, title, meaning string, fields section) {
	fmt.Fprintf(b, "\n## %s\n\n", title)
	if meaning != "" {
		b.WriteString(meaning + "\n\n")
	}
	b.WriteString("| key | default | allowed | meaning |\n| --- | --- | --- | --- |\n")
	for _, s := range fields {
		def, may := "`"+s.value.text()+"`", s.value.allowed()
		switch v := s.value.(type) {
		case section:
			continue
		case *secret:
			def, may = "", "secret: "+may
		case lister:
			def = listDefault(v)
			may = "list, " + may
		}
		if s.auto != "" {
			def = s.auto
		}
		if def == "`\"\"`" {
			def = "empty"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", join(path, s.key), cell(def), cell(may), cell(s.meaning))
	}
	for _, s := range fields {
		full := join(path, s.key)
		switch v := s.value.(type) {
		case section:
			markdownSection(b, full, "`"+full+"`", s.meaning, v)
		case lister:
			markdownSection(b, full+"[]", "Each entry of `"+full+"`", "", v.sample())
		}
	}
}

// listDefault is the default of a list on one line.
func listDefault(l lister) string {
	var entries []string
	for _, row := range l.rows() {
		var fields []string
		for _, s := range row {
			if t := s.value.text(); t != `""` {
				fields = append(fields, s.key+": "+t)
			}
		}
		entries = append(entries, "{"+strings.Join(fields, ", ")+"}")
	}
	return "`[" + strings.Join(entries, ", ") + "]`"
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// wrap breaks words into lines of at most width bytes.
func wrap(words string, width int) (lines []string) {
	line := ""
	for _, w := range strings.Fields(words) {
		if line != "" && len(line)+1+len(w) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	return append(lines, line)
}
