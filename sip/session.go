// Session timers (RFC 4028): a dialog whose far end has vanished ends by itself.

package sip

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	gosip "github.com/emiago/sipgo/sip"
)

// maxExpires is the longest session interval that we take or give, in seconds.
const maxExpires = 86400

// session is the timer of one call. It belongs to the call's goroutine.
type session struct {
	interval time.Duration // 0: no timer
	ours     bool          // we refresh
	timer    *time.Timer
	busy     bool // a refresh by UPDATE is under way
}

// sessionHeader is Session-Expires: d.
func sessionHeader(d, second time.Duration, refresher string) gosip.Header {
	v := strconv.Itoa(int(d / second))
	if refresher != "" {
		v += ";refresher=" + refresher
	}
	return gosip.NewHeader("Session-Expires", v)
}

func minSE(a *Agent) gosip.Header {
	return gosip.NewHeader("Min-SE", strconv.Itoa(int(a.cfg.MinSE/a.cfg.Timers.Second)))
}

// sessionWish reads Session-Expires (or its compact form): seconds and who is to refresh.
func sessionWish(m gosip.Message) (seconds int, refresher string, ok bool) {
	v := header(m, "Session-Expires")
	if v == "" {
		v = header(m, "x")
	}
	v, params, _ := strings.Cut(v, ";")
	n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 31)
	if err != nil || n == 0 {
		return 0, "", false
	}
	for _, p := range strings.Split(params, ";") {
		if k, w, _ := strings.Cut(strings.TrimSpace(p), "="); strings.EqualFold(k, "refresher") {
			refresher = strings.ToLower(strings.TrimSpace(w))
		}
	}
	return min(int(n), maxExpires), refresher, true
}

// vetSession refuses a wish for too short a session (RFC 4028, 9), which only who knows the extension understands.
func (a *Agent) vetSession(req *gosip.Request) (int, []gosip.Header) {
	n, _, ok := sessionWish(req)
	if ok && a.seconds(n) < a.cfg.MinSE && contains(tokens(req, "Supported", "k"), "timer") {
		return 422, []gosip.Header{minSE(a)}
	}
	return 0, nil
}

// grant puts into a 2xx to INVITE or UPDATE what we agree to, and sets the timer by it (RFC 4028, 9).
func (s *session) grant(c *Call, req *gosip.Request, res *gosip.Response) {
	a := c.agent
	knows := contains(tokens(req, "Supported", "k"), "timer")
	n, refresher, asked := sessionWish(req)
	interval := a.cfg.SessionExpires
	if asked {
		interval = min(interval, a.seconds(n))
	}
	least := a.cfg.MinSE
	if m, ok := headerSeconds(req, "Min-SE"); ok && m <= maxExpires {
		least = max(least, a.seconds(m))
	}
	interval = max(interval, least)
	switch {
	case !knows:
		refresher = "uas"
	case refresher != "uac" && refresher != "uas":
		refresher = "uac"
	}
	if refresher == "uac" {
		res.AppendHeader(gosip.NewHeader("Require", "timer"))
	}
	res.AppendHeader(sessionHeader(interval, a.cfg.Timers.Second, refresher))
	s.set(c, interval, refresher == "uas")
}

// ask puts our wish into a request that refreshes: who refreshes now is to go on.
func (s *session) ask(c *Call, req *gosip.Request) {
	interval := s.interval
	if interval == 0 {
		interval = c.agent.cfg.SessionExpires
	}
	refresher := "uas"
	if s.ours || s.interval == 0 {
		refresher = "uac"
	}
	req.AppendHeader(sessionHeader(interval, c.agent.cfg.Timers.Second, refresher))
	req.AppendHeader(minSE(c.agent))
}

// accepted sets the timer by a 2xx to a request of ours. A far end that does not know the extension is refreshed by us.
func (s *session) accepted(c *Call, res *gosip.Response, asked time.Duration) {
	n, refresher, ok := sessionWish(res)
	if !ok {
		s.set(c, asked, true)
		return
	}
	s.set(c, max(c.agent.seconds(n), c.agent.cfg.Timers.Second), refresher != "uas")
}

// raise takes the Min-SE of a 422, and reports whether that can be tried.
func (s *session) raise(c *Call, res *gosip.Response) bool {
	least, ok := headerSeconds(res, "Min-SE")
	if !ok || least > maxExpires || c.agent.seconds(least) <= s.interval {
		return false
	}
	s.interval = c.agent.seconds(least)
	return true
}

// set starts the timer anew: at half the interval we refresh; if the far end should have, we hang up shortly before the end
// (RFC 4028, 10).
func (s *session) set(c *Call, interval time.Duration, ours bool) {
	s.interval, s.ours = interval, ours
	c.update(func(i *Info) { i.Expires = interval })
	c.stopTimer(&s.timer)
	if interval <= 0 {
		return
	}
	if ours {
		s.timer = c.after(interval/2, func() { s.timer = nil; s.refresh(c) })
		return
	}
	s.timer = c.after(interval-min(32*c.agent.cfg.Timers.Second, interval/3), func() {
		s.timer = nil
		c.bye(408, "session expired", Watchdog)
	})
}

// refresh keeps the session alive, by UPDATE where the far end takes it. If it fails, the session still has the other half of
// its interval.
func (s *session) refresh(c *Call) {
	c.stopTimer(&s.timer)
	deadline := s.interval/2 - min(32*c.agent.cfg.Timers.Second, s.interval/6)
	s.timer = c.after(deadline, func() {
		s.timer = nil
		c.bye(408, "session expired", Watchdog)
	})
	if !c.dialog.takes("UPDATE") {
		c.renegotiate()
		return
	}
	c.send(gosip.UPDATE, func(req *gosip.Request) {
		c.describe(req, nil)
		s.ask(c, req)
	}, func(res *gosip.Response, err error) {
		switch {
		case err != nil: // the deadline decides
		case res.IsSuccess():
			c.dialog.retarget(res)
			s.accepted(c, res, s.interval)
			c.changed()
		case res.StatusCode == 481 || res.StatusCode == 408:
			c.bye(res.StatusCode, phrase(res.StatusCode), Remote)
		case res.StatusCode == 422 && s.raise(c, res):
			s.refresh(c)
		default:
			c.renegotiate()
		}
	})
}

// reasonHeader tells why we hang up (RFC 3326).
func reasonHeader(code int, text string) string {
	return fmt.Sprintf(`SIP;cause=%d;text="%s"`, code, quoted(clean(text, maxReason)))
}

// reasonOf reads why a far end hangs up: 200 if it does not say.
func reasonOf(req *gosip.Request) (int, string) {
	code, text := 200, "hung up"
	v := header(req, "Reason")
	proto, params, _ := strings.Cut(v, ";")
	if !strings.EqualFold(strings.TrimSpace(proto), "SIP") {
		return code, text
	}
	for _, p := range strings.Split(params, ";") {
		k, w, _ := strings.Cut(strings.TrimSpace(p), "=")
		switch strings.ToLower(k) {
		case "cause":
			if n, err := strconv.Atoi(w); err == nil && n >= 200 && n < 700 {
				code = n
			}
		case "text":
			text = clean(strings.Trim(w, `"`), maxReason)
		}
	}
	return code, text
}
