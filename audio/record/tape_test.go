package record_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley/audio"
	"parley/audio/opus"
	"parley/audio/record"
)

func codec() audio.Codec { return opus.New(opus.Options{Bitrate: 24000}) }

// deck is a tape that runs.
type deck struct {
	*record.Tape
	t      testing.TB
	folder string
	stop   func()
	ran    chan error
	over   bool
	err    error
	phase  float64
}

// play starts a tape with segments of 1 s, changed by with.
func play(t testing.TB, with func(*record.Config)) *deck {
	t.Helper()
	c := record.Config{
		Folder: t.TempDir(), ID: "one", Codec: codec(), Segment: time.Second, Free: plenty,
		Meta: record.Meta{UID: "u1", Number: "1000", Theme: "Monday"},
	}
	if with != nil {
		with(&c)
	}
	tape, err := record.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &deck{Tape: tape, t: t, folder: c.Folder, stop: stop, ran: make(chan error, 1)}
	go func() { d.ran <- tape.Run(ctx) }()
	t.Cleanup(func() { _ = d.end() })
	return d
}

func plenty() (uint64, error) { return 1 << 40, nil }

// end stops the tape and returns what Run did.
func (d *deck) end() error {
	d.stop()
	return d.wait()
}

// wait is for a tape that ends by itself.
func (d *deck) wait() error {
	if !d.over {
		d.over, d.err = true, <-d.ran
	}
	return d.err
}

// done is end for a recording that must be whole.
func (d *deck) done() *record.Library {
	d.t.Helper()
	if err := d.end(); err != nil {
		d.t.Fatal(err)
	}
	l := d.library()
	if err := l.Verify(d.ID()); err != nil {
		d.t.Fatal(err)
	}
	return l
}

func (d *deck) library() *record.Library { return record.NewLibrary(d.folder, record.Limits{}) }

func (d *deck) path(names ...string) string {
	return filepath.Join(append([]string{d.folder, d.ID()}, names...)...)
}

// tone feeds n frames of a sine of hz at level dBFS (RMS of a full-scale sine is -3), no faster than the ring takes them; 0 Hz is silence.
func (d *deck) tone(n int, hz, level float64) {
	d.t.Helper()
	for range n {
		eventually(d.t, func() bool { s := d.Status(); return s.Heard-s.Written < 8*time.Second })
		f := d.sine(hz, level)
		d.WriteFrame(&f)
	}
}

func (d *deck) sine(hz, level float64) (f audio.Frame) {
	if hz == 0 {
		return f
	}
	peak := math.Sqrt2 * math.Sqrt(audio.DBPower(level))
	for i := range f {
		d.phase += 2 * math.Pi * hz / 48000
		f[i] = int16(peak * math.Sin(d.phase))
	}
	return f
}

func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never came")
		}
	}
}

// whole reads the recording as one stream.
func whole(t testing.TB, l *record.Library, id string) []byte {
	t.Helper()
	s, err := l.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(s)
	if err != nil || int64(len(b)) != s.Size() {
		t.Fatalf("%d of %d bytes, %v", len(b), s.Size(), err)
	}
	return b
}

// decode is what opusdec makes of b, at 48 kHz.
func decode(t testing.TB, b []byte) []int16 {
	t.Helper()
	if len(b) == 0 {
		t.Fatal("nothing to decode")
	}
	path := filepath.Join(t.TempDir(), "x.opus")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	// A raw file has no WAV header that might be wrong about the length.
	cmd := exec.Command("opusdec", "--quiet", "--no-dither", "--rate", "48000", path, path+".raw")
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("opusdec: %v: %s", err, out)
	}
	raw, err := os.ReadFile(path + ".raw")
	if err != nil {
		t.Fatal(err)
	}
	pcm := make([]int16, len(raw)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(raw[2*i:]))
	}
	return pcm
}

// inspect lets opusinfo look for faults in the file.
func inspect(t testing.TB, path string) {
	t.Helper()
	out, err := exec.Command("opusinfo", path).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("WARNING")) || bytes.Contains(out, []byte("ERROR")) || !bytes.Contains(out, []byte("Opus stream 1")) {
		t.Errorf("opusinfo: %v\n%s", err, out)
	}
}

func inspectBytes(t testing.TB, b []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "whole.opus")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	inspect(t, path)
}

func segments(t testing.TB, d *deck) []string {
	t.Helper()
	names, err := filepath.Glob(d.path("*.opus"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestTheLengthIsExactToTheSample(t *testing.T) {
	defer goleak.VerifyNone(t)
	for _, frames := range []int{1, 2, 3, 49, 50, 51, 98, 99, 100, 101, 250, 301} {
		d := play(t, nil)
		d.tone(frames, 440, -20)
		l := d.done()
		b := whole(t, l, "one")
		inspectBytes(t, b)
		if got := len(decode(t, b)); got != frames*480 {
			t.Errorf("%d frames: %d samples, want %d", frames, got, frames*480)
		}
		sum := 0
		for _, name := range segments(t, d) {
			inspect(t, name)
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			sum += len(decode(t, b))
		}
		if sum != frames*480 {
			t.Errorf("%d frames: the segments hold %d samples together, want %d", frames, sum, frames*480)
		}
		info, err := l.Info("one")
		if want := time.Duration(frames) * 10 * time.Millisecond; err != nil || info.Length != want || info.Head != d.Status().Head {
			t.Errorf("%+v, %v; want %v", info, err, want)
		}
	}
}

func TestATapeThatHeardNothingEnds(t *testing.T) {
	d := play(t, nil)
	l := d.done()
	if _, err := l.Open("one"); !errors.Is(err, record.ErrBroken) {
		t.Error(err)
	}
	if info, err := l.Info("one"); err != nil || info.Running || info.Length != 0 {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestAToneComesBackAtItsLevelAndWithoutSeams(t *testing.T) {
	d := play(t, nil)
	d.tone(430, 1000, -20)
	l := d.done()
	pcm := decode(t, whole(t, l, "one"))
	if got := audio.MeasureSome(pcm[4800:]).RMS(); math.Abs(got+20) > 0.3 {
		t.Errorf("the tone is at %.2f dBFS, not at -20", got)
	}
	// A seam would be heard as what is not the tone: the residue in every 10 ms.
	var apart []int16
	for _, name := range segments(t, d) {
		b, _ := os.ReadFile(name)
		apart = append(apart, decode(t, b)...)
	}
	for what, pcm := range map[string][]int16{"joined": pcm, "segments": apart} {
		for i := 480; i+480 <= len(pcm)-480; i += 480 {
			if r := residue(pcm[i:i+480], 1000); r > -40 {
				t.Errorf("%s: %.1f dBFS beside the tone at %d ms", what, r, i/48)
			}
		}
	}
}

// residue is the level of what is left of pcm without its part at hz, dBFS.
func residue(pcm []int16, hz float64) float64 {
	var re, im float64
	for i, v := range pcm {
		s, c := math.Sincos(2 * math.Pi * hz * float64(i) / 48000)
		re, im = re+float64(v)*c, im+float64(v)*s
	}
	n := float64(len(pcm))
	var power float64
	for i, v := range pcm {
		s, c := math.Sincos(2 * math.Pi * hz * float64(i) / 48000)
		x := float64(v) - 2/n*(re*c+im*s)
		power += x * x / n
	}
	return audio.PowerDB(power)
}

// TestSoundStandsWhereItWasHeard finds a sweep at the very sample where it went in, in a segment that is not the first one.
func TestSoundStandsWhereItWasHeard(t *testing.T) {
	d := play(t, nil)
	var in []int16
	phase := 0.0
	for n := range 260 {
		var f audio.Frame
		if n >= 150 && n < 250 {
			for i := range f {
				phase += 2 * math.Pi * (300 + 3000*float64((n-150)*480+i)/48000) / 48000
				f[i] = int16(8000 * math.Sin(phase))
			}
		}
		in = append(in, f[:]...)
		d.WriteFrame(&f)
	}
	out := decode(t, whole(t, d.done(), "one"))
	best, lag := 0.0, -1000
	for k := -400; k <= 400; k++ {
		sum := 0.0
		for i := 150 * 480; i < 250*480; i++ {
			sum += float64(in[i]) * float64(out[i+k])
		}
		if sum > best {
			best, lag = sum, k
		}
	}
	if lag != 0 {
		t.Errorf("the sound is %d samples late", lag)
	}
}

func TestAPauseIsSilenceAndTimeStaysTrue(t *testing.T) {
	d := play(t, nil)
	at := time.Unix(1000, 0)
	d.tone(100, 1000, -20)
	must(t, d.Pause(true, "Ada", at))
	must(t, d.Pause(true, "Ada", at)) // once is enough
	d.tone(100, 1000, -20)
	must(t, d.Pause(false, "Bob", at.Add(time.Second)))
	d.tone(100, 1000, -20)
	l := d.done()
	pcm := decode(t, whole(t, l, "one"))
	if len(pcm) != 300*480 {
		t.Fatalf("%d samples", len(pcm))
	}
	level := func(from, to int) float64 { return audio.MeasureSome(pcm[from*480 : to*480]).RMS() }
	if a, b, c := level(10, 98), level(102, 198), level(202, 290); math.Abs(a+20) > 1 || b > -70 || math.Abs(c+20) > 1 {
		t.Errorf("before %.1f, in the pause %.1f, after %.1f dBFS", a, b, c)
	}
	var got []string
	for _, line := range index(t, l) {
		if line.Kind == record.KindPause || line.Kind == record.KindResume {
			got = append(got, line.Kind, line.By, time.Duration(line.Position*1e6).String())
		}
	}
	if s := strings.Join(got, " "); s != "pause Ada 1s resume Bob 2s" {
		t.Error(s)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func index(t testing.TB, l *record.Library) []record.Line {
	t.Helper()
	lines, err := l.Index("one")
	must(t, err)
	return lines
}

func TestTheIndexTellsWhoSpokeAndWhatWasNoted(t *testing.T) {
	d := play(t, nil)
	at := time.Unix(2000, 0).UTC()
	d.tone(50, 440, -20)
	must(t, d.Speaking("m1", "Ada \r\n<script>\u202e", true, at))
	d.tone(70, 440, -20)
	must(t, d.Speaking("m1", "Ada", false, at))
	must(t, d.Note("预算", "Bob", at))
	must(t, d.LeaveOut("room-1", true, at))
	for _, bad := range []string{"", "\xff", strings.Repeat("x", record.MaxNote+1)} {
		if err := d.Note(bad, "Bob", at); !errors.Is(err, record.ErrText) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	must(t, d.Note(strings.Repeat("\x01", record.MaxNote), strings.Repeat("\xff", 10000), at))
	l := d.done()
	if err := d.Note("late", "Bob", at); !errors.Is(err, record.ErrFull) {
		t.Error(err)
	}
	lines := index(t, l)
	var kinds []string
	for _, line := range lines {
		kinds = append(kinds, line.Kind)
		switch {
		case line.Kind == record.KindSpeak && line.On && (line.Position != 500 || line.Name != "Ada \r\n<script>\u202e" || line.Member != "m1"),
			line.Kind == record.KindNote && line.By == "Bob" && (line.Position != 1200 || line.Text != "预算" || !line.At.Equal(at)),
			line.Kind == record.KindRoom && (line.Room != "room-1" || !line.On),
			line.Kind == record.KindStart && (line.Meta.Theme != "Monday" || line.ID != "one"):
			t.Errorf("%+v", line)
		}
	}
	if n := count(kinds, "speak") + count(kinds, "note") + count(kinds, "room"); n != 5 || kinds[0] != "start" || kinds[len(kinds)-1] != "end" {
		t.Error(kinds)
	}
	raw, _ := os.ReadFile(d.path("index.jsonl"))
	if bytes.Contains(raw, []byte("<script>")) || bytes.Count(raw, []byte("\n")) != len(lines) {
		t.Error("something unescaped is in the index")
	}
}

func count(in []string, what string) (n int) {
	for _, s := range in {
		if s == what {
			n++
		}
	}
	return n
}

func TestTakingAFrameAllocatesNothing(t *testing.T) {
	c := record.Config{Folder: t.TempDir(), ID: "one", Codec: codec(), Free: plenty}
	tape, err := record.New(c) // without Run: full after 1024, which costs nothing either
	must(t, err)
	tee := record.NewTee(&wave{})
	tee.Tape(tape)
	var f audio.Frame
	if n := testing.AllocsPerRun(400, func() { tape.WriteFrame(&f) }); n != 0 {
		t.Errorf("WriteFrame: %v allocations", n)
	}
	if n := testing.AllocsPerRun(400, func() { tee.ReadFrame(16000, &f) }); n != 0 {
		t.Errorf("Tee: %v allocations", n)
	}
	if n := testing.AllocsPerRun(1000, func() { tape.WriteFrame(&f) }); n != 0 {
		t.Errorf("WriteFrame into a full ring: %v allocations", n)
	}
}

// wave is a source: 1 kHz at -20 dBFS for 100 frames of every 200.
type wave struct{ n int }

func (w *wave) ReadFrame(rate int, f *audio.Frame) audio.Status {
	w.n++
	if (w.n-1)/100%2 == 1 {
		return audio.Silent
	}
	for i := range rate / 100 {
		f[i] = int16(math.Sqrt2 * math.Sqrt(audio.DBPower(-20)) * math.Sin(2*math.Pi*1000*float64((w.n-1)*rate/100+i)/float64(rate)))
	}
	return audio.Active
}

func TestATrackIsWhatOneSourceSays(t *testing.T) {
	for _, rate := range []int{8000, 16000, 48000} {
		d := play(t, func(c *record.Config) { c.Meta.Of, c.Meta.Speaker = "main", "Ada" })
		tee := record.NewTee(&wave{})
		tee.Tape(d.Tape)
		var f audio.Frame
		for range 300 {
			if tee.ReadFrame(rate, &f) == audio.Gone {
				t.Fatal("gone")
			}
		}
		tee.Tape(nil)
		tee.ReadFrame(rate, &f)
		pcm := decode(t, whole(t, d.done(), "one"))
		if len(pcm) != 300*480 {
			t.Fatalf("%d samples", len(pcm))
		}
		level := func(from, to int) float64 { return audio.MeasureSome(pcm[from*480 : to*480]).RMS() }
		if a, b, c := level(10, 98), level(102, 198), level(210, 298); math.Abs(a+20) > 1 || b > -60 || math.Abs(c+20) > 1 {
			t.Errorf("%d Hz: %.1f, %.1f, %.1f dBFS", rate, a, b, c)
		}
	}
}

func TestWhatMakesNoTape(t *testing.T) {
	folder := t.TempDir()
	good := record.Config{Folder: folder, ID: "one", Codec: codec(), Free: plenty}
	for name, c := range map[string]struct {
		with func(*record.Config)
		want error
	}{
		"id":      {func(c *record.Config) { c.ID = "../x" }, record.ErrID},
		"codec":   {func(c *record.Config) { c.Codec = nil }, record.ErrConfig},
		"segment": {func(c *record.Config) { c.Segment = time.Millisecond }, record.ErrConfig},
		"full":    {func(c *record.Config) { c.Reserve = 1 << 41 }, record.ErrDiskFull},
		"folder":  {func(c *record.Config) { c.Folder = filepath.Join(folder, "none") }, os.ErrNotExist},
		"disk":    {func(c *record.Config) { c.Free = func() (uint64, error) { return 0, os.ErrPermission } }, os.ErrPermission},
	} {
		bad := good
		c.with(&bad)
		if _, err := record.New(bad); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if _, err := os.Stat(filepath.Join(folder, "one")); err == nil {
			t.Errorf("%s: a folder is left", name)
		}
	}
	_, err := record.New(good)
	must(t, err)
	if _, err := record.New(good); !errors.Is(err, record.ErrExists) {
		t.Error(err)
	}
}

// faults collects what OnFault is told.
type faults struct {
	mu  sync.Mutex
	all []error
}

func (f *faults) tell(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, err)
}

func (f *faults) count(what error) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, err := range f.all {
		if errors.Is(err, what) || err == what {
			n++
		}
	}
	return n
}
