// Package web is the box over HTTP: whether it lives, whether it is ready and why not, its metrics, and the API with which
// conferences are made and steered, and their recordings, files and messages fetched.
//
// It reads requests and writes answers; what they mean is the house's matter. It must not know where a check, a metric or a
// recording comes from.
package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Bounds on what strangers can make the server hold.
const (
	maxConns      = 64
	maxHeader     = 16 << 10 // bytes
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 60 * time.Second
	endTimeout    = 2 * time.Second // for answers on their way when the box stops
)

// Check is one thing that must hold.
type Check struct {
	Name string
	// Probe answers nil, or why it does not hold. It is called for every question, from several goroutines, and must not
	// block.
	Probe func() error
}

// User may look.
type User struct{ Name, Password string }

// Config is what a Server stands on.
type Config struct {
	Listen  string      // host:port
	TLS     *tls.Config // nil is without
	Users   []User      // none is anyone
	Box     string      // for the index page
	Version string
	Live    []Check      // a failure means that a restart would help
	Ready   []Check      // a failure means that calls should not be sent here now
	Set     *metrics.Set // of the box's metrics; the process's own are added
	API     *API         // nil is without
	Log     *slog.Logger
}

// ErrExposed is an address that others could reach, without TLS and users.
var ErrExposed = errors.New("web: beyond loopback only with TLS and users")

// Server is the HTTP server.
type Server struct {
	config Config

	mu       sync.Mutex // holds listener
	listener net.Listener
}

// New is a server at rest.
func New(c Config) *Server {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Set == nil {
		c.Set = metrics.NewSet()
	}
	return &Server{config: c}
}

// Listen opens the port, so that its error comes before anything else starts. Run does it otherwise.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", s.config.Listen)
	if err != nil {
		return fmt.Errorf("web: %w", err)
	}
	if !onLoopback(l.Addr()) && (s.config.TLS == nil || len(s.config.Users) == 0) {
		l.Close()
		return fmt.Errorf("%w: %s", ErrExposed, s.config.Listen)
	}
	s.listener = newLimited(l, maxConns)
	return nil
}

// onLoopback looks at the address that was bound, not at the name that was given.
func onLoopback(a net.Addr) bool {
	ap, err := netip.ParseAddrPort(a.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// Addr is where the server listens, or nil.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// URL is where a browser finds the server, or "" before Listen.
func (s *Server) URL() string {
	a := s.Addr()
	switch {
	case a == nil:
		return ""
	case s.config.TLS != nil:
		return "https://" + a.String()
	}
	return "http://" + a.String()
}

// Run serves until ctx ends. A server runs once.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(); err != nil {
		return err
	}
	server := &http.Server{
		Handler:           s.Handler(),
		TLSConfig:         s.config.TLS,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.config.Log.Handler(), slog.LevelDebug), // strangers' mistakes
	}
	ended := make(chan error, 1)
	go func() {
		if s.config.TLS != nil {
			ended <- server.ServeTLS(s.listener, "", "")
		} else {
			ended <- server.Serve(s.listener)
		}
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("web: %w", err)
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if server.Shutdown(ending) != nil {
		server.Close()
	}
	<-ended
	return ctx.Err()
}

// limited accepts a new connection only when there are fewer than its bound.
type limited struct {
	net.Listener
	slots chan struct{}
	ended chan struct{}
	once  sync.Once
}

func newLimited(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, slots: make(chan struct{}, n), ended: make(chan struct{})}
}

// Accept waits for a slot, then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.ended:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &slotted{Conn: c, free: func() { <-l.slots }}, nil
}

// Close ends a waiting Accept too.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.ended) })
	return l.Listener.Close()
}

// slotted gives its slot back when it is closed.
type slotted struct {
	net.Conn
	once sync.Once
	free func()
}

func (c *slotted) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.free)
	return err
}
