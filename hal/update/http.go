package update

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Fetch asks a server for a file from an offset on. tag is what the server called the file before; if it calls it something else now, the
// file comes from its beginning. What may be better the next time wraps errAgain, what will not ErrUnreachable.
type Fetch func(ctx context.Context, url string, from int64, tag string) (*Body, error)

// Body is a file as it comes, from From on. Total is its whole length, -1 if the server did not say.
type Body struct {
	io.ReadCloser
	From, Total int64
	Tag         string // an ETag that compares strongly, or empty
}

// errAgain: it may be better the next time.
var errAgain = errors.New("the download is interrupted")

const (
	maxHeader  = 32 << 10
	maxHops    = 5                // redirections that are followed
	httpSilent = 30 * time.Second // a server that says nothing for so long is given up
)

// Get is a Fetch over HTTP/1.1 (RFC 9110: Range, If-Range) which trusts the certificates that the machine trusts. Whom it gets a file from
// matters little: the image's own signature says what is in it.
func Get(ctx context.Context, address string, from int64, tag string) (*Body, error) {
	return HTTP(nil)(ctx, address, from, tag)
}

// HTTP is Get with a TLS configuration of its own; nil is the default one.
func HTTP(config *tls.Config) Fetch {
	// The standard client would weigh more than the rest of this package: what an update needs of it is little.
	return func(ctx context.Context, address string, from int64, tag string) (*Body, error) {
		for range maxHops + 1 {
			u, err := url.Parse(address)
			if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
				return nil, fmt.Errorf("%w: %.80q is no http:// or https:// address", ErrUnreachable, address)
			}
			body, next, err := ask(ctx, config, u, from, tag)
			if err != nil || body != nil {
				return body, err
			}
			if address, from = next.address, next.from; next.address == "" {
				address = u.String()
			}
		}
		return nil, fmt.Errorf("%w: redirected too often", ErrUnreachable)
	}
}

// hop is how to ask again.
type hop struct {
	address string // empty: the same
	from    int64
}

// ask asks one server once.
func ask(ctx context.Context, config *tls.Config, u *url.URL, from int64, tag string) (*Body, hop, error) {
	l, err := dial(ctx, config, u)
	if err != nil {
		return nil, hop{}, fmt.Errorf("%w: %w", errAgain, err)
	}
	r, err := l.request(u, from, tag)
	if err != nil {
		l.Close()
		return nil, hop{}, fmt.Errorf("%w: %w", errAgain, err)
	}
	b := &Body{ReadCloser: l, Total: r.ContentLength, Tag: r.Header.Get("ETag")}
	l.body = r.Body
	if strings.HasPrefix(b.Tag, "W/") || len(b.Tag) > 256 {
		b.Tag = ""
	}
	switch code := r.StatusCode; {
	case code == 200:
		return b, hop{}, nil
	case code == 206:
		if b.From, b.Total, err = contentRange(r.Header.Get("Content-Range")); err == nil && b.From == from {
			return b, hop{}, nil
		}
		err = fmt.Errorf("%w: the server sends what was not asked for", ErrUnreachable)
	case code == 416 && from > 0: // the file has become shorter
		l.Close()
		return nil, hop{}, nil
	case code == 301, code == 302, code == 303, code == 307, code == 308:
		l.Close()
		to, bad := u.Parse(r.Header.Get("Location"))
		if bad != nil {
			return nil, hop{}, fmt.Errorf("%w: %w", ErrUnreachable, bad)
		}
		return nil, hop{to.String(), from}, nil
	case code == 408, code == 429, code >= 500:
		err = fmt.Errorf("%w: %s", errAgain, r.Status)
	default:
		err = fmt.Errorf("%w: %s", ErrUnreachable, r.Status)
	}
	l.Close()
	return nil, hop{}, err
}

// line is a connection to a server that does not wait for it for ever.
type line struct {
	net.Conn
	body io.Reader
	stop func() bool
}

func dial(ctx context.Context, config *tls.Config, u *url.URL) (*line, error) {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	d := net.Dialer{Timeout: httpSilent}
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, err
	}
	if u.Scheme == "https" {
		if config = config.Clone(); config == nil {
			config = &tls.Config{}
		}
		config.ServerName = u.Hostname()
		c = tls.Client(c, config)
	}
	return &line{Conn: c, stop: context.AfterFunc(ctx, func() { c.Close() })}, nil
}

// request sends the question and reads the answer up to its body.
func (l *line) request(u *url.URL, from int64, tag string) (*http.Response, error) {
	l.SetDeadline(time.Now().Add(httpSilent))
	q := "GET " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host + "\r\nUser-Agent: parley\r\nAccept-Encoding: identity\r\nConnection: close\r\n"
	if from > 0 {
		q += "Range: bytes=" + strconv.FormatInt(from, 10) + "-\r\n"
		if tag != "" {
			q += "If-Range: " + tag + "\r\n"
		}
	}
	if _, err := io.WriteString(l.Conn, q+"\r\n"); err != nil {
		return nil, err
	}
	header := &io.LimitedReader{R: l.Conn, N: maxHeader}
	r, err := http.ReadResponse(bufio.NewReader(header), nil)
	header.N = math.MaxInt64
	return r, err
}

// Read gives the body.
func (l *line) Read(b []byte) (int, error) {
	l.SetReadDeadline(time.Now().Add(httpSilent))
	return l.body.Read(b)
}

func (l *line) Close() error {
	l.stop()
	return l.Conn.Close()
}

// contentRange reads "bytes 5-9/10".
func contentRange(s string) (from, total int64, err error) {
	s, ok := strings.CutPrefix(s, "bytes ")
	span, whole, ok2 := strings.Cut(s, "/")
	first, _, ok3 := strings.Cut(span, "-")
	from, err1 := strconv.ParseInt(first, 10, 64)
	total, err2 := strconv.ParseInt(whole, 10, 64)
	if !ok || !ok2 || !ok3 || err1 != nil || err2 != nil || from < 0 || total < from {
		return 0, 0, fmt.Errorf("%w: Content-Range %.80q", ErrUnreachable, s)
	}
	return from, total, nil
}
