package main_test

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/mqtt/wire"
)

// badDoc is a message on config/desired that must change nothing, and what the box is to say of it.
type badDoc struct {
	name         string
	message      []byte
	reason, path string
}

// badDocs makes every kind of bad message for one box. Unless a case is about the version, each document has one of its own, newer than
// all before.
type badDocs struct {
	t        testing.TB
	box      wire.Box
	operator ed25519.PrivateKey // known to the box, as is second
	second   ed25519.PrivateKey
	stranger ed25519.PrivateKey
	seal     *ecdh.PublicKey // the box's
	version  uint64
	list     []badDoc
}

func (b *badDocs) add(name string, message []byte, reason, path string) {
	b.list = append(b.list, badDoc{name, message, reason, path})
}

// field replaces a key of the document by raw JSON; empty takes it out.
type field struct{ key, raw string }

// payload is a document that is good but for fields.
func (b *badDocs) payload(settings string, fields ...field) string {
	b.version++
	all := []field{{"schema", "1"}, {"eid", quoted(b.box.EID())}, {"box", quoted(b.box.Name())}, {"version", fmt.Sprint(b.version)},
		{"confirm_s", "60"}, {"settings", settings}}
	for _, f := range fields {
		if i := slices.IndexFunc(all, func(a field) bool { return a.key == f.key }); i >= 0 {
			all[i] = f
		} else {
			all = append(all, f)
		}
	}
	var parts []string
	for _, f := range all {
		if f.raw != "" {
			parts = append(parts, quoted(f.key)+":"+f.raw)
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func (b *badDocs) sign(payload string, keys ...ed25519.PrivateKey) []byte {
	b.t.Helper()
	if len(keys) == 0 {
		keys = []ed25519.PrivateKey{b.operator}
	}
	envelope, err := wire.Sign([]byte(payload), keys...)
	if err != nil {
		b.t.Fatal(err)
	}
	return envelope
}

// signed adds a document by the operator that is wrong in its payload.
func (b *badDocs) signed(name, payload, reason, path string) {
	b.t.Helper()
	b.add(name, b.sign(payload), reason, path)
}

const fine = `{"card":{"volume":33}}` // settings that would be good

// envelopes are messages that are wrong before anybody looks inside.
func (b *badDocs) envelopes() {
	b64 := base64.StdEncoding
	good := func() wire.Envelope {
		var e wire.Envelope
		if err := wire.Decode(b.sign(b.payload(fine)), &e); err != nil {
			b.t.Fatal(err)
		}
		return e
	}
	text := func(change func(*wire.Envelope)) []byte {
		e := good()
		change(&e)
		out, _ := json.Marshal(e)
		return out
	}
	for name, message := range map[string]string{"a list": "[]", "null": "null", "a text": `"x"`, "a number": "7", "true": "true"} {
		b.add("envelope is "+name, []byte(message), wire.ReasonInvalidValue, "")
	}
	for name, message := range map[string]string{
		"not JSON": "hello", "YAML": "payload: x", "only a brace": "{", "NUL bytes": "\x00\x00\x00", "XML": "<x/>", "not UTF-8": "{\"payload\":\"\xff\xfe\"}",
		"a byte order mark": "\xef\xbb\xbf{}", "only spaces": "   ", "half a surrogate": `{"payload":"\ud800"}`, "a comment": "// x\n{}",
	} {
		path := ""
		if name == "half a surrogate" {
			path = "payload"
		}
		b.add("envelope is "+name, []byte(message), wire.ReasonInvalidJSON, path)
	}
	b.add("envelope is empty", []byte("{}"), wire.ReasonInvalidValue, "payload")
	for name, change := range map[string]func(*wire.Envelope){
		"not base64": func(e *wire.Envelope) { e.Payload = "not base64!" }, "base64 cut short": func(e *wire.Envelope) { e.Payload = e.Payload[:len(e.Payload)-3] },
		"base64 of URLs": func(e *wire.Envelope) { e.Payload = "_-_-" }, "base64 with a break": func(e *wire.Envelope) { e.Payload = e.Payload[:8] + "\n" + e.Payload[8:] },
		"empty": func(e *wire.Envelope) { e.Payload = "" },
	} {
		path := "payload"
		b.add("payload is "+name, text(change), wire.ReasonInvalidValue, path)
	}
	for name, x := range map[string]struct {
		change       func(*wire.Envelope)
		reason, path string
	}{
		"none":                    {func(e *wire.Envelope) { e.Signatures = []wire.Signature{} }, wire.ReasonBadSignature, ""},
		"five":                    {func(e *wire.Envelope) { s := e.Signatures[0]; e.Signatures = []wire.Signature{s, s, s, s, s} }, wire.ReasonInvalidValue, "signatures"},
		"too short":               {func(e *wire.Envelope) { e.Signatures[0].Sig = b64.EncodeToString(make([]byte, 63)) }, wire.ReasonInvalidValue, "signatures[0].sig"},
		"not base64":              {func(e *wire.Envelope) { e.Signatures[0].Sig = "*" }, wire.ReasonInvalidValue, "signatures[0].sig"},
		"without a key's name":    {func(e *wire.Envelope) { e.Signatures[0].KeyID = "" }, wire.ReasonInvalidValue, "signatures[0].keyid"},
		"with a name too long":    {func(e *wire.Envelope) { e.Signatures[0].KeyID = strings.Repeat("a", 65) }, wire.ReasonInvalidValue, "signatures[0].keyid"},
		"zeros":                   {func(e *wire.Envelope) { e.Signatures[0].Sig = b64.EncodeToString(make([]byte, 64)) }, wire.ReasonBadSignature, ""},
		"over another document":   {func(e *wire.Envelope) { e.Signatures = good().Signatures }, wire.ReasonBadSignature, ""},
		"one bit off":             {flipSignature, wire.ReasonBadSignature, ""},
		"under a name in capital": {func(e *wire.Envelope) { e.Signatures[0].KeyID = strings.ToUpper(e.Signatures[0].KeyID) }, wire.ReasonUnknownKey, ""},
	} {
		b.add("signatures: "+name, text(x.change), x.reason, x.path)
	}
	b.add("an unknown key", b.sign(b.payload(fine), b.stranger), wire.ReasonUnknownKey, "")
	forged := text(func(e *wire.Envelope) {
		raw, _ := b64.DecodeString(e.Payload)
		e.Signatures[0].Sig = b64.EncodeToString(ed25519.Sign(b.stranger, raw))
	})
	b.add("a stranger's signature under the operator's name", forged, wire.ReasonBadSignature, "")
	b.add("a good signature and a bad one", func() []byte {
		var e wire.Envelope
		wire.Decode(b.sign(b.payload(fine), b.operator, b.second), &e)
		e.Signatures[1].Sig = e.Signatures[0].Sig
		out, _ := json.Marshal(e)
		return out
	}(), wire.ReasonBadSignature, "")

	e := good()
	sigs, _ := json.Marshal(e.Signatures)
	whole := `"payload":` + quoted(e.Payload) + `,"signatures":` + string(sigs)
	for name, x := range map[string][3]string{
		"a field too many":          {"{" + whole + `,"extra":1}`, wire.ReasonUnknownField, "extra"},
		"a field in capitals":       {`{"Payload":` + quoted(e.Payload) + "}", wire.ReasonUnknownField, "Payload"},
		"the payload twice":         {`{"payload":"AAAA",` + whole + "}", wire.ReasonInvalidJSON, "payload"},
		"a field too many, inside":  {`{"payload":"AAAA","signatures":[{"keyid":"x","sig":"y","alg":"none"}]}`, wire.ReasonUnknownField, "signatures[0].alg"},
		"something after the end":   {"{" + whole + "}{}", wire.ReasonInvalidJSON, ""},
		"a number as payload":       {`{"payload":7}`, wire.ReasonInvalidValue, "payload"},
		"null as payload":           {`{"payload":null}`, wire.ReasonInvalidValue, "payload"},
		"an object as signatures":   {`{"payload":"AAAA","signatures":{}}`, wire.ReasonInvalidValue, "signatures"},
		"lists in lists":            {`{"payload":` + strings.Repeat("[", 5000), wire.ReasonInvalidValue, "payload"},
		"longer than is looked at":  {"{" + whole + strings.Repeat(" ", 70<<10) + "}", wire.ReasonInvalidJSON, ""},
		"as long as fits a message": {"{" + whole + strings.Repeat(" ", 200<<10) + "}", wire.ReasonInvalidJSON, ""},
	} {
		b.add("envelope with "+name, []byte(x[0]), x[1], x[2])
	}
	message := b.sign(b.payload(fine))
	for i := range 24 {
		b.add(fmt.Sprintf("message cut to %d/24", i), message[:1+i*(len(message)-2)/23], wire.ReasonInvalidJSON, "")
		if i > 0 && i < 23 {
			b.list[len(b.list)-1].path = "*" // where it was cut
		}
	}
	b.list[len(b.list)-24].path = ""
}

func flipSignature(e *wire.Envelope) {
	raw, _ := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
	raw[17] ^= 4
	e.Signatures[0].Sig = base64.StdEncoding.EncodeToString(raw)
}

// heads are documents that are genuine and wrong around their settings.
func (b *badDocs) heads() {
	for _, raw := range []string{"2", "0", "-1", "99"} {
		b.signed("schema "+raw, b.payload(fine, field{"schema", raw}), wire.ReasonSchema, "")
	}
	b.signed("no schema", b.payload(fine, field{"schema", ""}), wire.ReasonSchema, "")
	// Of another schema nothing else is looked at.
	b.signed("schema 2 with unknown fields", b.payload(`[]`, field{"schema", "2"}, field{"more", "1"}), wire.ReasonSchema, "")
	for name, f := range map[string]field{
		"another box": {"box", `"box-2"`}, "another enterprise": {"eid", `"other"`}, "a box in capitals": {"box", `"BOX-1"`}, "no box": {"box", ""},
		"no enterprise": {"eid", ""}, "a box with a wildcard": {"box", `"+"`},
	} {
		b.signed("for "+name, b.payload(fine, f), wire.ReasonWrongBox, "")
	}
	for _, x := range []struct{ key, raw, reason string }{
		{"schema", `"1"`, wire.ReasonInvalidValue}, {"schema", "1.5", wire.ReasonInvalidValue}, {"schema", "true", wire.ReasonInvalidValue},
		{"schema", "null", wire.ReasonInvalidValue}, {"box", "7", wire.ReasonInvalidValue}, {"eid", "[]", wire.ReasonInvalidValue},
		{"version", "0", wire.ReasonInvalidValue}, {"version", "-1", wire.ReasonInvalidValue}, {"version", "", wire.ReasonInvalidValue},
		{"version", `"9"`, wire.ReasonInvalidValue}, {"version", "1.5", wire.ReasonInvalidValue}, {"version", "1e999", wire.ReasonInvalidValue},
		{"version", "18446744073709551616", wire.ReasonInvalidValue}, {"version", "null", wire.ReasonInvalidValue},
		{"version", "NaN", wire.ReasonInvalidJSON}, {"version", "Infinity", wire.ReasonInvalidJSON}, {"version", "0x10", wire.ReasonInvalidJSON},
		{"version", "01", wire.ReasonInvalidJSON},
		{"confirm_s", "0", wire.ReasonInvalidValue}, {"confirm_s", "-60", wire.ReasonInvalidValue}, {"confirm_s", "2", wire.ReasonInvalidValue},
		{"confirm_s", "3601", wire.ReasonInvalidValue}, {"confirm_s", "9000000000000000000", wire.ReasonInvalidValue},
		{"confirm_s", "1e30", wire.ReasonInvalidValue}, {"confirm_s", `"60"`, wire.ReasonInvalidValue}, {"confirm_s", "", wire.ReasonInvalidValue},
		{"confirm_s", "null", wire.ReasonInvalidValue}, {"confirm_s", "-Infinity", wire.ReasonInvalidJSON},
		{"exp", "-1", wire.ReasonInvalidValue}, {"exp", `"tomorrow"`, wire.ReasonInvalidValue},
		{"settings", "", wire.ReasonInvalidValue}, {"settings", "null", wire.ReasonInvalidValue}, {"settings", "[]", wire.ReasonInvalidValue},
		{"settings", `"card: {}"`, wire.ReasonInvalidValue}, {"settings", "7", wire.ReasonInvalidValue}, {"settings", "false", wire.ReasonInvalidValue},
		{"Version", "7", wire.ReasonUnknownField}, {"comment", `"x"`, wire.ReasonUnknownField}, {"signatures", "[]", wire.ReasonUnknownField},
	} {
		path := x.key
		if x.raw == "0x10" || x.raw == "01" {
			path = "" // what follows the first digit is not JSON
		}
		b.signed(x.key+" "+x.raw, b.payload(fine, field{x.key, x.raw}), x.reason, path)
	}
	b.signed("exp is over", b.payload(fine, field{"exp", fmt.Sprint(time.Now().Add(-time.Hour).Unix())}), wire.ReasonExpired, "")
	b.signed("version 1 again, with other settings", b.payload(fine, field{"version", "1"}), wire.ReasonStaleVersion, "")
	b.signed("version twice", strings.Replace(b.payload(fine), "{", `{"version":7,`, 1), wire.ReasonInvalidJSON, "version")
	b.signed("settings twice", strings.Replace(b.payload(fine), "{", `{"settings":{},`, 1), wire.ReasonInvalidJSON, "settings")
	b.signed("something after the end", b.payload(fine)+" {}", wire.ReasonInvalidJSON, "")
	b.signed("not UTF-8", b.payload(`{"place":{"name":"`+"\xc3("+`"}}`), wire.ReasonInvalidJSON, "")
	b.signed("half a surrogate", b.payload(`{"place":{"name":"\udc00"}}`), wire.ReasonInvalidJSON, "settings.place.name")
	b.signed("a byte order mark", "\ufeff"+b.payload(fine), wire.ReasonInvalidJSON, "")
	b.signed("only a space", " ", wire.ReasonInvalidJSON, "")
	b.signed("a list", "[]", wire.ReasonInvalidValue, "")
	b.signed("a command", `{"id":"c-1","exp":1795255230,"eid":"local","box":"box-1","verb":"mute","args":{}}`, wire.ReasonSchema, "")
	b.signed("bookings", `{"eid":"local","box":"box-1","version":9,"bookings":[]}`, wire.ReasonSchema, "")
	payload := b.payload(fine)
	for i := range 16 {
		b.signed(fmt.Sprintf("payload cut to %d/16", i), payload[:1+i*(len(payload)-2)/15], wire.ReasonInvalidJSON, "*")
	}
	b.signed("deep", b.payload(`{"card":`+strings.Repeat(`{"x":`, 20)+"1"+strings.Repeat("}", 20)+"}"), wire.ReasonInvalidJSON, "*")
	b.signed("lists in lists", b.payload(`{"card":`+strings.Repeat("[", 1000)+strings.Repeat("]", 1000)+"}"), wire.ReasonInvalidJSON, "*")
	b.signed("too many values", b.payload(`{"sip":{"codecs":[`+strings.TrimSuffix(strings.Repeat("1,", 9000), ",")+`]}}`), wire.ReasonInvalidJSON, "*")
	b.signed("a long name", b.payload(`{"place":{"name":`+quoted(strings.Repeat("x", 40<<10))+`}}`), wire.ReasonInvalidValue, "settings.place.name")
}

var listEntry = regexp.MustCompile(`\[\d+\]`)

// nest makes settings with one value at a path such as sip.users[0].name.
func nest(path, raw string) string {
	parts := strings.Split(path, ".")
	for _, p := range slices.Backward(parts) {
		list := listEntry.MatchString(p)
		if list {
			raw = "[" + raw + "]"
		}
		raw = "{" + quoted(listEntry.ReplaceAllString(p, "")) + ":" + raw + "}"
	}
	return raw
}

// values are settings that the box cannot run with.
func (b *badDocs) values() {
	for _, path := range []string{"volume", "crad", "card.vol", "card.Volume", "sip.tls.certificate", "sip.upstreams[0].host", "sip.users[0].pass",
		"conferences[0].Number", "mqtt.tls.keys", "place.name.first", "log.level.x", "meetings.lobby2"} {
		at, reason := path, wire.ReasonUnknownField
		if path == "place.name.first" || path == "log.level.x" { // there is such a setting, and it is no section
			at, reason = path[:strings.LastIndexByte(path, '.')], wire.ReasonInvalidValue
		}
		b.signed("unknown "+path, b.payload(nest(path, "1")), reason, "settings."+at)
	}
	// What is wrong in a list is told with its place there.
	for _, x := range []struct {
		path string
		raw  []string
	}{
		{"card.volume", []string{"-1", "101", "1e999", "1.5", `"loud"`, `"50"`, "true", "null", "[]", "{}", "123456789012345678901234567890"}},
		{"card.ducking", []string{"1", `"yes"`, "null"}},
		{"card.device", []string{`"../../dev/null x"`, "{}", `""`}},
		{"card", []string{"7", "[]", "null", `"auto"`}},
		{"place.number", []string{`"a b"`, `""`, "{}"}},
		{"place.name", []string{quoted(strings.Repeat("x", 65)), `"a\nb"`, "[]"}},
		{"place.join", []string{`"sip:"`, `"http://x"`, `"1000;x y"`}},
		{"place.auto_answer", []string{`"always"`, "true", "1"}},
		{"place.no_answer", []string{`"45"`, "45", `"4h"`, `"-1s"`, `"1e9h"`}},
		{"keys.debounce", []string{`"1ms"`, `"1s"`, "20"}},
		{"keys.chatter", []string{"0", "1001", `"x"`}},
		{"listen.lan", []string{"0", `"true"`}},
		{"listen.sip_udp*", []string{`["nowhere"]`, `["127.0.0.1:99999"]`, `{}`, `["127.0.0.1:1","127.0.0.1:1"]`}},
		{"listen.rtp", []string{`"localhost"`, `"127.0.0.256"`}},
		{"sip.advertise", []string{`"a b"`, `"sip:x"`}},
		{"sip.max_calls_per_user", []string{"0", "-5", "1e3"}},
		{"sip.session_expires", []string{`"1s"`, `"25h"`}},
		{"sip.srtp", []string{`"maybe"`, "true"}},
		{"sip.codecs*", []string{`["mp3"]`, "[]", `["opus","opus"]`, `"speex"`, "[1]"}},
		{"sip.users", []string{"{}", "7", `"x"`}},
		{"sip.users[0].name", []string{`"a b"`, "{}"}},
		{"sip.upstreams[0].transport", []string{`"sctp"`}},
		{"sip.upstreams[0].registrar", []string{`"user@host"`, `"h:0x1"`}},
		{"sip.routes[0].prefix", []string{`"abc"`}},
		{"sip.routes[0].strip", []string{"-1", "33"}},
		{"opus.bitrate", []string{"5999", "1e6", `"32k"`}},
		{"opus.complexity", []string{"11", "-1"}},
		{"rtp.first", []string{"1023", "65535", "20001"}},
		{"rtp.last", []string{"70000", "21000", "0"}},
		{"rtp.jitter_target", []string{`"0s"`, `"5s"`}},
		{"mqtt.broker", []string{`"broker.example.com"`, `"http://x"`, `"mqtt://u:p@h"`, `"mqtt://h/path"`, `"embedded"`, `""`}},
		{"http.listen", []string{`"8080"`, `":8080"`, `"0.0.0.0:80"`}},
		{"conferences[0].number", []string{`"abc"`, `"123456789"`, `""`, "{}"}},
		{"conferences[0].max", []string{"1", "257"}},
		{"meetings.time_zone", []string{`"Mars/Olympus"`, `"+99:00"`}},
		{"meetings.keep_days", []string{"0", "4000"}},
		{"recording.bitrate", []string{"1", "null"}},
		{"recording.auto", []string{`"on"`}},
		{"log.level", []string{`"loud"`, "3"}},
		{"log.format", []string{`"xml"`}},
	} {
		for _, raw := range x.raw {
			path := strings.TrimSuffix(x.path, "*")
			name := path + " is " + raw
			b.signed(name[:min(len(name), 80)], b.payload(nest(path, raw)), wire.ReasonInvalidValue, "settings."+x.path)
		}
	}
}

// conflicts are settings that are right alone and wrong together, or not for the central side to set.
func (b *badDocs) conflicts() {
	for _, x := range []struct{ settings, path string }{
		{`{"eid":"other"}`, "eid"}, {`{"box":"box-2"}`, "box"}, {`{"data":"/tmp"}`, "data"}, {`{"board":"rpi4"}`, "board"},
		{`{"provision":{"keys":[]}}`, "provision*"}, {`{"provision":{"enrol":false}}`, "provision*"},
		{`{"rtp":{"first":30000,"last":29999}}`, "rtp.last"}, {`{"rtp":{"alert_after":"1m","hangup_after":"30s"}}`, "rtp.hangup_after"},
		{`{"keys":{"reset_hold":"1m","stuck":"30s"}}`, "keys.stuck"}, {`{"listen":{"sip_udp":["0.0.0.0:5060"]}}`, "listen.sip_udp"},
		{`{"listen":{"rtp":"0.0.0.0"}}`, "listen.rtp"}, {`{"mqtt":{"cert":"/x.pem"}}`, "mqtt"}, {`{"mqtt":{"acl":"/x"}}`, "mqtt.acl"},
		{`{"sip":{"tls":{"cert":"/x.pem"}}}`, "sip.tls"},
		{`{"conferences":[{"number":"1"},{"number":"1"}]}`, "conferences[1].number"}, {`{"conferences":[{"number":"100"}]}`, "conferences[0].number"},
		{`{"sip":{"routes":[{"prefix":"0","gateways":["nobody"]}]}}`, "sip.routes[0].gateways[0]"},
		{`{"sip":{"routes":[{"prefix":"0"}]}}`, "sip.routes[0].gateways"},
		{`{"sip":{"routes":[{"prefix":"0","gateways":["sip:h"]},{"prefix":"0","gateways":["sip:h"]}]}}`, "sip.routes[1].prefix"},
		{`{"sip":{"routes":[{"prefix":"0","strip":2,"gateways":["sip:h"]}]}}`, "sip.routes[0].strip"},
	} {
		name := "together: " + x.settings
		b.signed(name[:min(len(name), 80)], b.payload(x.settings), wire.ReasonInvalidValue, "settings."+x.path)
	}
	b.signed("a setting twice", b.payload(`{"card":{"volume":5,"volume":6}}`), wire.ReasonInvalidJSON, "settings.card.volume")
	b.signed("a section twice", b.payload(`{"card":{"volume":5},"card":{}}`), wire.ReasonInvalidJSON, "settings.card")
}

// secrets are sealed to somebody else, for something else, or not at all.
func (b *badDocs) secrets() {
	const at = "sip.upstreams[0].password"
	place := wire.Place{EID: b.box.EID(), Box: b.box.Name(), Key: at}
	seal := func(to *ecdh.PublicKey, p wire.Place) string {
		s, err := wire.Seal(to, p, []byte("hunter2"))
		if err != nil {
			b.t.Fatal(err)
		}
		return s
	}
	with := func(key, value string) string {
		return fmt.Sprintf(`{"sip":{"upstreams":[{"name":"pbx","registrar":"127.0.0.1","user":"800",%q:%s}]}}`, key, quoted(value))
	}
	other, _ := ecdh.X25519().GenerateKey(rand.Reader)
	whole := seal(b.seal, place)
	raw, _ := base64.StdEncoding.DecodeString(whole)
	raw[len(raw)-1] ^= 1
	flipped := base64.StdEncoding.EncodeToString(raw)
	for _, x := range []struct{ name, sealed string }{
		{"sealed to another box's key", seal(other.PublicKey(), place)},
		{"sealed for another setting", seal(b.seal, wire.Place{EID: place.EID, Box: place.Box, Key: "mqtt.password"})},
		{"sealed for another entry", seal(b.seal, wire.Place{EID: place.EID, Box: place.Box, Key: "sip.upstreams[1].password"})},
		{"sealed for another box", seal(b.seal, wire.Place{EID: place.EID, Box: "box-2", Key: at})},
		{"sealed for another enterprise", seal(b.seal, wire.Place{EID: "other", Box: place.Box, Key: at})},
		{"with one bit off", flipped}, {"cut short", whole[:40]}, {"of nothing but a key", whole[:43] + "="}, {"not base64", "hunter2!"},
		{"of zeros", base64.StdEncoding.EncodeToString(make([]byte, 80))}, {"too long", strings.Repeat("A", 8000)},
	} {
		b.signed("a secret "+x.name, b.payload(with("password_sealed", x.sealed)), wire.ReasonMissingSecret, "settings."+at+"_sealed")
	}
	b.signed("a secret in the open", b.payload(with("password", "hunter2")), wire.ReasonMissingSecret, "settings."+at)
	b.signed("a secret in a file of the box", b.payload(with("password_file", "/etc/shadow")), wire.ReasonMissingSecret, "settings."+at+"_file")
	b.signed("a secret in the box's environment", b.payload(with("password_env", "HOME")), wire.ReasonMissingSecret, "settings."+at+"_env")
	b.signed("a secret that is not there", b.payload(`{"sip":{"upstreams":[{"name":"pbx","registrar":"127.0.0.1","user":"800"}]}}`), wire.ReasonMissingSecret, "settings."+at)
	b.signed("a secret of a user that is not there", b.payload(`{"sip":{"users":[{"name":"201"}]}}`), wire.ReasonMissingSecret, "settings.sip.users[0]*")
	b.signed("a secret sealed and in the open", b.payload(fmt.Sprintf(`{"sip":{"upstreams":[{"name":"pbx","registrar":"127.0.0.1","user":"800","password":"x","password_sealed":%q}]}}`, whole)),
		wire.ReasonMissingSecret, "settings."+at+"*")
}

// fits tells whether a path is the expected one; a star at the end stands for anything.
func (d *badDoc) fits(path string) bool {
	if begin, ok := strings.CutSuffix(d.path, "*"); ok {
		return strings.HasPrefix(path, begin)
	}
	return path == d.path
}
