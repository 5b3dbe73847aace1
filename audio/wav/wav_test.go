package wav

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func ramp(n int) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(i * 31)
	}
	return pcm
}

func TestRoundTrip(t *testing.T) {
	for _, rate := range []int{8000, 16000, 48000} {
		path := filepath.Join(t.TempDir(), "a.wav")
		w, err := Create(path, rate)
		if err != nil {
			t.Fatal(err)
		}
		want := ramp(3*rate + 17)
		for left := want; len(left) > 0; {
			n := min(len(left), 480)
			if err := w.Write(left[:n]); err != nil {
				t.Fatal(err)
			}
			left = left[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := w.Write(want); !errors.Is(err, os.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, r, err := ReadAll(bytes.NewReader(b), len(want))
		if err != nil || r != rate || !slices.Equal(got, want) {
			t.Errorf("%d Hz: %d samples at %d, %v", rate, len(got), r, err)
		}
		if _, _, err := ReadAll(bytes.NewReader(b), len(want)-1); !errors.Is(err, ErrTooLong) {
			t.Errorf("one sample more than allowed: %v", err)
		}
	}
}

// Who is killed leaves a file whose header is true and which is at most a second short.
func TestWholeAfterCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.wav")
	w, err := Create(path, 8000)
	if err != nil {
		t.Fatal(err)
	}
	written := 0
	for range 500 {
		if err := w.Write(ramp(80)); err != nil {
			t.Fatal(err)
		}
		written += 80
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data := int(binary.LittleEndian.Uint32(b[40:]))
		if riff := int(binary.LittleEndian.Uint32(b[4:])); riff != len(b)-8 || data != len(b)-header {
			t.Fatalf("header tells of %d and %d bytes, the file has %d", riff, data, len(b))
		}
		if missing := written - data/2; missing < 0 || missing >= 8000+80 {
			t.Fatalf("%d samples are missing", missing)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if s, err := os.Stat(path); err != nil || s.Size() != int64(header+2*written) {
		t.Error(s.Size(), err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// fullDisk is a file with room for so many bytes.
type fullDisk struct {
	bytes.Buffer
	room int
}

func (f *fullDisk) Write(b []byte) (int, error) {
	n, _ := f.Buffer.Write(b[:min(len(b), f.room)])
	f.room -= n
	if n < len(b) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

func (f *fullDisk) WriteAt(b []byte, at int64) (int, error) {
	return copy(f.Bytes()[at:], b), nil
}

func (f *fullDisk) Close() error { return nil }

// A disk that fills up keeps what is on it, and every later call says what happened.
func TestFullDisk(t *testing.T) {
	disk := &fullDisk{room: header + 20001}
	w, err := NewWriter(disk, 8000)
	if err != nil {
		t.Fatal(err)
	}
	err = w.Write(ramp(20000))
	if !errors.Is(err, io.ErrShortWrite) || !errors.Is(w.Write(ramp(1)), io.ErrShortWrite) || !errors.Is(w.Close(), io.ErrShortWrite) {
		t.Error(err)
	}
	got, _, err := ReadAll(bytes.NewReader(disk.Bytes()), 1<<20)
	if err != nil || !slices.Equal(got, ramp(10000)) {
		t.Errorf("%d samples, %v", len(got), err)
	}
}

// file makes a WAV file of parts, for what a Writer does not make.
func file(format, channels, rate, bits int, before string, data []byte, size uint32) []byte {
	le := binary.LittleEndian
	b := []byte("RIFF\x00\x00\x00\x00WAVE" + before + "fmt \x10\x00\x00\x00")
	b = le.AppendUint16(b, uint16(format))
	b = le.AppendUint16(b, uint16(channels))
	b = le.AppendUint32(b, uint32(rate))
	b = le.AppendUint32(b, uint32(rate*channels*bits/8))
	b = le.AppendUint16(b, uint16(channels*bits/8))
	b = le.AppendUint16(b, uint16(bits))
	b = append(b, "data"...)
	b = le.AppendUint32(b, size)
	return append(b, data...)
}

func TestReader(t *testing.T) {
	pair := []byte{100, 0, 200, 0, 0, 0x80, 0, 0x80}
	for _, c := range []struct {
		name string
		file []byte
		want []int16
		err  error
	}{
		{"mono", file(1, 1, 8000, 16, "", pair, 8), []int16{100, 200, -32768, -32768}, nil},
		{"stereo", file(1, 2, 48000, 16, "", pair, 8), []int16{150, -32768}, nil},
		{"other chunks before, one of odd length", file(1, 1, 16000, 16, "LIST\x03\x00\x00\x00abc\x00", pair, 8), []int16{100, 200, -32768, -32768}, nil},
		{"more after the sound", file(1, 1, 8000, 16, "", pair, 4), []int16{100, 200}, nil},
		{"size unknown", file(1, 1, 8000, 16, "", pair, 0xFFFFFFFF), []int16{100, 200, -32768, -32768}, nil},
		{"size 0", file(1, 1, 8000, 16, "", pair, 0), []int16{100, 200, -32768, -32768}, nil},
		{"cut off", file(1, 1, 8000, 16, "", pair[:5], 8), []int16{100, 200}, nil},
		{"half a stereo sample", file(1, 2, 8000, 16, "", pair[:6], 8), []int16{150}, nil},
		{"odd size", file(1, 1, 8000, 16, "", pair, 3), []int16{100}, nil},
		{"44.1 kHz", file(1, 1, 44100, 16, "", pair, 8), nil, ErrUnsupported},
		{"8 bits", file(1, 1, 8000, 8, "", pair, 8), nil, ErrUnsupported},
		{"µ-law", file(7, 1, 8000, 8, "", pair, 8), nil, ErrUnsupported},
		{"six channels", file(1, 6, 48000, 16, "", pair, 8), nil, ErrUnsupported},
		{"no channels", file(1, 0, 48000, 16, "", pair, 8), nil, ErrUnsupported},
		{"not WAV", []byte("ID3 and so on and so on"), nil, ErrMalformed},
		{"empty", nil, nil, ErrMalformed},
		{"no sound", file(1, 1, 8000, 16, "", nil, 0)[:36], nil, ErrMalformed},
		{"sound before its format", append([]byte("RIFF\x00\x00\x00\x00WAVEdata\x04\x00\x00\x00"), pair...), nil, ErrMalformed},
		{"a chunk as long as can be", []byte("RIFF\x00\x00\x00\x00WAVEjunk\xff\xff\xff\xff"), nil, ErrMalformed},
		{"a short format", []byte("RIFF\x00\x00\x00\x00WAVEfmt \x02\x00\x00\x00\x01\x00"), nil, ErrMalformed},
	} {
		got, _, err := ReadAll(bytes.NewReader(c.file), 1000)
		if !errors.Is(err, c.err) || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(file(1, 2, 48000, 16, "LIST\x03\x00\x00\x00abc\x00", ramp8(100), 100))
	f.Add(file(0xFFFE, 1, 8000, 16, "", ramp8(10), 0xFFFFFFFF))
	f.Fuzz(func(t *testing.T, b []byte) {
		pcm, rate, err := ReadAll(bytes.NewReader(b), 10000)
		if err != nil {
			return
		}
		if rate != 8000 && rate != 16000 && rate != 48000 || 2*len(pcm) > len(b) {
			t.Fatal(rate, len(pcm), len(b))
		}
	})
}

func ramp8(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}
