package main_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// C-4, C-16, P-1: what concerns one person alone is told on his own topic, and on nobody else's.
func TestWhatOnePersonIsTold(t *testing.T) {
	t.Parallel()
	a := assemble(t, phonetest.PCMU, nil, map[string]float64{host: 500, "2002": 700, "2003": 1100})
	a.create(boxtest.Settings{"maxSpeaker": 2}, "2002", "2003")
	a.begin("2002", "2003")
	told := func(number, kind string) map[string]any {
		t.Helper()
		return a.watch.Wait("/u/"+number+"/notice", kind+" of "+number, 10*time.Second, func(p map[string]any) bool {
			return p["kind"] == kind && p["uid"] == a.uid && p["conf"] == a.conf
		})
	}
	anna, ben := a.Token("-role", "guest", "-number", "2002"), a.Token("-role", "guest", "-number", "2003")
	a.as(anna, 200, "ask_floor") // beside the host's there is one place
	told("2002", "granted")
	a.as(ben, 200, "ask_floor")
	if n := told("2003", "queued"); n["position"] != 1.0 {
		t.Errorf("%v", n)
	}
	a.do("take_floor", "member", a.id("2002"))
	told("2003", "granted")

	a.as(anna, 200, "mute")
	a.until("has muted himself", "2002", func(m map[string]any) bool { return m["mute"] != nil })
	a.API("POST", "/api/v1/conferences/"+a.conf+"/commands", a.token, map[string]any{"do": "unmute", "member": a.id("2002"), "reason": "self"})
	if n := told("2002", "unmute-requested"); n["mute"] != "self" || n["by"] != host {
		t.Errorf("%v", n)
	}
	a.as(ben, 200, "ask_room", "members", []string{a.id("2002")})
	if n := told("2002", "room_asked"); n["member"] != a.id("2003") || n["by"] != "2003" {
		t.Errorf("%v", n)
	}

	later := boxtest.Settings{"confName": 0, "type": "appointment", "theme": "Later", "creator": host, "moderatorPassword": "480913",
		"userPassword": "115577", "startTime": "2040-08-06 15:29", "endTime": "2040-08-06 16:30"}
	made := a.Must(200, "POST", "/api/v1/conferAndMembersAddJson", a.token, boxtest.Settings{"conferList": later,
		"membersList": []boxtest.Settings{{"userNum": "2003", "isMute": 0, "isSlient": 0}}})
	n := a.watch.Wait("/u/2003/notice", "an invitation", 10*time.Second, func(p map[string]any) bool { return p["kind"] == "invitation" })
	if n["uid"] != made.JSON["uid"] || n["number"] != made.JSON["confName"] || n["theme"] != "Later" || n["by"] != host || n["start"] == nil || n["end"] == nil {
		t.Errorf("%v", n)
	}
	kinds := ""
	for _, m := range a.watch.Messages("/u/" + host + "/notice") {
		var p map[string]any
		json.Unmarshal(m.Payload, &p)
		kinds += fmt.Sprint(p["kind"], " ")
	}
	if kinds != "join granted invitation " {
		t.Errorf("the host is told %s", kinds)
	}
}
