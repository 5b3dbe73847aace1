package conference

import (
	"fmt"
	"testing"
)

func crowd(b *testing.B) *Conference {
	c := New(Rules{Kind: Standing, Number: "1000", UID: "u1"})
	for i := range 100 {
		if _, err := c.Apply(t0, Command{Do: Add, Member: Member{ID: fmt.Sprint("m", i), State: Connected}}); err != nil {
			b.Fatal(err)
		}
	}
	return c
}

// What comes most often in a conference of 100: somebody begins to speak, or stops.
func BenchmarkTalk(b *testing.B) {
	c := crowd(b)
	for i := range b.N {
		c.Apply(t0, Command{Do: []Do{Talk, Rest}[i%2], ID: "m50"})
	}
}

func BenchmarkHearing(b *testing.B) {
	c := crowd(b)
	for range b.N {
		c.Hearing()
	}
}

func BenchmarkSnapshotAndRestore(b *testing.B) {
	c := crowd(b)
	for range b.N {
		Restore(c.Snapshot())
	}
}
