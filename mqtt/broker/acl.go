package broker

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// ACL are access rules in the form of mosquitto's acl_file, with its meaning:
//
//	topic  [read|write|readwrite|deny] FILTER     of the last user line; before the first one, of those without a name
//	user   NAME
//	pattern [read|write|readwrite|deny] FILTER    of everybody; %u is the user's name, %c the client id
//
// What no rule allows is denied; a deny outweighs. An ACL does not change once it is read.
type ACL struct {
	byUser   map[string][]rule // "" is who has no name
	patterns []rule
}

type rule struct {
	access access
	filter string
}

type access byte

const (
	read access = 1 << iota
	write
	deny
)

var accessWords = map[string]access{"read": read, "write": write, "readwrite": read | write, "deny": deny}

// Bounds of an access file.
const (
	maxRules   = 4096
	maxACLLine = 1024
)

// ParseACL reads access rules. The error wraps ErrConfig and names the line.
func ParseACL(r io.Reader) (*ACL, error) {
	a := &ACL{byUser: map[string][]rule{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxACLLine)
	user, count, n := "", 0, 0
	for n = 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		var err error
		switch word {
		case "user":
			user = rest
			if rest == "" {
				err = fmt.Errorf("a user needs a name")
			}
		case "topic":
			err = addRule(rest, func(r rule) { a.byUser[user] = append(a.byUser[user], r) })
		case "pattern":
			err = addRule(rest, func(r rule) { a.patterns = append(a.patterns, r) })
		default:
			err = fmt.Errorf("%.40q is none of user, topic, pattern", word)
		}
		if count++; err == nil && count > maxRules {
			err = fmt.Errorf("more than %d rules", maxRules)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: access rules, line %d: %w", ErrConfig, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: access rules, line %d: %w", ErrConfig, n, err)
	}
	return a, nil
}

func addRule(rest string, add func(rule)) error {
	r := rule{access: read | write, filter: rest}
	if word, filter, ok := strings.Cut(rest, " "); ok && accessWords[word] != 0 {
		r = rule{access: accessWords[word], filter: strings.TrimSpace(filter)}
	}
	if !validFilter(r.filter) {
		return fmt.Errorf("%.80q is no filter", r.filter)
	}
	add(r)
	return nil
}

// mayWrite tells whether a client may publish to a topic.
func (a *ACL) mayWrite(user, client, topic string) bool { return a.allows(user, client, topic, write) }

// mayRead tells whether a client may get what is published to a topic.
func (a *ACL) mayRead(user, client, topic string) bool { return a.allows(user, client, topic, read) }

func (a *ACL) allows(user, client, topic string, want access) bool {
	if a == nil {
		return true
	}
	for _, stage := range [][]rule{a.byUser[user], a.patternsFor(user, client)} {
		allowed := false
		for _, r := range stage {
			if !matches(r.filter, topic) {
				continue
			}
			if r.access == deny {
				return false
			}
			allowed = allowed || r.access&want != 0
		}
		if allowed {
			return true
		}
	}
	return false
}

// maySubscribe tells whether a subscription makes sense: whether there is a rule under which something could come of it.
// What does come is judged topic by topic.
func (a *ACL) maySubscribe(user, client, filter string) bool {
	if a == nil {
		return true
	}
	if !strings.ContainsAny(filter, "+#") {
		return a.mayRead(user, client, filter)
	}
	for _, stage := range [][]rule{a.byUser[user], a.patternsFor(user, client)} {
		for _, r := range stage {
			if r.access != deny && r.access&read != 0 && overlap(r.filter, filter) {
				return true
			}
		}
	}
	return false
}

// patternsFor fills in who it is. A name that would act as a wildcard or as several levels gets none.
func (a *ACL) patternsFor(user, client string) []rule {
	out := make([]rule, 0, len(a.patterns))
	for _, r := range a.patterns {
		if strings.Contains(r.filter, "%u") && (user == "" || strings.ContainsAny(user, "+#/")) ||
			strings.Contains(r.filter, "%c") && (client == "" || strings.ContainsAny(client, "+#/")) {
			continue
		}
		r.filter = strings.NewReplacer("%u", user, "%c", client).Replace(r.filter)
		out = append(out, r)
	}
	return out
}

// matches tells whether a topic is of those that a filter means (MQTT 3.1.1, section 4.7). Both are valid.
func matches(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && !strings.HasPrefix(filter, "$") {
		return false
	}
	for {
		f, restF, moreF := strings.Cut(filter, "/")
		t, restT, moreT := strings.Cut(topic, "/")
		switch {
		case f == "#":
			return true
		case f != "+" && f != t:
			return false
		case !moreF || !moreT:
			return moreF == moreT || moreF && restF == "#"
		}
		filter, topic = restF, restT
	}
}

// overlap tells whether there is a topic that both filters mean.
func overlap(a, b string) bool {
	if strings.HasPrefix(a, "$") != strings.HasPrefix(b, "$") {
		return false
	}
	for {
		x, restA, moreA := strings.Cut(a, "/")
		y, restB, moreB := strings.Cut(b, "/")
		switch {
		case x == "#" || y == "#":
			return true
		case x != "+" && y != "+" && x != y:
			return false
		case !moreA || !moreB:
			return moreA == moreB || moreA && restA == "#" || moreB && restB == "#"
		}
		a, b = restA, restB
	}
}
