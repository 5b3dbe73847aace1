package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"parley/cmd/parley/config"
	"parley/mqtt/provision"
	"parley/mqtt/wire"
)

// layers are where the box's settings come from, each over the ones before:
//
//	defaults ◁ base (-config FILE, or parley.yaml in the data folder) ◁ enrolment ◁ from outside (good, or on trial) ◁ local.yaml
//
// Of those above the base none can keep the box from starting: what cannot be used is left out, and told.
type layers struct {
	under    []config.Layer // base and enrolment
	local    []config.Layer // local.yaml, or nothing
	data     string         // folder
	names    wire.Box
	identity *provision.Identity // its keys may be missing; never nil
	store    *provision.Store
	life     provision.Life
	drift    []wire.Drift
	problems []string // what was left out, for the log and an alert
}

// localFile is in the data folder: settings that were made on the box, and are to stay whatever comes from outside.
const localFile = "local.yaml"

// loadConfig gives what the box would run with if it began now. It changes nothing on the disk.
func loadConfig(file, folder string) (config.Config, error) {
	cfg, _, err := loadLayers(file, folder, "")
	return cfg, err
}

// loadLayers is loadConfig with where it all comes from. trial is the version on trial, in digits, if the last life left one.
func loadLayers(file, folder, trial string) (config.Config, *layers, error) {
	l := &layers{identity: &provision.Identity{}}
	base, cfg, err := loadBase(file, folder)
	if err != nil {
		return cfg, l, err
	}
	l.data, l.under = cfg.Data, base
	l.store = provision.NewStore(filepath.Join(l.data, "provision"), nil)
	if id, err := provision.OpenIdentity(filepath.Join(l.data, "identity"), false, nil); err != nil {
		l.problem("the box's identity: %v", err)
	} else if l.identity = id; id.Enrolled != nil {
		l.under = append(l.under, enrolledLayer(id.Enrolled))
	}
	if cfg, err = blind(l.under); err != nil {
		return cfg, l, err
	}
	if l.names, err = wire.NewBox(cfg.EID, cfg.Box); err != nil {
		return cfg, l, err
	}
	l.readLocal()
	kept := l.store.Load(l.names)
	for _, err := range kept.Faults {
		l.problem("settings from outside: %v", err)
	}
	cfg, err = l.begin(kept, trial)
	return cfg, l, err
}

// layersOf are those of a box that has its settings from nowhere else.
func layersOf(cfg config.Config) *layers {
	names, _ := wire.NewBox(cfg.EID, cfg.Box)
	return &layers{
		data: cfg.Data, names: names, identity: &provision.Identity{}, store: provision.NewStore(filepath.Join(cfg.Data, "provision"), nil),
	}
}

// loadBase reads the named file, else parley.yaml in the data folder, else takes the defaults.
func loadBase(file, folder string) ([]config.Layer, config.Config, error) {
	read := func(path string) ([]config.Layer, config.Config, error) {
		var base []config.Layer
		if path != "" {
			l, err := config.ReadLayer(path)
			if err != nil {
				return nil, config.Config{}, err
			}
			base = append(base, l)
		}
		cfg, err := blind(base)
		if folder != "" {
			cfg.Data = folder
		}
		return base, cfg, err
	}
	base, cfg, err := read(file)
	if err != nil || file != "" {
		return base, cfg, err
	}
	path := filepath.Join(cfg.Data, "parley.yaml")
	if _, err := os.Stat(path); err != nil {
		return base, cfg, nil
	}
	folder = cfg.Data
	return read(path)
}

// blind reads settings before it is known which box this is, which it takes to open seals.
func blind(all []config.Layer) (config.Config, error) {
	anything := func(string, string) (string, error) { return strings.Repeat("0", 32), nil } // fits every secret that there is
	return config.ParseLayers(config.Sources{Env: os.Getenv, Unseal: anything}, all...)
}

// enrolledLayer is what an enrolment sets.
func enrolledLayer(e *provision.Enrolled) config.Layer {
	return config.NewLayer("enrolment", fmt.Appendf(nil, "eid: %q\nbox: %q\nmqtt: {broker: %q}\n", e.Answer.EID, e.Answer.Box, e.Answer.Broker))
}

func outsideLayer(d wire.Desired) config.Layer {
	return config.Layer{Name: "settings from outside, version " + strconv.FormatUint(d.Version, 10), Data: d.Settings, Outside: true}
}

func (l *layers) problem(format string, args ...any) {
	l.problems = append(l.problems, fmt.Sprintf(format, args...))
}

func (l *layers) readLocal() {
	local, err := config.ReadLayer(filepath.Join(l.data, localFile))
	switch {
	case err == nil:
		l.local = append(l.local, local)
	case !errors.Is(err, fs.ErrNotExist):
		l.problem("%v", err)
	}
}

// parse makes settings of layers.
func (l *layers) parse(all ...config.Layer) (config.Config, error) {
	cfg, err := config.ParseLayers(config.Sources{Env: os.Getenv, Unseal: l.unseal}, all...)
	cfg.Data = l.data
	return cfg, err
}

// unseal opens a secret that was sealed to this box.
func (l *layers) unseal(key, sealed string) (string, error) {
	if l.identity.Seal == nil {
		return "", errors.New("the box has no key to open seals with")
	}
	text, err := wire.OpenSealed(l.identity.Seal, wire.Place{EID: l.names.EID(), Box: l.names.Name(), Key: key}, sealed)
	return string(text), err
}

// begin chooses what the box begins with.
func (l *layers) begin(kept provision.Kept, trial string) (config.Config, error) {
	l.life = kept.Choose(trial)
	if d := l.life.Doc; d != nil {
		cfg, drift, err := l.with(d.Desired)
		if err == nil {
			l.drift = drift
			return cfg, nil
		}
		l.life.Problem = err
		if l.life.Trial { // it was valid when it came, and is not now
			return cfg, nil
		}
		l.problem("the settings from outside are left out: %v", err)
		l.life.Doc = nil
	}
	return l.over(l.under)
}

// with gives the settings with a document, and how they differ by what was set on the box.
func (l *layers) with(d wire.Desired) (config.Config, []wire.Drift, error) {
	below := append(append([]config.Layer(nil), l.under...), outsideLayer(d))
	central, err := l.parse(below...)
	if err != nil {
		return central, nil, err
	}
	if err := usable(central); err != nil {
		return central, nil, err
	}
	cfg, err := l.over(below)
	var drift []wire.Drift
	for _, x := range config.Differences(central, cfg) {
		drift = append(drift, wire.Drift{Key: x.Key, Central: x.Was, Local: x.Is})
	}
	return cfg, drift, err
}

// over lays local.yaml over what is below, unless that cannot be.
func (l *layers) over(below []config.Layer) (config.Config, error) {
	if len(l.local) > 0 {
		cfg, err := l.parse(append(append([]config.Layer(nil), below...), l.local...)...)
		if err == nil {
			return cfg, nil
		}
		l.problem("%s is left out: %v", localFile, err)
		l.local = nil
	}
	return l.parse(below...)
}
