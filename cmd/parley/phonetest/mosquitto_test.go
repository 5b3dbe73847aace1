package phonetest

import (
	"os/exec"
	"testing"
	"time"
)

func TestMosquittoTellsAndForgets(t *testing.T) {
	t.Parallel()
	m := StartMosquitto(t, MosquittoConfig{})
	sub := m.Subscribe("", "a/#")
	m.Publish("", "a/b", "hello", "-r")
	sub.WaitLine("a/b hello", 5*time.Second)

	again := m.Subscribe("", "a/#")
	again.WaitLine("a/b hello", 5*time.Second)

	m.Kill()
	m.Start()
	after := m.Subscribe("", "a/#")
	m.Publish("", "a/c", "marker")
	after.WaitLine("a/c marker", 5*time.Second)
	for _, line := range after.Lines() {
		if line == "a/b hello" {
			t.Error("a broker without memory remembers a retained message")
		}
	}
}

func TestMosquittoLetsIn(t *testing.T) {
	t.Parallel()
	authority := NewAuthority(t)
	m := StartMosquitto(t, MosquittoConfig{
		Users:    map[string]string{"box": "secret", "eve": "other"},
		ACL:      "user box\ntopic readwrite box/#\n",
		Identity: authority.Issue(t, "broker"),
	})
	sub := m.Subscribe("box", "box/#")
	m.Publish("eve", "box/x", "forged")
	m.Publish("box", "box/x", "true")
	sub.WaitLine("box/x true", 5*time.Second)
	for _, line := range sub.Lines() {
		if line == "box/x forged" {
			t.Error("the ACL lets eve write")
		}
	}
	args := append(m.Client(""), "-u", "box", "-P", "wrong", "-t", "box/x", "-m", "x")
	if err := exec.Command(Need(t, "mosquitto_pub"), args...).Run(); err == nil {
		t.Error("a wrong password gets in")
	}
	m.WaitLine("not authorised", 5*time.Second)
}

func TestMosquittoAsksForCertificates(t *testing.T) {
	t.Parallel()
	authority := NewAuthority(t)
	m := StartMosquitto(t, MosquittoConfig{Identity: authority.Issue(t, "broker"), ClientCerts: true})
	if err := exec.Command(Need(t, "mosquitto_pub"), append(m.Client(""), "-t", "x", "-m", "x")...).Run(); err == nil {
		t.Error("a client without a certificate gets in")
	}
	id := authority.Issue(t, "box-7")
	m.Publish("", "x", "x", "--cert", id.Cert, "--key", id.Key)
	m.WaitLine("u'box-7'", 5*time.Second)
}
