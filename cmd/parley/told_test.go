package main_test

import (
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
)

// A call that has ended is still told for a while, with how; what the box measures of itself is told now and then.
func TestWhatIsTold(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{})
	watch := box.Watch()
	box.Call("1000", "-for", "1s").Wait(20 * time.Second)
	watch.Wait("/call", "a call that has ended, with how", 10*time.Second, func(p map[string]any) bool {
		list, _ := p["calls"].([]any)
		if len(list) != 1 {
			return false
		}
		c, _ := list[0].(map[string]any)
		return c["state"] == "disconnected" && c["code"] == 200.0 && c["why"] == "hung up" && c["conf"] == "1000"
	})
	watch.Wait("/call", "no call", 10*time.Second, calls(0))
	watch.Wait("/tele", "what the box uses", 20*time.Second, func(p map[string]any) bool {
		cpu, _ := p["cpu"].(float64)
		memory, _ := p["mem_kib"].(float64)
		return cpu > 0 && cpu < 64 && memory > 1024
	})
}

// While an alert holds, the box's own state says so, too.
func TestStateTellsOfAlerts(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{Settings: boxtest.Settings{"card": boxtest.Settings{"device": "hw:NoSuchCard"}}})
	watch := box.Watch()
	watch.Wait("/alert/card", "an alert", 10*time.Second, func(p map[string]any) bool { return p["sev"] == "warning" })
	watch.Wait("/state", "the state alert", 10*time.Second, func(p map[string]any) bool { return p["state"] == "alert" })
}
