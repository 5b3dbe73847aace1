// Digits: by RFC 4733 through the leg, or by INFO (RFC 6086) in the two forms that phones use.

package sip

import (
	"strconv"
	"strings"
	"time"

	gosip "github.com/emiago/sipgo/sip"

	"parley/sip/rtp"
)

const (
	relayType = "application/dtmf-relay"
	dtmfType  = "application/dtmf"
	digits    = "0123456789*#ABCD"
	maxDigits = 32
)

func validDigits(s string) bool {
	return s != "" && len(s) <= maxDigits && strings.Trim(s, digits) == ""
}

// onLegEvent takes what the leg has heard.
func (c *Call) onLegEvent(ev rtp.Event) {
	switch ev.Kind {
	case rtp.DigitDown:
		c.emit(Event{Kind: DTMF, Digit: ev.Digit, Duration: ev.Duration})
	case rtp.SpurtStart:
		c.emit(Event{Kind: SpurtStart})
	case rtp.SpurtEnd:
		c.emit(Event{Kind: SpurtEnd})
	}
}

// onInfo takes a digit out of an INFO.
func (c *Call) onInfo(in *inbound) {
	body := string(in.req.Body())
	if len(body) == 0 {
		in.reply(200, "")
		return
	}
	var digit byte
	var length time.Duration
	switch mediaType(in.req) {
	case relayType:
		digit, length = relay(body)
	case dtmfType:
		digit = oneDigit(strings.TrimSpace(body))
	default:
		in.reply(415, "", gosip.NewHeader("Accept", relayType+", "+dtmfType))
		return
	}
	if digit == 0 {
		in.reply(400, "")
		return
	}
	in.reply(200, "")
	if length == 0 {
		length = 100 * time.Millisecond
	}
	c.emit(Event{Kind: DTMF, Digit: digit, Duration: length})
}

// relay reads "Signal=5" and "Duration=160" (ms), one per line, in any order and spacing.
func relay(body string) (digit byte, length time.Duration) {
	if len(body) > 256 {
		return 0, 0
	}
	for _, line := range strings.Split(body, "\n") {
		k, v, _ := strings.Cut(line, "=")
		switch v = strings.TrimSpace(v); strings.ToLower(strings.TrimSpace(k)) {
		case "signal":
			digit = oneDigit(v)
		case "duration":
			if ms, err := strconv.Atoi(v); err == nil && ms > 0 && ms <= 10000 {
				length = time.Duration(ms) * time.Millisecond
			}
		}
	}
	return digit, length
}

// oneDigit is s as a digit, 0 if it is none. Some phones send the event's number.
func oneDigit(s string) byte {
	if n, err := strconv.Atoi(s); err == nil && n >= 10 && n <= 15 && len(s) == 2 {
		return digits[n]
	}
	if s = strings.ToUpper(s); len(s) == 1 && strings.Contains(digits, s) {
		return s[0]
	}
	return 0
}

// sendDTMF presses digits one after the other.
func (c *Call) sendDTMF(s string, d time.Duration) {
	if c.State() != Talking || c.media.leg == nil {
		return
	}
	if ag := c.media.agreed; ag != nil && ag.EventPT >= 0 {
		for i := range len(s) {
			if err := c.media.leg.SendDTMF(s[i], d); err != nil {
				c.agent.log.Info("sip: digit not sent", "call", c.id, "err", err)
				return
			}
		}
		return
	}
	c.send(gosip.INFO, func(req *gosip.Request) {
		req.AppendHeader(gosip.NewHeader("Content-Type", relayType))
		req.SetBody([]byte("Signal=" + s[:1] + "\r\nDuration=" + strconv.Itoa(int(d/time.Millisecond)) + "\r\n"))
	}, func(res *gosip.Response, err error) {
		if err == nil && res.IsSuccess() && len(s) > 1 {
			c.sendDTMF(s[1:], d)
		}
	})
}
