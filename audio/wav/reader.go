// Package wav reads and writes WAV files of 16-bit PCM.
//
// It knows the file's form; it must not know who plays or records.
package wav

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

var (
	// ErrMalformed: the file is no WAV file, or its header contradicts itself.
	ErrMalformed = errors.New("wav: malformed")
	// ErrUnsupported: a WAV file, but not of 16-bit PCM, mono or stereo, at 8000, 16000 or 48000 Hz.
	ErrUnsupported = errors.New("wav: unsupported format")
	// ErrTooLong: there is more sound than the caller wants to keep.
	ErrTooLong = errors.New("wav: too long")
)

const (
	formatPCM        = 1
	formatExtensible = 0xFFFE
	maxHeader        = 1 << 20 // bytes of other chunks that are skipped before giving up
	unknownSize      = 0xFFFFFFFF
)

// Reader reads the sound of a WAV file as mono. It belongs to one goroutine.
type Reader struct {
	src      *bufio.Reader
	rate     int
	channels int
	left     int64 // bytes of sound still to come; < 0: up to the end of the file
	buf      [4096]byte
}

// NewReader reads r's header. A sound chunk whose size is 0 or unknown, as a writer leaves it that was killed, goes up to
// the end of the file.
func NewReader(r io.Reader) (*Reader, error) {
	w := &Reader{src: bufio.NewReader(r)}
	var head [12]byte
	if err := w.full(head[:]); err != nil {
		return nil, err
	}
	if string(head[:4]) != "RIFF" || string(head[8:]) != "WAVE" {
		return nil, fmt.Errorf("%w: no RIFF/WAVE header", ErrMalformed)
	}
	for skipped := int64(0); ; {
		var chunk [8]byte
		if err := w.full(chunk[:]); err != nil {
			return nil, err
		}
		size := int64(binary.LittleEndian.Uint32(chunk[4:]))
		switch string(chunk[:4]) {
		case "fmt ":
			if err := w.format(size); err != nil {
				return nil, err
			}
			continue
		case "data":
			if w.rate == 0 {
				return nil, fmt.Errorf("%w: sound before its format", ErrMalformed)
			}
			w.left = size
			if size == 0 || size == unknownSize {
				w.left = -1
			}
			return w, nil
		}
		size += size & 1
		if skipped += size + 8; skipped > maxHeader {
			return nil, fmt.Errorf("%w: no sound in the first %d bytes", ErrMalformed, maxHeader)
		}
		if _, err := io.CopyN(io.Discard, w.src, size); err != nil {
			return nil, fmt.Errorf("%w: the file ends in its header", ErrMalformed)
		}
	}
}

func (w *Reader) full(b []byte) error {
	if _, err := io.ReadFull(w.src, b); err != nil {
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: the file ends in its header", ErrMalformed)
		}
		return fmt.Errorf("wav: %w", err)
	}
	return nil
}

func (w *Reader) format(size int64) error {
	if size < 16 || size > 256 || w.rate != 0 {
		return fmt.Errorf("%w: format chunk", ErrMalformed)
	}
	b := w.buf[:size+size&1]
	if err := w.full(b); err != nil {
		return err
	}
	kind := binary.LittleEndian.Uint16(b)
	if kind == formatExtensible && size >= 26 {
		kind = binary.LittleEndian.Uint16(b[24:])
	}
	channels, rate := binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])
	block, bits := binary.LittleEndian.Uint16(b[12:]), binary.LittleEndian.Uint16(b[14:])
	if kind != formatPCM || bits != 16 {
		return fmt.Errorf("%w: format %d with %d bits; wanted is PCM (1) with 16", ErrUnsupported, kind, bits)
	}
	if channels < 1 || channels > 2 {
		return fmt.Errorf("%w: %d channels; wanted are 1 or 2", ErrUnsupported, channels)
	}
	if rate != 8000 && rate != 16000 && rate != 48000 {
		return fmt.Errorf("%w: %d Hz; wanted are 8000, 16000 or 48000", ErrUnsupported, rate)
	}
	if block != 2*channels {
		return fmt.Errorf("%w: blocks of %d bytes", ErrMalformed, block)
	}
	w.rate, w.channels = int(rate), int(channels)
	return nil
}

// Rate is the sampling rate: 8000, 16000 or 48000 Hz.
func (w *Reader) Rate() int { return w.rate }

// Read fills pcm with mono samples (two channels are averaged) and returns how many. At the end it returns io.EOF; a file
// that is cut off ends there.
func (w *Reader) Read(pcm []int16) (int, error) {
	done, block := 0, 2*w.channels
	for done < len(pcm) {
		want := min(len(w.buf)/block, len(pcm)-done) * block
		if w.left >= 0 {
			want = int(min(int64(want), w.left-w.left%int64(block)))
		}
		n, err := io.ReadFull(w.src, w.buf[:want])
		n -= n % block
		if w.left >= 0 {
			w.left -= int64(n)
		}
		for i := 0; i < n; i += block {
			s := int(int16(binary.LittleEndian.Uint16(w.buf[i:])))
			if w.channels == 2 {
				s = (s + int(int16(binary.LittleEndian.Uint16(w.buf[i+2:])))) / 2
			}
			pcm[done] = int16(s)
			done++
		}
		if n == 0 || err != nil {
			if err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
				return done, fmt.Errorf("wav: %w", err)
			}
			w.left = 0
			break
		}
	}
	if done == 0 && len(pcm) > 0 {
		return 0, io.EOF
	}
	return done, nil
}

// ReadAll reads a whole WAV file of at most limit samples.
func ReadAll(r io.Reader, limit int) (pcm []int16, rate int, err error) {
	w, err := NewReader(r)
	if err != nil {
		return nil, 0, err
	}
	buf := make([]int16, 4096)
	for {
		n, err := w.Read(buf)
		if len(pcm)+n > limit {
			return nil, 0, fmt.Errorf("%w: more than %d samples", ErrTooLong, limit)
		}
		pcm = append(pcm, buf[:n]...)
		if err == io.EOF {
			return pcm, w.rate, nil
		}
		if err != nil {
			return nil, 0, err
		}
	}
}

// ReadFile is ReadAll on the file at path, which its errors name.
func ReadFile(path string, limit int) (pcm []int16, rate int, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	if pcm, rate, err = ReadAll(file, limit); err != nil {
		return nil, 0, fmt.Errorf("%s: %w", path, err)
	}
	return pcm, rate, nil
}
