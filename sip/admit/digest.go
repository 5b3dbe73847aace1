package admit

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A nonce says by itself when and for whom it was made: 8 octets of time (ns), 8 of chance, 16 of MAC over both and the
// source address. Without a source that received it nobody has one, so wrong digests with a forged source address count
// for nobody.
const nonceLen = 32

type nonce [nonceLen]byte

func (g *Gate) newNonce(now time.Time, source netip.Addr) string {
	var n nonce
	binary.BigEndian.PutUint64(n[:8], uint64(now.UnixNano()))
	rand.Read(n[8:16])
	copy(n[16:], g.mac("nonce", n[:16], source))
	return base64.RawURLEncoding.EncodeToString(n[:])
}

// genuine takes a nonce apart; false if we did not make it, or made it for another address.
func (g *Gate) genuine(text string, source netip.Addr) (n nonce, issued time.Time, ok bool) {
	if len(text) != base64.RawURLEncoding.EncodedLen(nonceLen) {
		return n, issued, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return n, issued, false
	}
	copy(n[:], raw)
	if !hmac.Equal(n[16:], g.mac("nonce", n[:16], source)) {
		return n, issued, false
	}
	return n, time.Unix(0, int64(binary.BigEndian.Uint64(n[:8]))), true
}

func (g *Gate) mac(what string, data []byte, source netip.Addr) []byte {
	h := hmac.New(sha256.New, g.secret)
	addr := source.Unmap().As16()
	h.Write([]byte(what))
	h.Write(data)
	h.Write(addr[:])
	return h.Sum(nil)[:16]
}

// challenge asks for a digest: the better algorithm first, each in a header of its own (RFC 8760 §2.4).
func (g *Gate) challenge(now time.Time, r Request, stale bool, reason string) Verdict {
	n := g.newNonce(now, r.Source.Addr())
	v := Verdict{Outcome: Challenged, Reason: reason}
	realm := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(g.cfg.Realm)
	for _, algorithm := range g.cfg.Algorithms {
		c := fmt.Sprintf(`Digest realm="%s", nonce="%s", algorithm=%s, qop="auth"`, realm, n, algorithm)
		if stale {
			c += ", stale=true"
		}
		v.Challenges = append(v.Challenges, c)
	}
	return v
}

// digest judges credentials. Whatever is wrong with user or password, the way through here is the same one and as long.
func (g *Gate) digest(now time.Time, r Request, c credentials) Verdict {
	if !slices.Contains(g.cfg.Algorithms, c.algorithm) || c.qop != "" && c.qop != "auth" {
		return Verdict{Outcome: Refused, Code: 400, Reason: "unknown algorithm or qop"}
	}
	if !sameTarget(c.uri, r.URI) {
		return Verdict{Outcome: Refused, Code: 400, Reason: "digest for another URI"}
	}
	n, issued, ok := g.genuine(c.nonce, r.Source.Addr())
	if !ok {
		// Not evaluated: a nonce of before a restart, or nobody's. Neither a failure nor a hint.
		return g.challenge(now, r, true, "unknown nonce")
	}
	who := keyOf(r.Source.Addr())
	if v, refused := g.paused(now, who, c.username); refused {
		return v
	}
	if !g.matches(r.Method, c) {
		return g.wrong(now, r, who, c.username)
	}
	if age := now.Sub(issued); age < 0 || age >= g.cfg.NonceLife || !g.fresh(now, n, issued, c) {
		return g.challenge(now, r, true, "stale nonce")
	}
	g.mu.Lock()
	g.sources.forgive(who, userKey(c.username))
	g.mu.Unlock()
	return Verdict{Outcome: Admitted, How: ByDigest, User: c.username}
}

// matches computes the response for a user, known or not, and compares without telling by time.
func (g *Gate) matches(method string, c credentials) bool {
	known, ok := g.cfg.Users(c.username)
	want, size := known.MD5, md5.Size
	if c.algorithm == "SHA-256" {
		want, size = known.SHA256, sha256.Size
	}
	decoy := hex.EncodeToString(g.mac("user", []byte(c.username), netip.IPv6Unspecified()))
	for len(decoy) < 2*size {
		decoy += decoy
	}
	good := subtle.ConstantTimeEq(int32(len(want)), int32(2*size))
	if !ok || good == 0 {
		good, want = 0, decoy[:2*size]
	}
	h := hashHex(c.algorithm)
	ha2 := h(method, c.uri)
	var expect string
	if c.qop == "" {
		expect = h(strings.ToLower(want), c.nonce, ha2) // RFC 2069
	} else {
		expect = h(strings.ToLower(want), c.nonce, c.ncText, c.cnonce, c.qop, ha2)
	}
	return subtle.ConstantTimeCompare([]byte(expect), []byte(strings.ToLower(c.response)))&good == 1
}

func hashHex(algorithm string) func(parts ...string) string {
	return func(parts ...string) string {
		data := []byte(strings.Join(parts, ":"))
		if algorithm == "MD5" {
			sum := md5.Sum(data)
			return hex.EncodeToString(sum[:])
		}
		sum := sha256.Sum256(data)
		return hex.EncodeToString(sum[:])
	}
}

// Hash makes what is kept of a password.
func Hash(user, realm, password string) HA1 {
	return HA1{MD5: hashHex("MD5")(user, realm, password), SHA256: hashHex("SHA-256")(user, realm, password)}
}

// sameTarget compares the digest's URI with the request's by user part, without regard to host, port and parameters:
// those change on the way through a NAT or a proxy, the user part says what is asked for.
func sameTarget(digest, request string) bool {
	return digest == request || userOf(digest) == userOf(request)
}

func userOf(uri string) string {
	_, rest, _ := strings.Cut(uri, ":")
	user, _, ok := strings.Cut(rest, "@")
	if !ok {
		return ""
	}
	return user
}

// fresh takes note of the nonce's count; false if it was used before (RFC 7616 §3.4). Without qop there is no count, so
// such a nonce serves once.
func (g *Gate) fresh(now time.Time, n nonce, issued time.Time, c credentials) bool {
	nc := c.nc
	if c.qop == "" {
		nc = 1
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.nonces.floor.After(now) {
		g.nonces.floor = now // the clock was set back: nothing of that future is in use
	}
	return g.nonces.use(n, issued, nc)
}

// counts keeps the counts of the nonces that good digests came with, so that none is good twice.
type counts struct {
	max   int
	used  map[nonce]*window
	floor time.Time // nonces issued by then may have been forgotten: they are stale
}

type window struct {
	issued time.Time
	top    uint32
	seen   uint64 // bit i: top-i was used
}

func newCounts(max int) counts { return counts{max: max, used: make(map[nonce]*window)} }

// use is true the first time that it sees nc with n. A count may come up to 63 behind the highest, since datagrams swap.
func (s *counts) use(n nonce, issued time.Time, nc uint32) bool {
	w := s.used[n]
	if w == nil {
		if !issued.After(s.floor) {
			return false
		}
		if len(s.used) >= s.max {
			s.evict()
			if !issued.After(s.floor) {
				return false
			}
		}
		s.used[n] = &window{issued: issued, top: nc, seen: 1}
		return true
	}
	if nc > w.top {
		if shift := nc - w.top; shift < 64 {
			w.seen <<= shift
		} else {
			w.seen = 0
		}
		w.top = nc
		w.seen |= 1
		return true
	}
	back := w.top - nc
	if back > 63 || w.seen&(1<<back) != 0 {
		return false
	}
	w.seen |= 1 << back
	return true
}

// evict forgets the older half, by time of issue: their users are challenged once more and notice nothing.
func (s *counts) evict() {
	var oldest, newest time.Time
	for _, w := range s.used {
		if oldest.IsZero() || w.issued.Before(oldest) {
			oldest = w.issued
		}
		if w.issued.After(newest) {
			newest = w.issued
		}
	}
	s.floor = oldest.Add(newest.Sub(oldest) / 2)
	for n, w := range s.used {
		if !w.issued.After(s.floor) {
			delete(s.used, n)
		}
	}
}
