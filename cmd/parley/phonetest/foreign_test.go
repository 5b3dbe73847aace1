package phonetest

import (
	"bytes"
	"testing"
	"time"
)

// Every byte that a foreign terminal publishes is the byte that another receives.
func TestForeignKeepsBytes(t *testing.T) {
	t.Parallel()
	m := StartMosquitto(t, MosquittoConfig{})
	f := NewForeign(t, m.Addr())
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	sent := []Message{
		{Topic: "/e/local/im/u/2001", Payload: append([]byte{0xf1}, `{"co":"你好\r\n"}`...)},
		{Topic: "/e/local/im/u/c1 with  spaces", Payload: every},
		{Topic: "/e/local/im/u/empty", Payload: []byte{}},
		{Topic: "/e/local/im/u/large", Payload: bytes.Repeat(every, 256)},
	}
	f.Publish(sent[0].Topic+"/old", sent[0].Payload, "-r")
	inbox := m.Foreign("").Subscribe("/e/local/im/#")
	old := inbox.Wait("what is retained", 5*time.Second, func(Message) bool { return true })
	if !old.Retained || !bytes.Equal(old.Payload, sent[0].Payload) {
		t.Errorf("%+v", old)
	}
	for _, s := range sent {
		f.Publish(s.Topic, s.Payload)
		got := inbox.Wait(s.Topic, 5*time.Second, func(m Message) bool { return m.Topic == s.Topic })
		if !bytes.Equal(got.Payload, s.Payload) || got.Retained {
			t.Errorf("%s: %d bytes came of %d", s.Topic, len(got.Payload), len(s.Payload))
		}
	}
	if n := len(inbox.Messages()); n != len(sent)+1 {
		t.Errorf("%d messages", n)
	}
	inbox.Close()
}

func TestForeignIsRefused(t *testing.T) {
	t.Parallel()
	m := StartMosquitto(t, MosquittoConfig{
		Users: map[string]string{"a": "1", "b": "2"}, ACL: "user a\ntopic readwrite x/#\n",
	})
	inbox := m.Foreign("a").Subscribe("x/#")
	m.Foreign("b").Refused("x/y", []byte("forged"))
	m.Foreign("a").Publish("x/y", []byte("true"))
	inbox.Wait("the true one", 5*time.Second, func(m Message) bool { return string(m.Payload) == "true" })
	if n := len(inbox.Messages()); n != 1 {
		t.Errorf("%d messages", n)
	}
}
