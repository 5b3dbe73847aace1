package rtp

import (
	"fmt"
	"slices"

	"github.com/pion/rtcp"
	pion "github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

const (
	keyLen       = 16
	saltLen      = 14
	replayWindow = 256
	maxContexts  = 8  // keys of a leg that are remembered
	maxRescues   = 16 // packets for which another roll-over count is tried
)

var profiles = map[string]srtp.ProtectionProfile{
	SuiteSHA1_80: srtp.ProtectionProfileAes128CmHmacSha1_80,
	SuiteSHA1_32: srtp.ProtectionProfileAes128CmHmacSha1_32,
}

// context is SRTP in one direction under one key. It lives as long as its leg: a key that is configured again goes on
// where it was, since counting anew under the same key would use a key stream twice.
type context struct {
	suite  string
	key    []byte
	in     bool
	srtp   *srtp.Context
	header pion.Header
	rtcp   rtcp.Header

	proved  bool // something was authentic under it
	rescues int
}

// contexts are those that a leg has ever had; Configure's.
type contexts []*context

func (c *contexts) get(suite string, key []byte, in bool) (*context, error) {
	profile, ok := profiles[suite]
	if !ok || len(key) != keyLen+saltLen {
		return nil, fmt.Errorf("%w: SRTP suite %q with %d bytes of key", ErrParams, suite, len(key))
	}
	for _, x := range *c {
		if x.suite == suite && x.in == in && string(x.key) == string(key) {
			return x, nil
		}
	}
	var opts []srtp.ContextOption
	if in {
		opts = []srtp.ContextOption{srtp.SRTPReplayProtection(replayWindow), srtp.SRTCPReplayProtection(replayWindow)}
	}
	s, err := srtp.CreateContext(key[:keyLen], key[keyLen:], profile, opts...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrParams, err)
	}
	x := &context{suite: suite, key: slices.Clone(key), in: in, srtp: s}
	x.header.CSRC = make([]uint32, 0, 15)
	x.header.Extensions = make([]pion.Extension, 0, 16)
	if *c = append(*c, x); len(*c) > maxContexts {
		*c = slices.Delete(*c, 0, 1)
	}
	return x, nil
}

// open decrypts a packet in place. roc is the roll-over count that the source had under the key before: phones disagree
// on whether a new key sets it back to zero (RFC 3711, 8.1, says no), so that both are tried.
func (c *context) open(b []byte, ssrc, roc uint32) ([]byte, bool) {
	out, err := c.srtp.DecryptRTP(b, b, &c.header)
	if err != nil && !c.proved && roc > 0 && c.rescues < maxRescues {
		c.rescues++
		c.srtp.SetROC(ssrc, roc)
		if out, err = c.srtp.DecryptRTP(b, b, &c.header); err != nil {
			c.srtp.SetROC(ssrc, 0)
		}
	}
	if err != nil {
		return nil, false
	}
	c.proved = true
	return out, true
}

// openRTCP decrypts a compound packet in place.
func (c *context) openRTCP(b []byte) ([]byte, bool) {
	out, err := c.srtp.DecryptRTCP(b, b, &c.rtcp)
	return out, err == nil
}

// seal encrypts a packet in place; b has room for the tag.
func (c *context) seal(b []byte) ([]byte, bool) {
	out, err := c.srtp.EncryptRTP(b, b, &c.header)
	return out, err == nil
}

func (c *context) sealRTCP(b []byte) ([]byte, bool) {
	out, err := c.srtp.EncryptRTCP(b, b, &c.rtcp)
	return out, err == nil
}

// rollovers is the roll-over count of a source.
func (c *context) rollovers(ssrc uint32) uint32 {
	if c == nil {
		return 0
	}
	n, _ := c.srtp.ROC(ssrc)
	return n
}
