package web

import (
	"strings"

	"parley/conference"
)

// DecodeCommand is what a body asks of a conference.
func DecodeCommand(b []byte) (conference.Command, error) {
	o, err := decodeCommand(b)
	return o.cmd, err
}

// Commands gives each command's fields.
func Commands() map[conference.Do][]string {
	all := map[conference.Do][]string{}
	for _, t := range commands {
		all[t.do] = strings.Fields(t.must + " " + t.may)
	}
	return all
}
