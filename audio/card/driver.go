// Package card is the place's microphone and speaker: a sound card through miniaudio and ALSA, or files in its place.
//
// It knows the card's clock and the mixer's, and keeps the one from disturbing the other. It must not know conferences,
// calls, keys, or who else is heard.
package card

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrNoCard: the wanted card is not there. The error's text names the cards that are.
var ErrNoCard = errors.New("card: no such sound card")

// Device is a sound card's device as it may be named in Config.Device.
type Device struct {
	ID       string // ALSA's name, such as "plughw:CARD=Device,DEV=0"
	Name     string // for people
	Card     int    // the kernel's number of the card
	Capture  bool   // has a microphone
	Playback bool   // has a speaker
}

// Exchange is called by the card, in its clock and on its thread, with what the microphone heard and with room for what the
// speaker shall play: 48 kHz mono, equally long, usually one period. The slices are the card's, for the call's duration. It
// must return at once: no allocation, no lock, no Stop.
type Exchange func(speaker, microphone []int16)

// Driver opens sound cards.
type Driver interface {
	// Devices lists what could be opened now.
	Devices() ([]Device, error)
	// Open starts a duplex stream of 48 kHz in periods of the given number of samples. From before it returns, exchange is
	// called.
	Open(id string, period int, exchange Exchange) (Stream, error)
}

// Stream is an opened card.
type Stream interface {
	// Alive is false once the card is known to have gone. A card may also fall silent without it.
	Alive() bool
	// Close stops it. When it has returned, exchange is not called any more. It is never called from within exchange.
	Close() error
}

// choose finds the device that a configuration names: "" or "default" is the first with microphone and speaker; "hw:…" and
// "plughw:…" must be of a card in the list, so that ALSA is not asked in vain; another name with a colon, or "null", is
// ALSA's own and is taken as it is; anything else is part of a name in the list.
func choose(want string, list []Device) (Device, error) {
	switch lower := strings.ToLower(want); {
	case lower == "" || lower == "default":
		for _, d := range list {
			if d.Capture && d.Playback {
				return d, nil
			}
		}
		want = "with microphone and speaker"
	case strings.HasPrefix(lower, "hw:") || strings.HasPrefix(lower, "plughw:"):
		_, address, _ := strings.Cut(want, ":")
		for _, d := range list {
			if d.answers(address) {
				d.ID = want
				return d, nil
			}
		}
	case strings.Contains(want, ":") || lower == "null":
		return Device{ID: want, Name: want, Capture: true, Playback: true}, nil
	default:
		for _, d := range list {
			if strings.Contains(strings.ToLower(d.ID+" "+d.Name), lower) {
				return d, nil
			}
		}
	}
	return Device{}, fmt.Errorf("%w: %s; %s", ErrNoCard, want, listed(list))
}

// answers tells whether an ALSA address, such as "CARD=Device,DEV=0" or "1,0" or "Device", is of d.
func (d Device) answers(address string) bool {
	_, own, _ := strings.Cut(d.ID, ":")
	id, device := splitAddress(own)
	wantID, wantDevice := splitAddress(address)
	return device == wantDevice && (wantID == id || wantID == strconv.Itoa(d.Card))
}

// splitAddress takes an ALSA address apart: the card's name or number, and the device's number, which is 0 by default.
func splitAddress(address string) (id, device string) {
	device = "0"
	for i, arg := range strings.Split(address, ",") {
		key, value, named := strings.Cut(arg, "=")
		switch {
		case named && key == "CARD", !named && i == 0:
			id = strings.TrimPrefix(arg, "CARD=")
		case named && key == "DEV":
			device = value
		case !named && i == 1:
			device = arg
		}
	}
	return id, device
}

// listed names the cards that there are, for an error's text.
func listed(list []Device) string {
	if len(list) == 0 {
		return "this machine has no sound card"
	}
	names := make([]string, len(list))
	for i, d := range list {
		what := "microphone and speaker"
		switch {
		case !d.Playback:
			what = "microphone only"
		case !d.Capture:
			what = "speaker only"
		}
		names[i] = fmt.Sprintf("%s (%s, %s)", d.ID, d.Name, what)
	}
	return "there are: " + strings.Join(names, "; ")
}
