package main_test

import (
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// With the setting, a conference is recorded from its start on, and the recording ends with it.
func TestRecordingByItself(t *testing.T) {
	t.Parallel()
	a := assemble(t, phonetest.PCMU, boxtest.Settings{"recording": boxtest.Settings{"auto": true}}, map[string]float64{host: 500, "2002": 700})
	a.create(nil, "2002")
	a.begin("2002")
	a.told("record_started", "")
	b := newTaping(t, a.Box)
	b.tape(2 * time.Second)
	a.do("end")
	r := b.whole(1, 1)[0]
	if r.Conf != a.conf || r.UID != a.uid {
		t.Errorf("%+v is not of %s, %s", r, a.conf, a.uid)
	}
	s := b.play(r.ID)
	sounds(t, s, "the conference", s.Duration()-1500*time.Millisecond, s.Duration(), []float64{500, 700}, nil)
}
