package main_test

import (
	"encoding/json"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// told is what a subscriber of mosquitto's has printed: a topic and a payload for each message, in order.
func told(sub *phonetest.Process, topic string) (payloads []string) {
	for _, line := range sub.Lines() {
		if at, payload, ok := strings.Cut(line, " "); ok && at == topic {
			payloads = append(payloads, payload)
		}
	}
	return payloads
}

// waitTold waits until the payloads of a topic end in these.
func waitTold(t *testing.T, sub *phonetest.Process, topic string, want ...string) {
	t.Helper()
	phonetest.Eventually(t, 30*time.Second, topic+" tells "+strings.Join(want, ", then "), func() bool {
		all := told(sub, topic)
		return len(all) >= len(want) && slices.Equal(all[len(all)-len(want):], want)
	})
}

// Spec 6: whoever watches a box sees `lost` when it is killed and when its connection breaks, with the session that is lost; the
// next `ready` supersedes it, whatever the broker tells late; a clean end says `disconnected`.
func TestLostBoxIsSeen(t *testing.T) {
	t.Parallel()
	const topic = "/e/local/box/box-1/state"
	broker := phonetest.StartMosquitto(t, phonetest.MosquittoConfig{})
	relay := phonetest.StartRelay(t, broker.Addr())
	sub := broker.Subscribe("", topic)
	box := boxtest.Start(t, boxtest.Config{Settings: boxtest.Settings{"mqtt": boxtest.Settings{"broker": "mqtt://" + relay.Addr()}}})
	waitTold(t, sub, topic, `{"state":"ready","sess":1}`)
	box.Kill()
	waitTold(t, sub, topic, `{"state":"ready","sess":1}`, `{"state":"lost","sess":1}`)

	box.Restart()
	waitTold(t, sub, topic, `{"state":"lost","sess":1}`, `{"state":"ready","sess":2}`)
	relay.Cut()
	waitTold(t, sub, topic, `{"state":"ready","sess":2}`, `{"state":"lost","sess":2}`)
	relay.Restore()
	waitTold(t, sub, topic, `{"state":"lost","sess":2}`, `{"state":"ready","sess":2}`)

	// The network goes without a word and the box with it: the broker still believes in the old session when the new one comes.
	relay.Freeze()
	box.Kill()
	box.Restart()
	waitTold(t, sub, topic, `{"state":"ready","sess":3}`)
	// Somebody else's word about the box does not stand.
	broker.Publish("", topic, `{"state":"lost","sess":3}`, "-r")
	waitTold(t, sub, topic, `{"state":"lost","sess":3}`, `{"state":"ready","sess":3}`)
	late := broker.Subscribe("", topic)
	waitTold(t, late, topic, `{"state":"ready","sess":3}`)

	box.StopCleanly()
	waitTold(t, sub, topic, `{"state":"ready","sess":3}`, `{"state":"disconnected","sess":3}`)
	after := broker.Subscribe("", topic)
	waitTold(t, after, topic, `{"state":"disconnected","sess":3}`)
}

// retained asks mosquitto for everything that it keeps.
func retained(t *testing.T, broker *phonetest.Mosquitto) map[string]string {
	t.Helper()
	args := append(broker.Client(""), "-v", "-t", "/e/#", "--retained-only", "-W", "1")
	out, err := exec.Command(phonetest.Need(t, "mosquitto_sub"), args...).Output()
	if exit, ok := err.(*exec.ExitError); err != nil && (!ok || exit.ExitCode() != 27) { // 27: the time is over
		t.Fatalf("mosquitto_sub: %v", err)
	}
	kept := map[string]string{}
	for line := range strings.Lines(string(out)) {
		topic, payload, _ := strings.Cut(strings.TrimSpace(line), " ")
		kept[topic] = payload
	}
	return kept
}

// Spec 6, X-8: the broker is killed, away for 5 s and back without its memory. The box is back within 10 s of that, tells every
// retained topic again, and the call that runs meanwhile misses no packet and no sound.
func TestBrokerAwayTouchesNoCall(t *testing.T) {
	t.Parallel()
	broker := phonetest.StartMosquitto(t, phonetest.MosquittoConfig{})
	box := boxtest.Start(t, boxtest.Config{Microphone: tone(400), Settings: boxtest.Settings{
		"mqtt": boxtest.Settings{"broker": broker.URL()}, "place": boxtest.Settings{"join_at_start": true},
	}})
	capture := phonetest.StartCapture(t, uint16(box.FirstRTP), uint16(box.LastRTP))
	call := box.Call("1000", "-codec", "pcmu")
	call.WaitLine("answered", 20*time.Second)
	whole := func(kept map[string]string) bool {
		return len(kept) >= 5 && strings.Contains(kept["/e/local/box/box-1/call"], `"connected"`) &&
			strings.Contains(kept["/e/local/conf/1000/state"], `"talks":true`)
	}
	var before map[string]string
	phonetest.Eventually(t, 30*time.Second, "all topics are kept, and at rest", func() bool {
		old := before
		before = retained(t, broker)
		return whole(before) && maps.Equal(old, before)
	})
	for _, topic := range []string{"state", "info", "mute", "call"} {
		if before["/e/local/box/box-1/"+topic] == "" {
			t.Errorf("%s is not kept", topic)
		}
	}

	broker.Kill()
	const away = 5 * time.Second
	time.Sleep(away) // what the outage is
	broker.Start()
	opened := time.Now()
	broker.WaitLine(" as parley-box-1 ", 10*time.Second)
	t.Logf("back %v after the port opened", time.Since(opened).Round(10*time.Millisecond))
	var after map[string]string
	phonetest.Eventually(t, 10*time.Second, "every topic is told again", func() bool {
		after = retained(t, broker)
		return maps.Equal(before, after)
	})
	call.Signal(syscall.SIGINT)
	call.Wait(20 * time.Second)
	capture.Stop()
	sound := unbroken(t, fromBox(capture, box))
	if sound.Duration() < away {
		t.Fatalf("%v of sound", sound.Duration())
	}
	levels := sound.Tone(400)
	if first, last := 5, len(levels)-5; last > first {
		if n := levels[first:last].Above(toneLevel - 3); n != last-first {
			t.Errorf("the tone is there in %d of %d windows", n, last-first)
		}
	}
}

// fromBox is the RTP that the box sent to its only call.
func fromBox(c *phonetest.Capture, box *boxtest.Box) (list []phonetest.Packet) {
	for _, p := range c.Packets() {
		_, ok := p.RTP()
		if port := int(p.Src.Port()); ok && port >= box.FirstRTP && port <= box.LastRTP {
			list = append(list, p)
		}
	}
	return list
}

// unbroken holds that no packet of a stream is missing, and returns its sound: payload after payload, so that it tells nothing of
// when they came.
func unbroken(t *testing.T, packets []phonetest.Packet) phonetest.Sound {
	t.Helper()
	var sound phonetest.Sound
	var longest time.Duration
	for i, p := range packets {
		now, _ := p.RTP()
		one := phonetest.G711(packets[i : i+1])
		sound.Rate, sound.Samples = one.Rate, append(sound.Samples, one.Samples...)
		if i == 0 {
			continue
		}
		was, _ := packets[i-1].RTP()
		if now.SSRC != was.SSRC || now.SequenceNumber != was.SequenceNumber+1 {
			t.Errorf("packet %d: SSRC %08x, number %d after %08x, %d", i, now.SSRC, now.SequenceNumber, was.SSRC, was.SequenceNumber)
		}
		longest = max(longest, p.At.Sub(packets[i-1].At))
	}
	t.Logf("%d packets, none missing; the longest pause between two was %v", len(packets), longest.Round(time.Millisecond))
	return sound
}

// payloadOf is a payload as JSON.
func payloadOf(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return v
}
