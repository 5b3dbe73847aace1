package mqtt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBackoff(t *testing.T) {
	var b backoff
	var got []time.Duration
	for range 6 {
		got = append(got, b.next(10*time.Second, 0.5))
	}
	for range 6 {
		got = append(got, b.next(2*time.Minute, 0.5))
	}
	s := func(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }
	want := []time.Duration{s(0.5), s(1), s(2), s(4), s(5), s(5), s(10), s(20), s(40), s(60), s(60), s(60)}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	rapid.Check(t, func(t *rapid.T) {
		b := backoff{last: time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "last"))}
		down := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "down"))
		pause := b.next(down, rapid.Float64Range(0, 1).Draw(t, "random"))
		most := 7500 * time.Millisecond
		if down >= time.Minute {
			most = 90 * time.Second
		}
		if pause < 250*time.Millisecond || pause > most {
			t.Fatalf("%v", pause)
		}
	})
}

// drain sends and acknowledges everything.
func drain(o *queue) (topics []string) {
	for it := o.next(); it != nil; it = o.next() {
		topics = append(topics, it.Topic+"="+string(it.Payload))
		o.done(it)
	}
	return topics
}

func msg(topic, payload string, qos byte, retained bool) Message {
	return Message{Topic: topic, Payload: []byte(payload), QoS: qos, Retained: retained}
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestQueue(t *testing.T) {
	t.Run("latest of each retained topic, events in order", func(t *testing.T) {
		o := newQueue(9, 9)
		for _, m := range []Message{msg("s", "1", 1, true), msg("e", "1", 1, false), msg("s", "2", 1, true), msg("e", "2", 1, false)} {
			o.put(m, 0)
		}
		want(t, drain(o), "s=2", "e=1", "e=2")
		o.put(msg("s", "3", 1, true), 0)
		want(t, drain(o), "s=3")
		o.reset()
		want(t, drain(o), "s=3")
	})
	t.Run("what was not acknowledged is told again", func(t *testing.T) {
		o := newQueue(9, 9)
		o.put(msg("s", "1", 1, true), 0)
		o.put(msg("e", "1", 1, false), 0)
		o.put(msg("e", "2", 1, false), 0)
		o.next()
		o.next()
		o.put(msg("s", "2", 1, true), 0) // while 1 is on its way
		o.reset()
		want(t, drain(o), "s=2", "e=1", "e=2")
	})
	t.Run("a topic taken away is not told again", func(t *testing.T) {
		o := newQueue(9, 9)
		o.put(msg("a", "1", 1, true), 0)
		want(t, drain(o), "a=1")
		o.put(msg("a", "", 1, true), 0)
		o.next()
		o.reset() // the broker may not have heard
		want(t, drain(o), "a=")
		o.reset()
		want(t, drain(o))
		if len(o.retained)+len(o.order) != 0 {
			t.Errorf("%d, %d left", len(o.retained), len(o.order))
		}
	})
	t.Run("the oldest measurement goes first, then the oldest event", func(t *testing.T) {
		o := newQueue(9, 3)
		o.put(msg("e", "1", 1, false), 0)
		o.put(msg("t", "1", 0, false), 0)
		o.put(msg("t", "2", 0, false), 0)
		o.put(msg("e", "2", 1, false), 0)
		o.put(msg("s", "1", 1, true), 0)
		want(t, drain(o), "e=1", "t=2", "e=2", "s=1")
		for i := range 5 {
			o.put(msg("e", fmt.Sprint(i), 1, false), 0)
		}
		want(t, drain(o), "e=2", "e=3", "e=4")
		if o.dropped != 3 {
			t.Errorf("%d dropped", o.dropped)
		}
	})
	t.Run("too many bytes", func(t *testing.T) {
		o := newQueue(9, 1000)
		for range 100 {
			o.put(msg("e", strings.Repeat("x", 1<<20), 1, false), 0)
		}
		if len(o.queue) != 8 || o.dropped != 92 {
			t.Errorf("%d kept, %d dropped", len(o.queue), o.dropped)
		}
	})
	t.Run("too many retained topics", func(t *testing.T) {
		o := newQueue(2, 9)
		o.put(msg("a", "1", 1, true), 0)
		o.put(msg("b", "1", 1, true), 0)
		if err := o.put(msg("c", "1", 1, true), 0); !errors.Is(err, ErrFull) {
			t.Errorf("got %v", err)
		}
		if err := o.put(msg("a", "2", 1, true), 0); err != nil {
			t.Errorf("a known one: %v", err)
		}
		for i := range 100 {
			o.put(msg(fmt.Sprint("x", i), "", 1, true), 0)
		}
		if len(o.retained) > 4 {
			t.Errorf("%d kept", len(o.retained))
		}
	})
}

// However messages, acknowledgements and lost connections fall: after the last reconnect every retained topic is told
// with its latest value, last of all that are told under it, and no event is told before an older one.
func TestQueueHoldsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := newQueue(100, 1000)
		latest := map[string]string{}
		var flying []*item
		var got []string
		n := 0
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				topic := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "topic")
				n++
				latest[topic] = fmt.Sprint(n)
				if rapid.Bool().Draw(t, "empty") {
					latest[topic] = ""
				}
				o.put(msg(topic, latest[topic], 1, true), 0)
			case 1:
				n++
				o.put(msg("event", fmt.Sprintf("%04d", n), 1, false), 0)
			case 2:
				if it := o.next(); it != nil {
					flying = append(flying, it)
				}
			case 3:
				if len(flying) > 0 {
					if !flying[0].Retained {
						got = append(got, string(flying[0].Payload))
					}
					o.done(flying[0])
					flying = flying[1:]
				}
			case 4:
				o.reset()
				flying = nil
			}
		}
		o.reset()
		told := map[string]string{}
		for _, s := range drain(o) {
			topic, payload, _ := strings.Cut(s, "=")
			if topic == "event" {
				got = append(got, payload)
			} else {
				told[topic] = payload
			}
		}
		for topic, payload := range latest {
			if told[topic] != payload {
				t.Fatalf("%s: told %q, is %q", topic, told[topic], payload)
			}
		}
		if !slices.IsSorted(got) || len(slices.Compact(got)) != len(got) {
			t.Fatalf("events acknowledged: %v", got)
		}
	})
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		filter, topic string
		want          bool
	}{
		{"/a", "/a", true}, {"/a", "a", false}, {"/a/#", "/a", true}, {"/a/#", "/a/b/c", true}, {"/a/+", "/a/b", true},
		{"/a/+", "/a", false}, {"/a/+", "/a/b/c", false}, {"/a/+/#", "/a", false}, {"+/+", "/a", true}, {"#", "/a", true},
		{"#", "$SYS/x", false}, {"$SYS/#", "$SYS/x", true}, {"/a/b", "/a", false}, {"/a", "/a/b", false}, {"+", "a", true},
		{"/a/+", "/a/", true},
	} {
		if got := matches(tt.filter, tt.topic); got != tt.want {
			t.Errorf("%s with %s: %v", tt.filter, tt.topic, got)
		}
	}
	for filter, want := range map[string]bool{"": false, "a#": false, "#/a": false, "a/+b": false, "+/#": true, "\xff": false,
		strings.Repeat("/", 40): false, strings.Repeat("a", 600): false} {
		if got := validFilter(filter); got != want {
			t.Errorf("%.20q: %v", filter, got)
		}
	}
}
