package qemutest

import (
	"testing"
	"time"

	"parley/hal"
)

// Every pattern is told from every other by looks that come at odd times.
func TestRecognize(t *testing.T) {
	for want, p := range rhythms {
		var looks []look
		for at := 170 * time.Millisecond; at < 3*time.Second; at += time.Duration(17+len(looks)%5) * time.Millisecond {
			looks = append(looks, look{at, hal.Blink(p, at+730*time.Millisecond)})
		}
		if got, err := recognize(looks); got != want || err != nil {
			t.Errorf("%s is taken for %s, %v", want, got, err)
		}
	}
	if _, err := recognize(make([]look, 10)); err == nil {
		t.Error("ten looks are enough")
	}
}
