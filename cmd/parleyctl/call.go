package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"parley/audio"
	"parley/audio/card"
	"parley/audio/wav"
	"parley/mixer"
	"parley/sip"
)

// callFlags are what one call can be told.
type callFlags struct {
	phoneFlags
	play, record, dtmf string
	tone, level        float64
	length             time.Duration
	answer, early      bool
}

// cmdCall is a telephone on the command line.
func cmdCall(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("call", flag.ContinueOnError)
	var f callFlags
	f.add(flags)
	flags.StringVar(&f.play, "play", "", "`WAV` to say, over and over (16 bit; 8000, 16000 or 48000 Hz)")
	flags.Float64Var(&f.tone, "tone", 0, "say a tone of this frequency, `Hz`")
	flags.Float64Var(&f.level, "level", -20, "level of the tone, `dBFS` RMS")
	flags.StringVar(&f.record, "record", "", "`WAV` for what is heard")
	flags.DurationVar(&f.length, "for", 0, "hang up after this `time`; 0: at ^C or when the far end does")
	flags.StringVar(&f.dtmf, "dtmf", "", "press these `keys` once the call is up")
	flags.BoolVar(&f.answer, "answer", false, "wait for a call and take it, in place of calling")
	flags.BoolVar(&f.early, "early", false, "with -answer: send sound before taking the call, for -for; then refuse with 486")
	words, err := arguments(flags, args, "call TARGET [flags] | call -answer [flags]", 0, 1)
	if err != nil {
		return err
	}
	if f.answer == (len(words) == 1) {
		flags.Usage()
		return errUsage
	}
	if strings.Trim(f.dtmf, "0123456789*#ABCDabcd") != "" || len(f.dtmf) > 32 {
		return wrong("-dtmf %q: at most 32 keys, 0 to 9, *, # and A to D", f.dtmf)
	}
	p, err := newPhone(f.phoneFlags, 4)
	if err != nil {
		return err
	}
	defer p.close()
	t := &talk{flags: f, phone: p}
	if err := t.open(); err != nil {
		return err
	}
	if len(words) == 1 {
		if t.call, err = p.dial(words[0]); err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "calling", p.uri(words[0]))
	} else {
		for _, l := range p.agent.Addrs() {
			fmt.Fprintf(os.Stderr, "waiting for a call on %s %s\n", l.Network, l.Addr)
		}
	}
	return t.run(ctx)
}

// talk is one call with its sound.
type talk struct {
	flags callFlags
	phone *phone
	call  *sip.Call
	files *card.Files // what is said and heard
	mixer *mixer.Mixer
	end   <-chan time.Time
	told  bool // its quality

	stop func() // ends the sound
}

// tickPriority is that of the sound among real-time threads, where we may have one: below the box's, which may run beside us.
const tickPriority = 30

const (
	cardPort mixer.PortID = 1
	legPort  mixer.PortID = 2
)

// run is the call's life, from the first event to the last.
func (t *talk) run(ctx context.Context) error {
	defer func() { t.stop() }()
	asked, quit := false, ctx.Done()
	for {
		select {
		case h := <-t.phone.events:
			over, err := t.event(h)
			if over {
				if asked {
					return nil
				}
				return err
			}
			if err != nil {
				t.call.Hangup("")
				return err
			}
		case <-t.end:
			t.finish()
		case <-quit:
			quit, asked = nil, true
			if t.call == nil {
				return nil
			}
			t.call.Hangup("")
		}
	}
}

// finish ends the call when its time is over: one that was only heard early is refused.
func (t *talk) finish() {
	t.tell()
	if t.flags.early {
		t.call.Reject(486, "")
		return
	}
	t.call.Hangup("")
}

// tell prints the quality, once.
func (t *talk) tell() {
	if !t.told && t.mixer != nil {
		t.told = true
		quality(os.Stdout, t.call)
	}
}

// event acts on what happened, and tells whether the call is over and why it came to nothing.
func (t *talk) event(h happening) (over bool, err error) {
	switch {
	case h.event.Kind == 0 && t.call == nil:
		t.call = h.call
		fmt.Fprintf(os.Stderr, "call from %s for %s\n", harmless(h.call.From()), harmless(h.call.Number()))
		if t.flags.early {
			h.call.Progress()
			return false, nil
		}
		h.call.Answer()
	case h.event.Kind == 0:
		h.call.Reject(486, "")
	case h.call != t.call:
	case h.event.Kind == sip.EarlyMedia || h.event.Kind == sip.Answered:
		fmt.Fprintln(os.Stderr, h.event.Kind)
		return false, t.up(h.event.Kind)
	case h.event.Kind == sip.MediaChanged:
		return false, t.plug()
	case h.event.Kind == sip.DTMF:
		fmt.Printf("dtmf %c\n", h.event.Digit)
	case h.event.Kind == sip.Ended:
		return true, t.over(h.event)
	default:
		fmt.Fprintln(os.Stderr, h.event.Kind)
	}
	return false, nil
}

func (t *talk) over(e sip.Event) error {
	t.tell()
	if e.Code == 200 {
		fmt.Fprintf(os.Stderr, "ended by the %s side\n", e.By)
		return nil
	}
	if t.flags.early && e.By == sip.Local {
		return nil
	}
	return fmt.Errorf("the call came to nothing: %d %s", e.Code, harmless(e.Reason))
}

// up starts the sound, and the clock of the call once it is answered.
func (t *talk) up(kind sip.EventKind) error {
	if t.mixer == nil {
		if err := t.sound(); err != nil {
			return err
		}
	}
	if (kind == sip.Answered || t.flags.early) && t.flags.length > 0 && t.end == nil {
		t.end = time.After(t.flags.length)
	}
	if kind == sip.Answered && t.flags.dtmf != "" {
		if err := t.call.SendDTMF(t.flags.dtmf, 120*time.Millisecond); err != nil {
			return err
		}
	}
	return t.plug()
}

// maxPlay bounds a WAV that is said: ten minutes at the highest rate, samples.
const maxPlay = 600 * audio.SampleRate

// open opens the files: what is wrong with them is to be known before anybody is called.
func (t *talk) open() error {
	conf := card.FilesConfig{Name: "files", Rate: audio.SampleRate, Volume: 100}
	var err error
	switch {
	case t.flags.play != "":
		if conf.Microphone, conf.Rate, err = wav.ReadFile(t.flags.play, maxPlay); err != nil {
			return err
		}
	case t.flags.tone > 0:
		conf.Microphone = sine(t.flags.tone, t.flags.level)
	}
	t.stop = func() {}
	if t.flags.record != "" {
		file, err := wav.Create(t.flags.record, audio.SampleRate)
		if err != nil {
			return err
		}
		conf.Speaker, t.stop = file, func() { file.Close() }
	}
	t.files, err = card.NewFiles(conf)
	return err
}

// sound makes a mixer of two: our files and the leg.
func (t *talk) sound() error {
	files := t.files
	t.mixer = mixer.New(mixer.Config{Drain: t.phone.poller, Codecs: t.phone.codecs, Priority: tickPriority})
	if err := t.mixer.Add(mixer.Port{ID: cardPort, Source: files, Frames: files, Ungated: true}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- t.mixer.Run(ctx) }()
	go func() { ended <- files.Run(ctx) }()
	t.stop = func() {
		cancel()
		<-ended
		<-ended
	}
	return nil
}

// plug gives the mixer the leg as it is now.
func (t *talk) plug() error {
	leg := t.call.Leg()
	if leg == nil || t.mixer == nil {
		return nil
	}
	if err := t.mixer.Add(mixer.Port{ID: legPort, Source: leg, Packets: leg, Ungated: true}); err != nil {
		return err
	}
	t.mixer.SetHearing(mixer.Hearing{cardPort: {legPort}, legPort: {cardPort}})
	return nil
}

// sine is a second of a tone, whose frequency is rounded to whole Hz so that it goes on without a seam.
func sine(hz, dbfs float64) []int16 {
	pcm := make([]int16, audio.SampleRate)
	peak := 32767 * math.Sqrt2 * math.Pow(10, dbfs/20)
	for i := range pcm {
		v := peak * math.Sin(2*math.Pi*math.Round(hz)*float64(i)/audio.SampleRate)
		pcm[i] = int16(math.Round(min(max(v, -32767), 32767)))
	}
	return pcm
}
