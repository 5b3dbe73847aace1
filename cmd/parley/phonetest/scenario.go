package phonetest

import (
	"fmt"
	"strings"
	"time"
)

// CallScenario says how a sipp call goes.
type CallScenario struct {
	SDP        string        // lines after o= and s=, joined by \n; PCMU and telephone-event on [media_port] if empty
	Talk       time.Duration // from the ACK to the BYE
	Digest     bool          // a caller answers a 401 with SIPPConfig's User and Password
	Busy       bool          // an answerer says 486
	TheyHangUp bool          // the other side sends the BYE
	Headers    string        // more header lines of the INVITE or the 200, joined by \n
}

const pcmuSDP = `c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0 101
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=sendrecv`

func (c CallScenario) body() string {
	sdp := c.SDP
	setDefault(&sdp, pcmuSDP)
	return "v=0\no=sipp 1 1 IN IP[local_ip_type] [local_ip]\ns=-\n" + sdp + "\n"
}

// headers puts optional header lines where a scenario wants them.
func headers(lines ...string) string {
	out := ""
	for _, l := range lines {
		if l != "" {
			out += l + "\n"
		}
	}
	return out
}

func scenario(steps ...string) string {
	return "<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<!DOCTYPE scenario SYSTEM \"sipp.dtd\">\n<scenario name=\"call\">\n" +
		strings.Join(steps, "\n") + "\n</scenario>\n"
}

func send(message string, attributes string) string {
	return "<send" + attributes + "><![CDATA[\n\n" + message + "\n]]></send>"
}

func recv(attributes string) string { return "<recv " + attributes + "></recv>" }

func pause(d time.Duration) string {
	return fmt.Sprintf("<pause milliseconds=%q/>", fmt.Sprint(d.Milliseconds()))
}

// Caller is a scenario that calls [service] at the remote side, sends no sound, and hangs up.
func (c CallScenario) Caller() string {
	request := func(method string, cseq int, to, more, body string) string {
		return fmt.Sprintf(`%s sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:sipp@[local_ip]:[local_port]>;tag=[pid]SIPpTag00[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>%s
Call-ID: [call_id]
CSeq: %d %s
Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
%sContent-Length: [len]

%s`, method, to, cseq, method, more, body)
	}
	body := "Content-Type: application/sdp\n"
	cseq := 1
	steps := []string{send(request("INVITE", cseq, "", headers(c.Headers)+body, c.body()), ` retrans="500"`)}
	if c.Digest {
		steps = append(steps,
			recv(`response="100" optional="true"`),
			recv(`response="401" auth="true"`),
			send(closing, ""),
			send(request("INVITE", cseq+1, "", "[authentication]\n"+headers(c.Headers)+body, c.body()), ` retrans="500"`))
		cseq++
	}
	steps = append(steps, recv(`response="100" optional="true"`), recv(`response="180" optional="true"`), recv(`response="183" optional="true"`))
	if c.Busy {
		steps = append(steps, recv(`response="486"`), send(closing, ""))
		return scenario(steps...)
	}
	inDialog := func(method string, cseq int) string {
		r := request(method, cseq, "[peer_tag_param]", "[routes]\n", "")
		return strings.Replace(r, "sip:[service]@[remote_ip]:[remote_port] SIP/2.0", "[next_url] SIP/2.0", 1)
	}
	steps = append(steps, recv(`response="200" rrs="true"`), send(inDialog("ACK", cseq), ""))
	if c.TheyHangUp {
		return scenario(append(steps, recv(`request="BYE"`), send(answer("200 OK", "", ""), ""))...)
	}
	steps = append(steps, pause(c.Talk), send(inDialog("BYE", cseq+1), ` retrans="500"`), recv(`response="200"`))
	return scenario(steps...)
}

// answer is a response to the request that came last.
func answer(status, more, body string) string {
	tag := ";tag=[pid]SIPpTag01[call_number]"
	if strings.HasPrefix(status, "200 OK") && more == "" {
		tag = "" // to a request within the dialog, which has the tag
	}
	return fmt.Sprintf(`SIP/2.0 %s
[last_Via:]
[last_From:]
[last_To:]%s
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>
%sContent-Length: [len]

%s`, status, tag, more, body)
}

// Answerer is a scenario that rings, answers without a sound, and waits for the BYE; or refuses with 486.
func (c CallScenario) Answerer() string {
	steps := []string{
		recv(`request="INVITE" crlf="true"`),
		send(answer("180 Ringing", headers(c.Headers), ""), ""),
	}
	if c.Busy {
		return scenario(append(steps, send(answer("486 Busy Here", headers(c.Headers), ""), ` retrans="500"`), recv(`request="ACK"`))...)
	}
	steps = append(steps,
		send(answer("200 OK", "[last_Record-Route:]\n"+headers(c.Headers)+"Content-Type: application/sdp\n", c.body()), ` retrans="500"`),
		recv(`request="ACK" optional="true" rtd="true" crlf="true"`),
		recv(`request="BYE"`),
		send(answer("200 OK", "", ""), ""))
	return scenario(steps...)
}
