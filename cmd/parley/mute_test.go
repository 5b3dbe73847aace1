package main_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parley/audio"
	"parley/audio/g711"
	"parley/audio/g722"
	"parley/audio/opus"
	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// ear is a call of sipp's into a conference, and all packets that the box sends it, with the kernel's time stamps.
type ear struct {
	t    testing.TB
	name string
	kind byte // payload type
	tap  *phonetest.Tap
	dec  func() audio.Decoder // nil for PCMU, of which the bytes themselves are judged
	call *phonetest.SIPP
}

// ears are the codecs that one can listen in.
var ears = map[string]struct {
	kind  byte
	lines string
	codec audio.Codec
}{
	"PCMU": {0, "a=rtpmap:0 PCMU/8000", nil},
	"PCMA": {8, "a=rtpmap:8 PCMA/8000", g711.PCMA()},
	"G722": {9, "a=rtpmap:9 G722/8000", g722.New()},
	"opus": {96, "a=rtpmap:96 opus/48000/2", opus.New(opus.Options{})},
}

// listen calls number at the box and stays until the box hangs up.
func listen(t testing.TB, box *boxtest.Box, number, codec string) *ear {
	t.Helper()
	c := ears[codec]
	e := &ear{t: t, name: codec, kind: c.kind, tap: phonetest.NewTap(t, "127.0.0.1")}
	if c.codec != nil {
		e.dec = func() audio.Decoder {
			d, err := c.codec.NewDecoder(c.codec.Format())
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
	}
	sdp := fmt.Sprintf("c=IN IP4 127.0.0.1\nt=0 0\nm=audio %d RTP/AVP %d\n%s\na=sendrecv", e.tap.Addr().Port(), c.kind, c.lines)
	e.call = phonetest.StartSIPP(t, phonetest.SIPPConfig{
		Scenario: phonetest.CallScenario{SDP: sdp, TheyHangUp: true}.Caller(), Remote: box.SIP, Service: number, Timeout: 10 * time.Minute,
	})
	return e
}

// packet is one packet of sound: when the kernel had it, and whether there is anything in it.
type packet struct {
	at   time.Time
	loud bool
}

// loudest is the level, in dBFS, above which a packet of any codec but PCMU bears sound: its decoder has a tail, and A-law has
// no zero.
const loudest = -70.0

// packets judges every packet so far. PCMU bears sound unless every byte is one of its two zeros.
func (e *ear) packets() (list []packet) {
	var d audio.Decoder
	if e.dec != nil {
		d = e.dec()
	}
	pcm := make([]int16, 6*audio.FrameSamples)
	for _, p := range e.tap.Packets() {
		r, ok := p.RTP()
		if !ok || r.PayloadType != e.kind {
			continue
		}
		if d == nil {
			list = append(list, packet{p.At, slices.ContainsFunc(r.Payload, func(b byte) bool { return b|0x80 != 0xff })})
			continue
		}
		n, err := d.Decode(r.Payload, pcm)
		if err != nil {
			e.t.Fatalf("%s: %v", e.name, err)
		}
		sum := 0.0
		for _, s := range pcm[:n] {
			sum += float64(s) * float64(s)
		}
		list = append(list, packet{p.At, 10*math.Log10(sum/float64(n)/32767/32767) > loudest})
	}
	return list
}

func (e *ear) after(at time.Time) []packet {
	list := e.packets()
	for len(list) > 0 && !list[0].at.After(at) {
		list = list[1:]
	}
	return list
}

// wantSound waits until sound arrives that was sent after at.
func (e *ear) wantSound(at time.Time) {
	e.t.Helper()
	phonetest.Eventually(e.t, 20*time.Second, e.name+" hears the room", func() bool {
		n := 0
		for _, p := range e.after(at) {
			if p.loud {
				n++
			}
		}
		return n >= 5
	})
}

// wantSilence waits until enough was sent after at, and holds that of all of it at most the first `most` packets bore sound.
func (e *ear) wantSilence(at time.Time, most int) {
	e.t.Helper()
	const enough = 30
	var list []packet
	if e.dec == nil { // the others may send nothing while there is nothing to be said
		phonetest.Eventually(e.t, 20*time.Second, "packets after the mute", func() bool {
			list = e.after(at)
			return len(list) >= enough
		})
	} else {
		list = e.after(at)
	}
	for i, p := range list {
		if p.loud && i >= most {
			e.t.Errorf("%s: packet %d after the mute, %v after it, bears sound", e.name, i, p.at.Sub(at))
			return
		}
	}
}

// How many packets of 20 ms may still bear sound once the gate is closed: in PCMU the one in the making, and the one that fades;
// in the others the one in the making, and the tail of 60 ms that their decoders have.
const (
	mostPCMU  = 2
	mostOther = 4
)

func (e *ear) most() int {
	if e.dec == nil {
		return mostPCMU
	}
	return mostOther
}

// lamp is what the box has told of its mute lamp, in order.
func lamp(box *boxtest.Box) (states []string) {
	for _, line := range box.Lines() {
		if s, ok := strings.CutPrefix(line, "lamp mute "); ok {
			states = append(states, s)
		}
	}
	return states
}

// pressMute presses the key and returns when the lamp has changed to state: what is sent after that was mixed after that,
// but for what was in the making.
func pressMute(t testing.TB, box *boxtest.Box, state string) time.Time {
	t.Helper()
	n := len(lamp(box))
	box.Press("m")
	phonetest.Eventually(t, 20*time.Second, "the mute lamp is "+state, func() bool { return len(lamp(box)) > n })
	at := time.Now()
	if got := lamp(box)[n]; got != state {
		t.Fatalf("the mute lamp went %s, want %s; all of it: %v", got, state, lamp(box))
	}
	return at
}

// gate waits until the retained topic says what the gate is, and why.
func gate(w *boxtest.Watch, state string, reasons ...string) {
	w.Wait("/mute", state+" by "+strings.Join(reasons, ", "), 20*time.Second, func(p map[string]any) bool {
		list, _ := p["reasons"].([]any)
		got := []string{}
		for _, r := range list {
			got = append(got, r.(map[string]any)["reason"].(string))
		}
		return p["gate"] == state && slices.Equal(got, reasons)
	})
}

// patient lets an ear stay, which sends nothing.
var patient = boxtest.Settings{"alert_after": "9m", "hangup_after": "10m"}

// startTalking starts a box whose place says a tone in conference 1000.
func startTalking(t testing.TB, settings boxtest.Settings) *boxtest.Box {
	t.Helper()
	cfg := boxtest.Settings{"place": boxtest.Settings{"join_at_start": true}, "rtp": patient}
	for k, v := range settings {
		cfg[k] = v
	}
	return boxtest.Start(t, boxtest.Config{Microphone: tone(400), Settings: cfg})
}

// the mute key makes silence on the wire in every codec, and only it; lamp and retained topic show the gate.
func TestMuteKeyIsSilenceOnTheWireInEveryCodec(t *testing.T) {
	t.Parallel()
	box := startTalking(t, nil)
	var all []*ear
	for _, codec := range []string{"PCMA", "G722", "opus", "PCMU"} { // PCMU last: its packets are the clock for the others
		all = append(all, listen(t, box, "1000", codec))
	}
	start := time.Now()
	for _, e := range all {
		e.wantSound(start)
	}
	for range 3 {
		closed := pressMute(t, box, "on")
		all[3].wantSilence(closed, mostPCMU)
		for _, e := range all {
			e.wantSilence(closed, e.most())
		}
		gate(box.Watch(), "closed", "hardware") // a new subscriber: retained
		opened := pressMute(t, box, "off")
		for _, e := range all {
			e.wantSound(opened)
		}
		gate(box.Watch(), "open")
	}
	closed := pressMute(t, box, "on")
	all[3].wantSilence(closed, mostPCMU)
	box.StopCleanly()
	if got := strings.Join(lamp(box), " "); !strings.HasPrefix(got, "on off on off on off on") {
		t.Errorf("the lamp: %s", got)
	}
}

// the gate closes on the leading edge, each time.
func TestMuteKeyTwentyTimes(t *testing.T) {
	t.Parallel()
	box := startTalking(t, nil)
	pcmu := listen(t, box, "1000", "PCMU")
	pcmu.wantSound(time.Now())
	for range 20 {
		closed := pressMute(t, box, "on")
		pcmu.wantSilence(closed, mostPCMU)
		pcmu.wantSound(pressMute(t, box, "off"))
	}
}

// nobody remote opens what the key has closed, by whatever way, and is told why.
func TestNobodyRemoteOpensWhatTheKeyClosed(t *testing.T) {
	t.Parallel()
	box := startTalking(t, nil)
	pcmu := listen(t, box, "1000", "PCMU")
	pcmu.wantSound(time.Now())
	closed := pressMute(t, box, "on")
	for _, step := range []struct {
		verb    string
		done    bool
		because string
	}{
		{"unmute", false, "only the mute key opens it"},
		{"mute", true, ""},
		{"unmute", false, "local_only"},
		{"leave", true, ""},
		{"unmute", false, "local_only"},
		{"join", true, ""},
		{"unmute", false, "local_only"},
	} {
		out, status := box.Ctl("cmd", step.verb)
		if (status == 0) != step.done || !strings.Contains(out, step.because) {
			t.Errorf("%s: exit status %d: %s", step.verb, status, out)
		}
	}
	pcmu.wantSilence(closed, mostPCMU)
	if got := lamp(box); !slices.Equal(got, []string{"on"}) {
		t.Errorf("the lamp: %v", got)
	}
	pcmu.wantSound(pressMute(t, box, "off"))

	// What was muted from afar alone can be opened from afar, and by the key.
	for _, open := range []func(){func() { box.Ctl("cmd", "unmute") }, func() { box.Press("m") }} {
		n := len(lamp(box))
		if out, status := box.Ctl("cmd", "mute"); status != 0 {
			t.Fatal(out)
		}
		gate(box.Watch(), "closed", "self")
		pcmu.wantSilence(time.Now(), mostPCMU)
		open()
		phonetest.Eventually(t, 20*time.Second, "the lamp goes on and off", func() bool {
			return slices.Equal(lamp(box)[n:], []string{"on", "off"})
		})
		pcmu.wantSound(time.Now())
	}
}

// mute works while the broker is gone, and once it is back the topic says what the gate is.
func TestMuteWithoutBroker(t *testing.T) {
	t.Parallel()
	broker := phonetest.StartMosquitto(t, phonetest.MosquittoConfig{})
	box := startTalking(t, boxtest.Settings{"mqtt": boxtest.Settings{"broker": broker.URL()}})
	gate(boxtest.NewWatch(t, broker.URL(), box.EID), "open")
	pcmu := listen(t, box, "1000", "PCMU")
	pcmu.wantSound(time.Now())
	broker.Stop()
	for range 2 {
		pcmu.wantSilence(pressMute(t, box, "on"), mostPCMU)
		pcmu.wantSound(pressMute(t, box, "off"))
	}
	pcmu.wantSilence(pressMute(t, box, "on"), mostPCMU)
	broker.Start() // it has forgotten everything
	gate(boxtest.NewWatch(t, broker.URL(), box.EID), "closed", "hardware")
}

// fullDisk is a folder on a file system with no byte to spare.
func fullDisk(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("parley-test", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a full disk is made by mounting one, which is not allowed here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill leaves no room in the file system of dir.
func fill(t testing.TB, dir string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "filler"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			if pathErr := err.(*os.PathError); pathErr.Err != syscall.ENOSPC {
				t.Fatal(err)
			}
			return
		}
	}
}

// outside puts what a box needs to start beside its data folder.
func outside(t testing.TB) boxtest.Settings {
	t.Helper()
	dir := t.TempDir()
	microphone := filepath.Join(dir, "microphone.wav")
	phonetest.WriteWAV(t, microphone, tone(400))
	return boxtest.Settings{
		"card":  boxtest.Settings{"microphone": microphone, "speaker": filepath.Join(dir, "speaker.wav")},
		"place": boxtest.Settings{"join_at_start": true},
		"rtp":   patient,
	}
}

// with the disk full from the very first start on, the box starts, answers and mutes; and when it is killed it does not
// take itself for a new one, which would start unmuted.
func TestMuteWithTheDiskFull(t *testing.T) {
	t.Parallel()
	disk := fullDisk(t)
	box := boxtest.New(t, boxtest.Config{Data: filepath.Join(disk, "data"), Files: t.TempDir(), Settings: outside(t)})
	fill(t, disk)
	box.Restart()
	pcmu := listen(t, box, "1000", "PCMU")
	if len(lamp(box)) > 0 { // it cannot know its state, and starts muted
		pcmu.wantSilence(time.Now(), 0)
		pressMute(t, box, "off")
	}
	pcmu.wantSound(time.Now())
	for range 2 {
		pcmu.wantSilence(pressMute(t, box, "on"), mostPCMU)
		pcmu.wantSound(pressMute(t, box, "off"))
	}
	pcmu.wantSilence(pressMute(t, box, "on"), mostPCMU)
	box.Kill()
	killedMuted(t, box)
}

// killed, the box starts muted, whatever the gate was; not one packet bears sound until the key is pressed.
func TestKilledStartsMuted(t *testing.T) {
	t.Parallel()
	for _, muted := range []bool{true, false} {
		box := startTalking(t, nil)
		if muted {
			pressMute(t, box, "on")
		}
		box.Kill()
		killedMuted(t, box)
		box.StopCleanly()
		box.Restart() // stopped in order with the gate open: it need not be pressed again
		listen(t, box, "1000", "PCMU").wantSound(time.Now())
		box.StopCleanly()
	}
}

// killedMuted starts a killed box and listens from the first packet on.
func killedMuted(t testing.TB, box *boxtest.Box) {
	t.Helper()
	// Every datagram that leaves a media port of the box, from before it is there.
	wire := phonetest.StartCapture(t, uint16(box.FirstRTP), uint16(box.LastRTP))
	box.Restart()
	pcmu := listen(t, box, "1000", "PCMU")
	phonetest.Eventually(t, 20*time.Second, "the mute lamp is on", func() bool { return len(lamp(box)) > 0 })
	// Beside the box's own reason there may be the key's: what the key did just before the end may have been kept or not.
	box.Watch().Wait("/mute", "closed by the box itself", 20*time.Second, func(p map[string]any) bool {
		list, _ := p["reasons"].([]any)
		return p["gate"] == "closed" && slices.ContainsFunc(list, func(r any) bool { return r.(map[string]any)["reason"] == "system" })
	})
	if _, err := os.Stat(filepath.Join(box.Data, "box.key")); err == nil { // without one it takes no commands
		if out, status := box.Ctl("cmd", "unmute"); status == 0 || !strings.Contains(out, "only the mute key opens it") {
			t.Errorf("unmuted from afar after a crash: exit status %d: %s", status, out)
		}
	}
	pcmu.wantSilence(time.Time{}, 0)
	wire.Stop()
	packets := 0
	for _, p := range wire.Packets() {
		if r, ok := p.RTP(); ok && r.PayloadType == 0 && p.Dst == pcmu.tap.Addr() {
			packets++
			if slices.ContainsFunc(r.Payload, func(b byte) bool { return b|0x80 != 0xff }) {
				t.Fatalf("packet %d after the restart bears sound", packets)
			}
		}
	}
	if packets < 30 {
		t.Fatalf("%d packets on the wire", packets)
	}
	opened := pressMute(t, box, "off")
	pcmu.wantSound(opened)
	gate(box.Watch(), "open")
}

// BenchmarkMuteKeyToWire presses the mute key 200 times and measures from the press to the last packet on the wire that bears
// sound, by the kernel's time stamps.
func BenchmarkMuteKeyToWire(b *testing.B) {
	const presses = 200
	box := startTalking(b, boxtest.Settings{"log": boxtest.Settings{"level": "warn"}})
	pcmu := listen(b, box, "1000", "PCMU")
	pcmu.wantSound(time.Now())
	var delays []float64
	b.ResetTimer()
	for range b.N {
		var pressed []time.Time
		for range presses {
			pause()
			pressed = append(pressed, time.Now())
			pressMute(b, box, "on")
			pause()
			pressMute(b, box, "off")
		}
		pause()
		list := pcmu.packets()
		for _, at := range pressed {
			last, window := time.Duration(0), at.Add(200*time.Millisecond)
			for _, p := range list {
				if p.loud && p.at.After(at) && p.at.Before(window) {
					last = p.at.Sub(at)
				}
			}
			if !slices.ContainsFunc(list, func(p packet) bool { return p.loud && p.at.Before(at) && p.at.After(at.Add(-100*time.Millisecond)) }) {
				b.Fatal("there was no sound before the press")
			}
			delays = append(delays, last.Seconds()*1000)
		}
	}
	b.StopTimer()
	slices.Sort(delays)
	at := func(q float64) float64 { return delays[int(math.Ceil(q*float64(len(delays))))-1] }
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(at(1), "max-ms")
	b.ReportMetric(0, "ns/op")
}

// pause is at least 220 ms, and as long as it takes to meet the packets at any moment of theirs.
func pause() {
	time.Sleep(220*time.Millisecond + time.Duration(rand.Int64N(int64(20*time.Millisecond))))
}
