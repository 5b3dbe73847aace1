package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"parley/board"
	"parley/cmd/parley/config"
	"parley/hal"
	"parley/hal/watchdog"
	"parley/mixer"
	"parley/mqtt"
	"parley/mqtt/broker"
	"parley/mqtt/provision"
	"parley/mqtt/wire"
	"parley/sip"
	"parley/sip/guard"
	"parley/sip/rtp"
	"parley/web"
)

// box is the whole of it, each part made once and wired to the others. A frame, a key and a command come through it like
// this:
//
//	card ⇄ mixer ⇄ rtp ⇄ sip          keys → gate, house          broker ⇄ client → commands → house → topics → client
//	         ↑ who hears whom          house → lamps, view                            web → health, metrics
type box struct {
	cfg     config.Config
	board   board.Board
	log     *slog.Logger
	data    *data
	session int
	began   time.Time

	mic     *microphone
	card    soundCard
	files   bool // the card is made of files
	speaker *speaker
	poller  *rtp.Poller
	ports   *rtp.Ports
	mixer   *mixer.Mixer
	keep    *keeper
	house   *house
	agent   *sip.Agent
	guard   guard.Counters // what never reached the agent
	focus   *focus
	broker  *broker.Broker // nil: the broker is elsewhere
	client  *mqtt.Client
	topics  *topics
	web     *web.Server
	tokens  *senderKeys // nil: nobody can be let in by a token
	shares  *shares
	keys    hal.Keys
	lamps   *lamps
	clock   *clockKeeper
	release func() // gives the lines of keys and lamps back
	front   *front
	life    *life

	guardian guardian
	causes   []string // why the last run ended, if not in order

	layers    *layers     // where the settings come from
	boot      config.Boot // empty: there is no boot file
	operators wire.KeySet // keys whose signatures count beside the box's own
	settings  *provision.Settings
	enrolment *provision.Enrolment // nil: it is enrolled, or is not to be

	lines   *ring        // the last of the log
	figures *metrics.Set // what is measured
	support *support

	reported atomic.Pointer[wire.Reported] // of settings from outside, as last told
	updates  *updates
}

// run is the box's life: it returns when ctx ends, after everything has stopped in order, or with what went wrong.
func run(ctx context.Context, cfg config.Config, o options, out io.Writer) (err error) {
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	b := &box{cfg: cfg, began: time.Now(), life: newLife(), lines: newRing(), layers: o.layers}
	if b.layers == nil {
		b.layers = layersOf(cfg)
	}
	if b.board, err = board.Find(cfg.Board); err != nil {
		return fmt.Errorf("setting `board`: %w", err)
	}
	if b.data, err = openData(cfg.Data); err != nil {
		return err
	}
	defer b.data.close()
	b.front = newFront(b, o, quit, out)
	b.log = newLogger(cfg.Log, io.MultiWriter(b.lines, b.front.logs()))
	for _, w := range cfg.Warnings() {
		b.log.Warn(w)
	}
	if err := relax(); err != nil {
		b.log.Debug("threads wake more often than they need", "error", err)
	}
	if cfg.LockMemory {
		if err := lockMemory(); err != nil {
			b.log.Debug("memory may be swapped out", "error", err)
		}
	}
	b.clock = openClock(b.data, b.log)
	if err := b.make(); err != nil {
		b.ended(!b.mic.Closed()) // as it began: it never was on
		return err
	}
	defer b.poller.Close()
	defer b.release()
	if err = b.start(ctx); err == nil {
		err = b.life.wait(ctx)
	}
	b.stop()
	return err
}

// make makes every part at rest.
func (b *box) make() error {
	session, open, err := b.data.begin()
	if err != nil {
		b.log.Warn("the data folder cannot be written: the place starts muted if the box crashes", "error", err)
	}
	before := b.openJournal(nil)
	b.tellCause()
	b.keepCrash()
	b.session = max(session, before.life.Session+1)
	b.mic = &microphone{}
	b.house = newHouse(b.cfg, b.session, b.log)
	b.house.clockSet = b.clock.believed
	b.house.keep, b.keep.session = b.keep, b.session
	b.house.restore(before)
	newPlace(b.house, b.mic, open)
	b.house.tapes = newTapes(b.house, b.data.path("recordings"))
	b.house.lobby = newLobby(b.house)
	if b.house.prompts, err = newPrompts(b.house, b.data.path("prompts")); err != nil {
		return err
	}
	b.house.doors = append(b.house.doors, b.house.prompts)
	if b.card, b.files, err = openCard(b.cfg, b.board, b.data, b.mic, b.log, b.onCard); err != nil {
		return fmt.Errorf("setting `card`: %w", err)
	}
	if err := b.makeMedia(); err != nil {
		return err
	}
	if err := b.makeSIP(); err != nil {
		return err
	}
	b.makeTokens()
	if err := b.makeMQTT(); err != nil {
		return err
	}
	if err := b.makeMessages(); err != nil {
		return err
	}
	b.support = newSupport(b)
	b.house.support, b.house.reset = b.publishSupport, b.reset
	if err := b.makeWeb(); err != nil {
		return err
	}
	b.house.mixer, b.house.phone = b.mixer, b.agent
	b.guardian = guardian{box: b, supervisor: watchdog.TakeSupervisor()}
	return b.makeHardware()
}

// tickPriority is the mixer's among real-time threads: above ordinary programs, below the kernel's own (50).
const tickPriority = 40

// makeMedia makes what carries sound between card and sockets.
func (b *box) makeMedia() (err error) {
	if b.poller, err = rtp.NewPoller(); err != nil {
		return err
	}
	if b.ports, err = newPorts(b.cfg); err != nil {
		return err
	}
	b.mixer = mixer.New(mixer.Config{Drain: b.poller, Codecs: codecs(b.cfg), Priority: tickPriority, Log: b.log})
	b.speaker = &speaker{FrameSink: b.card}
	// The card is heard as it is: a gate that judges the room's noise comes with the echo canceller.
	if err := b.mixer.Add(mixer.Port{ID: placePort, Source: b.house.tapes.source(b.house.place.leg, b.card), Frames: b.speaker, Ungated: true}); err != nil {
		return err
	}
	return b.mixer.Add(mixer.Port{ID: tonePort, Source: b.house.place.tones, Ungated: true})
}

// makeMQTT makes the broker if it is ours, the client, and what it says and obeys.
func (b *box) makeMQTT() (err error) {
	names, err := wire.NewBox(b.cfg.EID, b.cfg.Box)
	if err != nil {
		return err
	}
	b.makeIdentity()
	var own *inside
	if b.cfg.MQTT.Broker == config.BrokerEmbedded {
		own = newInside()
		if b.broker, err = newBroker(b.cfg, b.data, own, b.log); err != nil {
			return err
		}
	}
	if b.client, err = newClient(b.cfg, names, b.session, own, newOutbox(b.data, b.house), b.refused, b.layers, b.log); err != nil {
		return err
	}
	b.topics = &topics{house: b.house, out: b.client, box: names, eid: b.cfg.EID, lease: map[string]time.Time{}, rosters: map[string]uint64{}, began: b.began}
	b.house.doors = append(b.house.doors, b.topics)
	told := &notices{house: b.house, out: b.client, eid: b.cfg.EID}
	b.house.doors, b.house.summon = append(b.house.doors, told), told.summon
	if err := errors.Join(b.makeAskers(), b.makeTerminal()); err != nil {
		return err
	}
	b.house.alert = b.topics.alert
	b.house.gone = b.topics.gone
	b.house.due = b.topics.due
	key, err := wire.LoadOrCreateKey(b.data.path("box.key"))
	if err != nil {
		b.log.Warn("nobody can give commands by the box's own key: it cannot be read or made", "error", err)
	}
	keys := b.known(publicHalf(key))
	if err := errors.Join(b.makeSettings(names, keys), b.makeEnrolment(), b.makeUpdates(names, keys)); err != nil {
		return err
	}
	b.house.bookings = newBookings(b.house, b.data, names, keys)
	if err := b.client.Subscribe(names.Bookings(), b.house.bookings.receive); err != nil {
		return err
	}
	orders := &commands{house: b.house, out: b.client, door: newDoor(names, keys, b.session, b.clock.believed)}
	if err := b.client.Subscribe(names.Cmds(), orders.receive); err != nil {
		return err
	}
	return b.client.Subscribe(names.LevelsLease(), func(m mqtt.Message) {
		if m.Retained {
			return // a wish is for now
		}
		b.house.post(func() { b.topics.asked(m.Payload) })
	})
}

// makeHardware makes keys, lamps and the view.
func (b *box) makeHardware() (err error) {
	var wires hal.Lamps
	if b.keys, wires, b.release, err = b.wires(b.front); err != nil {
		return err
	}
	blinker := hal.NewBlinker(wires, func(l hal.Lamp, err error) {
		b.house.post(func() {
			b.house.fault("lamp-"+l.String(), err != nil, fmt.Sprintf("the %s lamp cannot be lit: %v", l, err))
		})
	})
	b.lamps = &lamps{blinker: blinker, mic: b.mic, house: b.house, single: len(b.board.Lamps) == 1}
	b.house.doors = append(b.house.doors, b.lamps, b.front)
	return nil
}

// start starts the parts, those first that others ask for something, and tells where the box can be reached.
func (b *box) start(ctx context.Context) error {
	if b.broker != nil {
		b.life.start("broker", b.broker.Run)
	}
	b.life.start("mqtt", b.client.Run)
	b.life.start("clock", b.clock.Run)
	b.life.start("card", b.card.Run)
	b.life.start("mixer", b.mixer.Run)
	b.life.start("lamps", b.lamps.blinker.Run)
	b.life.start("prompts", b.house.prompts.library.Run)
	b.life.start("lobby", b.house.lobby.Run)
	if b.house.bookings != nil {
		b.life.start("bookings", b.house.bookings.Run)
	}
	b.life.start("recordings", b.house.tapes.Run)
	b.life.start("journal", b.keep.Run)
	b.life.start("messages", b.shares.messages.Run)
	b.life.start("house", b.house.Run)
	b.resume()
	b.life.start("close", b.closing)
	b.life.start("sip", b.agent.Run)
	b.life.start("settings", b.settings.Run) // calls that were taken up are there by now
	if b.web != nil {
		b.life.start("http", b.web.Run)
	}
	for _, ready := range b.readiness() {
		select {
		case <-ready:
		case err := <-b.life.failed:
			return explain(err)
		case <-ctx.Done():
			return nil
		}
	}
	b.house.ask(b.welcome)
	b.front.ready()
	b.life.start("shares", b.shares.Run)
	b.life.start("support", b.support.Run)
	if b.enrolment != nil {
		b.life.start("enrolment", b.enrolment.Run)
	}
	b.life.start("storage", b.watchStorage)
	b.life.start("update", b.updates.updater.Run)
	b.life.start("keys", b.listenKeys)
	b.life.start("watchdog", b.guardian.Run)
	return nil
}

// welcome tells what the box is and how it stands, and joins if it is to join at once.
func (b *box) welcome() {
	b.tellInfo()
	b.tellCauses()
	b.house.wake()
	b.house.hear()
	b.house.place.changed()
	b.house.fault(resetMarker, marked(b.data.dir), "a factory reset was asked for, and not all could be removed")
	if b.cfg.Place.JoinAtStart {
		if _, err := b.house.place.join(b.cfg.Place.Join); err != nil {
			b.log.Warn("the place could not join at the start", "error", err)
		}
	}
}

func (b *box) listenKeys(ctx context.Context) error {
	k := &keys{house: b.house, mic: b.mic, volume: b.card, out: b.client, topic: b.topics.box.Keys(), lamps: b.lamps}
	return hal.Listen(ctx, b.keys, timing(b.cfg.Keys), k.handle)
}

// stop ends every part in the opposite order of its start; the data folder learns last that all went well.
func (b *box) stop() {
	b.life.stop()
	b.ended(!b.mic.Closed()) // now that no key can move it any more
}

// ended marks that the box ended in order, with its gate open or closed.
func (b *box) ended(open bool) {
	if err := b.data.end(open); err != nil {
		b.log.Warn("the next start will be muted: that this one ended well cannot be written down", "error", err)
	}
}

func timing(k config.Keys) hal.Timing {
	return hal.Timing{Debounce: k.Debounce, Repeat: k.DoublePress, Hold: k.ResetHold, Stuck: k.Stuck, Chatter: k.Chatter}
}

// hostname is the box's name for people, in places where the settings give none.
func hostname() string {
	name, _ := os.Hostname()
	return name
}
