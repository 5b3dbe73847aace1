package main

import (
	"bytes"
	"slices"
	"sort"
	"time"

	"parley/conference"
	"parley/mqtt/wire"
	"parley/sip"
)

// topics tells on MQTT what happens in the house: a door that only goes out. It belongs to the house's goroutine.
type topics struct {
	house  *house
	out    publisher
	box    wire.Box
	eid    string
	calls  []byte // as last told, since most events do not change it
	lease  map[string]time.Time
	began  time.Time // of the box
	effort effort

	isReady  bool
	updating bool           // other firmware is being tried, or about to be
	word     wire.StateWord // as last told
	told     time.Time      // when measurements were last told
	past     []over         // calls that have ended, the first one first

	rosters map[string]uint64 // sequence number of each conference's snapshot as last told, by uid
	caught  time.Time         // when snapshots last caught up
}

func (t *topics) tell(topic string, v interface{ Check() error }, retained bool) {
	payload, err := wire.Encode(v)
	if err != nil {
		t.house.log.Error("a message of our own is not valid", "topic", topic, "error", err)
		return
	}
	t.out.Publish(topic, payload, 1, retained)
}

func (t *topics) happened(r *meeting, e conference.Event) {
	speech := e.What == conference.Talking || e.What == conference.Resting // changes no call, and comes often
	if conf, err := wire.NewConf(t.eid, r.Number()); err == nil {
		notice := wire.NoticeOf(e)
		t.tell(conf.Notice(), &notice, false)
		if !speech {
			t.snapshot(conf, r)
		}
	}
	if !speech {
		t.tellCalls()
	}
}

func (t *topics) snapshot(conf wire.Conf, r *meeting) {
	snapshot := wire.SnapshotOf(r.Snapshot())
	t.rosters[snapshot.UID] = snapshot.Seq
	t.tell(conf.State(), &snapshot, true)
}

// catchUpPause is how far a snapshot may lag behind the notices of who talks, which come too often to tell all of it
// each time.
const catchUpPause = time.Second

// catchUp tells the snapshots that lag: who has missed a notice finds what it said there.
func (t *topics) catchUp() {
	for _, r := range t.house.meetings {
		conf, err := wire.NewConf(t.eid, r.Number())
		if err == nil && t.rosters[r.UID()] != r.Seq() {
			t.snapshot(conf, r)
		}
	}
}

// opened tells a conference that nobody is in yet.
func (t *topics) opened(r *meeting) {
	if conf, err := wire.NewConf(t.eid, r.Number()); err == nil {
		t.snapshot(conf, r)
	}
}

func (t *topics) ended(r *meeting) {
	delete(t.rosters, r.UID())
	if conf, err := wire.NewConf(t.eid, r.Number()); err == nil {
		t.out.Publish(conf.State(), nil, 1, true)
	}
	t.tellCalls()
}

func (t *topics) placed(placeState) {
	gate := wire.GateOf(t.house.place.mute)
	t.tell(t.box.Mute(), &gate, true)
	t.tellCalls()
}

// lastWord is how long a call that has ended is still told of. A topic that is kept holds the newest message only, so
// that one which is replaced at once would reach nobody.
const lastWord = 500 * time.Millisecond

// over is a call that has ended, and until when that is told.
type over struct {
	call  wire.Call
	until time.Time
}

// gone is told of a call that ends, while it is still among the legs.
func (t *topics) gone(l *leg, e sip.Event) {
	now, call := t.house.now(), callOf(l.call, l, t.house.place)
	call.State, call.Since, call.Code, call.Why = string(conference.Disconnected), now.UTC(), e.Code, why(e)
	t.past = append(t.past, over{call, now.Add(lastWord)})
}

// tellCalls tells every call there is, if that is news.
func (t *topics) tellCalls() {
	calls := wire.Calls{Calls: []wire.Call{}}
	for _, o := range t.past {
		calls.Calls = append(calls.Calls, o.call)
	}
	for c, l := range t.house.legs {
		if !slices.ContainsFunc(t.past, func(o over) bool { return o.call.ID == l.id }) {
			calls.Calls = append(calls.Calls, callOf(c, l, t.house.place))
		}
	}
	sort.Slice(calls.Calls, func(i, j int) bool { return calls.Calls[i].ID < calls.Calls[j].ID })
	payload, err := wire.Encode(&calls)
	if err != nil {
		t.house.log.Error("a message of our own is not valid", "topic", t.box.Call(), "error", err)
		return
	}
	if !bytes.Equal(payload, t.calls) {
		t.calls = payload
		t.out.Publish(t.box.Call(), payload, 1, true)
	}
}

func callOf(c *sip.Call, l *leg, p *place) wire.Call {
	info := c.Info()
	call := wire.Call{
		ID: l.id, Direction: c.Direction().String(), Number: c.From(), State: string(conference.Alerting),
		Codec: info.Format.Codec, Secure: info.SRTP, Since: info.Began.UTC(),
	}
	if c.Direction() == sip.Out {
		call.Number, call.State = c.Number(), string(conference.DialingOut)
	}
	if l.meeting == nil {
		call.Place = c.Number() == p.house.cfg.Place.Number
		return call
	}
	if m, ok := l.meeting.Member(l.member); ok {
		call.State, call.Since = string(m.State), m.Since.UTC()
	}
	call.Conf = l.meeting.Number()
	if call.Conf == "" && l.far != nil {
		call.Conf = l.far.Conf
	}
	call.Place = l.meeting == p.leg.meeting && l.meeting.kind == conference.Pair
	return call
}

// asked is told that somebody wants levels for a while.
func (t *topics) asked(payload []byte) {
	var lease wire.Lease
	if err := wire.DecodeKnown(payload, &lease); err != nil {
		t.house.log.Info("a wish for levels cannot be read", "error", err)
		return
	}
	const most = 64
	if _, renewed := t.lease[lease.ID]; !renewed && len(t.lease) >= most {
		return
	}
	t.lease[lease.ID] = t.house.now().Add(time.Duration(lease.TTL) * time.Second)
}

// telePause is the time between two measurements that are told.
const telePause = 10 * time.Second

// due tells what is told by the clock: measurements now and then, and how loud everybody is while somebody has asked.
func (t *topics) due() {
	now := t.house.now()
	if now.Sub(t.told) >= telePause {
		t.told = now
		t.measure(now.Sub(t.began))
	}
	if now.Sub(t.caught) >= catchUpPause {
		t.caught = now
		t.catchUp()
	}
	if old := len(t.past); old > 0 {
		if t.past = slices.DeleteFunc(t.past, func(o over) bool { return now.After(o.until) }); len(t.past) < old {
			t.tellCalls()
		}
	}
	for id, until := range t.lease {
		if !now.Before(until) {
			delete(t.lease, id)
		}
	}
	if len(t.lease) == 0 {
		return
	}
	told := wire.Levels{At: now.UTC(), Members: []wire.Level{}}
	for _, r := range t.house.meetings {
		for _, l := range r.legs {
			if sound, ok := t.house.mixer.State(l.port); ok {
				told.Members = append(told.Members, wire.Level{ID: l.member, RMS: wire.DBFS(sound.RMS), Peak: wire.DBFS(sound.Peak)})
			}
		}
	}
	if payload, err := wire.Encode(&told); err == nil {
		t.out.Publish(t.box.Levels(), payload, 0, false)
	}
}
