package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"parley/audio/card"
	"parley/cmd/parley/config"
	"parley/hal/update"
	"parley/mqtt"
	"parley/mqtt/wire"
)

// updates takes orders of firmware from outside and tells how they stand:
//
//	message → wire.OpenFwDesired (signed? for us?) → update.ParseManifest → update.Updater → fw/reported, alert
type updates struct {
	box     *box
	names   wire.Box
	keys    wire.KeySet // of those who may command the box
	makers  wire.KeySet // of those who may make firmware
	slot    string      // that runs; empty: there are no slots
	updater *update.Updater

	told fault // as last told; the house's

	mu       sync.Mutex // guards what follows
	rec      update.Record
	rejected *wire.FwRefusal
}

// recordFile is in the data folder.
const recordFile = "update.json"

// makeUpdates makes what takes orders of firmware. A machine without slots refuses them and says so.
func (b *box) makeUpdates(names wire.Box, keys wire.KeySet) error {
	machine, err := machineOf(b.cfg.Update)
	if err != nil && !errors.Is(err, update.ErrNoSlots) {
		return err
	}
	u := &updates{box: b, names: names, keys: keys, makers: wire.KeySet{}}
	for id, k := range keys {
		u.makers[id] = k
	}
	for _, k := range b.cfg.Update.Keys {
		if pub, err := wire.ParsePublicKey(k); err == nil {
			u.makers[wire.KeyID(pub)] = pub
		}
	}
	if machine != nil {
		u.slot = string(machine.Running)
	}
	u.updater = update.New(update.Config{
		Machine: machine, Host: update.Host{Board: b.board.Name, Arch: arch(), Version: imageVersion()},
		Store: recordStore{b.data}, Confirm: b.cfg.Update.Confirm, Busy: func() bool { return b.agent.Calls() > 0 }, Health: b.health,
		Restart: b.restartMachine, Report: u.report, Log: b.log,
	})
	b.updates = u
	return b.client.Subscribe(names.FwDesired(), u.receive)
}

// machineOf is the machine whose slots are updated: this one, or files for trying it out.
func machineOf(c config.Update) (*update.Machine, error) {
	if c.Slots != "" {
		return update.InFolder(c.Slots)
	}
	return update.ThisMachine()
}

// arch is this machine's as images name it; empty: firmware is made for none of its kind.
func arch() string { return map[string]string{"arm": "armv7", "arm64": "arm64"}[runtime.GOARCH] }

// imageVersion is what the image that runs is called, or this program if it is in none.
func imageVersion() string {
	if text, err := os.ReadFile("/etc/parley/version"); err == nil {
		if v := strings.TrimSpace(string(text)); v != "" && len(v) <= 64 {
			return v
		}
	}
	return cmp.Or(version, "dev")
}

// health is how the box stands, for whoever judges new firmware by it. It asks nobody who may be stuck.
func (b *box) health() update.Health {
	return update.Health{
		Sound: b.card.Status().State == card.Open, MQTT: b.client.Stats().Connected, SIP: b.sipListens() == nil,
	}
}

// receive is called by the client for every message on fw/desired.
func (u *updates) receive(m mqtt.Message) {
	if len(m.Payload) == 0 {
		u.updater.Withdraw()
		return
	}
	d, signed, err := wire.OpenFwDesired(u.names, m.Payload, u.keys, u.makers)
	if err != nil {
		u.reject(wire.RefuseFw(d.Order, m.Payload, err, time.Now().UTC()))
		return
	}
	refused := func(reason, detail string) {
		u.reject(&wire.FwRefusal{Order: d.Order, Hash: wire.HashOf(m.Payload), Reason: reason, Detail: detail, At: time.Now().UTC()})
	}
	u.mu.Lock()
	last := u.rec.Order.ID
	u.mu.Unlock()
	switch {
	case d.Order == last:
		return
	case d.Order < last:
		refused(wire.ReasonStaleOrder, fmt.Sprintf("the box has had order %d", last))
		return
	case d.Exp != 0 && u.box.clock.believed() && time.Now().Unix() >= d.Exp:
		refused(wire.ReasonExpired, "")
		return
	}
	manifest, err := update.ParseManifest(signed)
	if err != nil {
		refused(wire.ReasonInvalidManifest, err.Error())
		return
	}
	u.mu.Lock()
	u.rejected = nil
	u.mu.Unlock()
	u.updater.Order(update.Order{ID: d.Order, URL: d.URL, Downgrade: d.Downgrade, Manifest: manifest})
}

// reject tells that an order was refused; the one before it stands.
func (u *updates) reject(r *wire.FwRefusal) {
	u.box.log.Warn("an order of firmware is refused", "order", r.Order, "reason", r.Reason, "detail", r.Detail)
	u.mu.Lock()
	u.rejected = r
	u.mu.Unlock()
	u.tell()
}

// report is told by the updater how an order stands.
func (u *updates) report(rec update.Record) {
	u.mu.Lock()
	u.rec = rec
	u.mu.Unlock()
	u.tell()
}

// tell tells how the newest order stands; a failure is an alert until the next order. The lamps are for what the people in the room can do
// something about, and do not show it.
func (u *updates) tell() {
	u.mu.Lock()
	defer u.mu.Unlock()
	r, h := u.reported(), u.box.house
	var f fault
	if u.rec.Phase == update.Failed {
		f = fault{text: "firmware " + u.rec.Order.Manifest.Version + " is not installed: " + u.rec.Detail, since: u.rec.At}
	}
	updating := u.rec.Phase == update.Updating
	h.post(func() {
		t := u.box.topics
		t.tell(u.names.FwReported(), &r, true)
		t.updating = updating
		t.state()
		if f != u.told {
			u.told = f
			t.alert("update", f)
		}
	})
}

// reported is how it travels. The caller holds the lock.
func (u *updates) reported() wire.FwReported {
	rec := u.rec
	r := wire.FwReported{
		Schema: wire.FwSchema, Running: wire.FwRunning{Version: imageVersion(), Slot: u.slot}, Order: rec.Order.ID, State: string(rec.Phase),
		Version: rec.Order.Manifest.Version, Done: rec.Done, Size: rec.Order.Manifest.Size, Detail: rec.Detail, At: rec.At, Rejected: u.rejected,
	}
	if rec.Slot != update.None {
		r.Slot = string(rec.Slot)
	}
	if rec.Phase == update.Failed {
		r.Reason = rec.Reason
	}
	if r.At.IsZero() {
		r.At = time.Now().UTC()
	}
	return r
}

// recordStore keeps in the data folder what must be known of an update after a power cut.
type recordStore struct{ data *data }

func (s recordStore) Load() (update.Record, error) {
	var r update.Record
	f, err := os.Open(s.data.path(recordFile))
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(b, &r)
}

func (s recordStore) Save(r update.Record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return s.data.write(recordFile, string(b)+"\n")
}

// statusRestart is the exit status where the machine would be restarted, if its slots were not only files.
const statusRestart = 75

// restartMachine has the box stop in order and the machine restart.
func (b *box) restartMachine() {
	b.log.Info("the machine restarts for other firmware")
	again := &nextLife{machine: func() error {
		if b.cfg.Update.Slots != "" {
			os.Exit(statusRestart)
		}
		syscall.Sync()
		return fmt.Errorf("restart the machine: %w", unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART))
	}}
	select {
	case b.life.failed <- again:
	default: // it is ending already
	}
}

// cmdSlots tells which firmware runs, what the boot loader goes by, and what became of the last update.
func cmdSlots(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("parley slots", flag.ContinueOnError)
	file, folder := flags.String("config", "", "settings `file`"), flags.String("data", "", "data `folder`, in place of the setting `data`")
	if err := flags.Parse(args); err != nil {
		return helpOr(err)
	}
	cfg, err := config.Load(*file, os.Getenv)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "firmware", imageVersion())
	machine, err := machineOf(cfg.Update)
	if errors.Is(err, update.ErrNoSlots) {
		fmt.Fprintln(out, "no slots: on this machine firmware is replaced by hand")
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "running slot", machine.Running)
	state, err := machine.State()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "good %s, to be tried %s, tries left %d\n", state.Good, state.Try, state.Left)
	r, err := recordStore{&data{dir: cmp.Or(*folder, cfg.Data)}}.Load()
	if err == nil && r.Phase != "" {
		fmt.Fprintf(out, "order %d: %s %s since %s %s\n", r.Order.ID, r.Order.Manifest.Version, r.Phase, r.At.Format(time.RFC3339), r.Detail)
	}
	return err
}
