package card

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley/audio"
	"parley/audio/wav"
)

// A frame read or written is exactly one frame of the file.
func TestFilesAreExact(t *testing.T) {
	defer goleak.VerifyNone(t)
	path := filepath.Join(t.TempDir(), "speaker.wav")
	w, err := wav.Create(path, audio.SampleRate)
	if err != nil {
		t.Fatal(err)
	}
	mic := make([]int16, 700)
	for i := range mic {
		mic[i] = int16(i + 1)
	}
	f, err := NewFiles(FilesConfig{Name: "a and b", Microphone: mic, Rate: audio.SampleRate, Pause: 5 * time.Millisecond, Speaker: w, Volume: 100})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	var heard, played []int16
	var frame audio.Frame
	for n := range 200 {
		if got := f.ReadFrame(audio.SampleRate, &frame); got != audio.Active {
			t.Fatalf("frame %d: %v", n, got)
		}
		heard = append(heard, frame[:]...)
		for i := range frame {
			frame[i] = int16(n*480 + i)
		}
		played = append(played, frame[:]...)
		f.WriteFrame(&frame)
	}
	want := slices.Concat(mic, make([]int16, 240), mic, make([]int16, 240))
	if !slices.Equal(heard[:len(want)], want) {
		t.Error("what was heard is not the file")
	}
	within(t, 10*time.Second, "open", func() bool { return f.Status().State == Open })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	pcm, rate, err := wav.ReadAll(file, 1<<20)
	if err != nil || rate != audio.SampleRate || !slices.Equal(pcm, played) {
		t.Errorf("the speaker's file: %v, %d Hz, %d samples of %d", err, rate, len(pcm), len(played))
	}
	if s := f.Status(); s.State != Closed || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
}

func TestFilesRates(t *testing.T) {
	for _, rate := range []int{8000, 16000} {
		mic := make([]int16, rate)
		for i := range mic {
			mic[i] = int16(10000 * math.Sin(2*math.Pi*440*float64(i)/float64(rate)))
		}
		f, err := NewFiles(FilesConfig{Microphone: mic, Rate: rate})
		if err != nil || len(f.sound) != audio.SampleRate {
			t.Fatal(len(f.sound), err)
		}
		var worst float64
		delay := float64(taps/2) / float64(rate)
		for i := 4800; i < 43200; i++ {
			want := 10000 * math.Sin(2*math.Pi*440*(float64(i)/audio.SampleRate-delay))
			worst = max(worst, math.Abs(want-float64(f.sound[i])))
		}
		if worst > 4 {
			t.Errorf("%d Hz: off by %.1f", rate, worst)
		}
	}
	if _, err := NewFiles(FilesConfig{Microphone: make([]int16, 10), Rate: 44100}); !errors.Is(err, ErrRate) {
		t.Error(err)
	}
}

func TestFilesGateAndSilence(t *testing.T) {
	var gate audio.Gate
	f, err := NewFiles(FilesConfig{Microphone: []int16{5000}, Rate: audio.SampleRate, Gate: &gate})
	if err != nil {
		t.Fatal(err)
	}
	var frame audio.Frame
	if got := f.ReadFrame(audio.SampleRate, &frame); got != audio.Silent || frame != (audio.Frame{}) {
		t.Error("sound through the closed gate:", got)
	}
	gate.Open()
	if got := f.ReadFrame(audio.SampleRate, &frame); got != audio.Active || frame[479] != 5000 {
		t.Error(got, frame[479])
	}
	gate.Close()
	if got := f.ReadFrame(audio.SampleRate, &frame); got != audio.Active || frame[120] != 0 {
		t.Error(got, frame[120])
	}
	if got := f.ReadFrame(audio.SampleRate, &frame); got != audio.Silent || frame != (audio.Frame{}) {
		t.Error(got)
	}
	if got := f.ReadFrame(8000, &frame); got != audio.Silent {
		t.Error("at 8 kHz:", got)
	}
	quiet, err := NewFiles(FilesConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if got := quiet.ReadFrame(audio.SampleRate, &frame); got != audio.Silent {
		t.Error("without a microphone:", got)
	}
	quiet.WriteFrame(&frame)
}

// recorder is a disk that is slow, and full after a while.
type recorder struct {
	mu     sync.Mutex
	hold   chan struct{}
	room   int
	closed bool
}

var errFull = errors.New("the disk is full")

func (r *recorder) Write(pcm []int16) error {
	<-r.hold
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.room -= len(pcm); r.room < 0 {
		return errFull
	}
	return nil
}

func (r *recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return nil
}

// A disk that is slow costs the file and never the mixer; one that is full is told.
func TestFilesSlowAndFullDisk(t *testing.T) {
	defer goleak.VerifyNone(t)
	disk := &recorder{hold: make(chan struct{}), room: 100 * audio.FrameSamples}
	f, err := NewFiles(FilesConfig{Speaker: disk, Volume: 100})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	var frame audio.Frame
	for range 300 {
		f.WriteFrame(&frame) // would hang here
	}
	if d := f.Status().Dropped; d < 300-fileFrames-1 || d > 300-fileFrames {
		t.Errorf("%d frames dropped", d)
	}
	close(disk.hold)
	within(t, 10*time.Second, "the full disk is told", func() bool {
		s := f.Status()
		return s.State == Lost && s.Reason == errFull.Error()
	})
	cancel()
	if err := <-done; !errors.Is(err, errFull) {
		t.Error(err)
	}
	if !disk.closed {
		t.Error("the file was not closed")
	}
}

func TestFilesAllocs(t *testing.T) {
	f, err := NewFiles(FilesConfig{Microphone: []int16{1, 2, 3}, Rate: audio.SampleRate, Speaker: &recorder{}})
	if err != nil {
		t.Fatal(err)
	}
	var frame audio.Frame
	if n := testing.AllocsPerRun(100, func() {
		f.ReadFrame(audio.SampleRate, &frame)
		f.WriteFrame(&frame)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
