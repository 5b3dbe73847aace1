package card

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"parley/audio"
	"parley/audio/wav"
)

// FilesConfig is what a card made of files needs to know.
type FilesConfig struct {
	// Microphone is a WAV file (16 bit, mono or stereo, 8000, 16000 or 48000 Hz, at most ten minutes) that is heard again and
	// again; empty: silence.
	Microphone string
	// Pause is the silence between two rounds.
	Pause time.Duration
	// Speaker is the WAV file that is made of what is played; empty: nowhere.
	Speaker string
	Gate    *audio.Gate // as in Config
	Volume  int         // as in Config
	// OnState is called on Run's goroutine when the card opens, and when the disk fails.
	OnState func(Status)
}

// maxMicrophone bounds what is kept of the microphone's file: ten minutes, samples.
const maxMicrophone = audio.SampleRate * 600

// Files is a card made of files. It has no clock of its own: a frame read or written is one frame of the file, so that it is
// exact. What it plays is written by Run, beside the mixer; a slow disk costs that, and Status says so.
type Files struct {
	cfg   FilesConfig
	sound []int16 // 48 kHz
	at    int
	pause int // samples still to be silent
	valve audio.Valve
	vol   volume
	loud  audio.Frame

	out     chan struct{} // there is something in the ring
	ring    fileRing
	dropped atomic.Uint64
	shown   atomic.Pointer[Status]
}

// NewFiles makes a card at rest. It reads the microphone's file, and fails if it cannot.
func NewFiles(cfg FilesConfig) (*Files, error) {
	f := &Files{cfg: cfg, valve: audio.NewValve(cfg.Gate), out: make(chan struct{}, 1)}
	f.vol.set(cfg.Volume)
	if cfg.Microphone != "" {
		sound, err := load(cfg.Microphone)
		if err != nil {
			return nil, err
		}
		f.sound = sound
	}
	f.shown.Store(&Status{Device: "files", Name: f.name()})
	return f, nil
}

func (f *Files) name() string {
	return fmt.Sprintf("files (microphone %q, speaker %q)", f.cfg.Microphone, f.cfg.Speaker)
}

// load reads a WAV file as 48 kHz.
func load(path string) ([]int16, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("card: microphone: %w", err)
	}
	defer file.Close()
	pcm, rate, err := wav.ReadAll(file, maxMicrophone)
	if err != nil {
		return nil, fmt.Errorf("card: microphone %s: %w", path, err)
	}
	if len(pcm)*(audio.SampleRate/rate) > maxMicrophone {
		return nil, fmt.Errorf("card: microphone %s: %w", path, wav.ErrTooLong)
	}
	return upsample(pcm, audio.SampleRate/rate), nil
}

// upsample makes factor samples of each. It is done once, so simply.
func upsample(pcm []int16, factor int) []int16 {
	if factor == 1 {
		return pcm
	}
	out := make([]int16, 0, len(pcm)*factor)
	var r resampler
	r.reset()
	ratio := 1 / float64(factor)
	var buf [1024]int16
	for len(out) < cap(out) {
		n := min(len(buf), cap(out)-len(out))
		in := make([]int16, r.need(n, ratio))
		pcm = pcm[copy(in, pcm):]
		r.feed(in)
		out = append(out, buf[:r.run(buf[:n], ratio)]...)
	}
	return out
}

// SetVolume sets the speaker's volume, 0 … 100.
func (f *Files) SetVolume(percent int) { f.vol.set(percent) }

// Volume is the speaker's, 0 … 100.
func (f *Files) Volume() int { return int(f.vol.percent.Load()) }

// Status is how the card is. Dropped counts what the disk was too slow for.
func (f *Files) Status() Status {
	s := *f.shown.Load()
	s.Dropped = f.dropped.Load()
	return s
}

// ReadFrame gives the next 10 ms of the microphone's file.
func (f *Files) ReadFrame(rate int, out *audio.Frame) audio.Status {
	if rate != audio.SampleRate {
		return audio.Silent
	}
	clear(out[:])
	for i := 0; i < len(out) && len(f.sound) > 0; {
		if f.pause > 0 {
			n := min(f.pause, len(out)-i)
			f.pause -= n
			i += n
			continue
		}
		n := copy(out[i:], f.sound[f.at:])
		i += n
		if f.at += n; f.at == len(f.sound) {
			f.at = 0
			f.pause = int(f.cfg.Pause * audio.SampleRate / time.Second)
		}
	}
	f.valve.Apply(out[:])
	if isSilent(out) {
		return audio.Silent
	}
	return audio.Active
}

// WriteFrame plays 10 ms into the speaker's file.
func (f *Files) WriteFrame(in *audio.Frame) {
	if f.cfg.Speaker == "" {
		return
	}
	f.vol.apply(&f.loud, in)
	if !f.ring.put(&f.loud) {
		f.dropped.Add(1)
	}
	select {
	case f.out <- struct{}{}:
	default:
	}
}

// Run writes the speaker's file until ctx ends; the file is whole then. A disk that fails is told and ends the file, not Run.
func (f *Files) Run(ctx context.Context) error {
	var w *wav.Writer
	if f.cfg.Speaker != "" {
		var err error
		if w, err = wav.Create(f.cfg.Speaker, audio.SampleRate); err != nil {
			f.change(Lost, err.Error())
			w = nil
		}
	}
	if w != nil || f.cfg.Speaker == "" {
		f.change(Open, "")
	}
	for {
		select {
		case <-ctx.Done():
			f.drain(w)
			f.change(Closed, "")
			if w == nil {
				return nil
			}
			if err := w.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
				return err
			}
			return nil
		case <-f.out:
			if err := f.drain(w); err != nil {
				f.change(Lost, err.Error())
				w = nil
			}
		}
	}
}

func (f *Files) change(state State, reason string) {
	s := Status{State: state, Device: "files", Name: f.name(), Reason: reason}
	f.shown.Store(&s)
	if f.cfg.OnState != nil {
		f.cfg.OnState(f.Status())
	}
}

// drain writes what is in the ring; where there is no file it is thrown away and counted.
func (f *Files) drain(w *wav.Writer) error {
	var frame audio.Frame
	for f.ring.take(&frame) {
		if w == nil {
			f.dropped.Add(1)
			continue
		}
		if err := w.Write(frame[:]); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	return nil
}

// fileFrames is how many frames wait for the disk at most: 2.56 s.
const fileFrames = 256

// fileRing carries whole frames from the mixer to Run.
type fileRing struct {
	written, read atomic.Uint64
	frames        [fileFrames]audio.Frame
}

func (r *fileRing) put(f *audio.Frame) bool {
	w := r.written.Load()
	if w-r.read.Load() == fileFrames {
		return false
	}
	r.frames[w%fileFrames] = *f
	r.written.Store(w + 1)
	return true
}

func (r *fileRing) take(f *audio.Frame) bool {
	n := r.read.Load()
	if n == r.written.Load() {
		return false
	}
	*f = r.frames[n%fileFrames]
	r.read.Store(n + 1)
	return true
}
