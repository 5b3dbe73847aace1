package card

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"parley/audio"
)

// Recorder is where a Files writes what its speaker plays, such as a wav.Writer: 48 kHz mono.
type Recorder interface {
	Write(pcm []int16) error
	Close() error
}

// FilesConfig is what a card made of files needs to know.
type FilesConfig struct {
	// Name says for people what the card is made of.
	Name string
	// Microphone is the sound that is heard again and again; empty: silence. It is not copied and must not change.
	Microphone []int16
	// Rate is Microphone's, Hz: 8000, 16000 or 48000.
	Rate int
	// Pause is the silence between two rounds.
	Pause time.Duration
	// Speaker gets what is played, from Run, which closes it; nil: nobody.
	Speaker Recorder
	Gate    *audio.Gate // as in Config
	Volume  int         // as in Config
	// OnState is called on Run's goroutine when the card opens and closes, and when the disk fails.
	OnState func(Status)
}

// ErrRate: a microphone's file at a rate that is not taken.
var ErrRate = errors.New("card: the microphone's file must be of 8000, 16000 or 48000 Hz")

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

// NewFiles makes a card at rest.
func NewFiles(cfg FilesConfig) (*Files, error) {
	f := &Files{cfg: cfg, sound: cfg.Microphone, valve: audio.NewValve(cfg.Gate), out: make(chan struct{}, 1)}
	f.vol.start(cfg.Volume)
	if len(cfg.Microphone) > 0 && cfg.Rate != audio.SampleRate {
		if cfg.Rate != 8000 && cfg.Rate != 16000 {
			return nil, fmt.Errorf("%w, not of %d", ErrRate, cfg.Rate)
		}
		f.sound = upsample(cfg.Microphone, audio.SampleRate/cfg.Rate)
	}
	f.shown.Store(&Status{Device: "files", Name: cfg.Name})
	return f, nil
}

// upsample makes factor samples of each. It is done once, so simply.
func upsample(pcm []int16, factor int) []int16 {
	out := make([]int16, len(pcm)*factor)
	var r resampler
	r.reset()
	ratio := 1 / float64(factor)
	in := make([]int16, audio.FrameSamples+taps)
	for done := 0; done < len(out); {
		part := out[done:min(done+audio.FrameSamples, len(out))]
		need := in[:r.need(len(part), ratio)]
		n := copy(need, pcm)
		clear(need[n:])
		pcm = pcm[n:]
		r.feed(need)
		done += r.run(part, ratio)
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
	if f.cfg.Speaker == nil {
		return
	}
	f.vol.apply(&f.loud, in)
	if !f.ring.put(&f.loud) {
		f.dropped.Add(1)
	}
	if f.ring.waiting() < fileBatch {
		return
	}
	select {
	case f.out <- struct{}{}:
	default:
	}
}

// Run writes the speaker's file until ctx ends; the file is whole then. A disk that fails ends the file and not Run: Status
// and OnState tell, and Run returns the error at its end.
func (f *Files) Run(ctx context.Context) error {
	w := f.cfg.Speaker
	f.change(Open, "")
	var failed error
	for {
		select {
		case <-ctx.Done():
			err := f.drain(w)
			if err == nil && w != nil {
				err = w.Close()
			}
			f.change(Closed, "")
			return errors.Join(failed, err)
		case <-f.out:
			if err := f.drain(w); err != nil {
				f.change(Lost, err.Error())
				w, failed = nil, err
			}
		}
	}
}

func (f *Files) change(state State, reason string) {
	s := Status{State: state, Device: "files", Name: f.cfg.Name, Reason: reason}
	f.shown.Store(&s)
	if f.cfg.OnState != nil {
		f.cfg.OnState(f.Status())
	}
}

// drain writes what is in the ring; where there is no file any more it is thrown away and counted.
func (f *Files) drain(w Recorder) error {
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

const (
	fileFrames = 256 // frames that wait for the disk at most: 2.56 s
	fileBatch  = 10  // frames that are written at a time
)

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

// waiting is how many frames are in the ring.
func (r *fileRing) waiting() int { return int(r.written.Load() - r.read.Load()) }

func (r *fileRing) take(f *audio.Frame) bool {
	n := r.read.Load()
	if n == r.written.Load() {
		return false
	}
	*f = r.frames[n%fileFrames]
	r.read.Store(n + 1)
	return true
}
