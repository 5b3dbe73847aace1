package g722

import (
	"math"
	"math/rand/v2"
	"testing"

	lib "github.com/gotranspile/g722"
)

// Byte for byte and sample for sample as another implementation, wherever that one does not overflow.
func TestAgainstAnother(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	signals := map[string]func(i int) float64{
		"silence": func(int) float64 { return 0 },
		"noise":   func(int) float64 { return random.Float64()*12000 - 6000 },
		"faint":   func(int) float64 { return random.Float64()*8 - 4 },
		"chirp":   func(i int) float64 { return 9000 * math.Sin(float64(i)*float64(i)*1e-5) },
		"bursts":  func(i int) float64 { return 9000 * math.Sin(float64(i)*0.2) * float64(i/800%2) },
		"steps":   func(i int) float64 { return float64(i/37%2)*12000 - 6000 },
	}
	for name, signal := range signals {
		enc, dec := pair(t)
		libEnc, libDec := lib.NewEncoder(lib.Rate64000, 0), lib.NewDecoder(lib.Rate64000, 0)
		pcm, got, want := make([]int16, 320), make([]byte, 160), make([]byte, 160)
		out, libOut := make([]int16, 320), make([]int16, 320)
		for n := range 200 {
			for i := range pcm {
				pcm[i] = int16(signal(n*320 + i))
			}
			_, _ = enc.Encode(pcm, got)
			libEnc.Encode(want, pcm)
			_, _ = dec.Decode(want, out)
			libDec.Decode(libOut, want)
			for i := range want {
				if got[i] != want[i] {
					t.Fatalf("%s: packet %d: byte %d is %#x, the other's %#x", name, n, i, got[i], want[i])
				}
			}
			for i := range out {
				if out[i] != libOut[i] {
					t.Fatalf("%s: packet %d: sample %d is %d, the other's %d", name, n, i, out[i], libOut[i])
				}
			}
		}
	}
}
