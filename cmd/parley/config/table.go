package config

import (
	"strings"
	"time"

	"parley/board"
)

// Bounds on the lists.
const (
	maxListen      = 8
	maxUsers       = 2000
	maxUpstreams   = 16
	maxRoutes      = 200
	maxGateways    = 8
	maxAccounts    = 100
	maxConferences = 200
	maxOperators   = 16
)

var (
	slug    = matching(slugShape.fits, "small letters, digits and -, at most 32, such as room-12")
	number  = matching(numberShape.fits, "digits, letters, dot, - and _, at most 32")
	digits  = matching(dialled, "digits and *, at most 32, with or without a + in front")
	userID  = matching(userIDShape.fits, "letters, digits, dot, +, - and _, at most 64")
	eid     = matching(eidShape.fits, "letters, digits and -, at most 32")
	realm   = matching(realmShape.fits, "letters, digits, dot, - and _, at most 64")
	room    = matching(roomShape.fits, "1 to 8 digits")
	hex32   = matching(hex32Shape.fits, "32 small hexadecimal digits: MD5 of name:realm:password")
	path    = shorter(1024)
	label   = shorter(64)
	device  = matching(deviceShape.fits, "auto, file, or an ALSA name such as hw:0 or plughw:CARD=Device")
	noEmpty = matching(oneLine, "1 to 128 characters")
)

const (
	aFile    = "file"
	aServer  = "SIP URI or host[:port]"
	aAddress = "host:port"
)

// settings is the table: every setting there is, with where it is kept, its default, what it may be, and what it means.
func settings(c *Config) section {
	return section{
		{"eid", text(&c.EID, "local", "letters, digits, -", eid), "Enterprise: the root of every MQTT topic is `/e/{eid}`.", ""},
		{"box", text(&c.Box, "", "a-z, 0-9, -", orEmpty(slug)), "This box's name in MQTT topics. Never a room's name.", "from the serial number, the machine's id or its network address"},
		{"data", text(&c.Data, "", aFile, path), "Folder of everything that outlives the process. Made with mode 0700.", "/var/lib/parley for root, otherwise $XDG_STATE_HOME/parley or ~/.local/state/parley"},
		{"user", text(&c.User, "", "user name", orEmpty(label)), "Whom the box becomes when root starts it, keeping nothing but the rights to ports below 1024, to real-time priority, to lock its memory and to restart the machine. The data folder is given to that user. Empty: it stays who it is. Counts in the file that the box is started with, not in settings from elsewhere.", ""},
		{"lock_memory", toggle(&c.LockMemory, true), "Keep what the program uses in memory, where that is allowed: sound does not wait for a disk.", ""},
		{"board", text(&c.Board, "desk", "see `parley boards`", boardName), "The hardware: keys, lamps and sound card.", ""},
		{"card", cardSettings(&c.Card), "The sound card.", ""},
		{"place", placeSettings(&c.Place), "The room itself, and what its join key does.", ""},
		{"keys", keySettings(&c.Keys), "How the keys behave.", ""},
		{"listen", listenSettings(&c.Listen), "Where SIP and RTP can be reached. Everything is on loopback by default.", ""},
		{"sip", sipSettings(&c.SIP), "Calls: who may call, and where calls go.", ""},
		{"opus", opusSettings(&c.Opus), "How Opus is encoded.", ""},
		{"rtp", rtpSettings(&c.RTP), "Ports and patience of the sound.", ""},
		{"mqtt", mqttSettings(&c.MQTT), "The broker, and the way to it.", ""},
		{"http", httpSettings(&c.HTTP), "Health and metrics.", ""},
		{"provision", provisionSettings(&c.Provision), "How the box comes by an enterprise and by settings from outside: docs/provisioning.md.", ""},
		{"update", updateSettings(&c.Update), "How the firmware is replaced: docs/update.md.", ""},
		{"watchdog", watchdogSettings(&c.Watchdog), "What becomes of a box that does not go on.", ""},
		{"conferences", &items[Conference]{&c.Conferences, []Conference{{Number: "1000", Max: 200}}, maxConferences, conferenceSettings}, "Standing conferences: they never end, and whoever is admitted to the box may join them.", ""},
		{"meetings", meetingSettings(&c.Meetings), "Conferences that are made by API: when people may come, and who runs them.", ""},
		{"recording", recordingSettings(&c.Recording), "Recordings of conferences.", ""},
		{"log", logSettings(&c.Log), "What is logged.", ""},
	}
}

func cardSettings(c *Card) section {
	return section{
		{"device", text(&c.Device, "auto", "auto, file, or an ALSA name", device), "`auto` is the machine's card, or `file` when there is none. `file` is a card made of files.", ""},
		{"microphone", text(&c.Microphone, "", aFile, path), "WAV that the file card plays, over and over, as its microphone. Empty is a spoken sentence that is built in.", ""},
		{"speaker", text(&c.Speaker, "", aFile, path), "WAV that the file card writes what the room would hear to. Empty is `speaker.wav` in the data folder.", ""},
		{"volume", integer(&c.Volume, 70, 0, 100, "%"), "Loudness of the speaker at start; the keys change it.", ""},
		{"ducking", toggle(&c.Ducking, true), "Turn the microphone down while the speaker is loud, so that no far end hears itself. The file card has no echo and does not.", ""},
	}
}

func placeSettings(p *Place) section {
	return section{
		{"number", text(&p.Number, "100", "digits, letters, . - _", number), "What callers dial to ring the room.", ""},
		{"name", text(&p.Name, "Room", "at most 64 bytes", label), "The room's name in rosters.", ""},
		{"join", text(&p.Join, "1000", "number or SIP URI", either(number, sipURI)), "What the join key calls.", ""},
		{"join_at_start", toggle(&p.JoinAtStart, false), "Join as soon as the box is ready.", "true on board desk, otherwise false"},
		{"auto_answer", choice(&p.AutoAnswer, AnswerOff, AnswerOff, AnswerMuted, AnswerOpen), "Calls to the room: `off` rings until a key is pressed, `muted` answers with the microphone off, `open` answers and is heard.", ""},
		{"no_answer", duration(&p.NoAnswer, 45*time.Second, 5*time.Second, 3*time.Minute), "A call of the join key that nobody answers is given up after this time, and a call to the room that nobody takes is refused.", ""},
	}
}

func keySettings(k *Keys) section {
	return section{
		{"debounce", duration(&k.Debounce, 20*time.Millisecond, 5*time.Millisecond, 200*time.Millisecond), "A level must last so long to count. Muting does not wait for it.", ""},
		{"double_press", duration(&k.DoublePress, 400*time.Millisecond, 100*time.Millisecond, 2*time.Second), "Two presses of a key within this time are a double press: the join key takes them as one.", ""},
		{"reset_hold", duration(&k.ResetHold, 10*time.Second, 3*time.Second, time.Minute), "A key that is held for so long is told as a long press, which is what the reset key is for.", ""},
		{"stuck", duration(&k.Stuck, 30*time.Second, 12*time.Second, 10*time.Minute), "A key that is down for so long is reported as stuck. Must be longer than `reset_hold`.", ""},
		{"chatter", integer(&k.Chatter, 40, 10, 1000, "edges/s"), "A key with more edges in a second is reported as chattering.", ""},
	}
}

func listenSettings(l *Listen) section {
	const open = ", and on all interfaces when `listen.lan` is true"
	list := func(to *[]string, def string) value {
		return &words{to: to, def: []string{def}, max: maxListen, may: "list of " + aAddress, check: hostPort}
	}
	return section{
		{"lan", toggle(&l.LAN, false), "Open SIP and RTP to the network. Callers from there need a name and password of `sip.users`. Broker and HTTP stay where they are.", ""},
		{"sip_udp", list(&l.SIPUDP, "127.0.0.1:5060"), "SIP over UDP" + open + ". `[]` is off.", ""},
		{"sip_tcp", list(&l.SIPTCP, "127.0.0.1:5060"), "SIP over TCP" + open + ". `[]` is off.", ""},
		{"sip_tls", list(&l.SIPTLS, "127.0.0.1:5061"), "SIP over TLS" + open + ". `[]` is off.", ""},
		{"rtp", text(&l.RTP, "127.0.0.1", "IP address", address), "Address of the RTP sockets" + open + ".", ""},
	}
}

func sipSettings(s *SIP) section {
	return section{
		{"advertise", text(&s.Advertise, "", "host name or IP address", orEmpty(hostName)), "What is written into Contact and SDP. Empty is the address that a packet leaves from; needed behind NAT.", ""},
		{"realm", text(&s.Realm, "parley", "letters, digits, . - _", realm), "Realm of the digest. A change makes every `ha1` invalid.", ""},
		{"users", &items[User]{&s.Users, nil, maxUsers, userSettings}, "Phones and people that may register and call.", ""},
		{"trust_loopback", toggle(&s.TrustLoopback, true), "Programs on this machine call without a password. Never holds for other addresses.", ""},
		{"max_calls_per_user", integer(&s.MaxCallsPerUser, 4, 1, 1000, "calls"), "Calls that one caller may have at a time; programs on this machine, when trusted, are not counted.", ""},
		{"session_expires", duration(&s.SessionExpires, 30*time.Minute, 90*time.Second, 24*time.Hour), "Session timer (RFC 4028): a call whose far end has vanished ends within it.", ""},
		{"srtp", choice(&s.SRTP, SRTPAllow, SRTPDisable, SRTPAllow, SRTPRequire), "Encrypted sound (SDES, over TLS only).", ""},
		{"allow_refer", toggle(&s.AllowRefer, false), "Let a caller make the box call somebody else (REFER): a number that the box knows or has a route for.", ""},
		{"codecs", &words{to: &s.Codecs, def: []string{"opus", "g722", "pcmu", "pcma"}, max: 4, may: "list of opus, g722, pcmu, pcma", check: codec}, "What the box speaks, the preferred one first.", ""},
		{"register_expires", duration(&s.RegisterExpires, time.Hour, time.Minute, 24*time.Hour), "Longest time that a phone's registration is kept without being renewed.", ""},
		{"max_registrations", integer(&s.MaxRegistrations, 500, 1, 10000, "contacts"), "Registered contacts of all users together.", ""},
		{"tls", tlsSettings(&s.TLS, "SIP", " Empty is a certificate that the box makes for itself.", "Who signs the certificates of upstreams and gateways, PEM. One that shows such a certificate for its own host name may call in without a password; one that we call must show it. Empty: none may, and who is called is held to the machine's own list."), "Certificate of SIP over TLS.", ""},
		{"upstreams", &items[Upstream]{&s.Upstreams, nil, maxUpstreams, upstreamSettings}, "PBXs and providers that the box registers with.", ""},
		{"routes", &items[Route]{&s.Routes, nil, maxRoutes, routeSettings}, "Where outside numbers go; the longest prefix wins. A number without a route is refused.", ""},
	}
}

func userSettings(u *User) section {
	return section{
		{"name", text(&u.Name, "", "letters, digits, . + - _", userID), "User name, which is also the number.", ""},
		{"password", &secret{&u.Password, "1 to 128 characters", noEmpty}, "Password. Either this or `ha1`.", ""},
		{"ha1", &secret{&u.HA1, "32 hexadecimal digits", hex32}, "MD5 of `name:realm:password`, so that the password itself need not be here.", ""},
	}
}

const mustShow = "If set, clients must show a certificate that one of these signed, PEM."

func tlsSettings(t *TLS, what, empty, ca string) section {
	return section{
		{"cert", text(&t.Cert, "", aFile, path), "Certificate chain of " + what + ", PEM." + empty, ""},
		{"key", text(&t.Key, "", aFile, path), "Its private key, PEM.", ""},
		{"ca", text(&t.CA, "", aFile, path), ca, ""},
	}
}

func upstreamSettings(u *Upstream) section {
	return section{
		{"name", text(&u.Name, "", "a-z, 0-9, -", slug), "How `sip.routes` calls it.", ""},
		{"registrar", text(&u.Registrar, "", aServer, sipServer), "Where to register.", ""},
		{"user", text(&u.User, "", "letters, digits, . + - _", userID), "User name there.", ""},
		{"password", &secret{&u.Password, "1 to 128 characters", noEmpty}, "Password there.", ""},
		{"proxy", text(&u.Proxy, "", aServer, orEmpty(sipServer)), "Outbound proxy. Empty is the registrar.", ""},
		{"transport", choice(&u.Transport, "udp", "udp", "tcp", "tls"), "How to talk to it.", ""},
		{"expires", duration(&u.Expires, 5*time.Minute, time.Minute, 24*time.Hour), "Registration is asked for so long, and renewed before.", ""},
	}
}

func routeSettings(r *Route) section {
	return section{
		{"prefix", text(&r.Prefix, "", "digits and *", digits), "Numbers that begin so. Empty is every number that no other route takes.", ""},
		{"strip", integer(&r.Strip, 0, 0, 32, "digits"), "Digits taken off the front.", ""},
		{"prepend", text(&r.Prepend, "", "digits and *", digits), "Digits put in front after that.", ""},
		{"gateways", &words{to: &r.Gateways, max: maxGateways, may: "list of upstream names or SIP URIs", check: gateway}, "Tried in this order: the next one on 503, time-out or no connection.", ""},
		{"identity", text(&r.Identity, "", "letters, digits, . + - _", orEmpty(userID)), "Number that the called sees, unless the caller asked for another (`XXX:YYY`). Empty is the caller's own.", ""},
	}
}

func opusSettings(o *Opus) section {
	return section{
		{"bitrate", integer(&o.Bitrate, 32000, 6000, 128000, "bit/s"), "Bits per second that are sent.", ""},
		{"complexity", integer(&o.Complexity, 5, 0, 10, ""), "Effort of the encoder: more costs CPU and sounds better.", ""},
	}
}

func rtpSettings(r *RTP) section {
	return section{
		{"first", integer(&r.First, 20000, 1024, 65534, ""), "First port. Must be even: a call has a pair.", ""},
		{"last", integer(&r.Last, 20999, 1025, 65535, ""), "Last port. Must be odd.", ""},
		{"rest", duration(&r.Rest, 30*time.Second, 0, 10*time.Minute), "A call's ports are not used again for so long, so that late packets do not meet the next call.", ""},
		{"jitter_target", duration(&r.JitterTarget, 40*time.Millisecond, 10*time.Millisecond, 400*time.Millisecond), "Sound kept back to even out late packets.", ""},
		{"alert_after", duration(&r.AlertAfter, 30*time.Second, 5*time.Second, time.Hour), "No packet for so long, without hold: an alert is raised.", ""},
		{"hangup_after", duration(&r.HangupAfter, time.Minute, 10*time.Second, 2*time.Hour), "No packet for so long, without hold: the call is ended. Must be longer than `alert_after`.", ""},
	}
}

func mqttSettings(m *MQTT) section {
	return section{
		{"broker", text(&m.Broker, BrokerEmbedded, "embedded, mqtt://host[:port], mqtts://host[:port]", brokerURL), "Where the box connects to. `embedded` starts a broker in the box.", ""},
		{"user", text(&m.User, "", "at most 64 bytes", label), "User name at the broker.", ""},
		{"password", &secret{&m.Password, "1 to 128 characters", noEmpty}, "Password at the broker.", ""},
		{"ca", text(&m.CA, "", aFile, path), "Certificates that the broker's may be signed by, PEM. Empty is the machine's own list.", ""},
		{"cert", text(&m.Cert, "", aFile, path), "Client certificate, PEM.", ""},
		{"key", text(&m.Key, "", aFile, path), "Its private key, PEM.", ""},
		{"listen", text(&m.Listen, "127.0.0.1:1883", aAddress, hostPort), "Address of the embedded broker. Beyond loopback only with `mqtt.tls` and `mqtt.users`.", ""},
		{"tls", tlsSettings(&m.TLS, "the embedded broker", " Empty is without TLS.", mustShow), "TLS of the embedded broker.", ""},
		{"users", &items[Account]{&m.Users, nil, maxAccounts, accountSettings}, "Who may connect to the embedded broker. Empty is anyone on this machine.", ""},
		{"acl", text(&m.ACL, "", aFile, path), "Access rules of the embedded broker, in the form of mosquitto's acl_file: which of `mqtt.users` may write and read which topics; mqtt/wire/PROTOCOL.md has a set to begin with. The box itself may do everything. Empty: every user may.", ""},
	}
}

func httpSettings(h *HTTP) section {
	return section{
		{"listen", text(&h.Listen, "127.0.0.1:8080", aAddress+", or empty", orEmpty(hostPort)), "Address of health and metrics. Beyond loopback only with `http.tls` and `http.users`. Empty is off.", ""},
		{"tls", tlsSettings(&h.TLS, "HTTP", " Empty is without TLS.", mustShow), "TLS of HTTP.", ""},
		{"users", &items[Account]{&h.Users, nil, maxAccounts, accountSettings}, "Who may look (HTTP basic authentication). Empty is anyone on this machine.", ""},
	}
}

func provisionSettings(p *Provision) section {
	return section{
		{"boot_file", text(&p.BootFile, "/boot/parley/provision.yaml", aFile, path), "Whom to trust, and the claim to enrol with; made for a fleet by `parleyctl provision init`.", ""},
		{"enrol", toggle(&p.Enrol, false), "Ask to be enrolled, while the box is not.", "true where the boot file is"},
		{"dhcp_file", text(&p.DHCPFile, "/run/parley/dhcp", aFile, path), "What the DHCP client has learnt: lines `broker=` (option 224: the broker's URL) and `domain=`.", ""},
		{"keys", &words{to: &p.Keys, def: []string{}, max: maxOperators, may: "list of public keys, base64", check: publicKey}, "Operators whose signatures count for commands, bookings, settings and firmware, beside those of the boot file and of the enrolment, and the box's own key.", ""},
	}
}

func watchdogSettings(w *Watchdog) section {
	return section{
		{"device", text(&w.Device, "auto", "auto, off, or a file", path), "The machine's watchdog: it starts the machine anew when the box does not even run any more. `auto` is the board's, if it has one.", ""},
	}
}

func updateSettings(u *Update) section {
	return section{
		{"confirm", duration(&u.Confirm, 3*time.Minute, 10*time.Second, time.Hour), "In this time, new firmware must have working what worked before: sound, broker, SIP. Else the old one comes back.", ""},
		{"keys", &words{to: &u.Keys, def: []string{}, max: maxOperators, may: "list of public keys, base64", check: publicKey}, "Who makes firmware: keys whose signatures on images count, beside those of operators and the box's own.", ""},
		{"slots", text(&u.Slots, "", aFile, path), "Folder that holds the slots as files, for trying updates out; the box then ends with status 75 where it would restart the machine. Empty: the machine's own, if it has any.", ""},
	}
}

func accountSettings(a *Account) section {
	return section{
		{"name", text(&a.Name, "", "letters, digits, . + - _", userID), "User name.", ""},
		{"password", &secret{&a.Password, "1 to 128 characters", noEmpty}, "Password.", ""},
	}
}

func conferenceSettings(c *Conference) section {
	return section{
		{"number", text(&c.Number, "", "1 to 8 digits", room), "What callers dial.", ""},
		{"name", text(&c.Name, "", "at most 64 bytes", label), "Name in rosters. Empty is the number.", ""},
		{"max", integer(&c.Max, 200, 2, 256, "members"), "Members at a time; the next one hears busy (486).", ""},
	}
}

func meetingSettings(m *Meetings) section {
	return section{
		{"time_zone", text(&m.TimeZone, "Local", "Local, UTC, an offset such as +08:00, or a name such as Asia/Shanghai", zone), "In which start and end of a conference are given. Names need the machine's time zone data.", ""},
		{"lobby", duration(&m.Lobby, 5*time.Minute, 0, time.Hour), "Before the start of a scheduled conference, early comers wait in its lobby for so long. Earlier nobody gets in.", ""},
		{"warning", duration(&m.Warning, 5*time.Minute, 0, time.Hour), "Before the end, everybody is told. `0s` tells nobody.", ""},
		{"host_gone", choice(&m.HostGone, "wait", "wait", "heir"), "When the last host drops off: `wait`, nobody runs the conference until he is back; `heir`, who has been in it for the longest becomes host.", ""},
		{"language", choice(&m.Language, "en", "en", "zh"), "Of spoken prompts.", ""},
		{"greet", toggle(&m.Greet, true), "A tone when somebody joins or leaves.", ""},
		{"keep_days", integer(&m.Keep, 30, 1, 3650, "days"), "Messages and shared files of a conference are deleted so many days after its end.", ""},
		{"files_mb", integer(&m.Files, 256, 1, 100000, "MB"), "Shared files of one conference.", ""},
		{"all_files_mb", integer(&m.AllFiles, 1024, 1, 1000000, "MB"), "Shared files of all conferences together.", ""},
	}
}

func recordingSettings(r *Recording) section {
	return section{
		{"auto", toggle(&r.Auto, false), "Record every conference that is made by API from its start.", ""},
		{"tracks", toggle(&r.Tracks, false), "Beside the whole, record everybody in the hall on a track of his own. Each costs as much as another recording.", ""},
		{"bitrate", integer(&r.Bitrate, 24000, 8000, 128000, "bit/s"), "Bits per second of the recording (Opus).", ""},
		{"quota_mb", integer(&r.Quota, 2000, 10, 1000000, "MB"), "All recordings together; the oldest finished one goes first.", ""},
		{"keep_days", integer(&r.Keep, 90, 1, 3650, "days"), "A recording is deleted after so many days.", ""},
		{"reserve_mb", integer(&r.Reserve, 100, 1, 100000, "MB"), "Free space below which nothing is recorded.", ""},
	}
}

func logSettings(l *Log) section {
	return section{
		{"level", choice(&l.Level, "info", "debug", "info", "warn", "error"), "The least that is logged.", ""},
		{"format", choice(&l.Format, "text", "text", "json"), "How a line looks.", ""},
	}
}

func boardName(s string) string {
	var list []string
	for _, b := range board.List() {
		if b.Name == s {
			return ""
		}
		list = append(list, b.Name)
	}
	return suggest(s, list) + "there are: " + strings.Join(list, ", ")
}

func codec(s string) string {
	list := []string{"opus", "g722", "pcmu", "pcma"}
	for _, c := range list {
		if s == c {
			return ""
		}
	}
	return suggest(s, list) + "allowed: opus, g722, pcmu, pcma"
}
