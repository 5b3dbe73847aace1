// What of a call is kept on disk, so that it outlives the program.

package sip

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"

	gosip "github.com/emiago/sipgo/sip"

	"parley/audio"
	"parley/sip/sdp"
)

// Dialog is what must outlive the program for a call to go on afterwards: Agent.Restore makes the call of it again. It is made to be
// stored, as JSON for instance, and two can be compared with ==. It holds no password and no media key: a secure call gets new
// keys when it is restored.
type Dialog struct {
	ID       string `json:"id"` // Call.ID, the same before and after
	Outgoing bool   `json:"outgoing,omitempty"`

	CallID    string `json:"call_id"`
	LocalTag  string `json:"local_tag"`
	RemoteTag string `json:"remote_tag,omitempty"`
	LocalSeq  uint32 `json:"local_seq"` // within seqGap of the last CSeq that we sent
	RemoteSeq uint32 `json:"remote_seq,omitempty"`

	LocalURI   string `json:"local_uri"`
	LocalName  string `json:"local_name,omitempty"`
	RemoteURI  string `json:"remote_uri"`
	RemoteName string `json:"remote_name,omitempty"`
	RemoteUA   string `json:"remote_ua,omitempty"`
	Contact    string `json:"contact"`          // the remote target
	Routes     string `json:"routes,omitempty"` // URIs in the order in which they are visited, a space between them

	Transport string         `json:"transport"` // "udp", "tcp", "tls"
	Peer      netip.AddrPort `json:"peer"`
	PeerHost  string         `json:"peer_host,omitempty"` // TLS: whose certificate it must be
	NAT       bool           `json:"nat,omitempty"`
	Allow     string         `json:"allow,omitempty"` // methods and extensions of the far end, a space between them
	Supported string         `json:"supported,omitempty"`

	Number   string `json:"number"`
	From     string `json:"from,omitempty"`
	Name     string `json:"name,omitempty"`
	Target   string `json:"target,omitempty"`
	User     string `json:"user,omitempty"`
	Upstream string `json:"upstream,omitempty"` // whose credentials answer challenges
	Caller   string `json:"caller,omitempty"`   // as the gate counts it
	Focus    bool   `json:"focus,omitempty"`

	Port   int    `json:"port"`           // of RTP
	SSRC   uint32 `json:"ssrc,omitempty"` // 0: a new one, since new keys want a new stream
	Codecs string `json:"codecs"`         // in order of preference, a space between them
	SDP    string `json:"sdp"`            // ours in force, without keys
	Secure bool   `json:"secure,omitempty"`
	Held   bool   `json:"held,omitempty"` // by us

	Expires   time.Duration `json:"expires,omitempty"` // session interval
	Refresher bool          `json:"refresher,omitempty"`
	Began     time.Time     `json:"began"`
	Answered  time.Time     `json:"answered"`
}

// seqGap is how far the CSeq of a call may be ahead of the one that was kept.
const seqGap = 50

// Dialog is what the call could be restored from, as it was told last by Answered or DialogChanged; false before the call was
// answered, and when it is over.
func (c *Call) Dialog() (Dialog, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.saved == nil || c.info.State == Over {
		return Dialog{}, false
	}
	return *c.saved, true
}

// changed keeps the dialog as it is now, and tells so if it is not the first time and not the CSeq alone.
func (c *Call) changed() {
	if c.State() != Talking || c.media.leg == nil || c.media.stands == nil {
		return
	}
	d := c.record()
	c.mu.Lock()
	old := c.saved
	if old != nil && d.LocalSeq < old.LocalSeq+seqGap {
		same := *old
		same.LocalSeq, same.RemoteSeq = d.LocalSeq, d.RemoteSeq
		if same == d {
			c.mu.Unlock()
			return
		}
	}
	c.saved = &d
	c.mu.Unlock()
	if old != nil {
		c.emit(Event{Kind: DialogChanged})
	}
}

// outran keeps the dialog when many requests were sent in it.
func (c *Call) outran() {
	c.mu.Lock()
	far := c.saved != nil && c.dialog.localSeq >= c.saved.LocalSeq+seqGap
	c.mu.Unlock()
	if far {
		c.changed()
	}
}

// record writes the dialog down.
func (c *Call) record() Dialog {
	d, i := &c.dialog, c.Info()
	r := Dialog{
		ID: c.id, Outgoing: c.direction == Out,
		CallID: d.key.call, LocalTag: d.key.tag, RemoteTag: d.remoteTag, LocalSeq: d.localSeq, RemoteSeq: d.remoteSeq,
		LocalURI: d.local.Address.String(), LocalName: unquoted(d.local.DisplayName),
		RemoteURI: d.remote.Address.String(), RemoteName: unquoted(d.remote.DisplayName), RemoteUA: i.Agent,
		Contact: d.target.String(), Transport: d.hop.network, Peer: d.hop.addr, PeerHost: d.hop.name, NAT: d.nat,
		Allow: strings.Join(d.allow, " "), Supported: strings.Join(d.supported, " "),
		Number: c.number, From: c.from, Name: c.name, Target: c.target, User: i.User, Upstream: i.Upstream, Caller: c.uas.caller,
		Port: c.media.leg.LocalPort(), SSRC: c.media.leg.SSRC(), Held: c.media.hold, SDP: c.media.keyless(),
		Expires: c.session.interval, Refresher: c.session.ours, Began: i.Began.Round(0), Answered: i.Answered.Round(0),
	}
	c.mu.Lock()
	r.Focus = c.focus
	c.mu.Unlock()
	if ag := c.media.agreed; ag != nil && ag.SRTP != nil {
		r.Secure, r.SSRC = true, 0
	}
	var uris, names []string
	for _, u := range d.routes {
		uris = append(uris, u.String())
	}
	for _, codec := range c.media.codecs {
		names = append(names, codec.Format().Codec)
	}
	r.Routes, r.Codecs = strings.Join(uris, " "), strings.Join(names, " ")
	return r
}

// keyless is our description in force without keys.
func (m *media) keyless() string {
	d := sdp.Description{Origin: m.stands.Origin, Media: append([]sdp.Media(nil), m.stands.Media...)}
	for i := range d.Media {
		d.Media[i].Crypto = nil
	}
	return string(d.Marshal())
}

// dialog reads the record: what SIP must know. An error is an ErrInvalid.
func (r *Dialog) dialog(a *Agent) (dialog, error) {
	d := dialog{
		key: dialogKey{call: r.CallID, tag: r.LocalTag}, remoteTag: r.RemoteTag, localSeq: r.LocalSeq + 2*seqGap,
		remoteSeq: r.RemoteSeq, heard: r.RemoteSeq != 0, nat: r.NAT, hop: hop{network: r.Transport, addr: r.Peer, name: r.PeerHost},
		allow: strings.Fields(r.Allow), supported: strings.Fields(r.Supported),
	}
	if err := r.check(); err != nil {
		return d, err
	}
	var uris [3]gosip.Uri
	for i, s := range []string{r.LocalURI, r.RemoteURI, r.Contact} {
		var err error
		if i < 2 && visible(s, "<>\"") && strings.HasPrefix(s, "tel:") { // From and To need not lead anywhere
			err = gosip.ParseUri(s, &uris[i])
		} else {
			uris[i], err = parseURI(s)
		}
		if err != nil {
			return d, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	for _, s := range strings.Fields(r.Routes) {
		u, err := parseURI(s)
		if err != nil {
			return d, err
		}
		if d.routes = append(d.routes, u); len(d.routes) > maxRoutes {
			return d, fmt.Errorf("%w: more than %d routes", ErrInvalid, maxRoutes)
		}
	}
	d.target = uris[2]
	d.local = gosip.FromHeader{DisplayName: quoted(r.LocalName), Address: uris[0]}
	d.local.Params.Add("tag", r.LocalTag)
	d.remote = gosip.ToHeader{DisplayName: quoted(r.RemoteName), Address: uris[1]}
	if r.RemoteTag != "" {
		d.remote.Params.Add("tag", r.RemoteTag)
	}
	for _, u := range a.uplinks {
		if r.Upstream != "" && u.conf.Name == r.Upstream {
			d.auth = newCredentials(u.conf.credentials())
		}
	}
	return d, nil
}

// check looks for what would not survive in a header, or makes no sense.
func (r *Dialog) check() error {
	bad := ""
	switch {
	case !visible(r.CallID, "") || !visible(r.LocalTag, ";,\"<>") || r.RemoteTag != "" && !visible(r.RemoteTag, ";,\"<>"):
		bad = "Call-ID or tags"
	case r.LocalSeq > 1<<31-1-4*seqGap || r.RemoteSeq > 1<<31-1:
		bad = "CSeq"
	case r.Transport != "udp" && r.Transport != "tcp" && r.Transport != "tls" || !r.Peer.IsValid() || r.Peer.Port() == 0:
		bad = "peer"
	case r.Port < 0 || r.Port > 65535 || r.Expires < 0:
		bad = "port or interval"
	}
	for _, s := range []string{r.ID, r.LocalName, r.RemoteName, r.Number, r.From, r.Name, r.PeerHost} {
		if !printable(s, maxURI) {
			bad = "text"
		}
	}
	if bad != "" {
		return fmt.Errorf("%w: %s of the dialog", ErrInvalid, bad)
	}
	return nil
}

// visible reports whether s is a word of ASCII without spaces, controls and what stands in but.
func visible(s, but string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f || strings.IndexByte(but, s[i]) >= 0 {
			return false
		}
	}
	return s != "" && len(s) <= maxHeader
}

// revive reads the record: what the sound must know.
func (m *media) revive(a *Agent, r Dialog, d *dialog) error {
	var codecs []audio.Codec
	for _, name := range strings.Fields(r.Codecs) {
		for _, c := range a.cfg.Codecs {
			if c.Format().Codec == name {
				codecs = append(codecs, c)
			}
		}
	}
	policy := a.cfg.SRTP
	switch {
	case r.Secure:
		policy = sdp.Require
	case policy == sdp.Require:
		policy = sdp.Disable
	}
	if err := m.prepare(a, codecs, policy, r.Transport == "tls"); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	ours, err := sdp.Parse([]byte(r.SDP))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	ours.Origin.Version++ // so that the far end looks at it, whatever is the same
	m.stands, m.hold = ours, r.Held
	m.port, m.ssrc = r.Port, r.SSRC
	m.peer, m.nat = d.hop.addr.Addr(), d.nat
	return nil
}

// call makes the call of the record, at rest.
func (r *Dialog) call(a *Agent, d dialog) (*Call, error) {
	direction := In
	if r.Outgoing {
		direction = Out
	}
	c := a.newCall(direction, d.key)
	c.id = cmp.Or(r.ID, c.id)
	c.number, c.from, c.name, c.target, c.focus = r.Number, r.From, r.Name, r.Target, r.Focus
	c.dialog, c.far = d, []string{d.remoteTag}
	c.uas.final, c.uac.final = true, true
	c.session.interval, c.session.ours = r.Expires, r.Refresher
	c.info = Info{State: Restoring, Transport: r.Transport, Peer: r.Peer, User: r.User, Upstream: r.Upstream, Began: r.Began,
		Answered: r.Answered, Agent: clean(r.RemoteUA, maxName), Expires: r.Expires, HeldHere: r.Held}
	if err := c.media.revive(a, *r, &c.dialog); err != nil {
		return nil, err
	}
	c.re.heldThen = r.Held
	saved := *r
	c.saved = &saved
	return c, nil
}
