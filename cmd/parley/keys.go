package main

import (
	"strings"

	"parley/hal"
	"parley/mqtt/wire"
)

// keys turns what happens to a key into what it does:
//
//	edge → hal.Debounce → Event → table → microphone at once, everything else by the house
//
// It is used by the keys' goroutine only.
type keys struct {
	house   *house
	mic     *microphone
	volume  volume
	out     publisher
	topic   string
	lamps   *lamps
	closing bool // the mute key's present press has closed the microphone
}

// volume is the loudness of the speaker, 0 … 100.
type volume interface {
	Volume() int
	SetVolume(percent int)
}

// volumeStep is what one press of a volume key changes, of 100.
const volumeStep = 5

// keyTable says what each key does. What is not in it does nothing.
var keyTable = map[hal.Key]map[hal.Kind]func(*keys, hal.Event){
	hal.KeyMute:       {hal.Leading: (*keys).muteDown, hal.Pressed: (*keys).mutePressed},
	hal.KeyJoin:       {hal.Pressed: (*keys).joinPressed},
	hal.KeyVolumeUp:   {hal.Pressed: func(k *keys, _ hal.Event) { k.louder(volumeStep) }},
	hal.KeyVolumeDown: {hal.Pressed: func(k *keys, _ hal.Event) { k.louder(-volumeStep) }},
	hal.KeyReset:      {hal.Holding: (*keys).resetHeld, hal.LongPress: (*keys).resetLong, hal.Released: (*keys).resetUp},
}

func (k *keys) handle(e hal.Event) {
	if act := keyTable[e.Key][e.Kind]; act != nil {
		act(k, e)
	}
	k.tell(e)
}

// muteDown closes the microphone on the first edge, before anything else is told: it may have been a bounce, and then the
// room is muted and sees it.
func (k *keys) muteDown(hal.Event) {
	k.closing = !k.mic.Closed()
	if !k.closing {
		return
	}
	k.mic.closeByKey()
	k.lamps.show()
	k.house.post(func() { k.house.place.keyMuted(true) })
}

// mutePressed opens what was closed before this press.
func (k *keys) mutePressed(hal.Event) {
	if k.closing {
		return
	}
	k.mic.openByKey()
	k.lamps.show()
	k.house.post(func() { k.house.place.keyMuted(false) })
}

// joinPressed tells by the edges' own times whether it is a double press, however late the house comes to it.
func (k *keys) joinPressed(e hal.Event) {
	k.house.post(func() { k.house.place.joinKey(e.Repeat > 0) })
}

func (k *keys) louder(by int) { k.volume.SetVolume(min(max(k.volume.Volume()+by, 0), 100)) }

// eventNames are the kinds that are told.
var eventNames = map[hal.Kind]string{
	hal.Pressed: "pressed", hal.Released: "released", hal.LongPress: "long",
	hal.Stuck: "stuck", hal.Chattering: "chattering", hal.Healed: "healed",
}

func (k *keys) tell(e hal.Event) {
	name, ok := eventNames[e.Kind]
	if !ok {
		return
	}
	if e.Kind == hal.Pressed && e.Repeat > 0 {
		name = "double"
	}
	press := wire.KeyPress{Key: strings.ReplaceAll(e.Key.String(), "-", "_"), Event: name, At: e.At.UTC()}
	if payload, err := wire.Encode(&press); err == nil {
		k.out.Publish(k.topic, payload, 1, false)
	}
	if e.Kind == hal.Stuck || e.Kind == hal.Chattering || e.Kind == hal.Healed {
		k.house.log.Warn("a key", "key", e.Key, "is", name)
		k.house.post(func() {
			k.house.fault("key-"+e.Key.String(), e.Kind != hal.Healed, "the "+e.Key.String()+" key is "+name)
		})
	}
}
