package main_test

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// office is a branch's network: the box, its PBX, a phone of a user, and strangers.
type office struct {
	box              *boxtest.Box
	host, phone, pbx *phonetest.Namespace
	strangers        *phonetest.Namespace
	sip              netip.AddrPort // the box
	contacts         chan string    // where the PBX was told to call
	toPBX            *phonetest.Raw // what goes from the PBX's own address and port
	said             *mail          // what came back there
}

// mail keeps what came to a socket that somebody else reads.
type mail struct {
	mu   sync.Mutex
	list []string
}

func (a *mail) find(what string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, text := range a.list {
		if strings.HasPrefix(text, "SIP/2.0 ") && !strings.HasPrefix(text, "SIP/2.0 100") && strings.Contains(text, what) {
			return text
		}
	}
	return ""
}

// openOffice starts a box that the network can reach, with users ann and bob, registered with a PBX.
func openOffice(t *testing.T) *office {
	lan := phonetest.NewLAN(t)
	o := &office{
		host: lan.Host("10.9.0.1"), pbx: lan.Host("10.9.0.2"), phone: lan.Host("10.9.0.3"),
		strangers: lan.Host("10.9.0.11", "10.9.0.12", "10.9.0.13", "10.9.0.14"),
		contacts:  make(chan string, 8), said: &mail{},
	}
	o.servePBX(t)
	o.box = boxtest.New(t, boxtest.Config{Namespace: o.host.Name, Microphone: tone(placeHz), Settings: boxtest.Settings{
		"place":  boxtest.Settings{"join_at_start": true},
		"listen": boxtest.Settings{"lan": true, "sip_udp": nil, "sip_tcp": nil, "sip_tls": nil},
		"sip": boxtest.Settings{
			"users":     []boxtest.Settings{{"name": "ann", "password": "secret"}, {"name": "bob", "password": "hidden"}},
			"upstreams": []boxtest.Settings{{"name": "pbx", "registrar": "10.9.0.2:5060", "user": "branch", "password": "trunk"}},
		},
	}})
	o.box.Begin()
	o.box.WaitLine("parley is ready", time.Minute)
	o.sip = netip.MustParseAddrPort("10.9.0.1:5060")
	return o
}

// servePBX registers whoever asks, and notes everything else that comes.
func (o *office) servePBX(t *testing.T) {
	conn := o.pbx.UDP(netip.MustParseAddrPort("10.9.0.2:5060"))
	o.toPBX = phonetest.NewRaw(t, conn, netip.MustParseAddrPort("10.9.0.1:5060"))
	go func() {
		buf := make([]byte, 65536)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			text := string(buf[:n])
			o.said.mu.Lock()
			o.said.list = append(o.said.list, text)
			o.said.mu.Unlock()
			if !strings.HasPrefix(text, "REGISTER ") {
				continue
			}
			var echo []string
			for _, line := range strings.Split(text, "\r\n") {
				name, value, _ := strings.Cut(line, ":")
				switch strings.ToLower(name) {
				case "contact":
					value = strings.TrimSpace(value)
					select {
					case o.contacts <- strings.TrimSuffix(strings.TrimPrefix(strings.Split(value, ">")[0], "<"), ">"):
					default:
					}
					echo = append(echo, "Contact: "+strings.Split(value, ">")[0]+">;expires=300")
				case "to":
					echo = append(echo, line+";tag=pbx")
				case "via", "from", "call-id", "cseq":
					echo = append(echo, line)
				}
			}
			conn.WriteToUDPAddrPort([]byte("SIP/2.0 200 OK\r\n"+strings.Join(echo, "\r\n")+"\r\nContent-Length: 0\r\n\r\n"), from)
		}
	}()
}

// raw is a client on one of the strangers' addresses.
func (o *office) raw(t *testing.T, n *phonetest.Namespace, i int) *phonetest.Raw {
	return phonetest.NewRaw(t, n.UDP(netip.AddrPortFrom(n.Addrs[i], 0)), o.sip)
}

// offer is a description with PCMU at an address.
func offer(addr string, formats string, more ...string) string {
	return strings.Join(append([]string{"v=0", "o=- 1 1 IN IP4 " + addr, "s=-", "c=IN IP4 " + addr, "t=0 0",
		"m=audio 9000 RTP/AVP " + formats}, more...), "\r\n") + "\r\n"
}

// volatile is what differs between two answers whoever asks.
var volatile = []struct {
	find *regexp.Regexp
	put  string
}{
	{regexp.MustCompile(`nonce="[^"]*"`), `nonce=""`},
	{regexp.MustCompile(`;tag=[^;\r]*`), `;tag=`},
	{regexp.MustCompile(`;branch=[^;\r]*`), `;branch=`},
	{regexp.MustCompile(`(?m)^Call-ID: .*$`), `Call-ID:`},
	{regexp.MustCompile(`:\d{5}\b`), `:PORT`},
	{regexp.MustCompile(`Retry-After: \d+`), `Retry-After: N`},
}

func plain(text string, number string) string {
	for _, v := range volatile {
		text = v.find.ReplaceAllString(text, v.put)
	}
	return strings.ReplaceAll(text, number, "NUMBER")
}

// X-7b: strangers get in nowhere and learn no numbers.
func TestTheNetworkLearnsNothing(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	t.Run("a stranger", func(t *testing.T) { o.stranger(t) })
	t.Run("a wrong password", func(t *testing.T) { o.wrongPassword(t) })
	t.Run("the PBX's address", func(t *testing.T) { o.spoofed(t) })
	t.Run("only the listed ports", func(t *testing.T) { o.ports(t) })
	for _, line := range o.box.Lines() {
		if strings.Contains(line, "member=") && !strings.Contains(line, "member=place") && !strings.Contains(line, "number=ann") {
			t.Errorf("somebody became a member: %s", line)
		}
	}
}

// stranger: numbers that exist and such that do not are answered alike, to the byte.
func (o *office) stranger(t *testing.T) {
	body := offer("10.9.0.11", "0")
	r := o.raw(t, o.strangers, 0)
	for _, q := range []phonetest.RawRequest{
		{Method: "INVITE", Body: body},
		{Method: "INVITE", Body: offer("10.9.0.11", "4")}, // a codec that nobody has
		{Method: "INVITE", Body: "rubbish"},
		{Method: "INVITE", Body: body, Headers: []string{"Session-Expires: 10", "Supported: timer"}},
		{Method: "INVITE", Body: body, Headers: []string{`Authorization: Digest username="ann", realm="elsewhere", nonce="1", uri="sip:x", response="0"`}},
		{Method: "REGISTER"},
		{Method: "SUBSCRIBE", Headers: []string{"Event: conference", "Expires: 60"}},
		{Method: "REFER", Headers: []string{"Refer-To: <sip:1000@10.9.0.1>"}},
	} {
		said := map[string]string{}
		for _, number := range []string{"1000", "9999", "0100", "annx"} {
			q.Number = number
			if number == "0100" {
				q.Number = "100" // the room
			}
			a := r.Ask(q)[0]
			if a.Code != 401 {
				t.Errorf("%s to %s: %d, want 401", q.Method, q.Number, a.Code)
			}
			said[plain(a.Text, q.Number)] = q.Number
		}
		if len(said) != 1 {
			t.Errorf("%s: the answers tell numbers apart: %q", q.Method, said)
		}
	}
	said := map[string]bool{}
	for _, number := range []string{"1000", "9999"} {
		said[plain(r.Ask(phonetest.RawRequest{Method: "OPTIONS", Number: number})[0].Text, number)] = true
	}
	if len(said) != 1 {
		t.Errorf("the answers to OPTIONS tell numbers apart: %v", said)
	}
	for _, tc := range [][2]string{{"1000", "200"}, {"9999", "404"}} { // so there is something to be learned
		a := o.raw(t, o.phone, 0).Ask(phonetest.RawRequest{Method: "INVITE", Number: tc[0], User: "ann", Password: "secret", Body: offer("10.9.0.3", "0")})
		if last := a[len(a)-1]; fmt.Sprint(a[0].Code, last.Code) != "401 "+tc[1] {
			t.Errorf("ann calls %s: %d, %d, want 401, %s", tc[0], a[0].Code, last.Code, tc[1])
		} else if last.Code == 200 {
			o.raw(t, o.phone, 0).Bye(last)
		}
	}
}

// wrongPassword: 401, 401, 403 and a pause that grows, the same for a user who exists and one who does not; and ann is not
// locked out by it.
func (o *office) wrongPassword(t *testing.T) {
	var texts [2][]string
	var retry [2][]int
	for i, user := range []string{"ann", "eve"} {
		r := o.raw(t, o.strangers, 1+i)
		ask := func(number string) {
			all := r.Ask(phonetest.RawRequest{Method: "INVITE", Number: number, User: user, Password: "guess", Body: offer("10.9.0.12", "0")})
			last := all[len(all)-1]
			texts[i] = append(texts[i], strings.NewReplacer(user, "USER", o.strangers.Addrs[1+i].String(), "ADDR").Replace(plain(last.Text, number)))
			seconds, _ := strconv.Atoi(last.Header("Retry-After"))
			retry[i] = append(retry[i], seconds)
			if want := []int{401, 401, 403, 403, 403}[len(retry[i])-1]; last.Code != want {
				t.Errorf("%s, trial %d: %d, want %d", user, len(retry[i]), last.Code, want)
			}
		}
		for _, number := range []string{"1000", "9999", "1000", "9999"} {
			ask(number)
		}
		if retry[i][2] == 0 || retry[i][3] == 0 || retry[i][3] > retry[i][2] {
			t.Errorf("%s: Retry-After %v: want a pause that goes on", user, retry[i])
		}
		time.Sleep(time.Duration(retry[i][3])*time.Second + 200*time.Millisecond) // the pause itself
		ask("1000")
		if retry[i][4] <= retry[i][2] {
			t.Errorf("%s: Retry-After %v: the next pause is not longer", user, retry[i])
		}
	}
	if !slices.Equal(texts[0], texts[1]) {
		t.Errorf("the answers tell users apart:\n%q\n%q", texts[0], texts[1])
	}
	a := o.raw(t, o.phone, 0).Ask(phonetest.RawRequest{Method: "INVITE", Number: "9999", User: "ann", Password: "secret", Body: offer("10.9.0.3", "0")})
	if a[len(a)-1].Code != 404 {
		t.Errorf("ann herself: %d, want 404", a[len(a)-1].Code)
	}
}

// spoofed: what comes from the PBX's address and port is not from the PBX unless it hits the contact that we registered.
func (o *office) spoofed(t *testing.T) {
	contact := <-o.contacts
	user := strings.TrimPrefix(strings.Split(contact, "@")[0], "sip:")
	if len(user) < 16 {
		t.Errorf("the contact %q can be guessed", contact)
	}
	invite := func(uri, id string) string {
		body := offer("10.9.0.2", "0")
		return fmt.Sprintf("INVITE %s SIP/2.0\r\nVia: SIP/2.0/UDP 10.9.0.2:5060;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\nFrom: <sip:77@10.9.0.2>;tag=%s\r\n"+
			"To: <%s>\r\nCall-ID: %s\r\nCSeq: 1 INVITE\r\nContact: <sip:pbx@10.9.0.2:5060>\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
			uri, id, id, uri, id, len(body), body)
	}
	want := func(id, status string) {
		t.Helper()
		phonetest.Eventually(t, 20*time.Second, "an answer to "+id, func() bool { return o.said.find(id) != "" })
		if got := o.said.find(id); !strings.HasPrefix(got, "SIP/2.0 "+status) {
			t.Errorf("%s: %q, want %s", id, strings.SplitN(got, "\r\n", 2)[0], status)
		}
	}
	for i, uri := range []string{"sip:1000@10.9.0.1", "sip:100@10.9.0.1", "sip:branch@10.9.0.1", "sip:9999@10.9.0.1",
		"sip:" + user[:len(user)-1] + "@10.9.0.1", "sip:" + strings.ToUpper(user) + "x@10.9.0.1"} {
		id := fmt.Sprintf("spoof-%d-x", i)
		o.toPBX.Send(invite(uri, id))
		want(id, "401")
	}
	o.toPBX.Send(invite(contact, "real-call"))
	want("real-call", "180") // the room rings
	o.toPBX.Send(strings.NewReplacer("INVITE "+contact, "CANCEL "+contact, "1 INVITE", "1 CANCEL").Replace(
		strings.SplitN(invite(contact, "real-call"), "Contact:", 2)[0]) + "Content-Length: 0\r\n\r\n")
	phonetest.Eventually(t, 20*time.Second, "the call is cancelled", func() bool {
		o.said.mu.Lock()
		defer o.said.mu.Unlock()
		return slices.ContainsFunc(o.said.list, func(s string) bool { return strings.HasPrefix(s, "SIP/2.0 487") })
	})
}

// ports: the box listens where it says, and broker and HTTP cannot be reached from the network.
func (o *office) ports(t *testing.T) {
	out, err := o.host.Output("ss", "-Hlntu")
	if err != nil {
		t.Fatalf("ss: %v\n%s", err, out)
	}
	var got []string
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		f := strings.Fields(line)
		got = append(got, f[0]+" "+strings.Replace(f[4], "*:", "0.0.0.0:", 1))
	}
	want := []string{"udp 0.0.0.0:5060", "tcp 0.0.0.0:5060", "tcp 0.0.0.0:5061", "tcp " + o.box.MQTT, "tcp " + o.box.HTTP}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("it listens on %q, want %q", got, want)
	}
	for _, at := range []string{o.box.MQTT, o.box.HTTP} {
		_, port, _ := net.SplitHostPort(at)
		if c, err := o.strangers.Dial(o.strangers.Addrs[0], "10.9.0.1:"+port); err == nil {
			c.Close()
			t.Errorf("port %s can be reached from the network", port)
		}
	}
	c, err := o.strangers.Dial(o.strangers.Addrs[0], "10.9.0.1:5060")
	if err != nil {
		t.Fatalf("SIP cannot be reached: %v", err)
	}
	c.Close()
}

// X-7b: RTP from elsewhere changes nothing, and is answered by nothing.
func TestForeignRTPChangesNothing(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	var tap *phonetest.Tap
	if err := o.phone.Do(func() error { tap = phonetest.NewTap(t, "10.9.0.3"); return nil }); err != nil {
		t.Fatal(err)
	}
	call := startToneCall(t, o.box, o.host, tap, phonetest.RawRequest{Number: "1000", User: "ann", Password: "secret"}, o.raw(t, o.phone, 0))
	ports := o.rtpPorts(t)
	if len(ports) != 2 {
		t.Fatalf("a call has the ports %v", ports)
	}
	before := call.metric("parley_rtp_foreign_total")
	var attack *phonetest.Tap
	if err := o.strangers.Do(func() error { attack = phonetest.NewTap(t, "10.9.0.11"); return nil }); err != nil {
		t.Fatal(err)
	}
	const packets = 150 // of 20 ms each
	clock := time.NewTicker(20 * time.Millisecond)
	defer clock.Stop()
	for range packets {
		for _, port := range ports {
			attack.Send(netip.AddrPortFrom(o.sip.Addr(), port), call.forged())
		}
		<-clock.C
	}
	if n := call.metric("parley_rtp_foreign_total") - before; n < 2*packets {
		t.Errorf("of %d foreign packets %.0f were counted", 2*packets, n)
	}
	heard := call.finish()
	if level := heard.Tone(loudHz).Max(); level > toneLevel-40 {
		t.Errorf("the caller hears the attacker at %.1f dBFS", level)
	}
	o.box.StopCleanly()
	if n := len(attack.Packets()); n != 0 {
		t.Errorf("the attacker was sent %d packets", n)
	}
	room := o.box.Speaker()
	if level := room.Tone(loudHz).Max(); level > toneLevel-40 {
		t.Errorf("the room hears the attacker at %.1f dBFS", level)
	}
	if n := room.Tone(callerHz).Above(toneLevel - 3); n < 20 {
		t.Errorf("the room hears the caller for %d windows of 100 ms", n)
	}
}

// rtpPorts are the ports of the box's calls, RTP and RTCP, as the system has them.
func (o *office) rtpPorts(t *testing.T) (list []uint16) {
	out, err := o.host.Output("ss", "-Hlnu")
	if err != nil {
		t.Fatalf("ss: %v\n%s", err, out)
	}
	for _, line := range strings.Split(out, "\n") {
		if f := strings.Fields(line); len(f) > 3 {
			port, _ := strconv.Atoi(f[3][strings.LastIndexByte(f[3], ':')+1:])
			if port >= o.box.FirstRTP && port <= o.box.LastRTP {
				list = append(list, uint16(port))
			}
		}
	}
	return list
}
