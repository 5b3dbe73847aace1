// INVITE with Replaces (RFC 3891): a call that takes the place of another.

package sip

import (
	"slices"
	"strings"

	gosip "github.com/emiago/sipgo/sip"
)

// maxFar bounds how many tags of an INVITE's forks are remembered.
const maxFar = 8

// Replaces is the call whose place this incoming one is to take, nil if there is none or it is over itself. That the caller named it by its Call-ID and
// both tags shows that somebody who was in it let it know them; whether that is enough is for the Handler to decide. If it
// answers, hanging up the other call is its matter too: so that it can first bring the two together.
func (c *Call) Replaces() *Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.instead
}

// successor is what a Replaces header names.
type successor struct {
	call, to, from string // Call-ID and tags: to is ours, as the sender sees the dialog
	early          bool   // only if the call was not answered yet
}

// readReplaces parses the value of a Replaces header (RFC 3891, 6.1).
func readReplaces(v string) (s successor, ok bool) {
	if len(v) > maxHeader {
		return s, false
	}
	parts := strings.Split(v, ";")
	s.call = strings.TrimSpace(parts[0])
	var tos, froms int
	for _, p := range parts[1:] {
		k, w, _ := strings.Cut(strings.TrimSpace(p), "=")
		w = strings.TrimSpace(w)
		switch strings.ToLower(strings.TrimSpace(k)) {
		case "to-tag":
			s.to, tos = w, tos+1
		case "from-tag":
			s.from, froms = w, froms+1
		case "early-only":
			s.early = true
		}
	}
	return s, visible(s.call, ",") && tos == 1 && froms == 1 && visible(s.to, ";,\"<>") && visible(s.from, ";,\"<>")
}

// replaced finds the call that an INVITE is to take the place of; a code other than 0 is the refusal (RFC 3891, 3).
func (a *Agent) replaced(req *gosip.Request) (*Call, int) {
	headers := req.GetHeaders("Replaces")
	if len(headers) == 0 {
		return nil, 0
	}
	s, ok := readReplaces(headers[0].Value())
	if !ok || len(headers) > 1 {
		return nil, 400
	}
	c := a.find(dialogKey{call: s.call, tag: s.to})
	if c == nil || !c.isFar(s.from) {
		return nil, 481
	}
	switch state := c.State(); {
	case state == Over:
		return nil, 603
	case state == Talking || state == Restoring:
		if s.early {
			return nil, 486
		}
	case c.direction == In: // an early dialog that the far end began cannot be replaced
		return nil, 481
	}
	return c, 0
}

// isFar reports whether tag is the far end's, in one of the dialogs that the call's INVITE has made. "0" stands for none.
func (c *Call) isFar(tag string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.far, tag) || tag == "0" && slices.Contains(c.far, "")
}

// meet notes a tag of the far end's. When the call is answered the others do not count any more.
func (c *Call) meet(tag string, alone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case alone:
		c.far = []string{tag}
	case len(c.far) < maxFar && !slices.Contains(c.far, tag):
		c.far = append(c.far, tag)
	}
}
