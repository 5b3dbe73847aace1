package phonetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// JanusConfig says what room a Janus has. The zero value is a room of PCMU telephones.
type JanusConfig struct {
	Codec      string // "pcmu" (mixed at 8 kHz) or "opus" (at 48 kHz)
	Complexity int    // of Opus
	Bitrate    int    // of Opus, bit/s
}

// Janus is Debian's janus with one room of its AudioBridge, for comparison. Its participants are plain RTP; in front of it stands
// just enough SIP over UDP to call it with a telephone that offers one codec: every call to Addr joins the room. RTCP goes nowhere,
// because the AudioBridge takes none.
type Janus struct {
	*Process
	cfg   JanusConfig
	api   net.Conn
	sip   net.PacketConn
	sink  net.PacketConn // where RTCP goes
	id    uint64         // of the session
	calls map[string]*janusCall
	done  sync.WaitGroup

	mu      sync.Mutex
	waiting map[string]chan janusMessage
	last    int // transaction
	failed  error
}

// janusCall is a participant, by Call-ID.
type janusCall struct {
	handle uint64
	answer string // to the INVITE, for repetitions
}

// janusMessage is an answer or an event of its API.
type janusMessage struct {
	Janus       string `json:"janus"`
	Transaction string `json:"transaction"`
	Data        struct {
		ID uint64 `json:"id"`
	} `json:"data"`
	Error struct {
		Reason string `json:"reason"`
	} `json:"error"`
	Plugin struct {
		Data struct {
			Error string `json:"error"`
			RTP   struct {
				IP   string `json:"ip"`
				Port int    `json:"port"`
			} `json:"rtp"`
		} `json:"data"`
	} `json:"plugindata"`
}

const janusRoom = 1000

// StartJanus starts janus on loopback and opens the room.
func StartJanus(t testing.TB, cfg JanusConfig) *Janus {
	t.Helper()
	if cfg.Codec == "" {
		cfg.Codec = "pcmu"
	}
	dir := t.TempDir()
	socket := filepath.Join(dir, "api")
	files := map[string]string{
		"janus.jcfg": `general: {
	configs_folder = "` + dir + `"
	debug_level = 3
	session_timeout = 0
}
plugins: {
	disable = "libjanus_duktape.so,libjanus_echotest.so,libjanus_lua.so,libjanus_nosip.so,libjanus_recordplay.so,libjanus_sip.so,` +
			`libjanus_streaming.so,libjanus_textroom.so,libjanus_videocall.so,libjanus_videoroom.so,libjanus_voicemail.so"
}
transports: { disable = "libjanus_http.so,libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_rabbitmq.so,libjanus_websockets.so" }
`,
		"janus.transport.pfunix.jcfg":   `general: { enabled = true, json = "compact", path = "` + socket + `", type = "SOCK_SEQPACKET" }` + "\n",
		"janus.plugin.audiobridge.jcfg": `general: { local_ip = "127.0.0.1", rtp_port_range = "10000-19998" }` + "\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j := &Janus{cfg: cfg, calls: map[string]*janusCall{}, waiting: map[string]chan janusMessage{}}
	j.Process = Start(t, dir, "janus", "-F", dir, "-C", filepath.Join(dir, "janus.jcfg"))
	Eventually(t, 30*time.Second, "janus takes requests", func() (ok bool) {
		c, err := net.Dial("unixpacket", socket)
		j.api = c
		return err == nil
	})
	var err error
	for _, c := range []*net.PacketConn{&j.sip, &j.sink} {
		if *c, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	j.done.Go(j.read)
	t.Cleanup(func() {
		j.sip.Close()
		j.sink.Close()
		j.api.Close()
		j.done.Wait()
		if j.failed != nil {
			t.Errorf("janus: %v", j.failed)
		}
	})
	if err := j.open(); err != nil {
		t.Fatalf("janus: %v", err)
	}
	j.done.Go(j.serve)
	return j
}

// Addr is where calls into the room go, SIP over UDP.
func (j *Janus) Addr() string { return j.sip.LocalAddr().String() }

// open makes a session and the room.
func (j *Janus) open() error {
	m, err := j.ask(map[string]any{"janus": "create"})
	if err != nil {
		return err
	}
	j.id = m.Data.ID
	handle, err := j.attach()
	if err != nil {
		return err
	}
	rate := 8000
	if j.cfg.Codec == "opus" {
		rate = 48000
	}
	_, err = j.tell(handle, map[string]any{"request": "create", "room": janusRoom, "sampling_rate": rate,
		"allow_rtp_participants": true, "audiolevel_ext": false})
	return err
}

func (j *Janus) attach() (handle uint64, err error) {
	m, err := j.ask(map[string]any{"janus": "attach", "session_id": j.id, "plugin": "janus.plugin.audiobridge"})
	return m.Data.ID, err
}

// tell gives the AudioBridge a request and returns what it says.
func (j *Janus) tell(handle uint64, body map[string]any) (janusMessage, error) {
	return j.ask(map[string]any{"janus": "message", "session_id": j.id, "handle_id": handle, "body": body})
}

// ask gives janus a request and waits for its answer; that something was merely received is none.
func (j *Janus) ask(request map[string]any) (janusMessage, error) {
	j.mu.Lock()
	j.last++
	name, answer := strconv.Itoa(j.last), make(chan janusMessage, 1)
	j.waiting[name] = answer
	j.mu.Unlock()
	request["transaction"] = name
	raw, err := json.Marshal(request)
	if err != nil {
		return janusMessage{}, err
	}
	if _, err := j.api.Write(raw); err != nil {
		return janusMessage{}, err
	}
	select {
	case m := <-answer:
		if m.Janus == "error" {
			return m, errors.New(m.Error.Reason)
		}
		if m.Plugin.Data.Error != "" {
			return m, errors.New(m.Plugin.Data.Error)
		}
		return m, nil
	case <-time.After(20 * time.Second):
		return janusMessage{}, fmt.Errorf("no answer to %s", raw)
	}
}

// read takes what janus says: answers go to who waits for them, the rest is of no interest.
func (j *Janus) read() {
	buf := make([]byte, 256<<10)
	for {
		n, err := j.api.Read(buf)
		if err != nil || n == 0 {
			return
		}
		var m janusMessage
		if json.Unmarshal(buf[:n], &m) != nil || m.Janus == "ack" {
			continue
		}
		j.mu.Lock()
		if c := j.waiting[m.Transaction]; c != nil {
			delete(j.waiting, m.Transaction)
			c <- m
		}
		j.mu.Unlock()
	}
}

// serve answers SIP: an INVITE joins, a BYE leaves.
func (j *Janus) serve() {
	buf := make([]byte, 8192)
	for {
		n, from, err := j.sip.ReadFrom(buf)
		if err != nil {
			return
		}
		head, body, _ := bytes.Cut(buf[:n], []byte("\r\n\r\n"))
		answer, err := j.handle(string(head), string(body))
		if err != nil {
			j.failed = err
			return
		}
		if answer != "" {
			j.sip.WriteTo([]byte(answer), from)
		}
	}
}

func (j *Janus) handle(head, body string) (answer string, err error) {
	method, _, _ := strings.Cut(head, " ")
	id := headerOf(head, "Call-ID")
	switch method {
	case "INVITE":
		if j.calls[id] == nil {
			if j.calls[id], err = j.join(head, body); err != nil {
				return "", err
			}
		}
		return j.calls[id].answer, nil
	case "ACK":
		return "", nil
	case "BYE":
		if c := j.calls[id]; c != nil {
			delete(j.calls, id)
			_, err = j.ask(map[string]any{"janus": "detach", "session_id": j.id, "handle_id": c.handle})
		}
	}
	return j.reply(head, ""), err
}

var (
	sdpAddress = regexp.MustCompile(`(?m)^c=IN IP4 (\S+)`)
	sdpMedia   = regexp.MustCompile(`(?m)^m=audio (\d+) \S+ (\d+)`)
	sdpType    = regexp.MustCompile(`(?m)^a=rtpmap:\d+ .*$`)
)

// join makes the caller a participant. The codec is the first that he offers.
func (j *Janus) join(head, sdp string) (*janusCall, error) {
	address, media := sdpAddress.FindStringSubmatch(sdp), sdpMedia.FindStringSubmatch(sdp)
	if address == nil || media == nil {
		return nil, fmt.Errorf("an offer without sound: %s", sdp)
	}
	port, _ := strconv.Atoi(media[1])
	payload, _ := strconv.Atoi(media[2])
	handle, err := j.attach()
	if err != nil {
		return nil, err
	}
	body := map[string]any{"request": "join", "room": janusRoom, "display": "caller", "codec": j.cfg.Codec,
		"rtp": map[string]any{"ip": address[1], "port": port, "payload_type": payload}}
	if j.cfg.Codec == "opus" {
		body["quality"], body["bitrate"] = j.cfg.Complexity, j.cfg.Bitrate
	}
	m, err := j.tell(handle, body)
	if err != nil {
		return nil, err
	}
	rtp := m.Plugin.Data.RTP
	if rtp.Port == 0 {
		return nil, errors.New("joined without a port")
	}
	answer := fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\nm=audio %[2]d RTP/AVP %[3]d\r\n%[4]s\r\na=rtcp:%[5]d\r\na=ptime:20\r\n",
		rtp.IP, rtp.Port, payload, strings.TrimRight(sdpType.FindString(sdp), "\r"), j.sink.LocalAddr().(*net.UDPAddr).Port)
	return &janusCall{handle: handle, answer: j.reply(head, answer)}, nil
}

// reply is 200 OK to a request.
func (j *Janus) reply(head, body string) string {
	var b strings.Builder
	b.WriteString("SIP/2.0 200 OK\r\n")
	for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
		for line := range strings.SplitSeq(head, "\r\n") {
			if key, _, _ := strings.Cut(line, ":"); strings.EqualFold(key, name) {
				b.WriteString(line)
				if name == "To" && !strings.Contains(line, "tag=") {
					b.WriteString(";tag=janus")
				}
				b.WriteString("\r\n")
			}
		}
	}
	fmt.Fprintf(&b, "Contact: <sip:%s>\r\n", j.Addr())
	if body != "" {
		b.WriteString("Content-Type: application/sdp\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return b.String()
}

// headerOf is the value of the first header of this name.
func headerOf(head, name string) string {
	for line := range strings.SplitSeq(head, "\r\n") {
		if key, value, _ := strings.Cut(line, ":"); strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
