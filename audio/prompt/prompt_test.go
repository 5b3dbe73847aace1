package prompt

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"parley/audio"
	"parley/audio/opus"
	"parley/audio/wav"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log is where a library under test writes what it has to say.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newLibrary(t testing.TB, dir string) (*Library, *log) {
	t.Helper()
	var out log
	l, err := New(Config{Codecs: []audio.Codec{opus.New(opus.Options{})}, Dir: dir, ReadWAV: wav.ReadAll,
		Log: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return l, &out
}

// running is a library whose Run ends with the test.
func running(t testing.TB, dir string) (*Library, *log) {
	l, out := newLibrary(t, dir)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l, out
}

func player(t testing.TB, l *Library, language string) *Player {
	t.Helper()
	p, err := l.NewPlayer(language)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ready waits until everything that waits has been loaded.
func ready(t testing.TB, p *Player) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); p.unloaded() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("not loaded after 10 s")
		}
	}
}

// hear reads frames until the player is idle, at most n.
func hear(p *Player, rate, n int) (pcm []int16) {
	var f audio.Frame
	for range n {
		if p.ReadFrame(rate, &f) == audio.Active {
			pcm = append(pcm, f[:rate/100]...)
		} else if p.Idle() {
			break
		} else {
			pcm = append(pcm, make([]int16, rate/100)...)
		}
	}
	return pcm
}

// millis is how long a sound is from its first to its last audible sample.
func millis(pcm []int16, rate int) int {
	first, last := -1, 0
	for i, s := range pcm {
		if s > 150 || s < -150 {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	return (last - first) * 1000 / rate
}

// The pack is what the table says now, in both languages, and small enough for the firmware.
func TestPackIsOfTheTexts(t *testing.T) {
	texts, made := readTexts(t)
	p, got, err := readPack(builtin)
	if err != nil {
		t.Fatal(err)
	}
	if got != made {
		t.Errorf("%s and %s disagree: run `make prompts`", textFile, packFile)
	}
	n := 0
	for _, c := range texts {
		if _, ok := p[c.language][c.name]; !ok {
			t.Errorf("%s/%s is not in the pack", c.language, c.name)
		}
	}
	for _, names := range p {
		n += len(names)
	}
	if n != len(texts) {
		t.Errorf("%d prompts in the pack, %d in the table", n, len(texts))
	}
	if len(builtin) > 90_000 {
		t.Errorf("the pack has %d bytes, at most 90000 may be", len(builtin))
	}
}

// Every prompt is as loud as speech is to be, unclipped, and neither empty nor long.
func TestLevels(t *testing.T) {
	l, _ := newLibrary(t, "")
	for language, names := range l.built {
		for name := range names {
			pcm, err := l.sound(language, name)
			if err != nil {
				t.Fatalf("%s/%s: %v", language, name, err)
			}
			peak := audio.Measure(pcm).PeakDB()
			if rms := audio.PowerDB(speechPower(pcm)); rms < -24 || rms > -18 || peak > -0.3 {
				t.Errorf("%s/%s: speech at %.1f dBFS, peak %.1f", language, name, rms, peak)
			}
			if ms := millis(pcm, clipRate); ms < 100 || ms > 4000 {
				t.Errorf("%s/%s: %d ms of sound", language, name, ms)
			}
		}
	}
}

// What comes out is what espeak-ng said: as long, and swelling and falling with it, seen through a telephone's ears.
func TestSoundsLikeOriginal(t *testing.T) {
	l, _ := newLibrary(t, "")
	texts, _ := readTexts(t)
	least := 1.0
	for i, c := range texts {
		if testing.Short() && i%10 != 0 {
			continue
		}
		spoken := speak(t, c)
		decoded, err := l.decode(l.built[c.language][c.name])
		if err != nil {
			t.Fatal(err)
		}
		if d := len(spoken)/48 - len(decoded)/16; d != 0 {
			t.Errorf("%s/%s is %d ms shorter than espeak-ng's", c.language, c.name, d)
		}
		got := correlation(envelope(narrow(spoken), 8000), envelope(decoded, clipRate))
		if least = min(least, got); got < 0.9 {
			t.Errorf("%s/%s: the envelopes' correlation is %.3f", c.language, c.name, got)
		}
	}
	t.Logf("least correlation %.3f", least)
}

// A phrase is heard at each rate that the mixer has, as long and about as loud, and then the player is idle.
func TestPlays(t *testing.T) {
	l, _ := running(t, "")
	for _, language := range l.Languages() {
		for _, rate := range []int{48000, 16000, 8000} {
			p := player(t, l, language)
			var f audio.Frame
			if !p.Idle() || p.ReadFrame(rate, &f) != audio.Silent {
				t.Fatal("a new player is not silent")
			}
			p.Say("you-are-number", "3")
			ready(t, p)
			want := l.built[language]["you-are-number"].millis + 40 + l.built[language]["3"].millis
			pcm := hear(p, rate, 1000)
			if got := millis(pcm, rate); got < want-120 || got > want {
				t.Errorf("%s at %d Hz: %d ms are heard, want about %d", language, rate, got, want)
			}
			if rms := audio.Measure(pcm).RMS(); rms < -28 || rms > -18 {
				t.Errorf("%s at %d Hz: %.1f dBFS", language, rate, rms)
			}
			if !p.Idle() {
				t.Error("not idle afterwards")
			}
		}
	}
}

func parts(l *Library, language, name string) string {
	p, from := l.compose(language, name)
	return from + ":" + strings.Join(p, " ")
}

func TestNumbers(t *testing.T) {
	l, _ := newLibrary(t, "")
	for _, c := range []struct{ language, name, want string }{
		{"en", "0", "en:0"}, {"en", "12", "en:12"}, {"en", "20", "en:20"}, {"en", "21", "en:20 1"}, {"en", "30", "en:30"},
		{"en", "39", "en:30 9"}, {"en", "47", "en:4 7"}, {"en", "1000", "en:1 0 0 0"},
		{"zh", "7", "zh:7"}, {"zh", "10", "zh:10"}, {"zh", "11", "zh:10 1"}, {"zh", "19", "zh:10 9"}, {"zh", "20", "zh:2 10"},
		{"zh", "25", "zh:2 10 5"}, {"zh", "101", "zh:1 0 1"},
		{"fr", "21", "en:20 1"}, {"en", "007", ":"}, {"en", "123456789", ":"}, {"en", "-1", ":"}, {"en", "nothing", ":"},
		{"en", "", ":"}, {"zh", "goodbye", "zh:goodbye"}, {"fr", "goodbye", "en:goodbye"},
	} {
		if got := parts(l, c.language, c.name); got != c.want {
			t.Errorf("%s in %s: %q, want %q", c.name, c.language, got, c.want)
		}
	}
}

// names tells what waits.
func names(p *Player) (all []string) {
	for _, s := range p.queue {
		all = append(all, s.Names[0])
	}
	return all
}

// Prompts do not pile up: of a kind the newest is left, the important ones come first, and only so many wait.
func TestQueue(t *testing.T) {
	l, _ := newLibrary(t, "")
	p := player(t, l, "en")
	for _, c := range []struct {
		say  Phrase
		want []string
	}{
		{Phrase{"floor", 5, []string{"1"}}, []string{"1"}},
		{Phrase{"floor", 5, []string{"2"}}, []string{"2"}},
		{Phrase{"record", 3, []string{"3"}}, []string{"2", "3"}},
		{Phrase{"end", 9, []string{"4"}}, []string{"4", "2", "3"}},
		{Phrase{"floor", 5, []string{"5"}}, []string{"4", "5", "3"}},
		{Phrase{"", 3, []string{"6"}}, []string{"4", "5", "3", "6"}},
		{Phrase{"", 0, []string{"7"}}, []string{"4", "5", "3", "6"}},
		{Phrase{"", 4, []string{"8"}}, []string{"4", "5", "8", "3"}},
		{Phrase{}, []string{"4", "5", "8", "3"}},
	} {
		p.Tell(c.say)
		if got := names(p); !slices.Equal(got, c.want) {
			t.Fatalf("after %v: %v, want %v", c.say, got, c.want)
		}
	}
	p.Stop()
	if len(p.queue) != 0 {
		t.Error("Stop leaves something")
	}
}

// A phrase interrupts the one of its kind within a frame, without a step, and no other; Stop interrupts any.
func TestInterrupts(t *testing.T) {
	l, _ := running(t, "")
	for _, c := range []struct {
		name string
		cut  func(p *Player)
		ends bool
	}{
		{"same kind", func(p *Player) { p.Tell(Phrase{Kind: "menu", Names: []string{"1"}}) }, true},
		{"another kind", func(p *Player) { p.Tell(Phrase{Kind: "floor", Rank: 9, Names: []string{"1"}}) }, false},
		{"stop", (*Player).Stop, true},
	} {
		p := player(t, l, "en")
		p.Tell(Phrase{Kind: "menu", Names: []string{"ask-password"}})
		ready(t, p)
		before := hear(p, 16000, 50)
		first := p.now
		c.cut(p)
		ready(t, p)
		after := hear(p, 16000, 1)
		if ended := p.now != first; ended != c.ends {
			t.Errorf("%s: ended %v, want %v", c.name, ended, c.ends)
		}
		if step := int(after[0]) - int(before[len(before)-1]); step > 12000 || step < -12000 {
			t.Errorf("%s: a step of %d", c.name, step)
		}
		if last := after[len(after)-1]; c.ends && last != 0 {
			t.Errorf("%s: it ends at %d", c.name, last)
		}
		hear(p, 16000, 1000)
		if !p.Idle() {
			t.Errorf("%s: not idle in the end", c.name)
		}
	}
}

// write makes a WAV file of ms milliseconds of a square wave.
func write(t *testing.T, path string, rate, ms int, high int16) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, 0, rate*ms/500)
	for i := range rate * ms / 1000 {
		s := high
		if i*400/rate%2 == 1 {
			s = -high
		}
		body = binary.LittleEndian.AppendUint16(body, uint16(s))
	}
	head := append([]byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"), binary.LittleEndian.AppendUint32(nil, uint32(rate))...)
	head = append(binary.LittleEndian.AppendUint32(head, uint32(2*rate)), 2, 0, 16, 0)
	head = binary.LittleEndian.AppendUint32(append(head, "data"...), uint32(len(body)))
	if err := os.WriteFile(path, append(head, body...), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A file in the folder is spoken instead of the built-in prompt, the new one when it has changed, and the built-in one when
// it is broken or gone.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	l, out := running(t, dir)
	say := func() int {
		p := player(t, l, "zh")
		p.Say("goodbye")
		ready(t, p)
		return millis(hear(p, 48000, 4000), 48000)
	}
	built := say()
	path := filepath.Join(dir, "zh", "goodbye.wav")
	for i, rate := range []int{8000, 16000, 48000} {
		ms := 1500 + 500*i
		write(t, path, rate, ms, 8000)
		if got := say(); got < ms-10 || got > ms+10 {
			t.Errorf("a file of %d ms at %d Hz is heard for %d ms", ms, rate, got)
		}
	}
	for what, content := range map[string]string{"broken": "RIFF", "empty": "", "a text": strings.Repeat("hello ", 100)} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := say(); got != built {
			t.Errorf("%s: %d ms are heard, want the built-in %d", what, got, built)
		}
	}
	if !strings.Contains(out.String(), path) {
		t.Error("the log does not name the broken file")
	}
	write(t, path, 8000, 31000, 8000)
	if got := say(); got != built {
		t.Errorf("a file that is too long is heard for %d ms", got)
	}
	os.Remove(path)
	if got := say(); got != built {
		t.Errorf("with the file gone: %d ms, want %d", got, built)
	}
	// A language that is not built in is made of files, and of the fallback for the rest.
	write(t, filepath.Join(dir, "fr", "goodbye.wav"), 16000, 1200, 8000)
	if got := parts(l, "fr", "goodbye"); got != "fr:goodbye" {
		t.Errorf("a new language: %s", got)
	}
}

// No name leads out of the folder.
func TestNamesAreNoPaths(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret.wav"), 8000, 500, 8000)
	l, out := running(t, filepath.Join(dir, "prompts"))
	p := player(t, l, "en")
	p.Say("../../secret", "..", "", "a/b", "goodbye\x00")
	ready(t, p)
	if pcm := hear(p, 16000, 100); millis(pcm, 16000) > 0 {
		t.Error("something is heard")
	}
	if !strings.Contains(out.String(), "secret") {
		t.Error("the log does not tell of the unknown name")
	}
	for _, language := range []string{"", "..", "a/b", "EN", strings.Repeat("x", 33)} {
		if _, err := l.NewPlayer(language); err == nil {
			t.Errorf("%q is taken for a language", language)
		}
	}
}

// The cache holds what it may and forgets what was used least lately.
func TestCache(t *testing.T) {
	c := cache{sounds: map[string]*cached{}, limit: 100}
	sound := make([]int16, 40)
	for _, key := range []string{"a", "b"} {
		c.put(key, stamp{}, sound)
	}
	c.get("a", stamp{})
	c.put("c", stamp{}, sound)
	if c.get("a", stamp{}) == nil || c.get("b", stamp{}) != nil || c.samples != 80 {
		t.Errorf("%d samples of %d sounds", c.samples, len(c.sounds))
	}
	if c.get("c", stamp{size: 1}) != nil {
		t.Error("an old version is taken for the new one")
	}
	c.put("c", stamp{size: 1}, make([]int16, 200))
	if len(c.sounds) != 1 || c.samples != 200 {
		t.Errorf("a large one: %d samples of %d sounds", c.samples, len(c.sounds))
	}
}

func TestWithoutCodec(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("made without Opus")
	}
}

// Ten listeners of one library, all of whose methods are called at once.
func TestConcurrent(t *testing.T) {
	l, _ := running(t, "")
	var all sync.WaitGroup
	for range 10 {
		p := player(t, l, "zh")
		said := make(chan struct{})
		all.Go(func() {
			defer close(said)
			for i := range 50 {
				p.Tell(Phrase{Kind: string(rune('a' + i%3)), Rank: i % 4, Names: []string{"you-are-number", "12"}})
				if i%20 == 19 {
					p.Stop()
				}
			}
		})
		all.Go(func() {
			var f audio.Frame
			for over := false; !over || !p.Idle(); {
				p.ReadFrame(48000, &f)
				select {
				case <-said:
					over = true
				default:
				}
			}
		})
	}
	all.Wait()
}

func TestAllocs(t *testing.T) {
	l, _ := running(t, "")
	for _, rate := range []int{8000, 16000, 48000} {
		p := player(t, l, "en")
		var f audio.Frame
		p.Say("ask-number")
		p.Tell(Phrase{Kind: "a", Names: []string{"ask-password"}})
		ready(t, p)
		heard := 0
		if n := testing.AllocsPerRun(600, func() {
			if p.ReadFrame(rate, &f) == audio.Active {
				heard++
			}
		}); n != 0 || heard < 200 || !p.Idle() {
			t.Errorf("%d Hz: %v allocations, %d frames heard", rate, n, heard)
		}
	}
}

func FuzzPack(f *testing.F) {
	f.Add(builtin[:len(magic)+32])
	f.Add(builtin[:600])
	f.Add([]byte(magic + strings.Repeat("x", 32) + "\x02en\x011\x00\x3c\x00\x01\x40\x02\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, _, err := readPack(b)
		if err != nil {
			return
		}
		l, _ := newLibrary(t, "")
		for _, names := range p {
			for _, e := range names {
				if pcm, err := l.decode(e); err == nil && len(pcm) != e.millis*16 {
					t.Fatalf("%d samples of %d ms", len(pcm), e.millis)
				}
			}
		}
	})
}

func BenchmarkReadFrame(b *testing.B) {
	l, _ := running(b, "")
	p := player(b, l, "en")
	var f audio.Frame
	for range b.N {
		if p.ReadFrame(48000, &f); p.Idle() {
			p.Say("ask-number")
			ready(b, p)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	l, _ := newLibrary(b, "")
	for range b.N {
		if _, err := l.decode(l.built["en"]["ask-number"]); err != nil {
			b.Fatal(err)
		}
	}
}

var _ io.Writer = (*log)(nil)
