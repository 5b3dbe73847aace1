package record

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"parley/audio"
)

// Config is what a Tape needs.
type Config struct {
	// Folder is the library's; the recording becomes the folder ID in it (see NewID).
	Folder, ID string
	Meta       Meta
	// Codec is Opus; its encoders' bitrate is the recording's (24 kb/s do for speech).
	Codec audio.Codec
	// Segment is how long a file becomes, at least 1 s; 0 is 60 s.
	Segment time.Duration
	// Longest is how long the recording becomes; 0 is 12 h, which is what all browsers play.
	Longest time.Duration
	// Reserve is how many bytes are to stay free; Free tells how many are, as nil does for Folder's file system.
	Reserve uint64
	Free    func() (uint64, error)
	// Stall is how long the files may not grow before that is a fault; 0 is 3 s.
	Stall time.Duration
	// OnFault is told ErrStalled, and nil when the files grow again; and ErrLost, once per stretch. It is called on goroutines of
	// Run's and must not block. What ends the tape is what Run returns.
	OnFault func(error)
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	// Create makes a file that does not exist yet; nil is on the disk.
	Create func(path string) (File, error)
}

// Status is how a Tape does.
type Status struct {
	Bytes   int64         // written and safe, of all files
	Written time.Duration // sound written and safe
	Heard   time.Duration // sound taken, with what was lost
	Lost    time.Duration // sound lost, as silence in the recording
	Grown   time.Time     // when the files last grew; zero: not yet
	Stalled bool
	Paused  bool
	Head    string // hash of the whole index once Run has ended, hex
}

// Tape is one recording that is being made. WriteFrame and ReadFrame's copies belong to the mixer's goroutine, Run to its own;
// everything else may be called from anywhere.
type Tape struct {
	c      Config
	path   string // of the recording's folder
	ring   ring
	paused atomic.Bool
	closed atomic.Bool   // nothing is taken any more
	heard  atomic.Uint64 // frames
	bytes  atomic.Int64
	safe   atomic.Int64 // samples
	grown  atomic.Int64 // Unix time, ns
	stall  atomic.Bool
	head   atomic.Pointer[string]

	mu    sync.Mutex // guards lines
	lines []Line     // to be written
	ended bool       // nothing more can be

	w writer
}

// maxWaiting is how many lines may wait for the disk.
const maxWaiting = 4096

// New makes a tape at rest: its folder with the index's first line is there, so that who asks for a recording knows whether he gets
// one. ErrDiskFull, ErrExists, ErrID, ErrConfig or what the disk says. What it hears
// before Run waits in the ring. A tape that is not to run after all is ended by a Run with a ctx that is over.
func New(c Config) (*Tape, error) {
	if !validID(c.ID) {
		return nil, ErrID
	}
	c.defaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	encoder, err := c.Codec.NewEncoder(c.format())
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	if free, err := c.Free(); err != nil {
		return nil, fmt.Errorf("record: free space: %w", err)
	} else if free < c.Reserve {
		return nil, ErrDiskFull
	}
	t := &Tape{c: c, path: filepath.Join(c.Folder, c.ID)}
	if err := os.Mkdir(t.path, 0o700); errors.Is(err, os.ErrExist) {
		return nil, ErrExists
	} else if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	if err := t.begin(encoder); err != nil {
		return nil, errors.Join(err, os.RemoveAll(t.path))
	}
	return t, nil
}

func (c *Config) defaults() {
	if c.Segment == 0 {
		c.Segment = time.Minute
	}
	if c.Longest == 0 {
		c.Longest = 12 * time.Hour
	}
	if c.Stall == 0 {
		c.Stall = 3 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Create == nil {
		c.Create = create
	}
	if c.OnFault == nil {
		c.OnFault = func(error) {}
	}
	if c.Free == nil {
		folder := c.Folder
		c.Free = func() (uint64, error) { return free(folder) }
	}
	m := &c.Meta
	for _, s := range []*string{&m.UID, &m.Number, &m.Theme, &m.By, &m.Speaker, &m.Of} {
		*s = clip(*s)
	}
}

func (c *Config) check() error {
	switch {
	case c.Codec == nil || c.Codec.Format().Codec != "opus":
		return fmt.Errorf("%w: the codec is not Opus", ErrConfig)
	case c.Segment < time.Second || c.Segment > time.Hour:
		return fmt.Errorf("%w: segments of %v", ErrConfig, c.Segment)
	case c.Longest < time.Second:
		return fmt.Errorf("%w: at most %v long", ErrConfig, c.Longest)
	case c.Stall < 0:
		return fmt.Errorf("%w: stalled after %v", ErrConfig, c.Stall)
	}
	return nil
}

func (c *Config) format() audio.Format {
	f := c.Codec.Format()
	f.Ptime = packetSamples * 1000 / audio.SampleRate
	return f
}

// free is what users other than root may still write to the file system of folder, bytes.
func free(folder string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}

// begin makes the index with its first line.
func (t *Tape) begin(encoder audio.Encoder) error {
	f, err := t.c.Create(filepath.Join(t.path, indexName))
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(t.c.ID))
	t.w = writer{t: t, encoder: encoder, serial: h.Sum32(), index: index{file: f, sum: sha256.New()}}
	t.w.perSegment = int64(t.c.Segment/time.Millisecond) / 20
	err = t.w.index.add(Line{Kind: KindStart, At: t.c.Now(), V: 1, ID: t.c.ID, Meta: &t.c.Meta})
	if err == nil {
		err = t.w.index.sync()
	}
	if err == nil {
		err = syncFolder(t.c.Folder)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	return nil
}

// WriteFrame takes 10 ms at 48 kHz. It neither blocks nor allocates; f is copied.
func (t *Tape) WriteFrame(f *audio.Frame) { t.take(audio.SampleRate, f) }

func (t *Tape) take(rate int, f *audio.Frame) {
	if t.closed.Load() {
		return
	}
	if t.paused.Load() {
		f = nil
	}
	t.ring.put(rate, f)
	t.heard.Add(1)
}

// Pause makes silence take the place of what is heard, so that time stays true, or ends that. From its return on no sound gets onto
// the tape, but for a frame that is being taken in the same moment.
func (t *Tape) Pause(on bool, by string, at time.Time) error {
	if t.paused.Swap(on) == on {
		return nil
	}
	kind := KindResume
	if on {
		kind = KindPause
	}
	return t.say(Line{Kind: kind, At: at, By: clip(by)})
}

// Speaking writes down that a member begins to speak or has ended.
func (t *Tape) Speaking(member, name string, on bool, at time.Time) error {
	return t.say(Line{Kind: KindSpeak, At: at, Member: clip(member), Name: clip(name), On: on})
}

// Note writes a participant's keyword down, at its place in time. ErrText: it is none.
func (t *Tape) Note(text, by string, at time.Time) error {
	if text == "" || len(text) > MaxNote || !utf8.ValidString(text) {
		return ErrText
	}
	return t.say(Line{Kind: KindNote, At: at, Text: text, By: clip(by)})
}

// LeaveOut writes down that a room is not recorded from here on, or is again. What is heard is the mixer's affair.
func (t *Tape) LeaveOut(room string, on bool, at time.Time) error {
	return t.say(Line{Kind: KindRoom, At: at, Room: clip(room), On: on})
}

// say queues l for the index, at the position that the tape has reached.
func (t *Tape) say(l Line) error {
	l.Position = int64(t.heard.Load()) * 10
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended || len(t.lines) >= maxWaiting {
		return ErrFull
	}
	t.lines = append(t.lines, l)
	return nil
}

// Status tells how the tape does.
func (t *Tape) Status() Status {
	s := Status{
		Bytes:   t.bytes.Load(),
		Written: samples(t.safe.Load()),
		Heard:   time.Duration(t.heard.Load()) * audio.FrameDuration,
		Lost:    time.Duration(t.ring.lost.Load()) * audio.FrameDuration,
		Stalled: t.stall.Load(),
		Paused:  t.paused.Load(),
	}
	if ns := t.grown.Load(); ns != 0 {
		s.Grown = time.Unix(0, ns)
	}
	if h := t.head.Load(); h != nil {
		s.Head = *h
	}
	return s
}

// ID is the recording's name in its library.
func (t *Tape) ID() string { return t.c.ID }

// samples is the time that n samples at 48 kHz take.
func samples(n int64) time.Duration {
	const rate = audio.SampleRate // n seconds in ns would be too much for two days
	return time.Duration(n/rate)*time.Second + time.Duration(n%rate)*time.Second/rate
}

// clip makes s short and valid enough for a line.
func clip(s string) string {
	if len(s) > maxName {
		s = s[:maxName]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
