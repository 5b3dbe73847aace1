package route

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ErrUnresolved: no address could be found for a host. It wraps the resolver's own error, if there was one.
var ErrUnresolved = errors.New("route: host has no address")

// Bounds on what a name server may make us try.
const (
	maxSRV       = 16
	maxEndpoints = 32
)

// Resolver is the part of net.Resolver that is needed; *net.Resolver satisfies it.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// URI is where a request goes, before names are looked up.
type URI struct {
	Secure    bool   // sips, or transport=tls
	Host      string // name or address; an IPv6 address without brackets
	Port      uint16 // 0: none given
	Transport string // "udp", "tcp", "tls", or empty: none given
}

// Endpoint is one address to try.
type Endpoint struct {
	Transport string // "udp", "tcp" or "tls"
	Addr      netip.AddrPort
	Host      string // the name that a TLS certificate must bear (RFC 5922 §4): that of the URI, not of the SRV target
}

// ParseURI reads sip:[user@]host[:port][;transport=udp|tcp|tls] and sips:. Other parameters are passed over; headers are
// refused.
func ParseURI(s string) (URI, error) {
	bad := func(why string) (URI, error) { return URI{}, fmt.Errorf("route: URI %.80q: %s", s, why) }
	if len(s) > 512 {
		return bad("too long")
	}
	scheme, rest, _ := strings.Cut(s, ":")
	var u URI
	switch strings.ToLower(scheme) {
	case "sip":
	case "sips":
		u.Secure = true
	default:
		return bad("must begin with sip: or sips:")
	}
	rest, params, _ := strings.Cut(rest, ";")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	host, port, why := hostPort(rest)
	if why != "" {
		return bad(why)
	}
	u.Host = strings.ToLower(host)
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return bad("port must be 1 to 65535")
		}
		u.Port = uint16(n)
	}
	for p := range strings.SplitSeq(params, ";") {
		k, v, _ := strings.Cut(p, "=")
		if !strings.EqualFold(k, "transport") {
			continue
		}
		switch u.Transport = strings.ToLower(v); u.Transport {
		case "udp", "tcp":
		case "tls":
			u.Secure = true
		default:
			return bad("transport must be udp, tcp or tls")
		}
	}
	if u.Secure && u.Transport == "udp" {
		return bad("sips does not go over udp")
	}
	if u.Secure {
		u.Transport = "tls"
	}
	return u, nil
}

// hostPort takes host[:port] apart, or says what is wrong with it.
func hostPort(s string) (host, port, why string) {
	if !strings.HasPrefix(s, "[") {
		host, port, given := strings.Cut(s, ":")
		switch {
		case given && port == "":
			return "", "", "empty port"
		case !hostname(host):
			return "", "", "not a host"
		}
		return host, port, ""
	}
	text, after, ok := strings.Cut(s[1:], "]")
	if !ok {
		return "", "", "address without its ]"
	}
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is6() || a.Zone() != "" {
		return "", "", "not an IPv6 address"
	}
	port, colon := strings.CutPrefix(after, ":")
	if after != "" && (!colon || port == "") {
		return "", "", "rubbish after ]"
	}
	return a.String(), port, ""
}

func hostname(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '.' || c == '_') {
			return false
		}
	}
	return s != "" && len(s) <= 253
}

// Resolve lists the addresses of u in the order of trial (RFC 3263 §4): a numeric host is itself; a host with a port is
// looked up as A and AAAA; any other through SRV, by priority and by weight (RFC 2782), and through A and AAAA if there
// is no SRV record. NAPTR is left out, since net.Resolver cannot ask for it: without transport= the SRV records of udp,
// then tcp are asked (tls alone for sips). intn is the chance in the weights, rand.IntN if nil.
func Resolve(ctx context.Context, r Resolver, u URI, intn func(n int) int) ([]Endpoint, error) {
	if intn == nil {
		intn = rand.IntN
	}
	transport := cmp.Or(u.Transport, "udp")
	if a, err := netip.ParseAddr(u.Host); err == nil {
		return []Endpoint{{transport, netip.AddrPortFrom(a.Unmap(), cmp.Or(u.Port, defaultPort(transport))), u.Host}}, nil
	}
	if u.Port != 0 {
		return addresses(ctx, r, nil, u, transport, u.Host, u.Port)
	}
	var out []Endpoint
	var failed error
	for _, proto := range protocols(u) {
		service, over := "sip", proto
		if proto == "tls" {
			service, over = "sips", "tcp"
		}
		_, records, err := r.LookupSRV(ctx, service, over, u.Host)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			continue // most hosts have no such record; A and AAAA have the last word
		}
		for _, rec := range order(records, intn) {
			if rec.Target == "." || rec.Port == 0 {
				continue // RFC 2782: the service is decidedly not there
			}
			if out, err = addresses(ctx, r, out, u, proto, strings.TrimSuffix(rec.Target, "."), rec.Port); err != nil {
				failed = err
			}
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	out, err := addresses(ctx, r, nil, u, transport, u.Host, defaultPort(transport))
	if err != nil && failed != nil {
		err = errors.Join(failed, err)
	}
	return out, err
}

func protocols(u URI) []string {
	if u.Transport != "" {
		return []string{u.Transport}
	}
	return []string{"udp", "tcp"}
}

func defaultPort(transport string) uint16 {
	if transport == "tls" {
		return 5061
	}
	return 5060
}

// addresses appends host's addresses to out; IPv4 and IPv6 stay in the resolver's order (RFC 6724).
func addresses(ctx context.Context, r Resolver, out []Endpoint, u URI, transport, host string, port uint16) ([]Endpoint, error) {
	ips, err := r.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return out, fmt.Errorf("%w: %s: %w", ErrUnresolved, host, err)
	}
	if len(ips) == 0 {
		return out, fmt.Errorf("%w: %s", ErrUnresolved, host)
	}
	for _, ip := range ips {
		e := Endpoint{transport, netip.AddrPortFrom(ip.Unmap(), port), u.Host}
		if len(out) < maxEndpoints && !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out, nil
}

// order sorts by priority and draws by weight within one (RFC 2782): a record of weight 0 has a small chance to be first.
func order(records []*net.SRV, intn func(int) int) []*net.SRV {
	rest := make([]*net.SRV, 0, min(len(records), maxSRV))
	for _, rec := range records {
		if rec != nil && len(rest) < maxSRV {
			rest = append(rest, rec)
		}
	}
	slices.SortStableFunc(rest, func(a, b *net.SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Weight, b.Weight))
	})
	var out []*net.SRV
	for len(rest) > 0 {
		n, sum := 0, 0
		for n < len(rest) && rest[n].Priority == rest[0].Priority {
			sum += int(rest[n].Weight)
			n++
		}
		draw, i := intn(sum+1), 0
		for acc := int(rest[0].Weight); acc < draw; acc += int(rest[i].Weight) {
			i++
		}
		out = append(out, rest[i])
		rest = slices.Delete(rest, i, i+1)
	}
	return out
}

// Trial is one hop of a target at one of its addresses.
type Trial struct {
	Hop
	Endpoint
}

// Failover goes through the hops of a target, and through the addresses of each, resolving a hop only when its turn comes.
// It belongs to one goroutine.
type Failover struct {
	resolver Resolver
	intn     func(int) int
	hops     []Hop
	hop      Hop
	ready    []Endpoint
	errs     []error
}

// NewFailover begins at the first of hops.
func NewFailover(r Resolver, hops []Hop) *Failover { return &Failover{resolver: r, hops: hops} }

// ErrExhausted: nothing is left to try. It wraps why hops could not be resolved.
var ErrExhausted = errors.New("route: nothing left to try")

// Next is the next one to try. Ask for it after a 503, a time-out or a transport's failure (RFC 3263 §4.3), and after no
// other answer: a 486 or 404 is the callee's own.
func (f *Failover) Next(ctx context.Context) (Trial, error) {
	for len(f.ready) == 0 {
		if err := ctx.Err(); err != nil {
			return Trial{}, err
		}
		if len(f.hops) == 0 {
			return Trial{}, errors.Join(append([]error{ErrExhausted}, f.errs...)...)
		}
		f.hop, f.hops = f.hops[0], f.hops[1:]
		u, err := ParseURI(cmp.Or(f.hop.Gateway.Proxy, f.hop.Gateway.URI))
		if err == nil {
			f.ready, err = Resolve(ctx, f.resolver, u, f.intn)
		}
		if err != nil {
			f.errs = append(f.errs, fmt.Errorf("gateway %s: %w", f.hop.Gateway.Name, err))
		}
	}
	e := f.ready[0]
	f.ready = f.ready[1:]
	return Trial{f.hop, e}, nil
}

// SkipHop gives up the remaining addresses of the present hop: its gateway said by 503 that it, as a whole, cannot.
func (f *Failover) SkipHop() { f.ready = nil }
