package phonetest

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Script is a sipp scenario step by step, for what CallScenario cannot say. The zero value is empty; every method adds a step
// and returns the script. Lines of headers and bodies are joined by \n.
type Script struct {
	steps  []string
	branch string
}

// Branch sets the Via branch of the requests that follow, as a CANCEL needs it; empty: each has its own.
func (s *Script) Branch(b string) *Script { s.branch = b; return s }

// Request sends a request outside a dialog, to [service] at the remote side. An INVITE and the like are repeated over UDP until
// something comes.
func (s *Script) Request(method string, cseq int, headers, body string) *Script {
	return s.request(method, "sip:[service]@[remote_ip]:[remote_port]", "", cseq, headers, body)
}

// Within sends a request within the dialog that an expected 200 has set up.
func (s *Script) Within(method string, cseq int, headers, body string) *Script {
	return s.request(method, "[next_url]", "[peer_tag_param]", cseq, "[routes]\n"+headers, body)
}

// Closing sends the ACK for the final response other than 2xx that came last.
func (s *Script) Closing() *Script {
	s.steps = append(s.steps, send(closing, ""))
	return s
}

// closing belongs to the transaction of the INVITE, and so has its branch (RFC 3261, 17.1.1.3).
const closing = `ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
CSeq: [last_cseq_number] ACK
Max-Forwards: 70
Content-Length: 0
`

func (s *Script) request(method, uri, tag string, cseq int, more, body string) *Script {
	branch := s.branch
	setDefault(&branch, "[branch]")
	if more != "" && !strings.HasSuffix(more, "\n") {
		more += "\n"
	}
	if strings.HasPrefix(body, "v=0") {
		more += "Content-Type: application/sdp\n"
	}
	message := fmt.Sprintf(`%s %s SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=%s
From: <sip:sipp@[local_ip]:[local_port]>;tag=[pid]SIPpTag00[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>%s
Call-ID: [call_id]
CSeq: %d %s
Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
%sContent-Length: [len]

%s`, method, uri, branch, tag, cseq, method, more, body)
	attributes := ` retrans="500"`
	if method == "ACK" {
		attributes = ""
	}
	s.steps = append(s.steps, send(message, attributes))
	return s
}

// Answer responds to the request that came last. tag is our part of the dialog, for the first response to a request outside
// one; a request within a dialog has it already.
func (s *Script) Answer(status, tag, headers, body string) *Script {
	if tag != "" {
		tag = ";tag=" + tag
	}
	if headers != "" && !strings.HasSuffix(headers, "\n") {
		headers += "\n"
	}
	attributes := ""
	if body != "" {
		headers += "Content-Type: application/sdp\n"
		if strings.HasPrefix(status, "2") {
			attributes = ` retrans="500"`
		}
	}
	s.steps = append(s.steps, send(fmt.Sprintf(`SIP/2.0 %s
[last_Via:]
[last_From:]
[last_To:]%s
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>
%sContent-Length: [len]

%s`, status, tag, headers, body), attributes))
	return s
}

// Expect waits for a response ("200") or a request ("BYE"). Everything else fails the call.
func (s *Script) Expect(what string) *Script {
	s.steps = append(s.steps, recv(expected(what)))
	return s
}

// Maybe passes over a response or request that comes before the one that is expected next.
func (s *Script) Maybe(what string) *Script {
	s.steps = append(s.steps, recv(expected(what)+` optional="true"`))
	return s
}

func expected(what string) string {
	if what[0] < '0' || what[0] > '9' {
		return fmt.Sprintf("request=%q", what)
	}
	more := ""
	if what == "200" {
		more = ` rrs="true"`
	}
	return fmt.Sprintf("response=%q", what) + more
}

// Forked waits for an INVITE and remembers it for Fork.
func (s *Script) Forked() *Script {
	step := `<recv request="INVITE"><action>`
	for _, h := range []string{"Via", "From", "To", "CSeq"} {
		step += fmt.Sprintf(`<ereg regexp=".*" search_in="hdr" header="%s:" assign_to="%s"/>`, h, h)
	}
	s.steps = append(s.steps, step+"</action></recv>")
	return s
}

// Fork answers the remembered INVITE with 200 as another phone would, whatever has come since.
func (s *Script) Fork(tag, body string) *Script {
	s.steps = append(s.steps, send(`SIP/2.0 200 OK
Via:[$Via]
From:[$From]
To:[$To];tag=`+tag+`
[last_Call-ID:]
CSeq:[$CSeq]
Contact: <sip:`+tag+`@[local_ip]:[local_port];transport=[transport]>
Content-Type: application/sdp
Content-Length: [len]

`+body, ` retrans="500"`))
	return s
}

// Authenticated waits for a request with the right digest; after another one sipp ends at once.
func (s *Script) Authenticated(method, user, password string) *Script {
	s.steps = append(s.steps, fmt.Sprintf(`<recv request=%q><action><verifyauth assign_to="known" username=%q password=%q/></action></recv>
<nop next="known%[4]d" test="known"/>
<nop><action><exec int_cmd="stop_now"/></action></nop>
<label id="known%[4]d"/>`, method, user, password, len(s.steps)))
	return s
}

// Pause waits.
func (s *Script) Pause(d time.Duration) *Script {
	s.steps = append(s.steps, pause(d))
	return s
}

// String is the scenario as XML.
func (s *Script) String() string { return scenario(s.steps...) }

// SDP is a session description with PCMU and telephone-event at addr; lines such as "a=sendonly" are added.
func SDP(addr netip.AddrPort, lines ...string) string {
	ip := "IP4"
	if addr.Addr().Is6() {
		ip = "IP6"
	}
	return fmt.Sprintf("v=0\no=sipp 1 %d IN %s %s\ns=-\nc=IN %s %s\nt=0 0\nm=audio %d RTP/AVP 0 101\na=rtpmap:0 PCMU/8000\n"+
		"a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n%s", time.Now().UnixNano()>>20, ip, addr.Addr(), ip, addr.Addr(), addr.Port(),
		strings.Join(append(lines, ""), "\n"))
}
