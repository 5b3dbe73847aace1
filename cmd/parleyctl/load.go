package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sort"
	"strconv"
	"time"

	"parley/audio"
	"parley/audio/wav"
	"parley/sip"
	"parley/sip/rtp"
)

// loadFlags are what a load of calls can be told.
type loadFlags struct {
	phoneFlags
	play    string
	talkers int
	noise   float64
	length  time.Duration
}

// cmdLoad makes many calls at once: some talk, the rest send low noise all the time. What they send is encoded once, so
// that the load itself costs little more than its sockets.
func cmdLoad(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	var f loadFlags
	f.add(flags)
	flags.StringVar(&f.play, "play", "", "`WAV` that the talkers say, each from another place in it (default: a tone)")
	flags.IntVar(&f.talkers, "talkers", 4, "how `many` talk; the others send noise")
	flags.Float64Var(&f.noise, "noise", -65, "level of the noise, `dBFS` RMS")
	flags.DurationVar(&f.length, "for", 30*time.Second, "hang up after this `time`, counted from when all are up")
	words, err := arguments(flags, args, "load N TARGET [flags]", 2, 2)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(words[0])
	if err != nil || n < 1 || n > 2000 {
		return wrong("N is 1 to 2000, not %q", words[0])
	}
	if f.codec == "" {
		f.codec = "pcmu"
	}
	p, err := newPhone(f.phoneFlags, n)
	if err != nil {
		return err
	}
	defer p.close()
	l := &load{flags: f, phone: p, ended: map[int]int{}}
	if l.speech, l.noise, err = l.encode(); err != nil {
		return err
	}
	return l.run(ctx, n, words[1])
}

type load struct {
	flags  loadFlags
	phone  *phone
	speech [][]byte // packets
	noise  [][]byte
	legs   []*rtp.Leg
	ended  map[int]int // calls that ended before their time, by SIP code
}

// encode makes the packets that are sent over and over.
func (l *load) encode() (speech, noise [][]byte, err error) {
	pcm, rate := sine(440, -20), audio.SampleRate
	if l.flags.play != "" {
		if pcm, rate, err = wav.ReadFile(l.flags.play, maxPlay); err != nil {
			return nil, nil, err
		}
	}
	codec := l.phone.codecs[0]
	hiss := make([]int16, 5*codec.Format().SampleRate)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range hiss {
		hiss[i] = int16(random.NormFloat64() * 32767 * decibels(l.flags.noise))
	}
	if pcm, err = convert(pcm, rate, codec.Format().SampleRate); err != nil {
		return nil, nil, err
	}
	if speech, err = packets(codec, pcm); err != nil {
		return nil, nil, err
	}
	noise, err = packets(codec, hiss)
	return speech, noise, err
}

func packets(codec audio.Codec, pcm []int16) (list [][]byte, err error) {
	f := codec.Format()
	encoder, err := codec.NewEncoder(f)
	if err != nil {
		return nil, err
	}
	size := f.PacketSamples()
	buffer := make([]byte, audio.MaxPacket)
	for ; len(pcm) >= size; pcm = pcm[size:] {
		n, err := encoder.Encode(pcm[:size], buffer)
		if err != nil {
			return nil, err
		}
		list = append(list, append([]byte(nil), buffer[:n]...))
	}
	if len(list) == 0 {
		return nil, errors.New("the sound is shorter than a packet")
	}
	return list, nil
}

// run calls, sends until the time is over, and prints what arrived.
func (l *load) run(ctx context.Context, n int, target string) error {
	began := time.Now()
	for i := range n {
		if err := l.connect(ctx, i, n, target); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "\r%d calls are up after %.1f s; for %s\n", n, time.Since(began).Seconds(), l.flags.length)
	ctx, cancel := context.WithTimeout(ctx, l.flags.length)
	defer cancel()
	l.send(ctx)
	l.report(os.Stdout)
	return nil
}

// connect makes one call and waits until it is up, while those before it go on sending.
func (l *load) connect(ctx context.Context, i, n int, target string) error {
	call, err := l.phone.dial(target)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "\rcalling: %d of %d", i+1, n)
	up := false
	l.clock(ctx, func() bool { return up || err != nil }, func(h happening) {
		switch {
		case h.call == call && h.event.Kind == sip.Answered:
			up = true
			l.legs = append(l.legs, call.Leg())
		case h.call == call && h.event.Kind == sip.Ended:
			err = fmt.Errorf("call %d came to nothing: %d %s", i+1, h.event.Code, harmless(h.event.Reason))
		case h.event.Kind == sip.Ended:
			l.ended[h.event.Code]++
		}
	})
	if err == nil && !up {
		err = errors.New("interrupted")
	}
	return err
}

func (l *load) send(ctx context.Context) {
	l.clock(ctx, func() bool { return false }, func(h happening) {
		if h.event.Kind == sip.Ended {
			l.ended[h.event.Code]++
		}
	})
}

// clock receives and sends every 10 ms until done: half of the calls in each tick of two.
func (l *load) clock(ctx context.Context, done func() bool, on func(happening)) {
	tick := time.NewTicker(audio.FrameDuration)
	defer tick.Stop()
	format := l.phone.codecs[0].Format()
	every := max(1, format.Ptime/10)
	for count := 0; !done(); {
		select {
		case <-ctx.Done():
			return
		case h := <-l.phone.events:
			on(h)
		case now := <-tick.C:
			l.phone.poller.Drain(now)
			for i, leg := range l.legs {
				if (count+i)%every == 0 {
					leg.WritePacket(format, l.packet(i, count/every))
				}
			}
			count++
		}
	}
}

// packet is what call i sends in its turn: the talkers are spread over the speech.
func (l *load) packet(i, turn int) []byte {
	if i < l.flags.talkers {
		return l.speech[(turn+i*len(l.speech)/max(1, l.flags.talkers))%len(l.speech)]
	}
	return l.noise[(turn+i*7)%len(l.noise)]
}

func (l *load) report(w *os.File) {
	var sent, received, expected uint64
	var lost int64
	var jitter []time.Duration
	for _, leg := range l.legs {
		s := leg.Stats()
		sent, received, expected, lost = sent+s.Sent, received+s.Received, expected+s.Expected, lost+s.Lost
		if s.HasJitter {
			jitter = append(jitter, s.Jitter)
		}
	}
	fmt.Fprintf(w, "%d calls: %d packets sent, %d received", len(l.legs), sent, received)
	if expected > 0 {
		fmt.Fprintf(w, ", lost %d (%.2f %%)", lost, 100*float64(max(0, lost))/float64(expected))
	}
	if len(jitter) > 0 {
		sort.Slice(jitter, func(i, j int) bool { return jitter[i] < jitter[j] })
		fmt.Fprintf(w, ", jitter median %.1f ms, most %.1f ms", ms(jitter[len(jitter)/2]), ms(jitter[len(jitter)-1]))
	}
	fmt.Fprintln(w)
	for code, n := range l.ended {
		fmt.Fprintf(w, "%d calls ended before their time with %d\n", n, code)
	}
}
