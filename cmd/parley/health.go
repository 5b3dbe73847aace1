package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"parley/audio/card"
	"parley/mqtt/wire"
	"parley/sip/guard"
	"parley/sip/rtp"
	"parley/web"
)

// makeWeb makes the pages for those who watch over the box: is it alive, is it ready, how is it doing.
func (b *box) makeWeb() (err error) {
	b.figures = b.metrics()
	if b.cfg.HTTP.Listen == "" {
		return nil
	}
	conf := web.Config{
		Listen: b.cfg.HTTP.Listen, Box: b.cfg.Box, Version: firmware(), Set: b.figures, Log: b.log,
		Live: b.liveChecks(), Ready: b.readyChecks(),
	}
	conf.API = b.makeAPI()
	for _, u := range b.cfg.HTTP.Users {
		conf.Users = append(conf.Users, web.User{Name: u.Name, Password: u.Password.Reveal()})
	}
	if b.cfg.HTTP.TLS.Given() {
		if conf.TLS, err = serverTLS(b.cfg.HTTP.TLS, b.data, "http.tls", tls.RequireAndVerifyClientCert); err != nil {
			return err
		}
	}
	b.web = web.New(conf)
	if err := b.web.Listen(); err != nil {
		return taken(err, "tcp", b.cfg.HTTP.Listen, "http.listen")
	}
	return nil
}

func (b *box) liveChecks() []web.Check {
	return []web.Check{{Name: "house", Probe: b.houseAnswers}, {Name: "mixer", Probe: b.mixerTicks}}
}

func (b *box) readyChecks() []web.Check {
	return []web.Check{{Name: "sip", Probe: b.sipListens}, {Name: "card", Probe: b.cardOpen}}
}

// readiness lists what is waited for before the box calls itself ready.
func (b *box) readiness() []<-chan struct{} { return []<-chan struct{}{b.agent.Ready()} }

// stall is how long the house or the mixer may be silent before it counts as stuck.
const stall = 2 * time.Second

// pulse is when the house last looked around, and when it last saw the mixer's clock go on. Health is judged by it without
// asking anybody who may be stuck.
type pulse struct {
	house, mixer atomic.Int64 // Unix time, ns
	ticks        uint64
}

func (p *pulse) beat(now time.Time, ticks uint64) {
	p.house.Store(now.UnixNano())
	if ticks != p.ticks {
		p.ticks = ticks
		p.mixer.Store(now.UnixNano())
	}
}

func (b *box) houseAnswers() error { return fresh(&b.house.pulse.house) }
func (b *box) mixerTicks() error   { return fresh(&b.house.pulse.mixer) }

func fresh(at *atomic.Int64) error {
	if age := time.Since(time.Unix(0, at.Load())); age > stall {
		return fmt.Errorf("stuck for %v", age.Round(time.Second))
	}
	return nil
}

func (b *box) sipListens() error {
	if len(b.agent.Addrs()) == 0 {
		return errors.New("does not listen yet")
	}
	for _, r := range b.agent.Registrations() {
		if !r.Registered {
			return fmt.Errorf("not registered with %s", r.Name)
		}
	}
	return nil
}

func (b *box) cardOpen() error {
	if s := b.card.Status(); s.State != card.Open {
		return errors.New(cardText(s))
	}
	return nil
}

// metrics are the figures of the box, for scraping. They are read when they are asked for.
func (b *box) metrics() *metrics.Set {
	set := metrics.NewSet()
	gauge := func(name string, f func() float64) { set.NewGauge("parley_"+name, f) }
	gauge("uptime_seconds", func() float64 { return time.Since(b.began).Seconds() })
	gauge("calls", func() float64 { return float64(b.agent.Calls()) })
	gauge("rtp_ports_in_use", func() float64 { return float64(b.ports.InUse()) })
	gauge("muted", func() float64 { return truth(b.mic.Closed()) })
	gauge("mqtt_connected", func() float64 { return truth(b.client.Stats().Connected) })
	gauge("mqtt_queued", func() float64 { return float64(b.client.Stats().Queued) })
	gauge("mqtt_refused_total", func() float64 { return float64(b.client.Stats().Refused) })
	gauge("watchdog_stalls_total", func() float64 { return float64(b.guardian.stalls.Load()) })
	gauge("card_open", func() float64 { return truth(b.card.Status().State == card.Open) })
	gauge("card_xruns_total", func() float64 { return float64(b.card.Status().Xruns) })
	gauge("mixer_ticks_total", func() float64 { return float64(b.mixer.Stats().Ticks) })
	gauge("mixer_late_ticks_total", func() float64 { return float64(b.mixer.Stats().Late) })
	gauge("mixer_skipped_ticks_total", func() float64 { return float64(b.mixer.Stats().Skipped) })
	gauge("mixer_worst_lateness_seconds", func() float64 { return b.mixer.Stats().Worst.Seconds() })
	b.shares.messages.figures(gauge)
	b.fleetFigures(gauge)
	gauge("goroutines", func() float64 { return float64(runtime.NumGoroutine()) })
	b.guard.Each(func(r guard.Reason, _ uint64) {
		gauge(fmt.Sprintf("sip_refused_total{reason=%q}", r), func() float64 { return float64(b.guard.Get(r)) })
	})
	for name, count := range rtpCounts {
		gauge("rtp_"+name+"_total", func() float64 { return float64(count(b.totals())) })
	}
	return set
}

// rtpCounts are what is counted of all calls, those that have ended included.
var rtpCounts = map[string]func(*rtp.Stats) uint64{
	"received": func(s *rtp.Stats) uint64 { return s.Received }, "sent": func(s *rtp.Stats) uint64 { return s.Sent },
	"missing": func(s *rtp.Stats) uint64 { return s.Missing }, "late": func(s *rtp.Stats) uint64 { return s.Late },
	"concealed": func(s *rtp.Stats) uint64 { return s.Concealed }, "foreign": func(s *rtp.Stats) uint64 { return s.Foreign },
	"malformed": func(s *rtp.Stats) uint64 { return s.Malformed }, "srtp_failures": func(s *rtp.Stats) uint64 { return s.SRTPFailures },
}

// totals adds up what was counted; it asks the house.
func (b *box) totals() *rtp.Stats {
	sum := &rtp.Stats{}
	b.house.ask(func() {
		*sum = b.house.past
		for c := range b.house.legs {
			if media := c.Leg(); media != nil {
				s := media.Stats()
				addCounts(sum, &s)
			}
		}
	})
	return sum
}

func addCounts(sum, s *rtp.Stats) {
	sum.Received += s.Received
	sum.Sent += s.Sent
	sum.Missing += s.Missing
	sum.Late += s.Late
	sum.Concealed += s.Concealed
	sum.Foreign += s.Foreign
	sum.Malformed += s.Malformed
	sum.SRTPFailures += s.SRTPFailures
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// measure tells on MQTT how the box and its calls are doing. It runs on the house's goroutine.
func (t *topics) measure(up time.Duration) {
	tele := wire.Tele{At: t.house.now().UTC(), UpS: uint64(up.Seconds()), CPU: t.effort.cpu(up), MemKiB: resident()}
	for c, l := range t.house.legs {
		media := c.Leg()
		if media == nil {
			continue
		}
		s := media.Stats()
		leg := wire.LegTele{Call: l.id}
		if s.Expected > 0 {
			leg.LossPct = figure(min(100, 100*float64(max(0, s.Lost))/float64(s.Expected)), true)
		}
		leg.JitterMs = figure(milliseconds(s.Jitter), s.HasJitter)
		leg.RTTMs = figure(milliseconds(s.RTT), s.HasRTT)
		leg.DelayMs = figure(milliseconds(s.Delay), s.HasDelay)
		tele.Legs = append(tele.Legs, leg)
	}
	if payload, err := wire.Encode(&tele); err == nil {
		t.out.Publish(t.box.Tele(), payload, 0, false)
	}
}

// figure is a measured value, or nothing.
func figure(v float64, measured bool) *float64 {
	if !measured {
		return nil
	}
	return &v
}
