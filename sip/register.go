// We at a PBX: a registration that is kept up (RFC 3261, 10.2). Its contact has a random name, so that a call to it shows by
// itself that it comes from there.

package sip

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	gosip "github.com/emiago/sipgo/sip"
)

// Upstream is a PBX that we register with.
type Upstream struct {
	Name      string // also the name of the gateway in Routes that its credentials are for
	Registrar string // SIP URI of its domain, such as sip:pbx.example.com;transport=tls
	Proxy     string // SIP URI of where to send, if not the Registrar
	User      string // whom we register
	Auth      Auth   // User there is Upstream.User if empty
	Number    string // what a call from this PBX is taken for; empty: the user part of its To
	Expires   time.Duration
}

func (u Upstream) credentials() Auth {
	a := u.Auth
	if a.User == "" {
		a.User = u.User
	}
	return a
}

// Registration is how things stand with an Upstream.
type Registration struct {
	Name       string
	Registered bool
	Until      time.Time // when it would lapse
	Code       int       // of the last answer, 0 if none came
	Err        string    // why not; empty while registered
}

// uplink keeps one registration.
type uplink struct {
	agent  *Agent
	conf   Upstream
	domain gosip.Uri
	token  string
	callID string
	tag    string

	mu   sync.Mutex
	now  Registration
	done bool

	// Of run's goroutine.
	seq     uint32
	expires int // asked for, seconds
	auth    *credentials
}

func newUplink(a *Agent, conf Upstream) *uplink {
	u := &uplink{agent: a, conf: conf, token: token(16), callID: token(16), tag: token(12), seq: firstSeq(), expires: 3600}
	if conf.Expires > 0 {
		u.expires = int(conf.Expires / a.cfg.Timers.Second)
	}
	u.now.Name = conf.Name
	u.auth = newCredentials(conf.credentials())
	u.domain, _ = parseURI(conf.Registrar) // a wrong one shows as the registration's error
	return u
}

// Registrations is how things stand with every Upstream, in the order of Config.Upstreams.
func (a *Agent) Registrations() []Registration {
	out := make([]Registration, 0, len(a.uplinks))
	for _, u := range a.uplinks {
		u.mu.Lock()
		out = append(out, u.now)
		u.mu.Unlock()
	}
	return out
}

// owns reports, in constant time, whether user is our contact's name there.
func (u *uplink) owns(user string) bool {
	return subtle.ConstantTimeCompare([]byte(user), []byte(u.token)) == 1
}

func (u *uplink) gone() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.done
}

// run registers, and again in time, until ctx ends; then it takes the registration back.
func (u *uplink) run(ctx context.Context) {
	defer func() {
		u.mu.Lock()
		u.done = true
		u.mu.Unlock()
	}()
	fails, up := 0, false
	for ctx.Err() == nil {
		granted, code, err := u.register(ctx, u.expires)
		u.note(granted, code, err)
		wait := u.renewal(granted)
		if err != nil {
			wait = u.backoff(fails)
			fails++
			u.agent.log.Warn("sip: not registered", "upstream", u.conf.Name, "code", code, "err", err, "again in", wait)
		} else {
			fails = 0
			if !up {
				u.agent.log.Info("sip: registered", "upstream", u.conf.Name, "for", granted)
			}
		}
		up = err == nil
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	if u.registered() {
		u.register(u.agent.life, 0)
		u.note(0, 0, ErrEnded)
	}
}

func (u *uplink) registered() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.now.Registered
}

func (u *uplink) note(granted int, code int, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.now.Code, u.now.Err = code, ""
	if err != nil {
		u.now.Err = clean(err.Error(), maxReason)
		if u.now.Until.Before(u.agent.cfg.Now()) || errors.Is(err, ErrEnded) {
			u.now.Registered = false
		}
		return
	}
	u.now.Registered = true
	u.now.Until = u.agent.cfg.Now().Add(u.agent.seconds(granted))
}

// renewal is when to register again: well before the end, so that several attempts fit in.
func (u *uplink) renewal(granted int) time.Duration {
	d := u.agent.seconds(granted)
	return max(d-max(d/10, min(d/2, 30*u.agent.cfg.Timers.Second)), u.agent.cfg.Timers.Second/2)
}

// backoff doubles, with a random quarter more or less so that a branch does not come back all at once.
func (u *uplink) backoff(fails int) time.Duration {
	d := u.agent.cfg.Timers.RegisterRetry << min(fails, 6)
	return d*3/4 + time.Duration(rand.Int64N(int64(d)/2+1))
}

// register sends REGISTER until it is answered for good, and returns the seconds granted.
func (u *uplink) register(ctx context.Context, expires int) (granted, code int, err error) {
	if u.domain.Host == "" {
		return 0, 0, fmt.Errorf("%w: registrar %q", ErrInvalid, u.conf.Registrar)
	}
	u.auth = u.auth.again()
	var challenge *gosip.Response
	for range maxChallenges + 2 {
		req := u.request(expires)
		if challenge != nil {
			if err := u.auth.answer(req, challenge); err != nil {
				return 0, challenge.StatusCode, err
			}
		}
		res, err := u.send(ctx, req)
		switch {
		case err != nil:
			return 0, 0, err
		case challenged(res):
			challenge = res
		case res.StatusCode == 423:
			least, ok := headerSeconds(res, "Min-Expires")
			if !ok || least <= expires || least > maxExpires {
				return 0, 423, fmt.Errorf("%w: 423 without a longer Min-Expires", ErrState)
			}
			expires, u.expires = least, least
		case res.IsSuccess():
			return u.granted(res, expires), res.StatusCode, nil
		default:
			return 0, res.StatusCode, fmt.Errorf("sip: %d %s", res.StatusCode, clean(res.Reason, maxReason))
		}
	}
	return 0, 0, fmt.Errorf("%w: credentials refused", ErrState)
}

// send tries the addresses of the registrar one after the other.
func (u *uplink) send(ctx context.Context, req *gosip.Request) (*gosip.Response, error) {
	to := u.domain
	if u.conf.Proxy != "" {
		p, err := parseURI(u.conf.Proxy)
		if err != nil {
			return nil, err
		}
		to = p
	}
	hops, err := u.agent.resolve(ctx, to)
	if err != nil {
		return nil, err
	}
	for _, h := range hops {
		var res *gosip.Response
		try, cancel := context.WithTimeout(ctx, u.agent.cfg.Timers.Try)
		res, err = u.agent.final(try, &outgoing{req: req, where: at(h), user: u.token})
		timedOut := try.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil {
			return res, nil
		}
		if timedOut {
			err = fmt.Errorf("%w: no answer from %s", errTimeout, h.addr)
		}
	}
	return nil, err
}

func (u *uplink) request(expires int) *gosip.Request {
	u.seq++
	domain := gosip.Uri{Scheme: u.domain.Scheme, Host: u.domain.Host, Port: u.domain.Port}
	aor := gosip.Uri{Scheme: domain.Scheme, User: escapeUser(u.conf.User), Host: domain.Host}
	req := gosip.NewRequest(gosip.REGISTER, domain)
	from, to := &gosip.FromHeader{Address: aor}, &gosip.ToHeader{Address: aor}
	from.Params.Add("tag", u.tag)
	maxForwards := gosip.MaxForwardsHeader(70)
	callID := gosip.CallIDHeader(u.callID)
	req.AppendHeader(&maxForwards)
	req.AppendHeader(from)
	req.AppendHeader(to)
	req.AppendHeader(&callID)
	req.AppendHeader(&gosip.CSeqHeader{SeqNo: u.seq, MethodName: gosip.REGISTER})
	req.AppendHeader(gosip.NewHeader("Expires", strconv.Itoa(expires)))
	req.AppendHeader(u.agent.allow())
	req.AppendHeader(gosip.NewHeader("User-Agent", u.agent.cfg.UserAgent))
	req.SetBody(nil)
	return req
}

// granted reads how long the binding lives: our contact's own expires, else the Expires header, else what we asked for.
func (u *uplink) granted(res *gosip.Response, asked int) int {
	for _, h := range res.GetHeaders("Contact") {
		if c, ok := h.(*gosip.ContactHeader); ok && u.owns(userOf(c.Address)) {
			if v, ok := c.Params.Get("expires"); ok {
				if n, err := strconv.Atoi(v); err == nil && n > 0 && n <= maxExpires {
					return n
				}
			}
		}
	}
	if n, ok := headerSeconds(res, "Expires"); ok && n > 0 && n <= maxExpires {
		return n
	}
	return max(asked, 1)
}
