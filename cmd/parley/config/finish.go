package config

import (
	"fmt"
	"net"
	"os"
	"strings"
)

// finish fills in the defaults that hang on the machine or on other settings, then holds settings against each other.
func (r *reader) finish(c *Config) {
	if c.Box == "" {
		c.Box = boxName()
	}
	if c.Data == "" {
		c.Data = dataFolder(r.from.Env)
	}
	if !r.given("provision.enrol") {
		_, err := os.Stat(c.Provision.BootFile)
		c.Provision.Enrol = err == nil
	}
	if !r.given("place.join_at_start") {
		c.Place.JoinAtStart = c.Board == "desk"
	}
	r.lan(&c.Listen)
	r.beyondLoopback("mqtt", c.MQTT.Listen, c.MQTT.TLS, len(c.MQTT.Users))
	r.beyondLoopback("http", c.HTTP.Listen, c.HTTP.TLS, len(c.HTTP.Users))
	r.pairs(c)
	r.order(c)
	r.users(c)
	r.routes(c)
	r.conferences(c)
	r.outside(c)
	c.warnings = warnings(c)
}

func (r *reader) given(path string) bool { return r.seen[path] != nil }

// lan opens the addresses that the file does not name, and refuses open ones while listen.lan is false (X-7b).
func (r *reader) lan(l *Listen) {
	lists := []struct {
		key  string
		list *[]string
	}{{"listen.sip_udp", &l.SIPUDP}, {"listen.sip_tcp", &l.SIPTCP}, {"listen.sip_tls", &l.SIPTLS}}
	for _, x := range lists {
		for i, a := range *x.list {
			if l.LAN && !r.given(x.key) {
				_, port, _ := net.SplitHostPort(a)
				(*x.list)[i] = net.JoinHostPort(everywhere(), port)
			} else if !l.LAN && !loopback(a) {
				r.wrong(r.seen[x.key], x.key, quote(a)+" is beyond loopback", "set listen.lan: true as well, or use 127.0.0.1")
			}
		}
	}
	if l.LAN && !r.given("listen.rtp") {
		l.RTP = everywhere()
	} else if !l.LAN && !loopback(l.RTP) {
		r.wrong(r.seen["listen.rtp"], "listen.rtp", quote(l.RTP)+" is beyond loopback", "set listen.lan: true as well, or use 127.0.0.1")
	}
}

// beyondLoopback refuses a broker or HTTP server that others could reach without TLS and a password (X-7b).
func (r *reader) beyondLoopback(sec, listen string, tls TLS, users int) {
	if listen == "" || loopback(listen) {
		return
	}
	var missing []string
	if !tls.Given() {
		missing = append(missing, sec+".tls.cert")
	}
	if users == 0 {
		missing = append(missing, sec+".users")
	}
	if len(missing) > 0 {
		r.wrong(r.seen[sec+".listen"], sec+".listen", quote(listen)+" is beyond loopback", "set "+strings.Join(missing, " and ")+" too, or use 127.0.0.1")
	}
}

// pairs refuses a certificate without its key and the other way round.
func (r *reader) pairs(c *Config) {
	for _, p := range []struct{ sec, cert, key, ca string }{
		{"sip.tls", c.SIP.TLS.Cert, c.SIP.TLS.Key, c.SIP.TLS.CA},
		{"mqtt.tls", c.MQTT.TLS.Cert, c.MQTT.TLS.Key, c.MQTT.TLS.CA},
		{"http.tls", c.HTTP.TLS.Cert, c.HTTP.TLS.Key, c.HTTP.TLS.CA},
		{"mqtt", c.MQTT.Cert, c.MQTT.Key, ""},
	} {
		if (p.cert == "") != (p.key == "") {
			r.wrong(r.seen[p.sec], p.sec, "cert and key go together", "set both or none")
		}
		if p.ca != "" && p.cert == "" && p.sec != "sip.tls" {
			r.wrong(r.seen[p.sec+".ca"], p.sec+".ca", "does nothing without a certificate", "set "+p.sec+".cert and .key too")
		}
	}
	if c.MQTT.ACL != "" && len(c.MQTT.Users) == 0 {
		r.wrong(r.seen["mqtt.acl"], "mqtt.acl", "does nothing without users: anyone may call himself anything", "set mqtt.users too")
	}
	if c.MQTT.Password.Given() && c.MQTT.User == "" {
		r.wrong(r.seen["mqtt"], "mqtt.user", "there is a password without a user", "set mqtt.user")
	}
}

// order refuses numbers that contradict each other.
func (r *reader) order(c *Config) {
	if c.RTP.First%2 != 0 {
		r.wrong(r.seen["rtp.first"], "rtp.first", fmt.Sprintf("%d is odd", c.RTP.First), "an even port: a call has a pair")
	}
	if c.RTP.Last%2 != 1 {
		r.wrong(r.seen["rtp.last"], "rtp.last", fmt.Sprintf("%d is even", c.RTP.Last), "an odd port: a call has a pair")
	}
	if c.RTP.Last < c.RTP.First {
		r.wrong(r.seen["rtp.last"], "rtp.last", "lies before rtp.first", fmt.Sprintf("a port above %d", c.RTP.First))
	}
	if c.RTP.HangupAfter <= c.RTP.AlertAfter {
		r.wrong(r.seen["rtp.hangup_after"], "rtp.hangup_after", "is not longer than rtp.alert_after", "more than "+showDuration(c.RTP.AlertAfter))
	}
	if c.Keys.Stuck <= c.Keys.ResetHold {
		r.wrong(r.seen["keys.stuck"], "keys.stuck", "is not longer than keys.reset_hold", "more than "+showDuration(c.Keys.ResetHold))
	}
	if len(c.SIP.Codecs) == 0 {
		r.wrong(r.seen["sip.codecs"], "sip.codecs", "is empty", "at least one of opus, g722, pcmu, pcma")
	}
}

// users holds that every user and account has a name of its own and a secret.
func (r *reader) users(c *Config) {
	names := map[string]bool{}
	for i, u := range c.SIP.Users {
		path := fmt.Sprintf("sip.users[%d]", i)
		r.unique(path+".name", u.Name, names)
		if u.Password.Given() == u.HA1.Given() {
			e := r.wrong(r.seen[path+".name"], path, "exactly one of password and ha1 is wanted", "each may also be given as _file or _env")
			if !u.HA1.Given() {
				e.Kind = ErrNoSecret
			}
		}
	}
	for _, l := range []struct {
		path string
		list []Account
	}{{"mqtt.users", c.MQTT.Users}, {"http.users", c.HTTP.Users}} {
		names := map[string]bool{}
		for i, a := range l.list {
			path := fmt.Sprintf("%s[%d]", l.path, i)
			r.unique(path+".name", a.Name, names)
			if !a.Password.Given() {
				r.wrong(r.seen[path+".name"], path+".password", "is missing", "set password, password_file or password_env").Kind = ErrNoSecret
			}
		}
	}
}

// unique refuses a missing name and one that was there before.
func (r *reader) unique(path, name string, names map[string]bool) {
	switch {
	case name == "":
		list := path[:strings.LastIndexByte(path, '[')]
		r.wrong(r.seen[list], path, "is missing", "every entry needs one")
	case names[name]:
		r.wrong(r.seen[path], path, quote(name)+" is there twice", "take one of them out")
	}
	names[name] = true
}

// routes holds that upstreams are complete and that gateways exist.
func (r *reader) routes(c *Config) {
	names, prefixes := map[string]bool{}, map[string]bool{}
	for i, u := range c.SIP.Upstreams {
		path := fmt.Sprintf("sip.upstreams[%d]", i)
		r.unique(path+".name", u.Name, names)
		if u.Registrar == "" || u.User == "" || !u.Password.Given() {
			e := r.wrong(r.seen[path+".name"], path, "registrar, user and password are wanted", "set all three")
			if u.Registrar != "" && u.User != "" {
				e.Key, e.Kind = path+".password", ErrNoSecret
			}
		}
	}
	for i, x := range c.SIP.Routes {
		path := fmt.Sprintf("sip.routes[%d]", i)
		if prefixes[x.Prefix] {
			r.wrong(r.seen[path+".prefix"], path+".prefix", quote(x.Prefix)+" is there twice", "put the gateways into one route")
		}
		prefixes[x.Prefix] = true
		if len(x.Gateways) == 0 {
			r.wrong(r.seen["sip.routes"], path+".gateways", "is missing", "name an upstream or a SIP URI")
		}
		if x.Strip > len(x.Prefix) {
			r.wrong(r.seen[path+".strip"], path+".strip", fmt.Sprintf("%d is longer than the prefix", x.Strip), fmt.Sprintf("at most %d", len(x.Prefix)))
		}
		for j, g := range x.Gateways {
			if sipURI(g) != "" && !names[g] {
				r.wrong(r.seen[path+".gateways"], fmt.Sprintf("%s.gateways[%d]", path, j), "no upstream is called "+quote(g), "a name of sip.upstreams, or a SIP URI")
			}
		}
	}
}

func (r *reader) conferences(c *Config) {
	names := map[string]bool{c.Place.Number: true}
	for i := range c.Conferences {
		x := &c.Conferences[i]
		path := fmt.Sprintf("conferences[%d].number", i)
		if x.Number == c.Place.Number && x.Number != "" {
			r.wrong(r.seen[path], path, quote(x.Number)+" is the room's own number (place.number)", "change one of them")
			continue
		}
		r.unique(path, x.Number, names)
		if x.Name == "" {
			x.Name = x.Number
		}
	}
}

// warnings are what is allowed and probably not meant.
func warnings(c *Config) (list []string) {
	warn := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if c.Listen.LAN && len(c.SIP.Users) == 0 && !c.SIP.TLS.mutual() {
		warn("listen.lan is true and sip.users is empty: nobody on the network can call in")
	}
	if c.SIP.SRTP == SRTPRequire && len(c.Listen.SIPTLS) == 0 {
		warn("sip.srtp is require and listen.sip_tls is empty: every call to the box is refused")
	}
	if c.SIP.SRTP == SRTPRequire {
		for _, u := range c.SIP.Upstreams {
			if u.Transport != "tls" {
				warn("sip.srtp is require and upstream %s is not over tls: its calls are refused", u.Name)
			}
		}
	}
	if strings.HasPrefix(c.MQTT.Broker, "mqtt://") && c.MQTT.Password.Given() && !loopback(strings.TrimPrefix(c.MQTT.Broker, "mqtt://")) {
		warn("mqtt.broker is without TLS: the password crosses the network in the open; use mqtts://")
	}
	taken := map[string]bool{c.Place.Number: true}
	for _, x := range c.Conferences {
		taken[x.Number] = true
	}
	for _, u := range c.SIP.Users {
		if taken[u.Name] {
			warn("sip.users: %s is also the number of the room or of a conference, which is the one that is called", u.Name)
		}
	}
	return list
}

func (t TLS) mutual() bool { return t.Given() && t.CA != "" }
