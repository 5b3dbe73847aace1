package main

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"

	"parley/audio"
	"parley/audio/card"
	"parley/audio/g711"
	"parley/audio/g722"
	"parley/audio/opus"
	"parley/audio/wav"
	"parley/board"
	"parley/cmd/parley/config"
	"parley/mixer"
)

// sentence is what the file card says when no other microphone is given: G.722, 64 kbit/s, 16 kHz.
//
//go:embed sentence.g722
var sentence []byte

// spoken decodes the sentence.
func spoken() (pcm []int16, rate int, err error) {
	codec := g722.New()
	f := codec.Format()
	decoder, err := codec.NewDecoder(f)
	if err != nil {
		return nil, 0, err
	}
	frame := make([]int16, f.PacketSamples())
	size := len(frame) / 2 // two samples in a byte
	for rest := sentence; len(rest) >= size; rest = rest[size:] {
		if _, err := decoder.Decode(rest[:size], frame); err != nil {
			return nil, 0, err
		}
		pcm = append(pcm, frame...)
	}
	return pcm, f.SampleRate, nil
}

// soundCard is the room's microphone and speaker, real or made of files.
type soundCard interface {
	mixer.Source
	mixer.FrameSink
	volume
	Status() card.Status
	Run(context.Context) error
}

// openCard makes the card that settings and board ask for, at rest. files tells that it is made of files.
func openCard(cfg config.Config, b board.Board, d *data, mic *microphone, log *slog.Logger, onState func(card.Status)) (c soundCard, files bool, err error) {
	if err := card.ProvideALSA(d.dir); err != nil {
		log.Warn("sound cards may not be found: ALSA has no configuration", "error", err)
	}
	device := cfg.Card.Device
	if device == "auto" && b.Card != "auto" {
		device = b.Card
	}
	if device == "auto" {
		if cards, err := (card.System{}).Devices(); err != nil || len(cards) == 0 {
			device = "file"
		} else {
			device = ""
		}
	}
	if device == "file" {
		c, err := fileCard(cfg, d, mic, log, onState)
		return c, true, err
	}
	conf := card.Config{Device: device, Gate: &mic.Gate, Volume: cfg.Card.Volume, OnState: onState, Log: log}
	if cfg.Card.Ducking {
		conf.Duck = &card.DuckConfig{}
	}
	return card.New(conf), false, nil
}

// fileCard plays and records files; a folder that cannot be written costs the recording only.
func fileCard(cfg config.Config, d *data, mic *microphone, log *slog.Logger, onState func(card.Status)) (soundCard, error) {
	name, read := "a spoken sentence", spoken
	if path := cfg.Card.Microphone; path != "" {
		name, read = path, func() ([]int16, int, error) { return wav.ReadFile(path, maxMicrophone) }
	}
	pcm, rate, err := read()
	if err != nil {
		return nil, fmt.Errorf("setting `card.microphone`: %w", err)
	}
	conf := card.FilesConfig{Name: name, Microphone: pcm, Rate: rate, Gate: &mic.Gate, Volume: cfg.Card.Volume, OnState: onState}
	speaker := cmp.Or(cfg.Card.Speaker, d.path("speaker.wav"))
	if file, err := wav.Create(speaker, audio.SampleRate); err != nil {
		log.Warn("what the speaker plays is not recorded", "error", err)
	} else {
		conf.Speaker = file
	}
	return card.NewFiles(conf)
}

// maxMicrophone bounds the file card's microphone: ten minutes at the highest rate, samples.
const maxMicrophone = 600 * audio.SampleRate

// codecs lists what the box speaks, in the order of the settings.
func codecs(cfg config.Config) []audio.Codec {
	known := map[string]audio.Codec{
		"opus": opus.New(opus.Options{Bitrate: cfg.Opus.Bitrate, Complexity: cfg.Opus.Complexity}),
		"g722": g722.New(), "pcmu": g711.PCMU(), "pcma": g711.PCMA(),
	}
	var list []audio.Codec
	for _, name := range cfg.SIP.Codecs {
		list = append(list, known[name])
	}
	return list
}

// speaker is the way to the card's speaker, with a meter on it.
type speaker struct {
	mixer.FrameSink
	meter audio.Meter
	level atomic.Uint64 // the meter's RMS, bits of a float64
}

// WriteFrame is called by the mixer's tick.
func (s *speaker) WriteFrame(f *audio.Frame) {
	s.meter.Add(audio.MeasureSome(f[:]))
	s.level.Store(math.Float64bits(s.meter.Level().RMS()))
	s.FrameSink.WriteFrame(f)
}

func (s *speaker) dBFS() float64 { return math.Float64frombits(s.level.Load()) }
