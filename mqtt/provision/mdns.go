package provision

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"time"
)

// mDNS (RFC 6762), as much of it as it takes to ask once, by a port of our own, and to read where who answers says that a broker is.

const (
	typePTR = 12
	typeSRV = 33
	classIN = 1

	maxAnswer  = 9000 // bytes of one packet
	maxRecords = 64
	maxLabels  = 32
	listenFor  = 2 * time.Second
)

var errDNS = errors.New("not a DNS message that can be read")

// serviceName is what is asked for.
const serviceName = "_" + service + "._tcp.local."

// Announced asks the local network for brokers. What comes may be from anybody.
func Announced(ctx context.Context) (found []*net.SRV) {
	c, err := net.ListenPacket("udp4", "0.0.0.0:0")
	if err != nil {
		return nil
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	c.SetDeadline(time.Now().Add(listenFor))
	if _, err := c.WriteTo(question(serviceName), &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}); err != nil {
		return nil
	}
	buf := make([]byte, maxAnswer)
	for len(found) < maxPlaces {
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			break
		}
		if more, err := services(buf[:n]); err == nil {
			found = append(found, more...)
		}
	}
	return found
}

// question is a message that asks for the instances of a service, to be answered to us alone.
func question(name string) []byte {
	const unicast = 0x8000
	m := make([]byte, 12, 64)
	binary.BigEndian.PutUint16(m[4:], 1)
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		m = append(append(m, byte(len(label))), label...)
	}
	m = append(m, 0)
	m = binary.BigEndian.AppendUint16(m, typePTR)
	return binary.BigEndian.AppendUint16(m, unicast|classIN)
}

// services reads the SRV records of a message that belong to the service that was asked for.
func services(m []byte) (found []*net.SRV, err error) {
	if len(m) < 12 || m[2]&0x80 == 0 { // a question, maybe our own
		return nil, errDNS
	}
	count := func(i int) int { return int(binary.BigEndian.Uint16(m[i:])) }
	questions, records := count(4), count(6)+count(8)+count(10)
	if questions > 4 || records > maxRecords {
		return nil, errDNS
	}
	at := 12
	for range questions {
		if _, at, err = name(m, at); err != nil {
			return nil, err
		}
		at += 4
	}
	for range records {
		owner, next, err := name(m, at)
		if err != nil || next+10 > len(m) {
			return nil, errDNS
		}
		kind, size := binary.BigEndian.Uint16(m[next:]), int(binary.BigEndian.Uint16(m[next+8:]))
		data := next + 10
		if data+size > len(m) {
			return nil, errDNS
		}
		if at = data + size; kind != typeSRV || size < 7 || !strings.HasSuffix(strings.ToLower(owner), "."+serviceName) {
			continue
		}
		target, end, err := name(m, data+6)
		if err != nil || end > at {
			return nil, errDNS
		}
		found = append(found, &net.SRV{Target: target, Port: binary.BigEndian.Uint16(m[data+4:])})
	}
	return found, nil
}

// name reads a name that may point to one before it, and where what follows begins.
func name(m []byte, at int) (full string, next int, err error) {
	var b strings.Builder
	jumped := false
	for range maxLabels {
		if at >= len(m) {
			return "", 0, errDNS
		}
		size := int(m[at])
		switch {
		case size == 0:
			if !jumped {
				next = at + 1
			}
			return b.String(), next, nil
		case size&0xc0 == 0xc0:
			if at+1 >= len(m) {
				return "", 0, errDNS
			}
			to := size&0x3f<<8 | int(m[at+1])
			if !jumped {
				next, jumped = at+2, true
			}
			if to >= at { // forwards would never end
				return "", 0, errDNS
			}
			at = to
		case size > 63 || at+1+size > len(m):
			return "", 0, errDNS
		default:
			b.Write(m[at+1 : at+1+size])
			b.WriteByte('.')
			at += 1 + size
		}
	}
	return "", 0, errDNS
}
