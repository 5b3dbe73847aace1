package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"parley/audio"
	"parley/audio/g711"
	"parley/audio/g722"
	"parley/audio/opus"
	"parley/sip"
	"parley/sip/rtp"
)

// phoneFlags are what a telephone of ours can be told.
type phoneFlags struct {
	box, bind, port, transport, srtp, codec   string
	user, passwordFile, from, data, advertise string
	insecure, verbose                         bool
}

func (p *phoneFlags) add(flags *flag.FlagSet) {
	flags.StringVar(&p.box, "box", "", "`host[:port]` of the box, for a target that is a number (default 127.0.0.1)")
	flags.StringVar(&p.bind, "bind", "127.0.0.1", "our own `address`")
	flags.StringVar(&p.port, "port", "0", "our own SIP `port`; 0: any")
	flags.StringVar(&p.transport, "transport", "udp", "udp, tcp or tls")
	flags.StringVar(&p.srtp, "srtp", "allow", "disable, allow or require (over tls)")
	flags.StringVar(&p.codec, "codec", "", "opus, g722, pcmu or pcma (default: all, in this order)")
	flags.StringVar(&p.user, "user", "", "`name` for the digest")
	flags.StringVar(&p.passwordFile, "password-file", "", "`file` with the password for it")
	flags.StringVar(&p.from, "from", "", "our `number` (default: the user)")
	flags.StringVar(&p.data, "data", "data", "the box's data `folder`: its own certificate in there is trusted")
	flags.BoolVar(&p.insecure, "insecure", false, "trust any certificate")
	flags.BoolVar(&p.verbose, "v", false, "log what the telephone does")
}

// phone is a SIP agent with its sockets. Its calls' events come on the channel of each call.
type phone struct {
	flags  phoneFlags
	codecs []audio.Codec
	poller *rtp.Poller
	agent  *sip.Agent
	events handler
	stop   context.CancelFunc
	done   chan error
}

// happening is an event of a call. An incoming call comes with the zero Event.
type happening struct {
	call  *sip.Call
	event sip.Event
}

// handler hands everything that happens to one reader, who has to keep up.
type handler chan happening

func (h handler) Incoming(c *sip.Call)           { h <- happening{call: c} }
func (h handler) Event(c *sip.Call, e sip.Event) { h <- happening{c, e} }

func codecsByName(name string) ([]audio.Codec, error) {
	all := []audio.Codec{opus.New(opus.Options{}), g722.New(), g711.PCMU(), g711.PCMA()}
	if name == "" {
		return all, nil
	}
	for _, c := range all {
		if strings.EqualFold(c.Format().Codec, name) {
			return []audio.Codec{c}, nil
		}
	}
	return nil, wrong("there is no codec %q; there are opus, g722, pcmu, pcma", name)
}

// newPhone makes a telephone that takes calls at once and listens.
func newPhone(flags phoneFlags, calls int) (*phone, error) {
	p := &phone{flags: flags, events: make(handler, 16+16*calls), done: make(chan error, 1)}
	var err error
	if p.codecs, err = codecsByName(flags.codec); err != nil {
		return nil, err
	}
	bind, err := netip.ParseAddr(flags.bind)
	if err != nil {
		return nil, wrong("-bind: %v", err)
	}
	policy, ok := map[string]sip.SRTPPolicy{"disable": sip.SRTPDisable, "allow": sip.SRTPAllow, "require": sip.SRTPRequire}[flags.srtp]
	if !ok {
		return nil, wrong("-srtp %q: it is disable, allow or require", flags.srtp)
	}
	if !slices.Contains([]string{"udp", "tcp", "tls"}, flags.transport) {
		return nil, wrong("-transport %q: it is udp, tcp or tls", flags.transport)
	}
	if flags.user != "" && flags.passwordFile == "" {
		return nil, wrong("-user needs -password-file")
	}
	if p.poller, err = rtp.NewPoller(); err != nil {
		return nil, err
	}
	conf := sip.Config{
		Listen: []sip.Listener{{Network: flags.transport, Addr: net.JoinHostPort(flags.bind, flags.port)}},
		Codecs: p.codecs, SRTP: policy, Poller: p.poller, MaxCalls: calls,
		Ports:   rtp.NewPorts(rtp.PortsConfig{Bind: bind}),
		Handler: p.events, UserAgent: "parleyctl", Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if flags.verbose {
		conf.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if flags.transport == "tls" {
		if conf.TLS, conf.TLSClient, err = p.tls(); err != nil {
			return nil, err
		}
	}
	p.agent = sip.New(conf)
	return p, p.start()
}

// start runs the agent and waits until it listens.
func (p *phone) start() error {
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	go func() { p.done <- p.agent.Run(ctx) }()
	select {
	case <-p.agent.Ready():
		return nil
	case err := <-p.done:
		cancel()
		p.poller.Close()
		return err
	}
}

// close hangs up what is still up and gives everything back. Somebody has to read p.events meanwhile.
func (p *phone) close() error {
	p.stop()
	for {
		select {
		case <-p.events:
		case err := <-p.done:
			p.poller.Close()
			return err
		}
	}
}

// tls makes our own certificate, and trusts that of the box beside which we run.
func (p *phone) tls() (server, client *tls.Config, err error) {
	client = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: p.flags.insecure}
	own := filepath.Join(p.flags.data, "tls.pem")
	if raw, err := os.ReadFile(own); err == nil {
		if client.RootCAs, err = x509.SystemCertPool(); err != nil {
			client.RootCAs = x509.NewCertPool()
		}
		client.RootCAs.AppendCertsFromPEM(raw)
	}
	server = &tls.Config{MinVersion: tls.VersionTLS12}
	if pair, err := tls.LoadX509KeyPair(own, own); err == nil {
		server.Certificates = []tls.Certificate{pair}
	}
	return server, client, nil
}

// dial calls a number at the box, or a SIP URI.
func (p *phone) dial(target string) (*sip.Call, error) {
	d := sip.Dial{To: p.uri(target), From: p.flags.from, Early: true}
	if d.From == "" {
		d.From = p.flags.user
	}
	if p.flags.user != "" {
		d.Auth.User = p.flags.user
		secret, err := readSecret(p.flags.passwordFile)
		if err != nil {
			return nil, err
		}
		d.Auth.Password = secret
	}
	return p.agent.Dial(d)
}

func (p *phone) uri(target string) string {
	if strings.HasPrefix(target, "sip:") || strings.HasPrefix(target, "sips:") {
		return target
	}
	host := p.flags.box
	if host == "" {
		host = "127.0.0.1"
	}
	if _, _, err := net.SplitHostPort(host); err != nil {
		port := "5060"
		if p.flags.transport == "tls" {
			port = "5061"
		}
		host = net.JoinHostPort(strings.Trim(host, "[]"), port)
	}
	return "sip:" + target + "@" + host + ";transport=" + p.flags.transport
}

// quality prints what was measured on a leg. What could not be measured is not in it.
func quality(w io.Writer, c *sip.Call) {
	info, leg := c.Info(), c.Leg()
	if leg == nil {
		return
	}
	s := leg.Stats()
	fmt.Fprintf(w, "%s, %s", info.Format.Codec, info.Transport)
	if s.SRTP {
		fmt.Fprint(w, ", SRTP")
	}
	fmt.Fprintf(w, ": %d packets sent, %d received", s.Sent, s.Received)
	if s.Expected > 0 {
		fmt.Fprintf(w, ", lost %d (%.1f %%)", s.Lost, 100*float64(max(0, s.Lost))/float64(s.Expected))
	}
	if s.HasJitter {
		fmt.Fprintf(w, ", jitter %.1f ms", ms(s.Jitter))
	}
	if s.HasRTT {
		fmt.Fprintf(w, ", round trip %.1f ms", ms(s.RTT))
	}
	if s.HasDelay {
		fmt.Fprintf(w, ", playout delay %.1f ms", ms(s.Delay))
	}
	if s.HasLevel {
		fmt.Fprintf(w, ", level %.1f dBFS", s.Level)
	}
	if s.HasRemote {
		fmt.Fprintf(w, "; the far end lost %d, jitter %.1f ms", s.RemoteLost, ms(s.RemoteJitter))
	}
	fmt.Fprintln(w)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
