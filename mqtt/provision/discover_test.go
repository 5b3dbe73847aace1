package provision

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
)

func urls(places []Place) (list []string) {
	for _, p := range places {
		s := p.URL + " " + p.From
		if p.Shown {
			s += " shown"
		}
		list = append(list, s)
	}
	return list
}

// Spec 6: boot file → DHCP → DNS SRV → mDNS, each an address and no more.
func TestPlaces(t *testing.T) {
	d := newDisk()
	d.names["dhcp"] = "broker=mqtts://dhcp.example.com\ndomain=branch.example.com example.com\n"
	d.names["resolv"] = "nameserver 192.0.2.1\n\tsearch\tother.example.com example.com\n"
	srv := func(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
		if service != "secure-mqtt" || proto != "tcp" {
			t.Errorf("asks for %s, %s", service, proto)
		}
		if name != "branch.example.com" && name != "other.example.com" {
			return "", nil, errors.New("no such name")
		}
		return "", []*net.SRV{{Target: "mqtt." + name + ".", Port: 8884}, {Target: "bad name.", Port: 1}, {Target: "x.", Port: 0}}, nil
	}
	announced := func(context.Context) []*net.SRV { return []*net.SRV{{Target: "anybody.local.", Port: 8883}} }
	for _, x := range []struct {
		from Sources
		want string
	}{
		{Sources{Stored: "mqtts://stored.example.com", Boot: "mqtts://boot.example.com:8885", DHCPFile: "dhcp", Resolv: "resolv", SRV: srv, Announced: announced},
			"mqtts://stored.example.com:8883 settings, mqtts://boot.example.com:8885 boot file, mqtts://dhcp.example.com:8883 DHCP, mqtts://mqtt.branch.example.com:8884 DNS of branch.example.com"},
		{Sources{Resolv: "resolv", SRV: srv, Announced: announced}, "mqtts://mqtt.other.example.com:8884 DNS of other.example.com"},
		{Sources{DHCPFile: "none", Resolv: "none", SRV: srv, Announced: announced}, "mqtts://anybody.local:8883 mDNS shown"},
		{Sources{Boot: "mqtt://plain.example.com", Announced: announced}, "mqtts://anybody.local:8883 mDNS shown"},
		{Sources{Boot: "mqtts://dhcp.example.com", DHCPFile: "dhcp"}, "mqtts://dhcp.example.com:8883 boot file"},
		{Sources{}, ""},
	} {
		x.from.FS = d
		if got := strings.Join(urls(x.from.Find(t.Context())), ", "); got != x.want {
			t.Errorf("found %s\nwant  %s", got, x.want)
		}
	}
	d.names["dhcp"] = strings.Repeat("x", maxFile+1) + "\nbroker=mqtts://a\n"
	if got := (Sources{DHCPFile: "dhcp", FS: d}).Find(t.Context()); len(got) > 0 {
		t.Errorf("a huge file: %v", got)
	}
}

func TestBrokerURL(t *testing.T) {
	for s, want := range map[string]string{
		"mqtts://a": "mqtts://a:8883", "mqtts://a:1/": "mqtts://a:1", "mqtts://[fd00::1]": "mqtts://[fd00::1]:8883",
		"mqtt://a": "", "mqtts://": "", "mqtts://u:p@a": "", "mqtts://a/b": "", "mqtts://a?x": "", "mqtts://a#x": "", "mqtts://a:0": "",
		"mqtts://a:65536": "", "x": "", "": "", "mqtts://" + strings.Repeat("a", 300): "",
	} {
		if got := brokerURL(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

// reply is an answer of a responder: PTR and SRV, the names pointing back to the first.
func reply(instance, target string, port uint16) []byte {
	m := question(serviceName)
	m[2], m[5], m[7], m[11] = 0x84, 1, 1, 1
	owner := []byte{0xc0, 12}
	record := func(name []byte, kind uint16, data []byte) {
		m = append(m, name...)
		m = binary.BigEndian.AppendUint16(m, kind)
		m = append(m, 0x80, 1, 0, 0, 0, 120)
		m = binary.BigEndian.AppendUint16(m, uint16(len(data)))
		m = append(m, data...)
	}
	full := append(append([]byte{byte(len(instance))}, instance...), owner...)
	record(owner, typePTR, full)
	data := append([]byte{0, 0, 0, 0}, byte(port>>8), byte(port))
	for label := range strings.SplitSeq(target, ".") {
		data = append(append(data, byte(len(label))), label...)
	}
	record(full, typeSRV, append(data, 0))
	return m
}

func TestAnnounced(t *testing.T) {
	got, err := services(reply("Hub", "hub.local", 8883))
	if err != nil || len(got) != 1 || got[0].Target != "hub.local." || got[0].Port != 8883 {
		t.Fatalf("%v, %v", got, err)
	}
	if got, err := services(question(serviceName)); err == nil {
		t.Errorf("our own question: %v", got)
	}
	other := slices.Clone(reply("Hub", "hub.local", 8883))
	copy(other[13:], "_printer-xyz") // of another service
	if got, _ := services(other); len(got) > 0 {
		t.Errorf("another service: %v", got)
	}
	whole := reply("Hub", "hub.local", 8883)
	for n := range whole {
		if got, err := services(whole[:n]); err == nil {
			t.Errorf("cut at %d: %v", n, got)
		}
	}
}

// A responder on this machine is heard, and the wait ends with the context.
func TestAskTheNetwork(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := Announced(ctx); len(got) > 0 {
		t.Errorf("%v", got)
	}
}

func FuzzServices(f *testing.F) {
	f.Add(reply("Hub", "hub.local", 8883))
	f.Add(append(question(serviceName), 0xc0, 12, 0xc0))
	f.Fuzz(func(t *testing.T, m []byte) {
		found, err := services(m)
		if err != nil {
			return
		}
		if len(found) > maxRecords {
			t.Fatalf("%d services", len(found))
		}
		for _, r := range found {
			if u := srvURL(r); u != "" && brokerURL(u) != u {
				t.Fatalf("%q of %+v", u, *r)
			}
		}
	})
}

func FuzzPlaces(f *testing.F) {
	f.Add("broker=mqtts://a\ndomain=b.example.com\n", "search x y\n")
	f.Fuzz(func(t *testing.T, dhcp, resolv string) {
		d := newDisk()
		d.names["dhcp"], d.names["resolv"] = dhcp, resolv
		srv := func(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
			if domainName(name) != name || name == "" {
				t.Fatalf("asks for %q", name)
			}
			return "", []*net.SRV{{Target: "mqtt." + name, Port: 1}}, nil
		}
		for _, p := range (Sources{DHCPFile: "dhcp", Resolv: "resolv", SRV: srv, FS: d}).Find(t.Context()) {
			if brokerURL(p.URL) != p.URL || p.Shown {
				t.Fatal(fmt.Sprint(p))
			}
		}
	})
}
