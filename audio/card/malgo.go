package card

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/gen2brain/malgo"

	"parley/audio"
)

// System is the Driver of the machine's sound cards: ALSA through miniaudio.
type System struct {
	// FirstChannel takes the microphone's first channel instead of the mean of its channels: some boards' second channel is
	// silent, and a mean would lose 6 dB.
	FirstChannel bool
	// Paced opens miniaudio's own silent card, which keeps time, instead of a real one: for tests on machines without sound.
	Paced bool
}

// Devices lists the sound cards from /proc/asound.
func (s System) Devices() ([]Device, error) {
	if s.Paced {
		return []Device{{ID: "paced", Name: "silent card that keeps time", Capture: true, Playback: true}}, nil
	}
	return procDevices(os.DirFS("/proc/asound"))
}

// Open opens ALSA's device id.
func (s System) Open(id string, period int, exchange Exchange) (Stream, error) {
	backend := malgo.Backend(malgo.BackendAlsa)
	if s.Paced {
		backend = malgo.BackendWebaudio + 2 // miniaudio's null; the binding's own constant is one short of it
	}
	// libasound is looked for when the context is made: a machine without it gets an error here, not at start-up.
	ctx, err := malgo.InitContext([]malgo.Backend{backend}, malgo.ContextConfig{}, nil)
	if err != nil {
		return nil, fmt.Errorf("card: no sound system: %w", err)
	}
	st := &system{ctx: ctx, exchange: exchange, mic: make([]int16, 0, audio.SampleRate)}
	if err := st.open(s, id, period); err != nil {
		return nil, errors.Join(fmt.Errorf("card: open %s: %w", id, err), st.Close())
	}
	return st, nil
}

// system is one opened card.
type system struct {
	ctx      *malgo.AllocatedContext
	dev      *malgo.Device
	exchange Exchange
	channels int
	mic      []int16 // the first channel, where there are two
	stopped  atomic.Bool
}

func (s *system) open(o System, id string, period int) error {
	cfg := malgo.DefaultDeviceConfig(malgo.Duplex)
	cfg.SampleRate = audio.SampleRate
	cfg.PeriodSizeInFrames = uint32(period)
	cfg.Periods = 3
	cfg.PerformanceProfile = malgo.LowLatency
	cfg.Playback.Format, cfg.Playback.Channels = malgo.FormatS16, 1
	cfg.Capture.Format, cfg.Capture.Channels = malgo.FormatS16, 1
	if o.FirstChannel {
		cfg.Capture.Channels = 2
	}
	s.channels = int(cfg.Capture.Channels)
	if !o.Paced {
		var dev malgo.DeviceID
		if len(id) >= len(dev) {
			return fmt.Errorf("%w: the name is too long", ErrNoCard)
		}
		copy(dev[:], id)
		// miniaudio copies the name while it opens the device; until then C may look at ours.
		var pin runtime.Pinner
		pin.Pin(&dev)
		defer pin.Unpin()
		cfg.Playback.DeviceID, cfg.Capture.DeviceID = unsafe.Pointer(&dev), unsafe.Pointer(&dev)
	}
	dev, err := malgo.InitDevice(s.ctx.Context, cfg, malgo.DeviceCallbacks{Data: s.data, Stop: s.stop})
	if err != nil {
		return err
	}
	s.dev = dev
	return dev.Start()
}

// data is the callback on miniaudio's thread.
func (s *system) data(out, in []byte, _ uint32) {
	speaker, mic := samples(out), samples(in)
	if s.channels == 2 {
		stereo := mic
		mic = s.mic[:min(len(stereo)/2, cap(s.mic))]
		for i := range mic {
			mic[i] = stereo[2*i]
		}
	}
	n := min(len(speaker), len(mic))
	s.exchange(speaker[:n], mic[:n])
}

// stop is told when the card stopped by itself; it runs on miniaudio's thread and so may only take note.
func (s *system) stop() { s.stopped.Store(true) }

func (s *system) Alive() bool { return !s.stopped.Load() }

func (s *system) Close() error {
	if s.dev != nil {
		// Uninit alone waits for a thread that waits for the card, and so for ever if that has gone; Stop wakes it up.
		_ = s.dev.Stop()
		s.dev.Uninit()
		s.dev = nil
	}
	err := s.ctx.Uninit()
	s.ctx.Free()
	return err
}

// samples looks at miniaudio's bytes as the 16-bit samples that they are. Its buffers are aligned for any type.
func samples(b []byte) []int16 {
	if len(b) < 2 {
		return nil
	}
	return unsafe.Slice((*int16)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/2)
}
