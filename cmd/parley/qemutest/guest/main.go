// Command guest is the tester's hands and ears inside a QEMU guest: the room at the other side of the sound card, who
// sends settings, looks at what is on the disk, and stops a thread.
package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"parley/audio"
	"parley/audio/card"
	"parley/audio/wav"
)

func main() {
	commands := map[string]func([]string) error{
		"sound": sound, "relay": relay, "recordings": recordings, "now": now, "desired": desired, "freeze": freeze,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: guest sound|relay|recordings|now|desired|freeze …")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		os.Exit(1)
	}
}

// sound plays a tone to a sound card and records what comes from it.
func sound(args []string) error {
	flags := flag.NewFlagSet("sound", flag.ExitOnError)
	device := flags.String("device", "", "ALSA's `name`")
	hz := flags.Float64("tone", 0, "`frequency` of the tone; 0: silence")
	level := flags.Float64("level", -20, "its peaks, `dBFS`")
	record := flags.String("record", "", "`WAV` for what is heard")
	length := flags.Duration("for", 10*time.Second, "")
	flags.Parse(args)
	if err := card.ProvideALSA(os.TempDir()); err != nil {
		return err
	}
	tone := make([]int16, audio.SampleRate)
	for i := range tone {
		tone[i] = int16(math.Round(32767 * math.Pow(10, *level/20) * math.Sin(2*math.Pi**hz*float64(i)/audio.SampleRate)))
	}
	limit := int(length.Seconds()*audio.SampleRate) + audio.SampleRate
	heard := make([]int16, 0, limit)
	said := 0
	var done atomic.Bool
	// The card is opened like the box's own: two sides, one period of 10 ms.
	stream, err := open(*device, func(speaker, microphone []int16) {
		for i := range speaker {
			speaker[i] = tone[said%len(tone)]
			said++
		}
		if room := cap(heard) - len(heard); !done.Load() && room >= len(microphone) {
			heard = append(heard, microphone...)
		}
	})
	if err != nil {
		return err
	}
	for end := time.Now().Add(*length); time.Now().Before(end) && stream.Alive(); {
		time.Sleep(20 * time.Millisecond)
	}
	alive := stream.Alive()
	done.Store(true)
	if err := stream.Close(); err != nil {
		return err
	}
	if *record != "" {
		if err := save(*record, heard); err != nil {
			return err
		}
	}
	if !alive {
		return fmt.Errorf("the card has gone")
	}
	return nil
}

// open opens the card, which somebody else may just have opened with other thoughts about it, and tries again for a while.
func open(device string, exchange card.Exchange) (card.Stream, error) {
	if device == "" || strings.ContainsAny(device, " \t") {
		return nil, fmt.Errorf("-device %q", device)
	}
	for tries := 0; ; tries++ {
		s, err := (card.System{}).Open(device, audio.FrameSamples, exchange)
		if err == nil || tries == 20 {
			return s, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func save(path string, pcm []int16) error {
	w, err := wav.Create(path, audio.SampleRate)
	if err != nil {
		return err
	}
	if err := w.Write(pcm); err != nil {
		return err
	}
	return w.Close()
}
