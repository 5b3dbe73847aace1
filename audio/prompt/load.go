package prompt

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"parley/audio"
)

// clipRate is at which decoded prompts are kept, Hz: all of a voice on the telephone at a third of the memory.
const clipRate = 16000

// cacheSamples is how much decoded sound is kept: a minute, 2 MB.
const cacheSamples = 60 * clipRate

// stamp tells one version of a file from another. The zero value is the built-in prompt.
type stamp struct {
	time time.Time
	size int64
}

// cached is one decoded prompt. Its samples never change, so that players can hold on to them.
type cached struct {
	pcm   []int16
	stamp stamp
	used  uint64
}

// cache keeps the sounds that were used last. It belongs to one goroutine.
type cache struct {
	sounds  map[string]*cached
	uses    uint64
	samples int
	limit   int
}

func (c *cache) get(key string, s stamp) []int16 {
	e := c.sounds[key]
	if e == nil || e.stamp != s {
		return nil
	}
	c.uses++
	e.used = c.uses
	return e.pcm
}

func (c *cache) put(key string, s stamp, pcm []int16) {
	if old := c.sounds[key]; old != nil {
		c.samples -= len(old.pcm)
	}
	c.uses++
	c.sounds[key] = &cached{pcm: pcm, stamp: s, used: c.uses}
	for c.samples += len(pcm); c.samples > c.limit && len(c.sounds) > 1; {
		oldest := key
		for k, e := range c.sounds {
			if e.used < c.sounds[oldest].used {
				oldest = k
			}
		}
		c.samples -= len(c.sounds[oldest].pcm)
		delete(c.sounds, oldest)
	}
}

// has tells whether name can be said in language without composing it.
func (l *Library) has(language, name string) bool {
	if _, ok := l.built[language][name]; ok {
		return true
	}
	_, known := l.built[Fallback][name]
	return known && l.stamp(language, name) != stamp{}
}

func (l *Library) path(language, name string) string {
	return filepath.Join(l.cfg.Dir, language, name+".wav")
}

// stamp is that of the file that replaces a prompt, or zero.
func (l *Library) stamp(language, name string) stamp {
	if l.cfg.Dir == "" || l.cfg.ReadWAV == nil || !validName(language) || !validName(name) {
		return stamp{}
	}
	info, err := os.Stat(l.path(language, name))
	if err != nil || !info.Mode().IsRegular() {
		return stamp{}
	}
	return stamp{info.ModTime(), info.Size()}
}

// validName tells whether s can be a language's or a prompt's name, and so a part of a path.
func validName(s string) bool {
	return s != "" && len(s) <= 32 && !slices.ContainsFunc([]byte(s), func(c byte) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-'
	})
}

// sound gives one prompt at clipRate: of the cache, of its file, or of the pack.
func (l *Library) sound(language, name string) ([]int16, error) {
	key, s := language+"/"+name, l.stamp(language, name)
	if pcm := l.cache.get(key, s); pcm != nil {
		return pcm, nil
	}
	if s != (stamp{}) {
		pcm, err := l.file(language, name)
		if err == nil {
			l.cache.put(key, s, pcm)
			return pcm, nil
		}
		l.cfg.Log.Warn("a prompt's file cannot be used", "err", err)
	}
	e, ok := l.built[language][name]
	if !ok {
		e, ok = l.built[Fallback][name]
	}
	if !ok {
		return nil, fs.ErrNotExist
	}
	pcm, err := l.decode(e)
	if err == nil {
		l.cache.put(key, s, pcm) // a bad file is tried again when it has changed
	}
	return pcm, err
}

func (l *Library) file(language, name string) ([]int16, error) {
	f, err := os.Open(l.path(language, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	pcm, rate, err := l.cfg.ReadWAV(f, maxMillis*audio.SampleRate/1000)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	if len(pcm) == 0 || len(pcm) > maxMillis*rate/1000 {
		return nil, fmt.Errorf("%s: it must be of some sound, and at most %d s of it", f.Name(), maxMillis/1000)
	}
	return toClip(pcm, rate)
}

// decode gives the sound of a packed prompt.
func (l *Library) decode(e packed) ([]int16, error) {
	d, err := l.codec.NewDecoder(l.codec.Format())
	if err != nil {
		return nil, err
	}
	var pcm []int16
	var frame [audio.FrameSamples * 12]int16 // 120 ms, the longest packet
	for rest := e.packets; len(rest) > 0; {
		packet, more, ok := cut(rest)
		if !ok {
			return nil, ErrPack
		}
		n, err := d.Decode(packet, frame[:])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPack, err)
		}
		pcm, rest = append(pcm, frame[:n]...), more
	}
	want := e.millis * audio.SampleRate / 1000
	if len(pcm) < lead+want {
		return nil, fmt.Errorf("%w: %d samples, of which %d are wanted", ErrPack, len(pcm), lead+want)
	}
	pcm = pcm[lead : lead+want]
	for i, s := range pcm {
		pcm[i] = int16(max(math.MinInt16, min(math.MaxInt16, int(s)*e.gain/unity)))
	}
	return toClip(pcm, audio.SampleRate)
}

// toClip converts whole sounds to clipRate, without the filter's delay.
func toClip(pcm []int16, rate int) ([]int16, error) {
	if rate == clipRate {
		return pcm, nil
	}
	r, err := audio.NewResampler(rate, clipRate)
	if err != nil {
		return nil, errors.Join(errors.ErrUnsupported, err)
	}
	delay, step := int(r.Delay()*clipRate/time.Second), rate/100
	length := len(pcm) * clipRate / rate
	out := make([]int16, 0, length+delay+2*clipRate/100)
	for at := 0; len(out) < length+delay; at += step {
		in := make([]int16, step)
		copy(in, pcm[min(at, len(pcm)):])
		n := len(out)
		out = out[:n+clipRate/100]
		r.Convert16(in, out[n:])
	}
	return out[delay : delay+length : delay+length], nil
}
