// Package prompt speaks to members: short sentences in Chinese and English, built in and replaceable by files, each listener
// with a player of his own, which is a source for the mixer.
//
// It knows names of prompts, languages and sound; it must not know conferences, calls or when something is to be said.
//
//	texts.txt ── espeak-ng, Opus ──▶ prompts.bin, or {dir}/{language}/{name}.wav
//	    ──▶ Library.Run: decoded when wanted, 16 kHz, the latest kept ──▶ Player ──▶ ReadFrame, at the mixer's rate
package prompt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"parley/audio"
)

// ErrCodec: there is no Opus among the codecs given.
var ErrCodec = errors.New("prompt: no opus codec given")

// Fallback is the language of what there is not in the wanted one.
const Fallback = "en"

// Config is what a Library needs.
type Config struct {
	Codecs []audio.Codec // one of them must be opus
	// Dir holds files {language}/{name}.wav that replace built-in prompts of these names, also in languages that are
	// not built in; empty: none. A file that has changed is noticed when it is next spoken.
	Dir string
	// ReadWAV reads 16-bit mono sound of at most limit samples, at 8000, 16000 or 48000 Hz: wav.ReadAll. Not needed without Dir.
	ReadWAV func(r io.Reader, limit int) (pcm []int16, rate int, err error)
	Log     *slog.Logger
}

// Library holds the prompts. Its players may speak from any goroutine; nothing is heard before Run is.
type Library struct {
	cfg   Config
	codec audio.Codec
	built pack
	cache cache // Run's

	wake    chan struct{}
	mu      sync.Mutex // guards waiting
	waiting []*Player  // each at most once, who have something to be loaded
}

// New makes a library at rest.
func New(cfg Config) (*Library, error) {
	l := &Library{cfg: cfg, wake: make(chan struct{}, 1), cache: cache{sounds: map[string]*cached{}, limit: cacheSamples}}
	for _, c := range cfg.Codecs {
		if c.Format().Codec == "opus" {
			l.codec = c
		}
	}
	if l.codec == nil {
		return nil, ErrCodec
	}
	if cfg.Log == nil {
		l.cfg.Log = slog.New(slog.DiscardHandler)
	}
	var err error
	l.built, _, err = readPack(builtin)
	return l, err
}

// Languages lists those that are built in.
func (l *Library) Languages() []string { return slices.Sorted(maps.Keys(l.built)) }

// Names lists what can be said. Numbers from 0 to 99999999 can be said besides, as decimal digits without leading zeros.
func (l *Library) Names() []string { return slices.Sorted(maps.Keys(l.built[Fallback])) }

// Run decodes what players want to speak, until ctx ends, beside the mixer's goroutine and the callers'.
func (l *Library) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		}
		for p := l.take(); p != nil && ctx.Err() == nil; p = l.take() {
			for s := p.unloaded(); s != nil; s = p.unloaded() {
				p.loaded(s, l.load(p.language, s.Names))
			}
		}
	}
}

// want puts p into the line of those who have something to be loaded.
func (l *Library) want(p *Player) {
	l.mu.Lock()
	if !slices.Contains(l.waiting, p) {
		l.waiting = append(l.waiting, p)
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *Library) take() *Player {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return nil
	}
	p := l.waiting[0]
	l.waiting = slices.Delete(l.waiting, 0, 1)
	return p
}

// load gives the sounds of names in order. What cannot be said is left out, and the log tells why.
func (l *Library) load(language string, names []string) (clips [][]int16) {
	for _, name := range names {
		parts, from := l.compose(language, name)
		if len(parts) == 0 {
			l.cfg.Log.Error("there is no such prompt", "name", name, "language", language)
		}
		for _, part := range parts {
			pcm, err := l.sound(from, part)
			if err != nil {
				l.cfg.Log.Error("a prompt cannot be spoken", "name", part, "language", from, "err", err)
				continue
			}
			clips = append(clips, pcm)
		}
	}
	return clips
}

// compose gives the prompts that say name, and in which language they are there.
func (l *Library) compose(language, name string) (parts []string, from string) {
	for _, from := range []string{language, Fallback} {
		has := func(name string) bool { return l.has(from, name) }
		if has(name) {
			return []string{name}, from
		}
		if parts := number(name, has); parts != nil {
			return parts, from
		}
	}
	return nil, ""
}

// number composes what there is no word for: of tens and digits below 100, else digit by digit.
func number(name string, has func(string) bool) (parts []string) {
	if len(name) == 0 || len(name) > 8 || len(name) > 1 && name[0] == '0' {
		return nil
	}
	for _, c := range name {
		if c < '0' || c > '9' || !has(string(c)) {
			return nil
		}
		parts = append(parts, string(c))
	}
	if len(name) != 2 {
		return parts
	}
	tens, unit := name[:1], name[1:]
	switch {
	case has(tens + "0"): // twenty, one
		parts = []string{tens + "0"}
	case has("10") && !has("11"): // two, ten, one
		parts = []string{tens, "10"}
	default:
		return parts
	}
	if unit != "0" {
		parts = append(parts, unit)
	}
	return parts
}

// NewPlayer makes a player that speaks language, or Fallback for what there is not in it.
func (l *Library) NewPlayer(language string) (*Player, error) {
	if !validName(language) {
		return nil, fmt.Errorf("prompt: %q is no language", language)
	}
	up, err := audio.NewResampler(clipRate, audio.SampleRate)
	if err != nil {
		return nil, err
	}
	down, err := audio.NewResampler(clipRate, 8000)
	if err != nil {
		return nil, err
	}
	return &Player{library: l, language: language, up: up, down: down}, nil
}
