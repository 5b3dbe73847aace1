package mqtt

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/mqtt/broker"
	"parley/mqtt/wire"
)

// accessRules are those that PROTOCOL.md ships.
func accessRules(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("wire", "PROTOCOL.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "```acl\n")
	rules, _, ok2 := strings.Cut(rest, "```")
	if !ok || !ok2 {
		t.Fatal("PROTOCOL.md has no access rules")
	}
	return rules
}

var logins = []string{"box-0a1b2c", "box-other", "operator", "watcher", "hub", "2001", "2002"}

// The rules do the same on mosquitto and on our own broker, and it is what the page says.
func TestAccessRules(t *testing.T) {
	t.Parallel()
	rules := accessRules(t)
	t.Run("mosquitto", func(t *testing.T) {
		dir := t.TempDir()
		acl, passwd := filepath.Join(dir, "acl"), filepath.Join(dir, "passwd")
		if err := os.WriteFile(acl, []byte(rules), 0o600); err != nil {
			t.Fatal(err)
		}
		for i, name := range logins {
			args := []string{"-b", passwd, name, "pw-" + name}
			if i == 0 {
				args = append([]string{"-c"}, args...)
			}
			if out, err := exec.Command("mosquitto_passwd", args...).CombinedOutput(); err != nil {
				t.Fatalf("mosquitto_passwd (Debian package mosquitto): %v: %s", err, out)
			}
		}
		m := startMosquitto(t, "allow_anonymous false", "password_file "+passwd, "acl_file "+acl)
		testAccess(t, m.url())
	})
	t.Run("our own", func(t *testing.T) {
		l, err := broker.Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		acl, err := broker.ParseACL(strings.NewReader(rules))
		if err != nil {
			t.Fatal(err)
		}
		users := map[string]string{}
		for _, name := range logins {
			users[name] = "pw-" + name
		}
		serveConfig(t, broker.Config{Listeners: []broker.Listener{{Listener: l}}, Users: users, ACL: acl})
		testAccess(t, "mqtt://"+l.Addr().String())
	})
}

// testAccess has everybody write every topic, and notes who gets what from whom.
func testAccess(t *testing.T, url string) {
	box, _ := wire.NewBox("local", "box-0a1b2c")
	other, _ := wire.NewBox("elsewhere", "box-0a1b2c")
	conf, _ := wire.NewConf("local", "1000")
	alert, _ := box.Alert("card")
	member, _ := wire.NewUser("local", "2001")
	group, _ := wire.NewUser("local", wire.GroupOf("box-0a1b2c-41-3"))
	type who = map[string]bool
	boxOnly, everybody := who{"box-0a1b2c": true}, who{}
	for _, name := range logins {
		everybody[name] = true
	}
	lookers := who{"operator": true, "watcher": true}
	topics := []struct {
		topic            string
		writers, readers who
	}{
		{box.State(), boxOnly, who{"box-0a1b2c": true, "operator": true, "watcher": true}},
		{box.Info(), boxOnly, lookers},
		{box.Cmd(wire.VerbDial), who{"operator": true}, who{"box-0a1b2c": true, "operator": true}},
		{box.Res(wire.VerbDial), boxOnly, who{"operator": true}},
		{box.Keys(), boxOnly, lookers},
		{box.Mute(), boxOnly, lookers},
		{box.Call(), boxOnly, lookers},
		{alert, boxOnly, lookers},
		{box.Tele(), boxOnly, lookers},
		{box.Levels(), boxOnly, lookers},
		{box.LevelsLease(), who{"operator": true, "watcher": true}, who{"box-0a1b2c": true, "operator": true}},
		{box.Bookings(), who{"hub": true}, who{"box-0a1b2c": true, "operator": true}},
		{conf.Notice(), boxOnly, everybody},
		{conf.State(), boxOnly, everybody},
		{conf.Cmd(), everybody, boxOnly},
		{member.Cmd(), who{"2001": true}, boxOnly},
		{member.Notice(), who{"box-0a1b2c": true, "hub": true}, who{"2001": true}},
		{member.IM(), everybody, who{"box-0a1b2c": true, "2001": true}},
		{group.IM(), everybody, who{"box-0a1b2c": true, "2001": true}},
		{other.State(), nil, nil},
		{"/elsewhere", nil, nil},
	}
	got := map[string]chan string{}
	clients := map[string]*Client{}
	for _, name := range logins {
		ch := make(chan string, 10000)
		got[name] = ch
		clients[name], _ = run(t, Config{URL: url, ClientID: "c-" + name, User: name, Password: "pw-" + name}, func(c *Client) {
			c.Subscribe("/#", func(m Message) { ch <- m.Topic + " " + string(m.Payload) })
		})
		connected(t, clients[name])
	}
	want := map[string]map[string]bool{}
	for _, reader := range logins {
		want[reader] = map[string]bool{}
	}
	for _, tt := range topics {
		for _, writer := range logins {
			clients[writer].Publish(tt.topic, []byte("by "+writer), 1, false)
			for _, reader := range logins {
				if tt.writers[writer] && tt.readers[reader] {
					want[reader][tt.topic+" by "+writer] = true
				}
			}
		}
	}
	settled(t, clients)
	for _, reader := range logins {
		heard := map[string]bool{}
		for timeout := time.After(10 * time.Second); timeout != nil && len(heard) < len(want[reader]); {
			select {
			case s := <-got[reader]:
				heard[s] = true
			case <-timeout:
				timeout = nil
			}
		}
		for rest := true; rest; {
			select {
			case s := <-got[reader]:
				heard[s] = true
			case <-time.After(100 * time.Millisecond):
				rest = false
			}
		}
		for s := range heard {
			if !want[reader][s] {
				t.Errorf("%s hears %s", reader, s)
			}
		}
		for s := range want[reader] {
			if !heard[s] {
				t.Errorf("%s does not hear %s", reader, s)
			}
		}
	}
}

// settled waits until the broker has acknowledged everything.
func settled(t *testing.T, clients map[string]*Client) {
	t.Helper()
	for name, c := range clients {
		eventually(t, name, func() error {
			if s := c.Stats(); s.Queued > 0 {
				return fmt.Errorf("%+v", s)
			}
			return nil
		})
	}
}
