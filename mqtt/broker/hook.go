package broker

import (
	"bytes"
	"strings"
	"sync"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// hook is what mochi asks: who may come in, who may do what, and what may be retained.
type hook struct {
	mochi.HookBase
	b      *Broker
	server *mochi.Server
	logins chan struct{} // one at a time: a flood of passwords takes one core at most

	// paths keeps mochi from reading what it retains, for a new subscription, while it writes there: it does both without a
	// lock in common. What it does in between neither waits nor calls us for the other.
	paths sync.RWMutex

	mu       sync.Mutex // guards what follows
	retained map[string]int
	bytes    int
}

func newHook(b *Broker, s *mochi.Server) *hook {
	return &hook{b: b, server: s, logins: make(chan struct{}, 1), retained: map[string]int{}}
}

// ID names the hook.
func (h *hook) ID() string { return "parley" }

// Provides lists what the hook answers.
func (h *hook) Provides(b byte) bool {
	return bytes.IndexByte([]byte{mochi.OnConnect, mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnSubscribe,
		mochi.OnPublish, mochi.OnWill, mochi.OnQosPublish, mochi.OnRetainMessage, mochi.OnPacketSent, mochi.OnPacketProcessed}, b) >= 0
}

// OnConnect makes every session end with its connection: kept ones would be memory that a stranger fills, and mochi
// forgets to take their subscriptions away.
func (h *hook) OnConnect(cl *mochi.Client, _ packets.Packet) error {
	cl.Properties.Clean = true
	return nil
}

// OnConnectAuthenticate checks the password, and what mochi does not: that a client may write its will, and does not take
// over the connection of another user.
func (h *hook) OnConnectAuthenticate(cl *mochi.Client, pk packets.Packet) bool {
	user := string(pk.Connect.Username)
	h.logins <- struct{}{}
	ok := h.b.users.admits(user, string(pk.Connect.Password))
	<-h.logins
	if !ok {
		h.b.log.Warn("mqtt broker: wrong user or password", "from", cl.Net.Remote, "user", user)
		h.pause(cl)
		return false
	}
	if old, ok := h.server.Clients.Get(cl.ID); ok && !old.Closed() && string(old.Properties.Username) != user {
		h.b.log.Warn("mqtt broker: client id belongs to another user", "from", cl.Net.Remote, "client", cl.ID)
		return false
	}
	if pk.Connect.WillFlag && !h.b.cfg.ACL.mayWrite(user, cl.ID, pk.Connect.WillTopic) {
		h.b.log.Warn("mqtt broker: will is against the access rules", "from", cl.Net.Remote, "topic", pk.Connect.WillTopic)
		return false
	}
	return true
}

// pause makes guessing slow. It ends with the connection.
func (h *hook) pause(cl *mochi.Client) {
	g, ok := cl.Net.Conn.(*guarded)
	if !ok {
		return
	}
	t := time.NewTimer(h.b.cfg.Limits.FailedLoginPause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-g.closed:
	}
}

// OnACLCheck is asked for each subscription and for each message that goes to a client. What comes from one is judged in
// OnPublish: refused here, mochi would end the connection.
func (h *hook) OnACLCheck(cl *mochi.Client, topic string, writes bool) bool {
	if writes {
		return true
	}
	if strings.HasPrefix(topic, "$") && !strings.HasPrefix(topic, "$SYS/") {
		return false // such as shared subscriptions
	}
	return h.b.cfg.ACL.maySubscribe(string(cl.Properties.Username), cl.ID, topic)
}

// OnSubscribe spoils the filters that are too many for one client, so that they are refused.
func (h *hook) OnSubscribe(cl *mochi.Client, pk packets.Packet) packets.Packet {
	have := cl.State.Subscriptions.Len()
	for i, f := range pk.Filters {
		if _, renewed := cl.State.Subscriptions.Get(f.Filter); renewed {
			continue
		}
		if have++; have > h.b.cfg.Limits.Subscriptions {
			pk.Filters[i].Filter = ""
		}
	}
	return pk
}

// OnPublish drops what the access rules deny (it is acknowledged, as MQTT 3.1.1 has no way to say no) and does not retain
// what does not fit any more.
func (h *hook) OnPublish(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	if !h.b.cfg.ACL.mayWrite(string(cl.Properties.Username), cl.ID, pk.TopicName) {
		h.b.log.Debug("mqtt broker: message is against the access rules", "client", cl.ID, "topic", pk.TopicName)
		return pk, packets.CodeSuccessIgnore
	}
	if pk.FixedHeader.Retain = pk.FixedHeader.Retain && h.keep(pk.TopicName, len(pk.Payload)); pk.FixedHeader.Retain {
		h.paths.Lock()
	}
	return pk, nil
}

// OnWill is OnPublish for wills, whose topic was checked when they were left.
func (h *hook) OnWill(_ *mochi.Client, will mochi.Will) (mochi.Will, error) {
	if will.Retain = will.Retain && h.keep(will.TopicName, len(will.Payload)); will.Retain {
		h.paths.Lock()
	}
	return will, nil
}

// OnRetainMessage is what follows OnPublish and OnWill, once a message that is to be retained is.
func (h *hook) OnRetainMessage(*mochi.Client, packets.Packet, int64) { h.paths.Unlock() }

// OnPacketSent: after a SUBACK mochi looks for what is retained.
func (h *hook) OnPacketSent(_ *mochi.Client, pk packets.Packet, _ []byte) {
	if pk.FixedHeader.Type == packets.Suback {
		h.paths.RLock()
	}
}

// OnPacketProcessed: a SUBSCRIBE whose SUBACK was sent has got what is retained.
func (h *hook) OnPacketProcessed(_ *mochi.Client, pk packets.Packet, err error) {
	if pk.FixedHeader.Type == packets.Subscribe && err == nil {
		h.paths.RUnlock()
	}
}

// OnQosPublish is told of each message that a client has to acknowledge. One that takes them and never does is let go
// when they have become too many bytes; they are counted every so often.
func (h *hook) OnQosPublish(cl *mochi.Client, _ packets.Packet, _ int64, _ int) {
	if n := cl.State.Inflight.Len(); n == 0 || n%32 != 0 {
		return
	}
	bytes := 0
	for _, pk := range cl.State.Inflight.GetAll(false) {
		bytes += len(pk.Payload)
	}
	if bytes > h.b.cfg.Limits.InflightBytes {
		h.b.log.Warn("mqtt broker: client does not acknowledge", "client", cl.ID, "bytes", bytes)
		cl.Stop(packets.ErrQuotaExceeded)
	}
}

// keep accounts for a retained message; false: there is no room for it.
func (h *hook) keep(topic string, payload int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	old, known := h.retained[topic]
	if payload == 0 {
		h.bytes -= old
		delete(h.retained, topic)
		return true
	}
	size := len(topic) + payload
	lim := h.b.cfg.Limits
	if !known && len(h.retained) >= lim.Retained || h.bytes-old+size > lim.RetainedBytes {
		h.b.log.Warn("mqtt broker: no room to retain", "topic", topic, "topics", len(h.retained), "bytes", h.bytes)
		return false
	}
	h.bytes += size - old
	h.retained[topic] = size
	return true
}
