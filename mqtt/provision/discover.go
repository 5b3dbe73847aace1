package provision

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Place is where a broker may be. It says nothing of whether that broker is to be trusted.
type Place struct {
	URL  string // mqtts://host:port
	From string // who says so, in a few words
	// Shown: it is for people to see only. Anybody in the room's network can say it.
	Shown bool
}

// Sources is where a box looks for a broker at which it can ask to be enrolled, in this order.
type Sources struct {
	Stored   string // URL that settings name; empty: none
	Boot     string // URL of the boot file; empty: it names none
	DHCPFile string // what the DHCP client has learnt: lines broker=URL and domain=NAME
	Resolv   string // resolv.conf, for the domain where DHCP names none
	// SRV looks for services, as net.Resolver.LookupSRV does.
	SRV func(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
	// Announced asks the local network.
	Announced func(ctx context.Context) []*net.SRV
	FS        FS // nil: the machine's own
}

const (
	service    = "secure-mqtt"
	maxPlaces  = 16
	maxFile    = 8 << 10 // bytes
	askTimeout = 5 * time.Second
)

// Find lists the places, the most likely one first. What the local network announces is only asked for where nobody else knows any.
func (s Sources) Find(ctx context.Context) (places []Place) {
	if s.FS == nil {
		s.FS = OS{}
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	add := func(url, from string, shown bool) {
		if url = brokerURL(url); url != "" && len(places) < maxPlaces && !slices.ContainsFunc(places, func(p Place) bool { return p.URL == url }) {
			places = append(places, Place{url, from, shown})
		}
	}
	add(s.Stored, "settings", false)
	add(s.Boot, "boot file", false)
	told := s.file(s.DHCPFile, "=", "broker", "domain")
	add(told["broker"], "DHCP", false)
	domain := told["domain"]
	if domain == "" {
		lines := s.file(s.Resolv, " ", "search", "domain")
		domain = cmp.Or(lines["domain"], lines["search"])
	}
	if name := domainName(domain); name != "" && s.SRV != nil {
		if _, found, err := s.SRV(ctx, service, "tcp", name); err == nil {
			for _, r := range found {
				add(srvURL(r), "DNS of "+name, false)
			}
		}
	}
	if len(places) == 0 && s.Announced != nil {
		for _, r := range s.Announced(ctx) {
			add(srvURL(r), "mDNS", true)
		}
	}
	return places
}

// file reads lines of a key and a value, with sep between; of several with the same key the first counts.
func (s Sources) file(name, sep string, keys ...string) map[string]string {
	values := map[string]string{}
	if name == "" {
		return values
	}
	b, err := s.FS.Read(name, maxFile)
	if err != nil {
		return values
	}
	for line := range strings.Lines(string(b)) {
		key, value, ok := strings.Cut(strings.TrimSpace(strings.ReplaceAll(line, "\t", " ")), sep)
		if ok && slices.Contains(keys, key) && values[key] == "" {
			values[key] = strings.TrimSpace(value)
		}
	}
	return values
}

// domainName takes the first name of a list; empty if it is none.
func domainName(list string) string {
	fields := strings.Fields(list)
	if len(fields) == 0 {
		return ""
	}
	name := strings.TrimSuffix(fields[0], ".")
	if name == "" || len(name) > 253 || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		return ""
	}
	return name
}

func srvURL(r *net.SRV) string {
	host := strings.TrimSuffix(r.Target, ".")
	if host == "" || domainName(host) != host {
		return ""
	}
	return "mqtts://" + net.JoinHostPort(host, strconv.Itoa(int(r.Port)))
}

// brokerURL gives the URL in one form, with its port; empty if it is none of a broker with TLS.
func brokerURL(s string) string {
	if s == "" || len(s) > 300 {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "mqtts" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return ""
	}
	port := cmp.Or(u.Port(), "8883")
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return ""
	}
	return fmt.Sprintf("mqtts://%s", net.JoinHostPort(u.Hostname(), port))
}
