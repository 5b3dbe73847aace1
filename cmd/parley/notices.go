package main

import (
	"parley/conference"
	"parley/mqtt/wire"
)

// notices tells members on topics of their own what concerns them alone, wherever they are. It is a door of the house that only
// goes out, and belongs to its goroutine.
type notices struct {
	house *house
	out   publisher
	eid   string
}

// personal says of which events the member is told himself, and what.
var personal = map[conference.What]func(*meeting, conference.Event, *wire.UserNotice){
	conference.Joined:  invitation,
	conference.Changed: invitation,
	conference.Granted: func(_ *meeting, _ conference.Event, n *wire.UserNotice) { n.Kind = wire.NoticeGranted },
	conference.Queued:  inQueue, conference.QueueMoved: inQueue,
	conference.UnmuteRequested: func(_ *meeting, e conference.Event, n *wire.UserNotice) {
		n.Kind, n.Mute, n.By = wire.NoticeUnmute, string(e.Reason), e.By.Name
	},
	conference.RoomAsked: intoRoom, conference.HostCalled: intoRoom,
}

// invitation is for what begins later: of what has begun, a call tells.
func invitation(r *meeting, e conference.Event, n *wire.UserNotice) {
	rules := r.Rules()
	if !e.Member.Invited || e.Member.State != conference.Pending || r.Phase() == conference.Open || rules.Start.IsZero() {
		return
	}
	n.Kind, n.Number, n.Theme, n.By, n.Start, n.End = wire.NoticeInvitation, rules.Number, rules.Theme, e.By.Name, rules.Start, rules.End
}

func inQueue(_ *meeting, e conference.Event, n *wire.UserNotice) {
	n.Kind, n.Position = wire.NoticeQueued, e.Position
}

func intoRoom(r *meeting, e conference.Event, n *wire.UserNotice) {
	n.Kind, n.Member, n.By = wire.NoticeRoom, e.Member.Asked, e.By.Name
	if m, ok := r.Member(e.Member.Asked); ok && m.Number != "" {
		n.By = m.Number
	}
}

func (o *notices) happened(r *meeting, e conference.Event) {
	fill, ok := personal[e.What]
	if !ok || r.Number() == "" || e.Member.Number == "" {
		return
	}
	n := wire.UserNotice{At: e.At.UTC(), Conf: r.Number(), UID: r.UID()}
	if fill(r, e, &n); n.Kind != "" {
		o.tell(e.Member.Number, n)
	}
}

// summon tells a member that a call from the conference comes, and by which token it is known (C-3, C-4).
func (o *notices) summon(r *meeting, m conference.Member, token string) {
	conf, err := wire.NewConf(o.eid, r.Number())
	if err != nil {
		return
	}
	o.tell(m.Number, wire.UserNotice{
		Kind: wire.NoticeJoin, At: o.house.now().UTC(), Conf: r.Number(), UID: r.UID(), Theme: r.theme(), Number: r.Number(), Topic: conf.Notice(), Token: token,
	})
}

// tell publishes a notice to the member with that number. One whose number no topic takes, such as an address, has none.
func (o *notices) tell(number string, n wire.UserNotice) {
	user, err := wire.NewUser(o.eid, number)
	if err != nil {
		return
	}
	payload, err := wire.Encode(&n)
	if err != nil {
		o.house.log.Error("a message of our own is not valid", "topic", user.Notice(), "error", err)
		return
	}
	o.out.Publish(user.Notice(), payload, 1, false)
}

func (*notices) opened(*meeting)   {}
func (*notices) ended(*meeting)    {}
func (*notices) placed(placeState) {}
