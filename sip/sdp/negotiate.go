package sdp

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// MaxPtime is the longest packet that we send or ask for, ms.
const MaxPtime = 60

// firstDynamic is where payload types are given out that nobody has chosen (RFC 3551, 3).
const firstDynamic = 96

// Offer makes an offer, also the one in a 200 to an INVITE without any. stands is our description that is in force, if the
// session exists already: its streams keep their places, codecs their payload types, and the version of o= grows by one
// if anything differs.
func Offer(l Local, stands *Description) *Description {
	d := &Description{Origin: l.Origin}
	m := l.audio("RTP/AVP")
	if l.SRTP == Require {
		m.Proto = "RTP/SAVP"
	}
	if l.SRTP != Disable {
		m.Crypto = []Crypto{{Tag: 1, Suite: SuiteSHA1_80, Key: l.Key}, {Tag: 2, Suite: SuiteSHA1_32, Key: l.Key}}
	}
	m.Mux = l.Mux
	m.MaxPtime = MaxPtime
	m.Direction = l.Direction
	var used []Codec
	index := 0
	if stands != nil {
		d.Media = slices.Clone(stands.Media)
		if index = slices.IndexFunc(d.Media, inUse); index < 0 {
			index = len(d.Media)
		} else {
			used = d.Media[index].Codecs
			m.MID = d.Media[index].MID
			if p := d.Media[index].Proto; l.SRTP != Disable || !d.Media[index].secure() {
				m.Proto = p // what has been agreed on is not put in question
			}
		}
		for i := range d.Media {
			if i != index {
				d.Media[i].Port = 0
			}
		}
	}
	if index == len(d.Media) {
		d.Media = append(d.Media, Media{})
	}
	m.Codecs = l.number(used)
	m.setFormats()
	d.Media[index] = m
	d.follow(stands)
	return d
}

// inUse finds our audio stream in a description of ours.
func inUse(m Media) bool { return m.Type == "audio" && m.Port != 0 }

// audio is our stream without codecs.
func (l *Local) audio(proto string) Media {
	m := Media{Type: "audio", Port: l.Addr.Port(), Proto: proto, Conn: l.Addr.Addr(), HasConn: true, Ptime: l.ptime()}
	if l.RTCP != 0 && l.RTCP != m.Port+1 {
		m.RTCPPort = l.RTCP
	}
	return m
}

func (l *Local) ptime() int { return legalPtime(l.Ptime, 20) }

// legalPtime rounds down to a length that we can send.
func legalPtime(ms, otherwise int) int {
	switch ms = min(ms, MaxPtime) / 10 * 10; {
	case ms > 0:
		return ms
	default:
		return otherwise
	}
}

func (m *Media) setFormats() {
	m.Formats = make([]string, 0, len(m.Codecs))
	for _, c := range m.Codecs {
		m.Formats = append(m.Formats, strconv.Itoa(int(c.PayloadType)))
	}
}

// number gives our codecs payload types: those they had in the session, static ones, those of the Local, free ones.
func (l *Local) number(used []Codec) []Codec {
	taken := map[uint8]bool{}
	for _, u := range used {
		taken[u.PayloadType] = true
	}
	var out []Codec
	add := func(c Codec, wish uint8) {
		for _, u := range used {
			if u.is(c) {
				c.PayloadType = u.PayloadType
				out = append(out, c)
				return
			}
		}
		if s, ok := static[strconv.Itoa(int(wish))]; ok && !s.is(c) || wish < firstDynamic && !ok || taken[wish] {
			wish = firstDynamic
		}
		for taken[wish] && wish < 127 {
			wish++
		}
		taken[wish] = true
		c.PayloadType = wish
		out = append(out, c)
	}
	clocks := []int{}
	for _, c := range l.Codecs {
		wish := c.PayloadType
		for _, s := range static {
			if s.is(c) {
				wish = s.PayloadType
			}
		}
		add(c, wish)
		if !slices.Contains(clocks, c.ClockRate) {
			clocks = append(clocks, c.ClockRate)
		}
	}
	if l.Events {
		for _, clock := range clocks {
			add(Codec{Name: EventName, ClockRate: clock, Channels: 1, Fmtp: "0-15"}, eventWish(clock))
		}
	}
	return out
}

// eventWish is the payload type that most phones use.
func eventWish(clock int) uint8 {
	if clock == 8000 {
		return 101
	}
	return 102
}

// is tells whether two entries mean the same codec. Encoding names are compared without case (RFC 8866, 6.6).
func (c Codec) is(o Codec) bool {
	return c.ClockRate == o.ClockRate && max(c.Channels, 1) == max(o.Channels, 1) && strings.EqualFold(c.Name, o.Name)
}

// Answer answers an offer and says what is agreed. The first usable audio stream is taken and all others get port 0. Of the
// codecs, the first of ours that the offer has is taken, and no other: the far end then never changes it in mid-stream.
// stands is our description in force, or nil.
func Answer(offer *Description, l Local, stands *Description) (*Description, *Agreed, error) {
	index, codec, keys, err := l.choose(offer)
	if err != nil {
		return nil, nil, err
	}
	d := &Description{Origin: l.Origin, Media: make([]Media, len(offer.Media))}
	for i := range offer.Media {
		o := &offer.Media[i]
		d.Media[i] = Media{Type: o.Type, Proto: o.Proto, Formats: o.Formats}
	}
	o := &offer.Media[index]
	if l.Alt.IsValid() && o.Conn.IsValid() && o.Conn.Is4() == l.Alt.Addr().Is4() {
		l.Addr = l.Alt
	}
	m := l.audio(o.Proto)
	m.MID = o.MID
	m.Codecs = []Codec{codec}
	if ev, ok := l.event(o, codec); ok {
		m.Codecs = append(m.Codecs, ev)
	}
	m.setFormats()
	m.Mux = l.Mux && o.Mux
	if m.Mux {
		m.RTCPPort = 0
	}
	held := o.held()
	m.Direction = Make(l.Direction.Sends() && !held, l.Direction.Receives() && o.Direction.Sends())
	if keys != nil {
		m.Crypto = []Crypto{{Tag: keys.Tag, Suite: keys.Suite, Key: l.Key}}
	}
	d.Media[index] = m
	d.follow(stands)
	a := agree(&m, o, index)
	if keys != nil {
		a.SRTP = &SRTP{Suite: keys.Suite, Local: l.Key, Remote: keys.Key}
	}
	return d, a, nil
}

// held tells whether the one whose description it is does not want our sound.
func (m *Media) held() bool {
	return !m.Direction.Receives() || m.Conn.IsValid() && m.Conn.IsUnspecified()
}

// choose finds the stream, the codec and the keys with which to answer.
func (l *Local) choose(offer *Description) (index int, codec Codec, keys *Crypto, err error) {
	err = ErrNoAudio
	for i := range offer.Media {
		m := &offer.Media[i]
		if !m.rtp() || m.Port == 0 || !m.HasConn {
			continue
		}
		k, kerr := l.keys(m)
		c, found := l.common(m)
		switch {
		case kerr != nil:
			err = worse(err, kerr)
		case !found:
			err = worse(err, ErrNoCommonCodec)
		default:
			return i, c, k, nil
		}
	}
	return 0, Codec{}, nil, err
}

// worse keeps the first reason that says more than that there is no audio.
func worse(had, now error) error {
	if had == ErrNoAudio {
		return now
	}
	return had
}

// common is the first of our codecs that the stream has, under the stream's payload type and with its parameters.
func (l *Local) common(m *Media) (Codec, bool) {
	for _, ours := range l.Codecs {
		for _, theirs := range m.Codecs {
			if ours.is(theirs) {
				ours.PayloadType = theirs.PayloadType
				return ours, true
			}
		}
	}
	return Codec{}, false
}

// event is the stream's telephone-event of the codec's clock, else the one at 8000 Hz: many phones offer no other beside Opus.
func (l *Local) event(m *Media, codec Codec) (Codec, bool) {
	if !l.Events {
		return Codec{}, false
	}
	for _, clock := range []int{codec.ClockRate, 8000} {
		for _, c := range m.Codecs {
			if c.is(Codec{Name: EventName, ClockRate: clock}) {
				return Codec{Name: EventName, ClockRate: clock, Channels: 1, PayloadType: c.PayloadType, Fmtp: "0-15"}, true
			}
		}
	}
	return Codec{}, false
}

// keys applies the policy to an offered stream; nil keys are plain RTP.
func (l *Local) keys(m *Media) (*Crypto, error) {
	switch {
	case l.SRTP == Disable && m.secure():
		return nil, ErrCryptoRefused
	case l.SRTP == Disable:
		return nil, nil
	case len(m.Crypto) > 0 && len(l.Key) == KeySize:
		return &m.Crypto[0], nil // the offerer's first choice (RFC 4568, 5.1.2)
	case l.SRTP == Require:
		return nil, ErrCryptoRequired
	case m.secure():
		return nil, ErrCryptoRefused
	}
	return nil, nil
}

// Accept reads the answer to an offer of ours.
func Accept(offer, answer *Description, l Local) (*Agreed, error) {
	if len(answer.Media) != len(offer.Media) {
		return nil, ErrMismatch
	}
	index := slices.IndexFunc(offer.Media, inUse)
	if index < 0 {
		return nil, ErrNoAudio
	}
	ours, theirs := &offer.Media[index], &answer.Media[index]
	if theirs.Port == 0 {
		return nil, ErrNoAudio
	}
	if theirs.Type != ours.Type || !theirs.rtp() || !theirs.HasConn {
		return nil, ErrMismatch
	}
	m := *ours
	m.Codecs = nil
	for _, t := range theirs.Codecs { // the answerer's first choice (RFC 3264, 6.1)
		for _, o := range ours.Codecs {
			if o.is(t) && o.Name != EventName {
				o.PayloadType = t.PayloadType
				m.Codecs = append(m.Codecs, o)
			}
		}
	}
	if len(m.Codecs) == 0 {
		return nil, ErrNoCommonCodec
	}
	m.Codecs = m.Codecs[:1]
	if ev, ok := l.event(theirs, m.Codecs[0]); ok {
		m.Codecs = append(m.Codecs, ev)
	}
	m.Mux = ours.Mux && theirs.Mux
	keys, err := l.answered(ours, theirs)
	if err != nil {
		return nil, err
	}
	m.Direction = Make(ours.Direction.Sends() && !theirs.held(), ours.Direction.Receives() && theirs.Direction.Sends())
	a := agree(&m, theirs, index)
	a.SRTP = keys
	return a, nil
}

// answered finds the keys that an answer has taken up.
func (l *Local) answered(ours, theirs *Media) (*SRTP, error) {
	for _, c := range ours.Crypto {
		if len(theirs.Crypto) > 0 && theirs.Crypto[0].Tag == c.Tag && theirs.Crypto[0].Suite == c.Suite {
			return &SRTP{Suite: c.Suite, Local: c.Key, Remote: theirs.Crypto[0].Key}, nil
		}
	}
	switch {
	case l.SRTP == Require:
		return nil, ErrCryptoRequired
	case theirs.secure() || theirs.HasCrypto:
		return nil, ErrMismatch
	}
	return nil, nil
}

// agree says what our stream m and theirs come to.
func agree(m, theirs *Media, index int) *Agreed {
	a := &Agreed{Codec: m.Codecs[0], EventPT: -1, Mux: m.Mux, Index: index, Held: theirs.held(),
		Send: m.Direction.Sends(), Receive: m.Direction.Receives()}
	a.Ptime = legalPtime(theirs.Ptime, m.Ptime)
	if theirs.MaxPtime > 0 {
		a.Ptime = min(a.Ptime, legalPtime(theirs.MaxPtime, 10))
	}
	if a.Codec.Name == "opus" && (a.Ptime == 30 || a.Ptime == 50) {
		a.Ptime -= 10 // there are no Opus frames of that length (RFC 6716, 2.1.4)
	}
	for _, c := range theirs.Codecs {
		if c.PayloadType == a.Codec.PayloadType {
			a.RemoteFmtp = c.Fmtp
		}
	}
	if len(m.Codecs) > 1 {
		a.EventPT, a.EventClock = int(m.Codecs[1].PayloadType), m.Codecs[1].ClockRate
	}
	if theirs.Conn.IsValid() && !theirs.Conn.IsUnspecified() {
		a.Remote = netip.AddrPortFrom(theirs.Conn, theirs.Port)
		switch {
		case a.Mux:
			a.RemoteRTCP = a.Remote
		case theirs.RTCP.IsValid():
			a.RemoteRTCP = theirs.RTCP
		case theirs.Port < 65535:
			a.RemoteRTCP = netip.AddrPortFrom(theirs.Conn, theirs.Port+1)
		}
	}
	return a
}

// follow sets the version: the one in force if nothing has changed, else the next (RFC 3264, 8).
func (d *Description) follow(stands *Description) {
	if stands == nil {
		return
	}
	d.Origin = stands.Origin
	if !bytes.Equal(d.Marshal(), stands.Marshal()) {
		d.Origin.Version++
	}
}
