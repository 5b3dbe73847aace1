package sip

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"parley/sip/admit"
)

// doomed names the environment in which TestDoomed is the program that is killed: an address to listen on, and whom to call.
const doomed = "SIP_TEST_DOOMED"

// TestDoomed is no test but the program that others kill: it takes or places one call and writes its dialog down whenever told.
func TestDoomed(t *testing.T) {
	listenOn, dial, _ := strings.Cut(os.Getenv(doomed), " ")
	if listenOn == "" {
		t.Skip("for TestRestore")
	}
	e := newEnd(t, listen("udp "+listenOn))
	var c *Call
	if dial != "" {
		c = e.dial(Dial{To: dial, From: "1000"})
	} else {
		c = e.next()
	}
	for kinds := []EventKind{Answered}; ; kinds = []EventKind{DialogChanged} {
		e.want(c, kinds...)
		d, _ := c.Dialog()
		text, _ := json.Marshal(d)
		fmt.Printf("\nDIALOG %s\n", text)
		for kinds[0] == DialogChanged && len(e.channel(c)) == 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// program starts TestDoomed; dialog is what it wrote down last, kill is kill -9.
func program(t *testing.T, addr, dial string) (dialog func() Dialog, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestDoomed$")
	cmd.Env = append(os.Environ(), doomed+"="+addr+" "+dial)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dialogs := make(chan Dialog, 64)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(out); s.Scan(); {
			if text, ok := strings.CutPrefix(s.Text(), "DIALOG "); ok {
				var d Dialog
				if err := json.Unmarshal([]byte(text), &d); err != nil {
					t.Error(err)
				}
				dialogs <- d
			}
		}
	}()
	dead := false
	kill = func() {
		if !dead {
			dead = true
			cmd.Process.Kill()
			<-read
			cmd.Wait()
		}
	}
	t.Cleanup(kill)
	return func() Dialog {
		t.Helper()
		select {
		case d := <-dialogs:
			return d
		case <-time.After(patience):
			t.Fatal("the program wrote no dialog down")
			return Dialog{}
		}
	}, kill
}

// vacant is an address that nobody listens on.
func vacant(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().String()
}

// lastSeq asks the call's goroutine for the CSeq of the far end's last request.
func lastSeq(c *Call) uint32 {
	ch := make(chan uint32, 1)
	if c.post(func() { ch <- c.dialog.remoteSeq }) != nil {
		return 0
	}
	return <-ch
}

// crashed sets up a call between b and a program that is killed then: b's side of it, and the record.
func crashed(t *testing.T, b *end, outgoing bool) (addr string, far *Call, d Dialog) {
	t.Helper()
	addr = vacant(t)
	if outgoing {
		dialog, kill := program(t, addr, b.uri("200", "udp"))
		far = b.next()
		b.want(far, Answered)
		d = dialog()
		until(t, "sound", func() bool { return far.Leg().Stats().Received > 3 })
		kill()
		return addr, far, d
	}
	dialog, kill := program(t, addr, "")
	until(t, "the program listens", func() bool {
		c, err := net.ListenPacket("udp", addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	far = b.dial(Dial{To: "sip:1000@" + addr, From: "200", Name: `Ann "the" Phone`})
	b.want(far, Answered)
	d = dialog()
	until(t, "sound", func() bool { return far.Leg().Stats().Received > 3 })
	far.Hold(true) // a change after which the record is another
	b.want(far, MediaChanged)
	if next := dialog(); next == d || next.RemoteSeq != d.RemoteSeq+1 {
		t.Errorf("after hold: %+v", next)
	} else {
		d = next
	}
	far.Hold(false)
	b.want(far, MediaChanged)
	d = dialog()
	kill()
	return addr, far, d
}

// A program that was killed takes its call up again when it is started: same dialog, port and SSRC; one re-INVITE, no new call; sound
// flows both ways, and the call ends like any other. Both as the called and as the calling one.
func TestRestore(t *testing.T) {
	for name, outgoing := range map[string]bool{"in": false, "out": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newEnd(t)
			addr, far, d := crashed(t, b, outgoing)
			before, seq := far.Leg().Stats(), lastSeq(far)
			a := restEnd(t, listen("udp "+addr))
			c, err := a.agent.Restore(d)
			if err != nil {
				t.Fatal(err)
			}
			if c.State() != Restoring || c.ID() != d.ID {
				t.Errorf("%v, id %s", c.State(), c.ID())
			}
			if _, err := a.agent.Restore(d); !errors.Is(err, ErrState) {
				t.Errorf("twice: %v", err)
			}
			a.start()
			a.want(c, Answered)
			until(t, "sound both ways", func() bool {
				return far.Leg().Stats().Received > before.Received+3 && c.Leg().Stats().Received > 3
			})
			after := far.Leg().Stats()
			if after.RemoteSSRC != d.SSRC || int(after.Remote.Port()) != d.Port || before.RemoteSSRC != d.SSRC || c.Leg().LocalPort() != d.Port {
				t.Errorf("SSRC %x and port %d before, %x and %v after", d.SSRC, d.Port, after.RemoteSSRC, after.Remote)
			}
			if n := lastSeq(far); n != d.LocalSeq+2*seqGap+1 || n <= seq {
				t.Errorf("CSeq was %d and is %d: not one request", d.LocalSeq, n)
			}
			if len(b.calls) > 0 || b.agent.Calls() != 1 {
				t.Error("the far end was called anew")
			}
			i := c.Info()
			if i.State != Talking || c.Number() != d.Number || !i.Answered.Equal(d.Answered) {
				t.Errorf("%+v, number %s", i, c.Number())
			}
			if !outgoing && (c.Name() != `Ann "the" Phone` || c.From() != "200" || c.Number() != "1000" || c.Direction() != In) {
				t.Errorf("%q %s %s", c.Name(), c.From(), c.Number())
			}
			if now, ok := c.Dialog(); !ok || now.LocalSeq != d.LocalSeq+2*seqGap+1 {
				t.Errorf("%v %+v", ok, now)
			}
			if outgoing {
				far.Hangup("")
				a.wantEnded(c, 200, Remote)
			} else {
				c.Hangup("")
				b.wantEnded(far, 200, Remote)
			}
		})
	}
}

// What becomes of a call whose far end knows it no more, or is not there any more; and a dialog that is too old gets BYE.
func TestRestoreFails(t *testing.T) {
	t.Run("481", func(t *testing.T) {
		t.Parallel()
		a, b, c := newEnd(t), newEnd(t), newEnd(t)
		out, in := a.call(b, "udp")
		d, _ := in.Dialog()
		out.Hangup("")
		b.wantEnded(in, 200, Remote)
		again, err := c.agent.Restore(d)
		if err != nil {
			t.Fatal(err)
		}
		c.wantEnded(again, 481, Remote)
		if _, ok := again.Dialog(); ok {
			t.Error("it can still be restored")
		}
	})
	t.Run("silent", func(t *testing.T) {
		t.Parallel()
		a := newEnd(t, func(c *Config) { c.Timers.Try, c.Timers.Stop = 200*time.Millisecond, 100*time.Millisecond })
		w := newWire(t, nil)
		b := newEnd(t)
		w.to, _ = net.ResolveUDPAddr("udp", b.addr("udp"))
		d, _ := w.setUp(b).Dialog()
		began := time.Now()
		c, err := a.agent.Restore(d)
		if err != nil {
			t.Fatal(err)
		}
		a.wantEnded(c, 408, Watchdog)
		if took := time.Since(began); took > patience/2 {
			t.Errorf("after %v", took)
		}
		w.farewell(b)
	})
	t.Run("bye", func(t *testing.T) {
		t.Parallel()
		b := newEnd(t)
		w := newWire(t, b)
		d, _ := w.setUp(b).Dialog()
		a := restEnd(t)
		if err := a.agent.Bye(d); err != nil {
			t.Fatal(err)
		}
		a.start()
		bye := w.wantRequest("BYE")
		if bye.header("Call-ID") != w.id || tagOf(bye.header("From")) != w.tag || tagOf(bye.header("To")) != "wire" ||
			bye.header("CSeq") != fmt.Sprint(d.LocalSeq+2*seqGap+1, " BYE") {
			t.Errorf("%s", bye.text)
		}
		w.answer(bye, 200, "", "")
		w.farewell(b)
	})
	t.Run("record", func(t *testing.T) {
		a := newEnd(t)
		if _, err := a.agent.Restore(Dialog{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%v", err)
		}
		if err := a.agent.Bye(Dialog{CallID: "x y"}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%v", err)
		}
	})
}

// restoring has a far end of text, a call with it, and a second agent that takes it up; p is its re-INVITE.
func restoring(t *testing.T, opts ...option) (w *wire, a *end, c *Call, p packet) {
	t.Helper()
	b := newEnd(t, func(c *Config) { c.Timers.Stop = 50 * time.Millisecond })
	w = newWire(t, b)
	d, _ := w.setUp(b).Dialog()
	a = restEnd(t, opts...)
	var err error
	if c, err = a.agent.Restore(d); err != nil {
		t.Fatal(err)
	}
	a.start()
	w.to, _ = net.ResolveUDPAddr("udp", a.addr("udp"))
	p = w.wantRequest("INVITE")
	for _, want := range []string{"To: \"W\" <sip:300@", "Contact: <sip:1000@" + a.addr("udp"), "Session-Expires: 1800", "m=audio"} {
		if !strings.Contains(p.text, want) {
			t.Errorf("no %q in %s", want, p.text)
		}
	}
	return w, a, c, p
}

// What the far end does in the dialog while it is being taken up: nothing of it is refused as unknown.
func TestRestoreMeets(t *testing.T) {
	t.Run("BYE", func(t *testing.T) {
		t.Parallel()
		w, a, c, _ := restoring(t)
		w.send(w.request("BYE", 50, ""))
		w.wantCode(200, "BYE")
		a.wantEnded(c, 200, Remote)
		w.farewell(a)
	})
	t.Run("INVITE", func(t *testing.T) {
		t.Parallel()
		w, a, c, p := restoring(t)
		w.send(w.request("ACK", 1, "")) // of the 200 before: nothing comes of it
		w.send(w.request("INVITE", 50, sdpBody()))
		w.wantCode(491, "INVITE")
		w.send(w.request("ACK", 50, ""))
		w.answer(p, 200, "", sdpBody())
		a.want(c, Answered)
		w.wantRequest("ACK")
		w.send(w.request("INVITE", 51, sdpBody()))
		w.wantCode(200, "INVITE")
		w.send(w.request("ACK", 51, ""))
		w.farewell(a)
	})
	t.Run("glare", func(t *testing.T) {
		t.Parallel()
		w, a, c, p := restoring(t, func(c *Config) { c.Timers.Glare = time.Hour })
		w.answer(p, 491, "", "")
		until(t, "our offer is over", func() bool {
			ch := make(chan bool, 1)
			return c.post(func() { ch <- c.re.out == nil }) == nil && <-ch
		})
		w.send(w.request("INVITE", 50, "")) // without an offer: the answer comes in the ACK
		w.wantCode(200, "INVITE")
		w.send(w.request("ACK", 50, sdpBody()))
		a.want(c, Answered)
		if c.State() != Talking {
			t.Error(c.State())
		}
		w.farewell(a)
	})
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		w, a, c, p := restoring(t)
		w.answer(p, 488, "", "")
		a.wantEnded(c, 488, Remote)
		w.answer(w.wantRequest("BYE"), 200, "", "")
		w.farewell(a)
	})
	t.Run("hangup", func(t *testing.T) {
		t.Parallel()
		w, a, c, _ := restoring(t)
		c.Hangup("")
		a.wantEnded(c, 200, Local)
		w.answer(w.wantRequest("BYE"), 200, "", "")
		w.farewell(a)
	})
}

// A secure call is taken up with new keys; the old ones are nowhere in the record.
func TestRestoreSecure(t *testing.T) {
	certs := withTLS(t)
	secure := func(c *Config) { c.SRTP = SRTPRequire }
	phone, box, next := newEnd(t, certs, secure, everywhere("127.0.0.1")), newEnd(t, certs, secure, everywhere("127.0.0.1")),
		newEnd(t, certs, secure, everywhere("127.0.0.1"), gated(func(c *admit.Config) { c.TrustLoopback = true }))
	out, in := phone.call(box, "tls")
	d, _ := in.Dialog()
	text, _ := json.Marshal(d)
	for _, key := range [][]byte{in.media.key, out.media.key} {
		if s := string(text); strings.Contains(s, base64.StdEncoding.EncodeToString(key)) || strings.Contains(s, "inline") || !d.Secure {
			t.Errorf("a key in %s", s)
		}
	}
	c, err := next.agent.Restore(d)
	if err != nil {
		t.Fatal(err)
	}
	next.want(c, Answered)
	if !c.Info().SRTP || c.Leg().LocalPort() == d.Port {
		t.Errorf("%+v", c.Info())
	}
	heard := out.Leg().Stats().Received
	until(t, "sound both ways", func() bool {
		return c.Leg().Stats().Received > 3 && out.Leg().Stats().Received > heard+3 && out.Leg().Stats().RemoteSSRC == c.Leg().SSRC()
	})
	c.Hangup("")
	phone.wantEnded(out, 200, Remote)
	next.wantEnded(c, 200, Local)
}

// A record that somebody else wrote never makes a message with lines that are not ours.
func FuzzDialog(f *testing.F) {
	text, _ := json.Marshal(Dialog{CallID: "a@b", LocalTag: "x", RemoteTag: "y", LocalURI: "sip:1000@box", RemoteURI: "sip:200@phone",
		Contact: "sip:200@127.0.0.1:5060;transport=tcp", Routes: "sip:p1;lr sip:p2;lr", Transport: "udp", Port: 4000, Codecs: "PCMU",
		LocalName: "a", RemoteName: `b"\`, SDP: sdpBody()})
	good := strings.Replace(string(text), `"peer":""`, `"peer":"127.0.0.1:5060"`, 1)
	f.Add(good)
	f.Add(strings.Replace(good, "sip:200@phone", "tel:+200", 1))
	f.Add(`{"call_id":"a\r\nb","local_tag":"x"}`)
	a := New(Config{})
	var d Dialog
	if err := json.Unmarshal([]byte(good), &d); err != nil {
		f.Fatal(err)
	}
	if _, err := d.dialog(a); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var d Dialog
		if json.Unmarshal([]byte(text), &d) != nil {
			return
		}
		dlg, err := d.dialog(a)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		req := dlg.request(a, "BYE")
		req.SetBody(nil)
		s := req.String()
		if n := strings.Count(s, "\n"); n != len(req.Headers())+2 || strings.Count(s, "\r") != n {
			t.Fatalf("%d lines for %d headers: %q", n, len(req.Headers()), s)
		}
		if c, err := d.call(a, dlg); err == nil && c.media.stands == nil {
			t.Fatal("no description")
		}
	})
}

// A box that cannot listen has restored nothing, and leaves nothing running.
func TestRestoreWithoutSockets(t *testing.T) {
	a, b := newEnd(t), newEnd(t)
	_, in := a.call(b, "udp")
	d, _ := in.Dialog()
	e := restEnd(t, listen("udp "+b.addr("udp")))
	defer e.poller.Close()
	c, err := e.agent.Restore(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.agent.Run(t.Context()); !errors.Is(err, ErrListen) {
		t.Errorf("%v", err)
	}
	e.wantEnded(c, 503, Local)
	<-c.Done()
	if _, err := e.agent.Restore(d); err == nil {
		t.Error("restored by an agent that has ended")
	}
}
