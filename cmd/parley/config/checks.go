package config

import (
	"crypto/ed25519"
	"encoding/base64"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"parley/sip/route"
)

// The checks answer "" for a right value, else what would be right.

func matching(fits func(string) bool, remedy string) func(string) string {
	return func(s string) string {
		if fits(s) {
			return ""
		}
		return remedy
	}
}

func either(a, b func(string) string) func(string) string {
	return func(s string) string {
		first, second := a(s), b(s)
		if first == "" || second == "" {
			return ""
		}
		return first + "; or " + second
	}
}

// orEmpty lets the empty text pass.
func orEmpty(check func(string) string) func(string) string {
	return func(s string) string {
		if s == "" {
			return ""
		}
		return check(s)
	}
}

func shorter(limit int) func(string) string {
	remedy := "at most " + strconv.Itoa(limit) + " bytes"
	return func(s string) string {
		if len(s) <= limit {
			return ""
		}
		return remedy
	}
}

// hostPort wants host:port, where the host may be a name or an address, IPv6 in brackets.
func hostPort(s string) string {
	const remedy = "host:port, such as 127.0.0.1:5060 or [::1]:5060"
	host, port, err := net.SplitHostPort(s)
	if err != nil || len(s) > 260 {
		return remedy
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return remedy + "; a port is 0…65535"
	}
	if host == "" {
		return remedy + "; 0.0.0.0 is every interface"
	}
	return hostName(host)
}

// hostName wants a DNS name or an address without brackets.
func hostName(s string) string {
	if _, err := netip.ParseAddr(s); err == nil || dnsNameShape.fits(s) && !looksLikeIPv4(s) {
		return ""
	}
	return "a host name or an IP address"
}

// looksLikeIPv4 keeps 127.0.0.256 from passing as a name.
func looksLikeIPv4(s string) bool { return strings.Trim(s, "0123456789.") == "" }

func address(s string) string {
	if _, err := netip.ParseAddr(s); err == nil {
		return ""
	}
	return "an IP address, such as 127.0.0.1 or ::"
}

// sipURI wants sip: or sips:, an optional user, a host, an optional port and parameters (RFC 3261, 19.1).
func sipURI(s string) string {
	const remedy = "a SIP URI, such as sip:1000@pbx.example.com or sip:pbx.example.com;transport=tcp"
	rest, ok := strings.CutPrefix(s, "sips:")
	if !ok {
		rest, ok = strings.CutPrefix(s, "sip:")
	}
	if !ok || len(s) > 512 {
		return remedy
	}
	if user, after, found := strings.Cut(rest, "@"); found {
		if !sipUserShape.fits(user) {
			return remedy
		}
		rest = after
	}
	host, tail := rest, ""
	if i := strings.IndexByte(rest, ';'); i >= 0 {
		host, tail = rest[:i], rest[i:]
	}
	if !sipTail(tail) || hostMaybePort(host) != "" {
		return remedy
	}
	if _, err := route.ParseURI(s); err != nil { // what looks right here must be right there
		return remedy + "; transport is udp, tcp or tls, and sips is not over udp"
	}
	return ""
}

// hostMaybePort wants host or host:port, IPv6 in brackets.
func hostMaybePort(s string) string {
	const remedy = "host or host:port, such as pbx.example.com:5060"
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		if a, err := netip.ParseAddr(s[1 : len(s)-1]); err == nil && a.Is6() {
			return ""
		}
		return remedy
	}
	if strings.Contains(s, ":") {
		if hostPort(s) != "" {
			return remedy
		}
		return ""
	}
	if hostName(s) != "" {
		return remedy
	}
	return ""
}

// sipServer wants a SIP URI without user, or host[:port].
func sipServer(s string) string {
	if strings.Contains(s, "@") {
		return "a server without a user, such as sip:pbx.example.com or pbx.example.com:5060"
	}
	if hostMaybePort(s) == "" {
		return sipURI("sip:" + s)
	}
	return sipURI(s)
}

// gateway wants an upstream's name or a SIP URI without user.
func gateway(s string) string {
	if slug(s) == "" || strings.HasPrefix(s, "sip") && sipServer(s) == "" {
		return ""
	}
	return "a name of sip.upstreams, or a SIP URI such as sip:pbx.example.com;transport=tcp"
}

// brokerURL wants "embedded" or mqtt(s)://host[:port] without credentials in it.
func brokerURL(s string) string {
	const remedy = "embedded, mqtt://host:1883 or mqtts://host:8883"
	if s == BrokerEmbedded {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "mqtt" && u.Scheme != "mqtts" || hostMaybePort(u.Host) != "" {
		return remedy
	}
	if u.User != nil {
		return remedy + "; user and password have keys of their own"
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return remedy + ", and nothing behind it"
	}
	return ""
}

// loopback tells whether only this machine can reach a listener at host:port or at an address.
func loopback(s string) bool {
	host, _, err := net.SplitHostPort(s)
	if err != nil {
		host = s
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// parseZone reads what meetings.time_zone takes.
func parseZone(s string) (*time.Location, error) {
	if !isOffset(s) {
		return time.LoadLocation(s)
	}
	t, err := time.Parse("-07:00", s)
	if err != nil {
		return nil, err
	}
	_, seconds := t.Zone()
	return time.FixedZone(s, seconds), nil
}

func zone(s string) string {
	if _, err := parseZone(s); err != nil || s == "" || len(s) > 64 {
		return "Local, UTC, an offset such as +08:00, or a name that this machine's time zone data has, such as Asia/Shanghai"
	}
	return ""
}

// publicKey wants an Ed25519 public key.
func publicKey(s string) string {
	if b, err := base64.StdEncoding.Strict().DecodeString(s); err != nil || len(b) != ed25519.PublicKeySize {
		return "base64 of the 32 bytes of an Ed25519 key, as `parleyctl key` prints it"
	}
	return ""
}
