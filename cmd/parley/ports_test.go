package main_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// listed are the ports that docs/security.md lists: "udp 5060", and of a range "udp 20000-20999".
func listed(t *testing.T) (ports []string) {
	t.Helper()
	raw, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\| (\d+)(?:–(\d+))? \| (UDP|TCP) \|`).FindAllStringSubmatch(string(raw), -1) {
		port := strings.ToLower(m[3]) + " " + m[1]
		if m[2] != "" {
			port += "-" + m[2]
		}
		ports = append(ports, port)
	}
	if len(ports) < 6 {
		t.Fatalf("the page lists %q", ports)
	}
	return ports
}

// open are the sockets at which something listens in a namespace, in which nobody lives but the box and who calls it: "udp 5060 127.0.0.1". Ports in
// one of the listed ranges are told by it, and how many of it are open.
func open(t *testing.T, host *phonetest.Namespace, box *boxtest.Box, listed []string) (sockets []string, ranges map[string]int) {
	t.Helper()
	out, err := host.Output("ss", "-Hlntuw0p")
	if err != nil {
		t.Fatalf("ss: %v\n%s", err, out)
	}
	ranges = map[string]int{}
line:
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		f := strings.Fields(line)
		if strings.Contains(line, `"parleyctl"`) {
			continue // the caller
		}
		if len(f) < 6 || !strings.Contains(line, fmt.Sprintf("pid=%d,", box.PID())) && !strings.Contains(line, `"parley"`) {
			t.Errorf("somebody else listens: %s", line)
			continue
		}
		at := strings.LastIndexByte(f[4], ':')
		addr, port := strings.Replace(f[4][:at], "*", "0.0.0.0", 1), f[4][at+1:]
		for _, l := range listed {
			network, span, _ := strings.Cut(l, " ")
			if first, last, ok := strings.Cut(span, "-"); ok && network == f[0] {
				n, a, b := number(port), number(first), number(last)
				if a <= n && n <= b {
					ranges[l]++
					continue line
				}
			}
		}
		sockets = append(sockets, f[0]+" "+port+" "+addr)
	}
	slices.Sort(sockets)
	return sockets, ranges
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// there is no open port that docs/security.md does not list: as the box comes, on loopback only; with all that can be opened open, on
// the network; and while a call is up, with the call's own.
func TestOnlyListedPortsAreOpen(t *testing.T) {
	t.Parallel()
	identity := phonetest.NewAuthority(t).Issue(t, "parley")
	server := boxtest.Settings{"cert": identity.Cert, "key": identity.Key}
	users := []boxtest.Settings{{"name": "ops", "password": "hush-hush"}}
	for name, settings := range map[string]boxtest.Settings{
		"127.0.0.1": {},
		"0.0.0.0": {
			"listen": boxtest.Settings{"lan": true}, "sip": boxtest.Settings{"users": []boxtest.Settings{{"name": "ann", "password": "secret"}}, "allow_refer": true},
			"mqtt":      boxtest.Settings{"listen": "0.0.0.0:1883", "tls": server, "users": users},
			"http":      boxtest.Settings{"listen": "0.0.0.0:8080", "tls": server, "users": users},
			"recording": boxtest.Settings{"auto": true, "tracks": true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			ports := listed(t)
			host := phonetest.NewLAN(t).Host("10.9.0.1")
			box := boxtest.New(t, boxtest.Config{Namespace: host.Name, Settings: defaultPorts(settings)})
			box.Begin()
			box.WaitLine("parley is ready", time.Minute)
			var want []string
			for _, p := range ports {
				if !strings.Contains(p, "-") {
					want = append(want, p+" "+name)
				}
			}
			slices.Sort(want)
			got, ranges := open(t, host, box, ports)
			if !slices.Equal(got, want) || len(ranges) > 0 {
				t.Errorf("it listens on %q and %v, want %q", got, ranges, want)
			}
			phonetest.Start(t, t.TempDir(), "ip", "netns", "exec", host.Name, boxtest.Program(t, "parleyctl"), "call", "1000", "-data", box.Data, "-box", "127.0.0.1:5060", "-tone", "400")
			phonetest.Eventually(t, 20*time.Second, "the call has its ports", func() bool {
				_, ranges = open(t, host, box, ports)
				return len(ranges) > 0
			})
			if got, ranges = open(t, host, box, ports); !slices.Equal(got, want) || ranges["udp 20000-20999"] != 2 || len(ranges) != 1 {
				t.Errorf("with a call it listens on %q and %v", got, ranges)
			}
			box.StopCleanly()
		})
	}
}

// defaultPorts takes boxtest's own ports out of settings, so that the box has those that it comes with.
func defaultPorts(settings boxtest.Settings) boxtest.Settings {
	all := boxtest.Settings{}
	for section, keys := range map[string][]string{"listen": {"sip_udp", "sip_tcp", "sip_tls"}, "rtp": {"first", "last"}, "mqtt": {"listen"}, "http": {"listen"}} {
		own, _ := settings[section].(boxtest.Settings)
		all[section] = boxtest.Settings{}
		for _, k := range keys {
			all[section].(boxtest.Settings)[k] = own[k]
		}
	}
	for section, own := range settings {
		if all[section] == nil {
			all[section] = own
			continue
		}
		for k, v := range own.(boxtest.Settings) {
			all[section].(boxtest.Settings)[k] = v
		}
	}
	return all
}
