package main_test

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// tortures are the messages of RFC 4475 and RFC 5118 with their verdicts: statuses, N for a normal course, S for silence, - for
// none. Those that register are apart.
func tortures(t *testing.T) (others, registrations map[string]string) {
	t.Helper()
	const dir = "../../sip/guard/testdata/torture"
	out := map[string]string{"rfc4475/test": "-"}
	for file, keep := range map[string]func(row []string){
		"wire-accept.tsv":      func(r []string) { out["rfc4475/"+r[0]] = r[1] },
		"rfc5118-verdicts.tsv": func(r []string) { out["rfc5118/"+r[0]] = map[string]string{"accept": "N", "reject": "400"}[r[2]] },
	} {
		f, err := os.Open(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		r := csv.NewReader(f)
		r.Comma, r.LazyQuotes = '\t', true
		rows, err := r.ReadAll()
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows[1:] {
			keep(row)
		}
	}
	files, _ := filepath.Glob(dir + "/*/*.dat")
	if len(out) != len(files) || len(files) != 62 {
		t.Fatalf("%d verdicts for %d files, want 50 + 12", len(out), len(files))
	}
	registrations = map[string]string{}
	for name, verdict := range out {
		if bytes.HasPrefix(tortureFile(t, name), []byte("REGISTER")) {
			registrations[name] = verdict
			delete(out, name)
		}
		// Several of RFC 5118 are one registration, with one Call-ID and CSeq: only the first of them is new (RFC 3261, 10.3, 7).
		if bytes.Contains(tortureFile(t, name), []byte("REGISTER\r\n")) && strings.HasPrefix(name, "rfc5118") && verdict == "N" {
			registrations[name] = "N,500"
		}
	}
	return out, registrations
}

func tortureFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../sip/guard/testdata/torture", name+".dat"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// verdictHolds compares a final status with a verdict.
func verdictHolds(verdict, status string) bool {
	normal := []string{"200", "401", "403", "404", "405", "481", "486", "488", "501"} // 488: two of them offer G.726 alone
	for v := range strings.SplitSeq(verdict, ",") {
		if v == status || v == "N" && slices.Contains(normal, status) {
			return true
		}
	}
	return false
}

// rack is a box that is tortured, from its own loopback, where it trusts, and from the network, where it does not.
type rack struct {
	box         *boxtest.Box
	host, other *phonetest.Namespace
	probes      int
}

// from is where the attacker of a test sits, and what it attacks.
type from struct {
	name string
	host *phonetest.Namespace
	addr netip.Addr
	box  netip.AddrPort
}

// every message of RFC 4475 and RFC 5118 gets what it should, over UDP and over TCP octet by octet; nothing goes to where its
// headers point; and the box still takes calls.
func TestTorture(t *testing.T) {
	t.Parallel()
	t.Run("UDP", func(t *testing.T) { torture(t, (*rack).byUDP) })
	t.Run("TCP", func(t *testing.T) { torture(t, (*rack).byTCP) })
}

func torture(t *testing.T, all func(*rack, *testing.T, from, map[string]string)) {
	lan := phonetest.NewLAN(t)
	r := &rack{host: lan.Host("10.9.0.1"), other: lan.Host("10.9.0.2")}
	r.host.Route("10.9.0.2") // so what the box sends to anywhere is to be seen
	r.box = boxtest.New(t, boxtest.Config{Namespace: r.host.Name, Microphone: tone(placeHz), Settings: boxtest.Settings{
		"place":  boxtest.Settings{"join_at_start": true},
		"listen": boxtest.Settings{"lan": true, "sip_udp": nil, "sip_tcp": nil, "sip_tls": nil},
		"sip":    boxtest.Settings{"users": []boxtest.Settings{{"name": "ann", "password": "secret"}}},
	}})
	r.box.Begin()
	r.box.WaitLine("parley is ready", time.Minute)
	wire := r.host.Sniff()
	others, registrations := tortures(t)
	for _, f := range []from{
		{"a stranger", r.other, r.other.Addrs[0], netip.MustParseAddrPort("10.9.0.1:5060")},
		{"a program on the box", r.host, netip.MustParseAddr("127.0.0.1"), netip.MustParseAddrPort("127.0.0.1:5060")},
	} {
		// Registrations come last: who has registered is called by the others' requests, and does not answer.
		t.Run(f.name, func(t *testing.T) { all(r, t, f, others) })
		t.Run(f.name+" registers", func(t *testing.T) { all(r, t, f, registrations) })
	}
	t.Run("a call works", func(t *testing.T) { r.call(t) })
	wire.Stop()
	ours := append([]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}, append(r.host.Addrs, r.other.Addrs...)...)
	for p, n := range wire.Seen() {
		sent := p.Protocol == unix.IPPROTO_UDP || p.Protocol == unix.IPPROTO_TCP // the rest is the kernel's own, such as IGMP
		if sent && !slices.Contains(ours, p.Dst) {
			t.Errorf("%d packets of protocol %d went from %s to %s", n, p.Protocol, p.Src, p.Dst)
		}
	}
	if len(wire.Seen()) < 2 {
		t.Errorf("nothing was to be seen on the wire: %v", wire.Seen())
	}
}

// probe is a request whose answer shows that everything before it has been looked at.
func (r *rack) probe() []byte {
	r.probes++
	return fmt.Appendf(nil, "OPTIONS sip:probe@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bKprobe%[1]d\r\nMax-Forwards: 70\r\n"+
		"From: <sip:p@x>;tag=1\r\nTo: <sip:p@y>\r\nCall-ID: probe%[1]d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", r.probes)
}

func isProbe(msg []byte) bool { return bytes.Contains(msg, []byte("\r\nCall-ID: probe")) }

func statusOf(msg []byte) string {
	f := bytes.Fields(msg)
	if len(f) < 2 || string(f[0]) != "SIP/2.0" {
		return ""
	}
	return string(f[1])
}

// answers reports whether a response is to that request: its Call-ID is in there.
func answersTo(req, res []byte) bool {
	for line := range bytes.SplitSeq(res, []byte("\r\n")) {
		if id, ok := bytes.CutPrefix(line, []byte("Call-ID: ")); ok {
			return bytes.Contains(req, bytes.TrimSpace(id))
		}
	}
	return !bytes.Contains(bytes.ToLower(req), []byte("call-id"))
}

func (r *rack) byUDP(t *testing.T, f from, list map[string]string) {
	conn := f.host.UDP(netip.AddrPortFrom(f.addr, 0))
	buf := make([]byte, 65536)
	read := func(t *testing.T) []byte {
		t.Helper()
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatal(err)
		}
		if netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) != f.box {
			t.Errorf("an answer from %v", from)
		}
		return bytes.Clone(buf[:n])
	}
	send := func(t *testing.T, m []byte) {
		t.Helper()
		if _, err := conn.WriteToUDPAddrPort(m, f.box); err != nil {
			t.Fatal(err)
		}
	}
	for name, verdict := range list {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data := tortureFile(t, name)
			send(t, data)
			var got []byte
			if verdict != "S" && verdict != "-" {
				for got = read(t); statusOf(got) == "100" || !answersTo(data, got); {
					got = read(t)
				}
				if !verdictHolds(verdict, statusOf(got)) {
					t.Errorf("answered %s, want %s\n%s", statusOf(got), verdict, got)
				}
			}
			send(t, r.probe())
			for next := read(t); !isProbe(next); next = read(t) {
				// Refusals of an INVITE repeat themselves: there is no ACK.
				if statusOf(next) == "" || bytes.HasPrefix(data, []byte("SIP/2.0")) && answersTo(data, next) {
					t.Errorf("unasked: %s", next)
				}
			}
		})
	}
}

// endless are the files after which nobody can know where the next message begins.
var endless = []string{"clerr", "ncl", "mcl01", "baddn", "dblreq", "test"}

// byTCP has many files under way at once: most of the time passes between octets. That they are not parallel in the sense of package
// testing is so that none of them waits until all other tests have begun.
func (r *rack) byTCP(t *testing.T, f from, list map[string]string) {
	var all sync.WaitGroup
	defer all.Wait()
	turns := make(chan struct{}, 6)
	for name, verdict := range list {
		turns <- struct{}{}
		all.Go(func() {
			t.Run(filepath.Base(name), func(t *testing.T) { octetByOctet(t, f, name, verdict) })
			<-turns
		})
	}
}

func octetByOctet(t *testing.T, f from, name, verdict string) {
	data, base := tortureFile(t, name), filepath.Base(name)
	c, err := f.host.Dial(f.addr, f.box.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(60 * time.Second))
	c.(*net.TCPConn).SetNoDelay(true)
	in := messages(c)
	octets(c, data, in)
	if base == "clerr" {
		c.(*net.TCPConn).CloseWrite() // what is missing never comes
	}
	finals := 1
	switch {
	case verdict == "S" || verdict == "-":
		finals = 0
	case base == "dblreq": // on a stream what follows is a message of its own, with a description that is none
		finals, verdict = 2, "N,400"
	}
	for range finals {
		got := <-in.list
		if !verdictHolds(verdict, statusOf(got)) {
			t.Errorf("answered %s, want %s\n%s", statusOf(got), verdict, got)
		}
		if !answersTo(data, got) {
			t.Errorf("answered another: %s", got)
		}
	}
	if slices.Contains(endless, base) {
		for rest := range in.list {
			t.Errorf("then came %s", rest)
		}
		return
	}
	if _, err := c.Write(fmt.Appendf(nil, "OPTIONS sip:probe@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKprobe%[1]s\r\n"+
		"Max-Forwards: 70\r\nFrom: <sip:p@x>;tag=1\r\nTo: <sip:p@y>\r\nCall-ID: probe%[1]s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", base)); err != nil {
		t.Fatal(err)
	}
	if next := <-in.list; !isProbe(next) {
		t.Errorf("unasked: %q", next)
	}
}

// stream is what comes over a connection.
type stream struct {
	list chan []byte // final responses; closed at the end
	end  chan struct{}
}

// messages reads a connection to its end.
func messages(c net.Conn) *stream {
	s := &stream{list: make(chan []byte, 64), end: make(chan struct{})}
	go func() {
		defer close(s.list)
		defer close(s.end)
		r := bufio.NewReader(c)
		var msg []byte
		for {
			line, err := r.ReadBytes('\n')
			if err != nil {
				if len(msg)+len(line) > 0 && !errors.Is(err, net.ErrClosed) {
					s.list <- append(msg, line...)
				}
				return
			}
			if msg = append(msg, line...); string(msg) == "\r\n" {
				msg = nil // a pong
			} else if string(line) == "\r\n" { // no answer to these has a body
				if statusOf(msg) != "100" {
					s.list <- msg
				}
				msg = nil
			}
		}
	}()
	return s
}

// octets writes data in segments of one octet, until the other side has had enough.
func octets(c io.Writer, data []byte, in *stream) {
	for i := range data {
		select {
		case <-in.end:
			return
		default:
		}
		if _, err := c.Write(data[i : i+1]); err != nil {
			return
		}
	}
}

// call makes a call after all that: it is heard.
func (r *rack) call(t *testing.T) {
	var tap *phonetest.Tap
	if err := r.other.Do(func() error { tap = phonetest.NewTap(t, "10.9.0.2"); return nil }); err != nil {
		t.Fatal(err)
	}
	raw := phonetest.NewRaw(t, r.other.UDP(netip.MustParseAddrPort("10.9.0.2:0")), netip.MustParseAddrPort("10.9.0.1:5060"))
	call := startToneCall(t, r.box, r.host, tap, phonetest.RawRequest{Number: "1000", User: "ann", Password: "secret"}, raw)
	phonetest.Eventually(t, 30*time.Second, "three seconds of the call", func() bool { return len(tap.Packets()) > 150 })
	call.finish()
}
