package guard

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"
)

// ArrivalHeader is the header that the guard adds to what it hands on. One that a peer sends never gets through.
const ArrivalHeader = "Parley-Arrival"

// Arrival says how a message really came, which sipgo does not tell its handlers.
type Arrival struct {
	Network       string         // UDP, TCP or TLS
	Remote, Local netip.AddrPort // of the packet or connection; a UDP socket bound to no address has no Local address
	Names         []string       // of the certificate that TLS verified, lower case: its DNS names and the hosts of its SIP URIs (RFC 5922)
}

// stamp is the header's value; empty without a secret.
func (c *core) stamp(p peer) string {
	if len(c.o.Secret) == 0 {
		return ""
	}
	v := strings.Join(append([]string{p.network, p.remote.String(), p.local.String()}, p.names...), " ")
	return v + " " + stampMAC(c.o.Secret, v)
}

func stampMAC(secret []byte, v string) string {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("arrival"))
	h.Write([]byte(v))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// ParseArrival reads an ArrivalHeader's value; false unless a guard with this secret wrote it.
func ParseArrival(secret []byte, value string) (Arrival, bool) {
	var a Arrival
	i := strings.LastIndexByte(value, ' ')
	if i < 0 || len(secret) == 0 || !hmac.Equal([]byte(value[i+1:]), []byte(stampMAC(secret, value[:i]))) {
		return a, false
	}
	parts := strings.Fields(value[:i])
	if len(parts) < 3 {
		return a, false
	}
	var err1, err2 error
	a.Network = parts[0]
	a.Remote, err1 = netip.ParseAddrPort(parts[1])
	a.Local, err2 = netip.ParseAddrPort(parts[2])
	a.Names = parts[3:]
	return a, err1 == nil && err2 == nil
}
