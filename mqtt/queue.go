package mqtt

import (
	"bytes"
	"slices"
)

// queue is what is to be told: of retained topics the latest message each, of others all, in order, as far as they fit.
// It belongs to whoever holds the client's lock.
type queue struct {
	maxRetained, maxQueue int
	retained              map[string]*item
	order                 []string // of the retained topics, as they were first told
	queue                 []*item  // waits to be sent
	flying                []*item  // sent, and not acknowledged
	dropped               uint64
	will                  *recent
}

type item struct {
	Message
	after uint64 // the message of the outbox that is told before this one
	seq   uint64 // in the outbox; 0: it is not from there
}

// recent remembers the last few payloads of one topic.
type recent struct {
	topic    string
	payloads [][]byte
}

func newQueue(maxRetained, maxQueue int) *queue {
	return &queue{maxRetained: maxRetained, maxQueue: maxQueue, retained: map[string]*item{}}
}

func (o *queue) waiting() int { return len(o.queue) + len(o.flying) }

// put takes a message to be told after the outbox's message of that number.
func (o *queue) put(m Message, after uint64) error {
	if m.Retained {
		return o.putRetained(m, after)
	}
	o.queue = append(o.queue, &item{Message: m, after: after})
	o.fit()
	return nil
}

func (o *queue) putRetained(m Message, after uint64) error {
	it, known := o.retained[m.Topic]
	most := o.maxRetained
	if len(m.Payload) == 0 {
		most *= 2 // what is to be taken away is kept only until the broker knows
	}
	if !known && len(o.retained) >= most {
		return ErrFull
	}
	if known && slices.Contains(o.queue, it) {
		it.Message = m // takes the older one's place
		return nil
	}
	if !known {
		o.order = append(o.order, m.Topic)
	}
	it = &item{Message: m, after: after}
	o.retained[m.Topic] = it
	o.queue = append(o.queue, it)
	return nil
}

// maxQueueBytes bounds the payloads of what is not retained.
const maxQueueBytes = 8 << 20

// fit drops of what is not retained until the rest is within its bounds.
func (o *queue) fit() {
	n, bytes := 0, 0
	for _, it := range o.queue {
		if !it.Retained {
			n++
			bytes += len(it.Payload)
		}
	}
	for n > o.maxQueue || bytes > maxQueueBytes {
		bytes -= o.drop()
		n--
	}
}

// drop makes room, of how many bytes it gives: the oldest measurement goes first, an event only when there is none.
func (o *queue) drop() (bytes int) {
	at := slices.IndexFunc(o.queue, func(it *item) bool { return !it.Retained && it.QoS == 0 })
	if at < 0 {
		at = slices.IndexFunc(o.queue, func(it *item) bool { return !it.Retained })
	}
	if at >= 0 {
		bytes = len(o.queue[at].Payload)
		o.queue = slices.Delete(o.queue, at, at+1)
		o.dropped++
	}
	return bytes
}

// precedes tells whether something is to be told before the outbox's message of that number.
func (o *queue) precedes(seq uint64) bool { return len(o.queue) > 0 && o.queue[0].after < seq }

// overtake has everything told before what the outbox holds; it gives whether that makes a difference.
func (o *queue) overtake() (changed bool) {
	for _, it := range o.queue {
		changed = changed || it.after > 0
		it.after = 0
	}
	return changed
}

// next takes the first message that waits; nil if there is none. It then is on its way until done or reset.
func (o *queue) next() *item {
	if len(o.queue) == 0 {
		return nil
	}
	it := o.queue[0]
	o.queue = slices.Delete(o.queue, 0, 1)
	o.flying = append(o.flying, it)
	if o.will != nil && o.will.topic == it.Topic {
		o.will.add(it.Payload)
	}
	return it
}

// done takes note that the broker has the message.
func (o *queue) done(it *item) {
	if it.Retained && len(it.Payload) > 0 {
		o.flying = slices.DeleteFunc(o.flying, func(x *item) bool { return x == it })
		return
	}
	o.forget(it)
}

// forget takes a message out that is not to be told any more.
func (o *queue) forget(it *item) {
	o.flying = slices.DeleteFunc(o.flying, func(x *item) bool { return x == it })
	if it.Retained && o.retained[it.Topic] == it {
		delete(o.retained, it.Topic)
		o.order = slices.DeleteFunc(o.order, func(t string) bool { return t == it.Topic })
	}
}

// reset is for a new connection: everything retained is to be told, then what was on its way, then what waited.
func (o *queue) reset() {
	var queue []*item
	for _, topic := range o.order {
		o.retained[topic].after = 0
		queue = append(queue, o.retained[topic])
	}
	for _, it := range append(o.flying, o.queue...) {
		if !it.Retained {
			queue = append(queue, it)
		}
	}
	o.queue, o.flying = queue, nil
	o.fit()
}

// watch has the queue remember what it told under that topic; with "", nothing.
func (o *queue) watch(topic string) {
	if o.will == nil || o.will.topic != topic {
		o.will = &recent{topic: topic}
	}
}

// contradicts tells whether a message under the watched topic is neither what is to stand there nor an echo of what was
// told a moment ago: the will of a connection that is over.
func (o *queue) contradicts(m Message, will []byte) bool {
	it, ok := o.retained[m.Topic]
	if !ok || o.will == nil || o.will.topic != m.Topic || bytes.Equal(it.Payload, m.Payload) {
		return false
	}
	return bytes.Equal(m.Payload, will) || !slices.ContainsFunc(o.will.payloads, func(p []byte) bool { return bytes.Equal(p, m.Payload) })
}

// again queues the retained message of a topic once more.
func (o *queue) again(topic string) {
	if it, ok := o.retained[topic]; ok && !slices.Contains(o.queue, it) {
		o.queue = append(o.queue, it)
	}
}

func (r *recent) add(payload []byte) {
	if r.payloads = append(r.payloads, payload); len(r.payloads) > 16 {
		r.payloads = slices.Delete(r.payloads, 0, 1)
	}
}
