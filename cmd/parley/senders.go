package main

import (
	"crypto/ed25519"
	"sync"
	"time"

	"parley/mqtt/wire"
	"parley/web"
	"parley/web/token"
)

// senderKeys are the keys of the people who have shown a token: with one of them a message's signature proves who wrote it.
// It stands before the verifier of tokens, so that every door teaches it. Its methods may be called from any goroutine.
type senderKeys struct {
	web.Tokens

	mu   sync.Mutex
	keys map[string][]senderKey // by number
}

// senderKey is a key that a token is bound to (RFC 7800), for as long as the token holds.
type senderKey struct {
	key   ed25519.PublicKey
	until time.Time
}

const (
	maxSenders    = 4096
	keysPerSender = 4 // a person may have several terminals
)

// newSenderKeys verifies tokens as that says.
func newSenderKeys(c token.Config) *senderKeys {
	return &senderKeys{Tokens: token.NewVerifier(c), keys: map[string][]senderKey{}}
}

// Verify implements web.Tokens, and learns.
func (s *senderKeys) Verify(shown string) (token.Claims, error) {
	c, err := s.Tokens.Verify(shown)
	if err == nil && len(c.Key) == ed25519.PublicKeySize && c.Subject != "" {
		s.learn(c.Subject, senderKey{c.Key, c.Expires})
	}
	return c, err
}

func (s *senderKeys) learn(who string, k senderKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.keys[who]
	for i := range list {
		if list[i].key.Equal(k.key) {
			if k.until.After(list[i].until) {
				list[i].until = k.until
			}
			return
		}
	}
	if len(list) >= keysPerSender {
		list = list[1:]
	}
	if len(s.keys) >= maxSenders {
		for other := range s.keys { // any: who writes again shows his token again
			delete(s.keys, other)
			break
		}
	}
	s.keys[who] = append(list, k)
}

// proves tells whether a message is signed by whom it says it is from. Of nil it never is.
func (s *senderKeys) proves(topic string, m *wire.Message, now time.Time) bool {
	if s == nil || m.Sig == "" {
		return false
	}
	s.mu.Lock()
	list := append([]senderKey(nil), s.keys[m.From]...)
	s.mu.Unlock()
	for _, k := range list {
		if now.Before(k.until) && m.Verify(topic, k.key) == nil {
			return true
		}
	}
	return false
}
