package audio

import (
	"math"
	"testing"
)

func sine(n int, rate, hz, amplitude float64) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(math.Round(amplitude * math.Sin(2*math.Pi*hz*float64(i)/rate)))
	}
	return pcm
}

func constant(n int, v int16) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = v
	}
	return pcm
}

func TestLevel(t *testing.T) {
	for _, c := range []struct {
		name      string
		pcm       []int16
		rms, peak float64
	}{
		{"nothing", nil, SilenceDB, SilenceDB},
		{"silence", constant(480, 0), SilenceDB, SilenceDB},
		{"one step", constant(480, 1), -90.31, -90.31},
		{"negative full scale", constant(480, math.MinInt16), 0, 0},
		{"positive full scale", constant(480, math.MaxInt16), 0, 0},
		{"full-scale sine", sine(480, 48000, 1000, 32767), -3.01, 0},
		{"-20 dB sine, 8 kHz", sine(80, 8000, 500, 3276.7), -23.01, -20},
		{"a length that is no multiple of four", sine(483, 48300, 1000, 16384), -9.03, -6.02},
		{"one loud sample", append(constant(479, 0), math.MinInt16), 10 * math.Log10(1.0/480), 0},
		{"one loud sample in front", append([]int16{math.MaxInt16}, constant(2, 0)...), 10 * math.Log10(1.0/3), 0},
	} {
		l := Measure(c.pcm)
		if math.Abs(l.RMS()-c.rms) > 0.02 || math.Abs(l.PeakDB()-c.peak) > 0.02 {
			t.Errorf("%s: RMS %.2f, peak %.2f dBFS, want %.2f and %.2f", c.name, l.RMS(), l.PeakDB(), c.rms, c.peak)
		}
	}
}

func TestMeasureSomeIsNearMeasure(t *testing.T) {
	for hz := 100.0; hz < 23900; hz += 100 {
		for _, phase := range []float64{0, 0.25, 0.5, 0.75, 1} {
			pcm := make([]int16, FrameSamples)
			for i := range pcm {
				pcm[i] = int16(math.Round(1000 * math.Sin(2*math.Pi*hz*float64(i)/SampleRate+phase*math.Pi/2)))
			}
			got, want := MeasureSome(pcm), Measure(pcm)
			if math.Abs(got.RMS()-want.RMS()) > 6 || math.Abs(got.PeakDB()-want.PeakDB()) > 3.5 {
				t.Errorf("%g Hz, phase %g: %.2f %.2f, want %.2f %.2f", hz, phase, got.RMS(), got.PeakDB(), want.RMS(), want.PeakDB())
			}
		}
	}
	if MeasureSome(nil) != (Level{}) || MeasureSome([]int16{0, 5}).Peak != 5 {
		t.Error("short sound is measured wrongly")
	}
}

func TestMeterFollows(t *testing.T) {
	var m Meter
	if m.Level().RMS() != SilenceDB {
		t.Fatal("the zero meter is not silent")
	}
	tone := Measure(sine(480, 48000, 1000, 10000))
	for range 50 {
		m.Add(tone)
	}
	if d := m.Level().RMS() - tone.RMS(); math.Abs(d) > 0.1 {
		t.Errorf("after 500 ms of a tone the RMS is off by %.2f dB", d)
	}
	if m.Level().Peak != tone.Peak {
		t.Errorf("peak %d, want %d", m.Level().Peak, tone.Peak)
	}
	for range 50 {
		m.Add(Level{})
	}
	if d := tone.PeakDB() - m.Level().PeakDB(); math.Abs(d-10) > 0.3 {
		t.Errorf("500 ms later the peak fell by %.2f dB, want 10", d)
	}
	for range 1000 {
		m.Add(Level{})
	}
	if l := m.Level(); l.RMS() != SilenceDB || l.Peak > 1 {
		t.Errorf("silence for 10 s, but the meter shows %.1f dBFS, peak %d", l.RMS(), l.Peak)
	}
}

func TestDecibelsThereAndBack(t *testing.T) {
	for _, db := range []float64{0, -3, -48, -100} {
		if got := PowerDB(DBPower(db)); math.Abs(got-db) > 1e-9 {
			t.Errorf("%g became %g", db, got)
		}
	}
}

func BenchmarkMeasure(b *testing.B) {
	pcm := sine(480, 48000, 1000, 10000)
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			Measure(pcm)
		}
	})
	b.Run("some", func(b *testing.B) {
		for b.Loop() {
			MeasureSome(pcm)
		}
	})
}
