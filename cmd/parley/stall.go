package main

import (
	"errors"
	"net"
	"net/netip"
	"slices"

	"parley/conference"
	"parley/sip"
)

// hush closes the microphone while the audio loop stands, at once and whoever else may stand: what the room says when the loop goes on again, after
// nobody knows how long, is not what it meant to say. When it goes on, the gate is what its other reasons make it.
func (g *guardian) hush(part string, stands bool) {
	if part != "mixer" {
		return
	}
	h := g.box.house
	if stands {
		g.box.mic.Close()
	}
	mark := func() {
		// A reason of the same kind that was there before is not ours to clear.
		if had := h.place.mute.Has(conference.System); stands && had || !stands && !g.hushed {
			return
		}
		g.hushed = stands
		h.place.setMute(conference.System, conference.Actor{Role: conference.BySystem}, stands)
	}
	select {
	case h.inbox <- mark:
	default: // the house stands, too; then the gate stays closed
	}
}

// errNoKnock: the agent cannot be sent anything from here.
var errNoKnock = errors.New("no UDP address that is always there")

// knocker gives what sends the agent a keep-alive, from this machine. Where nothing can be sent to it there is nothing to judge it by: an error.
func knocker(a *sip.Agent) func() error {
	list := a.Addrs()
	i := slices.IndexFunc(list, func(l sip.Listener) bool {
		at, err := netip.ParseAddrPort(l.Addr)
		return err == nil && l.Network == "udp" && (at.Addr().IsLoopback() || at.Addr().IsUnspecified())
	})
	if i < 0 {
		return func() error { return errNoKnock }
	}
	return func() error {
		c, err := net.Dial("udp", list[i].Addr)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("\r\n\r\n"))
		return err
	}
}
