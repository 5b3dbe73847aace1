package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"parley/conference"
	"parley/conference/store"
	"parley/mqtt/wire"
	"parley/web"
)

// shares looks after what conferences leave on the disk beside their state, the files that members share (C-31) and their
// messages: what the end of a conference closes, and what is removed when its days are over. It is a door for the one event
// that matters to it.
type shares struct {
	house    *house
	files    *store.Files // nil: none can be kept
	messages *messages
	keep     time.Duration // after the end
	ends     chan struct{} // a conference has ended
}

// sharesPause is how often is looked for what is too old.
const sharesPause = time.Minute

func (s *shares) opened(*meeting)                     {}
func (s *shares) happened(*meeting, conference.Event) {}
func (s *shares) placed(placeState)                   {}

func (s *shares) ended(*meeting) {
	select {
	case s.ends <- struct{}{}:
	default:
	}
}

// Run looks again and again, and whenever a conference has ended, until ctx ends. It waits for the disk, which the house must not.
func (s *shares) Run(ctx context.Context) error {
	look := time.NewTicker(sharesPause)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		case <-s.ends:
		}
		if s.house.clockSet() { // else nobody knows how long a month is
			s.look(s.house.now())
		}
	}
}

// look closes what belongs to conferences that are not there any more, such as one that ended right before a crash, and removes
// what is too old.
func (s *shares) look(now time.Time) {
	// Who is here is asked last: a conference that began meanwhile is not taken for one that is over.
	var filed, logged []string
	if s.files != nil {
		filed = s.files.Conferences()
	}
	if s.messages.log != nil {
		logged = s.messages.log.Conferences()
	}
	var here []string
	if !s.house.ask(func() {
		for _, r := range s.house.meetings {
			here = append(here, r.UID())
		}
	}) {
		return
	}
	for _, uid := range filed {
		if !slices.Contains(here, uid) {
			s.warn(uid, s.files.Close(uid, now.Add(s.keep)))
		}
	}
	for _, uid := range logged {
		if !slices.Contains(here, uid) {
			s.warn(uid, s.messages.log.Close(uid, now.Add(s.keep), nil))
		}
	}
	if s.files != nil {
		s.warn("", s.files.Sweep(now))
	}
	if s.messages.log != nil {
		s.warn("", s.messages.log.Sweep(now))
		if _, err := s.messages.space(); err == nil {
			s.messages.heal()
		}
	}
}

func (s *shares) warn(uid string, err error) {
	if err != nil && !errors.Is(err, store.ErrStopped) {
		s.messages.slog.Warn("files and messages of conferences cannot be cleared away", "conference", uid, "error", err)
	}
}

// shared tells a conference of a file that has come, as a message of the box's own: so every terminal shows it, and it is in
// the log. It is called by the HTTP server's goroutines.
func (s *shares) shared(uid string, f store.Info) {
	group, err := wire.NewUser(s.house.cfg.EID, wire.GroupOf(uid))
	if err != nil {
		return
	}
	m, now := s.messages, s.house.now()
	msg := wire.Message{
		Kind: wire.IMGroup, ID: "file-" + f.ID, From: m.box, TS: now.UnixMilli(),
		Media: []wire.Medium{{Content: "/api/v1/conferences/" + uid + "/files/" + f.ID, File: f.Name, Size: f.Size}},
	}
	if msg.Check() != nil { // a name that the disk takes and a message does not
		msg.Media[0].File = "file"
	}
	if m.key != nil {
		err = msg.Sign(group.IM(), m.key)
	}
	payload, err2 := wire.EncodeMessage(msg)
	if err = errors.Join(err, err2); err != nil {
		m.slog.Error("a message of our own is not valid", "conference", uid, "error", err)
		return
	}
	tell := func() { m.out.Publish(group.IM(), payload, 1, false) }
	e := store.Entry{ID: msg.ID, From: msg.From, At: now, Kind: payload[0], Body: payload[1:], Verified: true}
	if m.append(uid, e, func(uint64, error) { tell() }) != nil {
		tell()
	}
}

// Free space that messages and shared files leave to the rest of the box, in bytes: its state must be written when nothing else can.
const (
	messagesReserve = 4 << 20
	filesReserve    = 32 << 20
)

// room tells how much of the disk of the data folder is free.
func (d *data) room() (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}

// space tells whether messages can be kept, as far as the disk has room.
func (m *messages) space() (free uint64, err error) {
	if free, err = m.room(); err == nil && free < messagesReserve {
		err = store.ErrSpace
	}
	return free, err
}

// makeMessages opens what conferences have left on the disk, and subscribes to what is written to them. Without it
// conferences take place all the same.
func (b *box) makeMessages() error {
	m := &messages{
		house: b.house, out: b.client, slog: b.log, eid: b.cfg.EID, box: b.cfg.Box, room: b.data.room,
		keys: b.tokens, told: map[string]bool{},
	}
	b.shares = &shares{
		house: b.house, messages: m, keep: time.Duration(b.cfg.Meetings.Keep) * 24 * time.Hour, ends: make(chan struct{}, 1),
	}
	var err error
	if m.key, err = wire.LoadOrCreateKey(b.data.path("box.key")); err != nil {
		m.key = nil // the box has said so already
	}
	if m.log, err = store.OpenLog(store.LogConfig{
		Dir: b.data.path("messages"), Log: b.log, Space: store.Space{Reserve: messagesReserve, Free: b.data.room},
	}); err != nil {
		b.noStore("messages", err)
	}
	const mb = 1 << 20
	if b.shares.files, err = store.OpenFiles(store.FilesConfig{
		Dir: b.data.path("files"), Log: b.log, Space: store.Space{Reserve: filesReserve, Free: b.data.room},
		PerConf: int64(b.cfg.Meetings.Files) * mb, Total: int64(b.cfg.Meetings.AllFiles) * mb,
	}); err != nil {
		b.noStore("files", err)
	}
	b.house.doors = append(b.house.doors, b.shares)
	return b.client.Subscribe(wire.Messages(b.cfg.EID), m.receive)
}

func (b *box) noStore(what string, err error) {
	b.log.Warn("conferences go without "+what, "error", err)
	b.house.post(func() { b.house.fault(what, true, fmt.Sprintf("conferences go without %s: %v", what, err)) })
}

// Run is the log's life, if there is one.
func (m *messages) Run(ctx context.Context) error {
	if m.log != nil {
		return m.log.Run(ctx)
	}
	<-ctx.Done()
	return nil
}

// serve adds to the API what it fetches from here.
func (s *shares) serve(api *web.API) *web.API {
	api.Files, api.Shared = s.files, s.shared
	if s.messages.log != nil {
		api.Messages = s.messages.log
	}
	return api
}
