package guard

import (
	"bytes"
	"strings"
)

// framer cuts a stream into messages. It is pure: what was read goes in, the next thing comes out.
type framer struct {
	core    *core
	in      []byte // read and not used yet
	scanned int    // of in, without the head's end in it

	head  text // once the head is whole
	whole bool // it is
	used  int  // its octets
	body  int  // the length of the body; -1: until the stream is quiet
}

// piece is what next finds.
type piece int

const (
	more   piece = iota // nothing whole yet
	ping                // CR LF CR LF between messages (RFC 5626 §3.5.1)
	entire              // a message: head and body
	broken              // no way to know where the message ends
)

// next takes the next piece off. quiet says that nothing will come for now, or ever. For a message, and for a broken one
// whose head could be read, t and body are what it consists of.
func (f *framer) next(quiet bool) (k piece, t text, body []byte, why *fault) {
	if !f.whole {
		if k, why := f.cutHead(quiet); k != entire {
			return k, f.head, nil, why
		}
	}
	rest := f.in[f.used:]
	switch {
	case f.body > f.core.o.MaxMessage-f.used || len(f.in) > f.core.o.MaxMessage && f.body < 0:
		return broken, f.head, nil, &fault{code: 513, reason: "Message Too Large"}
	case f.body >= 0 && len(rest) < f.body:
		if quiet {
			return broken, f.head, nil, bad("Body Shorter Than Content-Length")
		}
		return more, text{}, nil, nil
	case f.body < 0 && !quiet:
		return more, text{}, nil, nil
	}
	n := f.body
	if n < 0 {
		n = len(rest)
	}
	t, body = f.head, bytes.Clone(rest[:n])
	f.drop(f.used + n)
	return entire, t, body, nil
}

// cutHead looks for the end of the head, and what the body's length is to be.
func (f *framer) cutHead(quiet bool) (piece, *fault) {
	for len(f.in) > 0 && (f.in[0] == '\r' || f.in[0] == '\n') {
		switch {
		case bytes.HasPrefix(f.in, crlfcrlf):
			f.drop(4)
			return ping, nil
		case bytes.HasPrefix(crlfcrlf, f.in):
			return more, nil
		case bytes.HasPrefix(f.in, crlf):
			f.drop(2) // a pong, or the end of what was none
		default:
			return broken, nil
		}
	}
	if i := bytes.Index(f.in, crlf); i >= 0 && i+2 > f.scanned {
		if _, ok := parseStart(string(f.in[:min(i, maxValue)])); !ok {
			return broken, nil
		}
	}
	from := max(0, f.scanned-3)
	i := bytes.Index(f.in[from:], crlfcrlf)
	if i < 0 {
		f.scanned = len(f.in)
		if len(f.in) > maxHead || quiet && len(f.in) > 0 {
			f.head = lex(f.in[:min(len(f.in), maxHead)])
			return broken, bad("No End of Headers")
		}
		return more, nil
	}
	f.used = from + i + 4
	f.head = lex(f.in[:f.used-2])
	f.whole = true
	if f.used > maxHead {
		return broken, &fault{code: 513, reason: "Message Too Large"}
	}
	n, given, why := contentLength(f.head)
	if why != nil {
		return broken, why
	}
	f.body = n
	// RFC 2543 let a stream's end be the message's; without a type there is no body.
	if !given && len(f.head.all("Content-Type")) > 0 {
		f.body = -1
	}
	return entire, nil
}

// drop goes on behind the first n octets.
func (f *framer) drop(n int) {
	f.in = f.in[:copy(f.in, f.in[n:])]
	if cap(f.in) > 4*readSize && len(f.in) < readSize {
		f.in = append(make([]byte, 0, readSize), f.in...) // one long message is no reason to hold its room for ever
	}
	f.scanned, f.head, f.whole, f.used, f.body = 0, text{}, false, 0, 0
}

// underway: part of a message is there.
func (f *framer) underway() bool {
	return f.whole || strings.Trim(string(f.in[:min(len(f.in), 4)]), "\r\n") != ""
}

// unending: what is there is a message if nothing follows.
func (f *framer) unending() bool { return f.whole && f.body < 0 }
