package wav

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// header is the length of what Writer puts before the sound, bytes.
const header = 44

// maxData is the most sound that the header's 32-bit sizes can tell of, bytes.
const maxData = unknownSize - header - 1

// File is what a Writer writes to; *os.File is one.
type File interface {
	io.Writer
	io.WriterAt
	io.Closer
}

// Writer writes mono 16-bit PCM. Once a second of sound the header is brought up to date, after the sound that it tells of:
// who is killed leaves a whole file that is at most a second short. It belongs to one goroutine.
type Writer struct {
	dst   File
	rate  int
	buf   []byte // not written yet
	data  int64  // bytes of sound written
	known int64  // bytes of sound that the header tells of
	err   error
}

// Create makes or truncates the file at path.
func Create(path string, rate int) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("wav: %w", err)
	}
	w, err := NewWriter(f, rate)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return w, nil
}

// NewWriter writes a header for PCM of rate Hz to f, which is empty and is from now on the Writer's.
func NewWriter(f File, rate int) (*Writer, error) {
	w := &Writer{dst: f, rate: rate, buf: make([]byte, 0, 2*rate)}
	h := w.header(0)
	if _, err := f.Write(h[:]); err != nil {
		return nil, fmt.Errorf("wav: %w", err)
	}
	return w, nil
}

func (w *Writer) header(data int64) [header]byte {
	var h [header]byte
	le := binary.LittleEndian
	copy(h[0:], "RIFF")
	le.PutUint32(h[4:], uint32(header-8+data))
	copy(h[8:], "WAVEfmt ")
	le.PutUint32(h[16:], 16)
	le.PutUint16(h[20:], formatPCM)
	le.PutUint16(h[22:], 1)
	le.PutUint32(h[24:], uint32(w.rate))
	le.PutUint32(h[28:], uint32(2*w.rate))
	le.PutUint16(h[32:], 2)
	le.PutUint16(h[34:], 16)
	copy(h[36:], "data")
	le.PutUint32(h[40:], uint32(data))
	return h
}

// Write appends pcm. What is written stays in memory for up to a second of sound. After an error nothing is written any
// more and every call gives that error; what was written before is whole.
func (w *Writer) Write(pcm []int16) error {
	for _, s := range pcm {
		w.buf = binary.LittleEndian.AppendUint16(w.buf, uint16(s))
		if len(w.buf) == cap(w.buf) {
			w.flush()
		}
	}
	return w.err
}

// Flush writes what is in memory and brings the header up to date.
func (w *Writer) Flush() error {
	w.flush()
	return w.err
}

func (w *Writer) flush() {
	b := w.buf
	w.buf = w.buf[:0]
	if w.err != nil {
		return
	}
	if w.data+int64(len(b)) > maxData {
		w.err = ErrTooLong
		return
	}
	n, err := w.dst.Write(b)
	w.data += int64(n - n%2)
	if err != nil {
		w.err = fmt.Errorf("wav: %w", err)
	}
	w.refresh()
}

// refresh tells in the header of all the sound that is written, also after a failed write: that a disk is full should not
// cost what is on it.
func (w *Writer) refresh() {
	if w.known == w.data {
		return
	}
	h := w.header(w.data)
	if _, err := w.dst.WriteAt(h[:], 0); err != nil {
		w.err = errors.Join(w.err, fmt.Errorf("wav: %w", err))
		return
	}
	w.known = w.data
}

// Close writes what is in memory and closes the file.
func (w *Writer) Close() error {
	w.flush()
	err := w.err
	w.err = os.ErrClosed
	if cerr := w.dst.Close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("wav: %w", cerr))
	}
	return err
}
