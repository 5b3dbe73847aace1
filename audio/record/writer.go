package record

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"parley/audio"
)

const (
	cycle     = 100 * time.Millisecond // from one look into the ring to the next
	freeEvery = 10                     // cycles
)

// silencePacket stands where the encoder says that nothing is worth sending: 20 ms of CELT silence.
var silencePacket = [3]byte{0xf8, 0xff, 0xfe}

// writer is the slow half of a Tape; it belongs to Run.
type writer struct {
	t          *Tape
	encoder    audio.Encoder
	serial     uint32
	perSegment int64 // packets

	index    index
	segment  *segment // nil before the first packet of one
	segments int      // begun
	closed   int64    // bytes of those that are closed
	dirty    bool     // something was written to the segment since the last sync

	rate     int
	up       *audio.Resampler // from rate
	pcm      [packetSamples]int16
	fill     int   // samples in pcm
	taken    int64 // samples, ever
	packets  int64 // encoded, ever
	paged    int64 // of them in pages
	packet   [audio.MaxPacket]byte
	body     []byte // the page that is being gathered
	lengths  []int
	lately   [preroll][]byte // the last packets, by number
	pageData []byte
	last     bool  // the next packet is the recording's last one
	trim     int64 // samples of it that are no sound
}

// Run writes until ctx ends, and then what is still in the ring and the index's end: nil. ErrDiskFull: less than Config.Reserve was
// left; ErrLong: it has become as long as it may; in both cases the recording is whole up to there. With any other error the disk
// has failed; the recording is what Recover makes of it, which Run has tried (a disk without any room may make that fail: then
// Recover is due when there is some). It blocks as long as the disk does.
func (t *Tape) Run(ctx context.Context) error {
	stop, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		t.watch(stop)
	}()
	err := t.w.run(ctx)
	close(stop)
	<-watched
	return err
}

func (w *writer) run(ctx context.Context) error {
	tick := time.NewTicker(cycle)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return w.finish("")
		case <-tick.C:
		}
		if err := w.step(); err != nil {
			return w.abandon(err)
		}
		if samples(w.taken) >= w.t.c.Longest || w.index.bytes > maxIndex/2 {
			return errors.Join(ErrLong, w.finish("long"))
		}
		if n%freeEvery != 0 {
			continue
		}
		if free, err := w.t.c.Free(); err == nil && free < w.t.c.Reserve {
			return errors.Join(ErrDiskFull, w.finish("disk full"))
		}
	}
}

// step writes what is in the ring and what was said, and makes it safe.
func (w *writer) step() error {
	for s := w.t.ring.next(); s != nil; s = w.t.ring.next() {
		err := w.lose(s.gap)
		if err == nil {
			err = w.frame(s)
		}
		w.t.ring.done()
		if err != nil {
			return err
		}
	}
	if err := w.say(); err != nil {
		return err
	}
	return w.sync()
}

// frame takes what is in a slot, at 48 kHz or brought there.
func (w *writer) frame(s *slot) error {
	out := w.pcm[w.fill : w.fill+audio.FrameSamples]
	switch rate := int(s.rate) * 100; {
	case s.silent && (w.up == nil || w.up.Quiet()):
		clear(out)
	case s.silent:
		w.up.Convert16(nil, out)
	case rate == audio.SampleRate:
		w.rate, w.up = rate, nil
		copy(out, s.frame[:])
	default:
		if rate != w.rate || w.up == nil {
			up, err := audio.NewResampler(rate, audio.SampleRate)
			if err != nil {
				return fmt.Errorf("record: %w", err)
			}
			w.rate, w.up = rate, up
		}
		w.up.Convert16(s.frame[:s.rate], out)
	}
	w.taken += audio.FrameSamples
	return w.advance()
}

// advance encodes when a packet's sound is together.
func (w *writer) advance() error {
	if w.fill += audio.FrameSamples; w.fill < packetSamples {
		return nil
	}
	w.fill = 0
	n, err := w.encoder.Encode(w.pcm[:], w.packet[:])
	p := w.packet[:n]
	if err != nil || n == 0 {
		p = silencePacket[:]
	}
	return w.add(p)
}

// lose puts silence where n frames were lost.
func (w *writer) lose(n uint32) error {
	if n == 0 {
		return nil
	}
	l := Line{Kind: KindLost, At: w.t.c.Now(), Position: w.ms(), Length: int64(n) * audio.FrameSamples}
	if err := w.index.add(l); err != nil {
		return err
	}
	silent := slot{silent: true}
	for range n {
		if err := w.frame(&silent); err != nil {
			return err
		}
	}
	return nil
}

// ms is how far the tape has come.
func (w *writer) ms() int64 { return w.taken / (audio.SampleRate / 1000) }

// add puts a packet into the page, and the page into the segment when it is full.
func (w *writer) add(p []byte) error {
	if w.segment == nil {
		if err := w.open(); err != nil {
			return err
		}
	}
	w.body = append(w.body, p...)
	w.lengths = append(w.lengths, len(p))
	k := w.packets % preroll
	w.lately[k] = append(w.lately[k][:0], p...)
	w.packets++
	last := w.last || w.packets == w.segment.first+w.perSegment
	if last || len(w.lengths) == pagePackets {
		return w.flush(last)
	}
	return nil
}

// open begins a segment: its headers, and what a decoder needs to have heard before.
func (w *writer) open() error {
	s := &segment{name: segmentName(w.segments), sum: sha256.New(), serial: w.serial, first: w.packets, skip: skipOf(w.segments)}
	if w.segments > 0 {
		s.before = preroll
	}
	file, err := w.t.c.Create(filepath.Join(w.t.path, s.name))
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	s.file, w.segment = file, s
	w.segments++
	w.dirty = true
	head, tags := opusHead(s.skip), w.tags()
	if err := w.page(flagFirst, 0, []int{len(head)}, head); err != nil {
		return err
	}
	if err := w.page(0, 0, []int{len(tags)}, tags); err != nil {
		return err
	}
	s.head = s.bytes
	if s.before == 0 {
		return nil
	}
	var body []byte
	var lengths []int
	for n := w.packets - preroll; n < w.packets; n++ {
		p := w.lately[n%preroll]
		body, lengths = append(body, p...), append(lengths, len(p))
	}
	err = w.page(0, preroll*packetSamples, lengths, body)
	s.head = s.bytes
	return err
}

func (w *writer) tags() []byte {
	m := &w.t.c.Meta
	tags := []string{"TITLE=" + m.Theme, "PARLEY_ID=" + w.t.c.ID, fmt.Sprintf("TRACKNUMBER=%d", w.segments)}
	if m.Speaker != "" {
		tags = append(tags, "ARTIST="+m.Speaker)
	}
	return opusTags(tags...)
}

func (w *writer) page(flags byte, granule int64, lengths []int, body []byte) (err error) {
	w.pageData, err = w.segment.page(w.pageData, flags, granule, lengths, body)
	w.dirty = true
	return err
}

// flush writes the page that was gathered; with last it closes the segment.
func (w *writer) flush(last bool) error {
	flags := byte(0)
	if last {
		flags = flagLast
	}
	granule := (w.packets-w.segment.first+int64(w.segment.before))*packetSamples - w.trim
	if err := w.page(flags, granule, w.lengths, w.body); err != nil {
		return err
	}
	w.body, w.lengths, w.paged = w.body[:0], w.lengths[:0], w.packets
	if !last {
		return nil
	}
	return w.close(granule)
}

// close ends the segment and writes its line.
func (w *writer) close(granule int64) error {
	s := w.segment
	w.segment = nil
	err := s.file.Sync()
	if e := s.file.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("record: %s: %w", s.name, err)
	}
	w.closed += s.bytes
	return w.index.add(Line{
		Kind: KindSegment, At: w.t.c.Now(), Position: s.start() * 1000 / audio.SampleRate,
		File: s.name, Start: s.start(), Length: granule - int64(s.skip), Bytes: s.bytes, Head: s.head, Pages: int(s.pages),
		SHA256: hexSum(s.sum), Prev: w.index.chain(),
	})
}

// say writes the lines that wait.
func (w *writer) say() error {
	t := w.t
	t.mu.Lock()
	lines := t.lines
	t.lines = nil
	t.mu.Unlock()
	for _, l := range lines {
		if err := w.index.add(l); err != nil {
			return err
		}
	}
	return nil
}

// sync makes safe what was written since the last time.
func (w *writer) sync() error {
	if !w.dirty && !w.index.dirty {
		return nil
	}
	sum := w.closed
	if s := w.segment; s != nil {
		if w.dirty {
			if err := s.file.Sync(); err != nil {
				return fmt.Errorf("record: %s: %w", s.name, err)
			}
		}
		sum += s.bytes
	}
	if err := w.index.sync(); err != nil {
		return err
	}
	t := w.t
	if w.dirty {
		t.grown.Store(t.c.Now().UnixNano())
	}
	w.dirty = false
	t.bytes.Store(sum + w.index.bytes)
	t.safe.Store(max(0, min(w.paged*packetSamples-lookahead, w.taken)))
	return nil
}

// finish writes everything that was taken, to the sample, and the end.
func (w *writer) finish(reason string) error {
	w.t.closed.Store(true)
	err := w.step()
	if err == nil {
		err = w.lose(w.t.ring.gap.Swap(0))
	}
	if err == nil {
		err = w.tail()
	}
	w.t.mu.Lock()
	w.t.ended = true
	w.t.mu.Unlock()
	if err == nil {
		err = w.say()
	}
	if err == nil {
		end := Line{Kind: KindEnd, At: w.t.c.Now(), Position: w.ms(), Length: w.taken, Prev: w.index.chain(), Reason: reason}
		err = w.index.add(end)
	}
	if err == nil {
		err = w.sync()
	}
	if err != nil {
		return w.abandon(err)
	}
	head := w.index.chain()
	w.t.head.Store(&head)
	if err := w.index.file.Close(); err != nil {
		return fmt.Errorf("record: index: %w", err)
	}
	return nil
}

// tail encodes until all sound has come out of the encoder, which holds some back, and trims the last packet.
func (w *writer) tail() error {
	if w.taken == 0 {
		return nil
	}
	end := w.taken + lookahead
	for {
		clear(w.pcm[w.fill:])
		w.fill = packetSamples - audio.FrameSamples
		// With this packet all sound is out: the rest of it is none.
		if trim := (w.packets+1)*packetSamples - end; trim >= 0 {
			w.last, w.trim = true, trim
			return w.advance()
		}
		if err := w.advance(); err != nil {
			return err
		}
	}
}

// abandon gives up after err.
func (w *writer) abandon(err error) error {
	t := w.t
	t.closed.Store(true)
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	if s := w.segment; s != nil {
		_ = s.file.Close()
	}
	_ = w.index.file.Close()
	return errors.Join(err, Recover(t.path, t.c.Now()))
}
