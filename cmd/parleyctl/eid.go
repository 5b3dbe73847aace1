package main

import (
	"flag"
	"path/filepath"

	"parley/mqtt/provision"
)

// enterprise is the setting -eid: a name that is given, or the one of the box in the data folder.
type enterprise struct{ name string }

func (e *enterprise) add(flags *flag.FlagSet) {
	flags.StringVar(&e.name, "eid", "", "`enterprise` (default: the one that the box in -data has enrolled in, or else local)")
}

// of is the enterprise, where data is a box's data folder or there is no such folder.
func (e *enterprise) of(data string) string {
	if e.name != "" {
		return e.name
	}
	if id, err := provision.OpenIdentity(filepath.Join(data, "identity"), false, nil); err == nil && id.Enrolled != nil {
		return id.Enrolled.Answer.EID
	}
	return "local"
}
