package phonetest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Codecs as baresip names them.
const (
	Opus = "opus/48000/2"
	G722 = "G722/16000/1"
	PCMU = "PCMU/8000/1"
	PCMA = "PCMA/8000/1"
)

// BaresipConfig says what telephone a Baresip is. The zero value listens on 127.0.0.1, speaks all four codecs, says nothing
// and answers every call.
type BaresipConfig struct {
	Name     string   // the user part of its address; "phone"
	Host     string   // the address that it listens on and sends from: 127.0.0.1 or ::1
	Codecs   []string // in order of preference
	Says     Sound    // again and again for two minutes; none: digital silence
	Answer   string   // "auto", "manual" (Answer does it) or "early" (183, in which this version sends no sound, then as manual)
	SRTP     string   // "" never, "srtp" if the other side can, "srtp-mand" or refuse
	User     string   // for digest; Name
	Password string   // for digest
	// Registrar is a "host:port;transport=…" to register with, for 600 s. Without it nothing is registered. The address of record
	// is then Name at Registrar's host, and Dial takes that host's numbers.
	Registrar string
	Identity  *Identity // the certificate that it shows over TLS, and the CA that it trusts
	Extra     []string  // more lines of its configuration
}

// Baresip is Debian's baresip 1.0.0 as a telephone, with a WAV file as microphone and another as recording.
//
// What it does that one has to know: it records what it decodes, so a gap on the network is missing from the recording
// rather than silent in it; after a re-INVITE that changes its session (hold and resume, from either side) it plays on but records no more;
// its TLS port is the one after its UDP and TCP port.
type Baresip struct {
	*Process
	cfg  BaresipConfig
	dir  string
	port int

	control net.Conn
	serial  int
	mu      sync.Mutex
	changed *sync.Cond
	events  []BaresipEvent
	answers map[string]baresipAnswer
	closed  bool
	next    int // the first event that Expect has not passed
}

// BaresipEvent is what baresip tells about its calls: CALL_INCOMING, CALL_RINGING, CALL_PROGRESS, CALL_ESTABLISHED,
// CALL_CLOSED (Param: the reason), CALL_DTMF_START (Param: the digit), CALL_DTMF_END, CALL_RTPESTAB, CALL_RTCP,
// CALL_REMOTE_SDP (Param: "offer" or "answer"), REGISTER_OK, REGISTER_FAIL and others.
type BaresipEvent struct {
	Type      string `json:"type"`
	Direction string `json:"direction"`
	Peer      string `json:"peeruri"`
	Call      string `json:"id"`
	Param     string `json:"param"`
}

type baresipAnswer struct {
	Token string `json:"token"`
	OK    bool   `json:"ok"`
	Data  string `json:"data"`
}

// StartBaresip starts a telephone and waits until it is ready.
func StartBaresip(t testing.TB, cfg BaresipConfig) *Baresip {
	t.Helper()
	setDefault(&cfg.Name, "phone")
	setDefault(&cfg.Host, "127.0.0.1")
	setDefault(&cfg.Answer, "auto")
	setDefault(&cfg.User, cfg.Name)
	if len(cfg.Codecs) == 0 {
		cfg.Codecs = []string{Opus, G722, PCMU, PCMA}
	}
	if cfg.Says.Rate == 0 {
		cfg.Says = Silence(48000, time.Second)
	}
	b := &Baresip{cfg: cfg, dir: t.TempDir(), port: PortBlock(t), answers: map[string]baresipAnswer{}}
	b.changed = sync.NewCond(&b.mu)
	b.configure(t)
	b.Process = Start(t, b.dir, "baresip", "-f", b.dir)
	b.InTime()
	b.WaitLine("baresip is ready.", 30*time.Second)
	control, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(b.port+2)))
	if err != nil {
		t.Fatalf("baresip's control: %v", err)
	}
	b.control = control
	read := make(chan struct{})
	go func() {
		defer close(read)
		b.listen()
	}()
	t.Cleanup(func() {
		b.Stop()
		control.Close()
		<-read
	})
	return b
}

func setDefault(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

// configure writes the folder that baresip reads.
func (b *Baresip) configure(t testing.TB) {
	t.Helper()
	modules := ""
	for _, dir := range []string{"/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules"} {
		if _, err := os.Stat(filepath.Join(dir, "aufile.so")); err == nil {
			modules = dir
		}
	}
	if modules == "" {
		t.Fatal("baresip's modules are not installed: make test installs them; by hand: apt-get install --no-install-recommends baresip-core")
	}
	if err := os.Mkdir(filepath.Join(b.dir, "rec"), 0o700); err != nil {
		t.Fatal(err)
	}
	// The file must outlast the call: at its end baresip hangs up.
	WriteWAV(t, filepath.Join(b.dir, "says.wav"), b.cfg.Says.Resample(48000).Repeat(2*time.Minute))
	lines := []string{
		"sip_listen " + net.JoinHostPort(b.cfg.Host, strconv.Itoa(b.port)),
		"net_interface " + b.cfg.Host, // an address here is what it puts into its SDP
		fmt.Sprintf("rtp_ports %d-%d", b.port+4, b.port+blockSize-1),
		"ctrl_tcp_listen 127.0.0.1:" + strconv.Itoa(b.port+2),
		"audio_source aufile," + filepath.Join(b.dir, "says.wav"),
		"audio_player aubridge,speaker", "audio_alert aubridge,bell", "ringback_disabled yes",
		"ausrc_srate 48000", "ausrc_channels 1", "auplay_srate 48000", "auplay_channels 1",
		"audio_txmode poll", "audio_buffer 20-160", "opus_bitrate 32000",
		"call_max_calls 4", "call_local_timeout 60", "rtp_timeout 0", "rtcp_mux no",
		"snd_path " + filepath.Join(b.dir, "rec"),
		"module_path " + modules,
		"module opus.so", "module g722.so", "module g711.so", "module aufile.so", "module aubridge.so", "module sndfile.so",
		"module srtp.so", "module_app account.so", "module_app menu.so", "module_app ctrl_tcp.so",
	}
	if b.cfg.Identity != nil {
		lines = append(lines, "sip_certificate "+b.cfg.Identity.Both, "sip_cafile "+b.cfg.Identity.CA)
	}
	lines = append(lines, b.cfg.Extra...)
	files := map[string]string{"config": strings.Join(lines, "\n") + "\n", "accounts": b.account() + "\n", "contacts": ""}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (b *Baresip) account() string {
	at, interval := net.JoinHostPort(b.cfg.Host, strconv.Itoa(b.port)), 0
	if b.cfg.Registrar != "" {
		at, interval = b.cfg.Registrar, 600
	}
	line := fmt.Sprintf("<sip:%s@%s>;regint=%d;answermode=%s;audio_codecs=%s",
		b.cfg.Name, at, interval, b.cfg.Answer, strings.Join(b.cfg.Codecs, ","))
	// Without a password it would ask for one on the terminal; so whoever is to fail digest must have a wrong one.
	if b.cfg.Password != "" {
		line += ";auth_user=" + b.cfg.User + ";auth_pass=" + b.cfg.Password
	} else {
		line += ";auth_pass=none"
	}
	if b.cfg.SRTP != "" {
		line += ";mediaenc=" + b.cfg.SRTP
	}
	return line
}

// Addr is where it takes SIP over UDP and TCP.
func (b *Baresip) Addr() string { return net.JoinHostPort(b.cfg.Host, strconv.Itoa(b.port)) }

// AddrTLS is where it takes SIP over TLS.
func (b *Baresip) AddrTLS() string { return net.JoinHostPort(b.cfg.Host, strconv.Itoa(b.port+1)) }

// URI is its address over UDP.
func (b *Baresip) URI() string { return "sip:" + b.cfg.Name + "@" + b.Addr() }

// listen reads events and answers until the control connection closes.
func (b *Baresip) listen() {
	r := bufio.NewReader(b.control)
	for {
		raw, err := readNetstring(r)
		b.mu.Lock()
		if err != nil {
			b.closed = true
			b.changed.Broadcast()
			b.mu.Unlock()
			return
		}
		var e BaresipEvent
		var a baresipAnswer
		if json.Unmarshal(raw, &e) == nil && e.Type != "" {
			b.events = append(b.events, e)
		} else if json.Unmarshal(raw, &a) == nil {
			b.answers[a.Token] = a
		}
		b.changed.Broadcast()
		b.mu.Unlock()
	}
}

func readNetstring(r *bufio.Reader) ([]byte, error) {
	head, err := r.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(head, ":"))
	if err != nil || n < 0 || n > 1<<20 {
		return nil, fmt.Errorf("netstring of length %q", head)
	}
	raw := make([]byte, n+1)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, err
	}
	return raw[:n], nil
}

// await waits under b.mu until ok, and tells whether it came to that in time.
func (b *Baresip) await(timeout time.Duration, ok func() bool) bool {
	stop := time.AfterFunc(timeout, b.changed.Broadcast)
	defer stop.Stop()
	deadline := time.Now().Add(timeout)
	for !ok() {
		if b.closed || !time.Now().Before(deadline) {
			return false
		}
		b.changed.Wait()
	}
	return true
}

// Do gives baresip one of its commands ("callstat", "auplay", "transfer" …) and returns what it answers.
func (b *Baresip) Do(command, params string) string {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serial++
	token := strconv.Itoa(b.serial)
	raw, _ := json.Marshal(map[string]string{"command": command, "params": params, "token": token})
	fmt.Fprintf(b.control, "%d:%s,", len(raw), raw)
	if !b.await(15*time.Second, func() bool { return b.answers[token].Token != "" }) {
		b.t.Fatalf("%s does not answer %q", b.cfg.Name, command)
	}
	a := b.answers[token]
	delete(b.answers, token)
	if !a.OK {
		b.t.Fatalf("%s: %s %s: %s", b.cfg.Name, command, params, a.Data)
	}
	return a.Data
}

// Dial calls a SIP URI, or a number at the registrar.
func (b *Baresip) Dial(uri string) { b.t.Helper(); b.Do("dial", uri) }

// Answer takes the call that is ringing.
func (b *Baresip) Answer() { b.t.Helper(); b.Do("accept", "") }

// Hangup ends the current call, or refuses the one that is ringing.
func (b *Baresip) Hangup() { b.t.Helper(); b.Do("hangup", "") }

// Hold puts the current call on hold by a re-INVITE.
func (b *Baresip) Hold() { b.t.Helper(); b.Do("hold", "") }

// Resume takes it back.
func (b *Baresip) Resume() { b.t.Helper(); b.Do("resume", "") }

// Mute switches its microphone off or on again, without a word to the other side.
func (b *Baresip) Mute() { b.t.Helper(); b.Do("mute", "") }

// Digits sends DTMF by RFC 4733, one digit after another.
func (b *Baresip) Digits(digits string) { b.t.Helper(); b.Do("sndcode", digits) }

// Transfer asks the other side by REFER to call uri.
func (b *Baresip) Transfer(uri string) { b.t.Helper(); b.Do("transfer", uri) }

// Expect waits for the next event of a type, and passes those before it: a later Expect does not see them.
func (b *Baresip) Expect(event string, timeout time.Duration) BaresipEvent {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.next
	found := b.await(timeout, func() bool {
		for ; at < len(b.events); at++ {
			if b.events[at].Type == event {
				return true
			}
		}
		return false
	})
	if !found {
		b.t.Fatalf("%s: no %s in %v; since the last one expected: %+v", b.cfg.Name, event, timeout, b.events[b.next:])
	}
	b.next = at + 1
	return b.events[at]
}

// Soon tells whether an event of a type comes in time, or has come since the last one expected; a later Expect still sees those
// around it.
func (b *Baresip) Soon(event string, timeout time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.await(timeout, func() bool {
		return slices.ContainsFunc(b.events[b.next:], func(e BaresipEvent) bool { return e.Type == event })
	})
}

// Events returns all events so far.
func (b *Baresip) Events() []BaresipEvent {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]BaresipEvent(nil), b.events...)
}

// Heard is the recording of what it decoded in its n-th call, from 0: at the codec's rate, and so far, which may be nothing yet. It is
// whole once the call has ended.
func (b *Baresip) Heard(n int) Sound { b.t.Helper(); return b.recording(n, "dec") }

// Said is the recording of what it encoded in its n-th call.
func (b *Baresip) Said(n int) Sound { b.t.Helper(); return b.recording(n, "enc") }

// recording reads the file of the n-th call, as far as there is one. Their names hold the time in seconds and so sort by it.
func (b *Baresip) recording(n int, kind string) Sound {
	b.t.Helper()
	files, _ := filepath.Glob(filepath.Join(b.dir, "rec", "dump-*-"+kind+".wav"))
	if n >= len(files) {
		return Sound{}
	}
	const header = 44
	if info, err := os.Stat(files[n]); err != nil || info.Size() < header {
		return Sound{}
	}
	return ReadWAV(b.t, files[n])
}
