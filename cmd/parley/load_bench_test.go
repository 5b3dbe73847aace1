//go:build !race

// The race detector costs far more than what is measured here.

package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// How the load of calls is measured: rounds of one window for the box and one for its peer, in turn, each after a time in which gates
// and buffers settle.
const (
	rounds = 3
	settle = 3 * time.Second
	window = 10 * time.Second
)

const talk = "The quick brown fox jumps over the lazy dog, and then it sits down beside the river to count the boats that go by. " +
	"Nobody knows why it does so; the dog has never asked, and the boats have never stopped."

// BenchmarkLoad is the whole box with calls in one open conference: 4 talk, the rest send low noise all the time, and each
// may be heard; the place is in the conference too. Debian's janus is given the same calls by the same program in the same run.
func BenchmarkLoad(b *testing.B) {
	for _, c := range []struct {
		codec string
		legs  int
	}{{"pcmu", 100}, {"opus", 30}} {
		b.Run(fmt.Sprintf("%s/legs=%d", c.codec, c.legs), func(b *testing.B) {
			speech := filepath.Join(b.TempDir(), "speech.wav")
			phonetest.WriteWAV(b, speech, phonetest.Speech(b, talk, 48000))
			load := func(to string) *phonetest.Process {
				// Before others on a busy machine, as what the load sends late is work that a quiet one does not make.
				return phonetest.Start(b, b.TempDir(), "nice", "-n", "-20", boxtest.Program(b, "parleyctl"), "load", strconv.Itoa(c.legs), "1000", "-box", to,
					"-codec", c.codec, "-play", speech, "-talkers", "4", "-for", "10m")
			}
			box := startHall(b, nil)
			rest := usage(b, box.PID(), window)
			janus := phonetest.StartJanus(b, phonetest.JanusConfig{Codec: c.codec, Complexity: 5, Bitrate: 32000})
			var ours, theirs, ratios, late []float64
			b.ResetTimer()
			for range b.N * rounds {
				before := box.Metric("parley_mixer_late_ticks_total")
				us := loaded(b, load(box.SIP), box.PID(), c.legs, func() { heardToo(b, box.SIP, c.codec) })
				late = append(late, box.Metric("parley_mixer_late_ticks_total")-before)
				them := loaded(b, load(janus.Addr()), janus.PID(), c.legs, func() { heardToo(b, janus.Addr(), c.codec) })
				ours, theirs, ratios = append(ours, us), append(theirs, them), append(ratios, us/them)
			}
			b.Logf("CPU µs per leg and 20 ms: box %.1f, janus %.1f; ratios %.3f; late ticks in a round of some 20 s %.0f", ours, theirs, ratios, late)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(ours), "cpu-µs/leg/20ms")
			b.ReportMetric(median(theirs), "janus-µs/leg/20ms")
			b.ReportMetric(median(ratios), "ratio")
			b.ReportMetric(rest, "rest-cpu-µs/20ms")
			b.ReportMetric(status(b, box.PID(), "VmRSS"), "MB")
			b.ReportMetric(status(b, box.PID(), "VmHWM"), "MB-at-most")
			b.ReportMetric(status(b, janus.PID(), "VmRSS"), "janus-MB")
		})
	}
}

// startHall starts a box for many calls.
func startHall(b *testing.B, settings boxtest.Settings) *boxtest.Box {
	b.Helper()
	all := boxtest.Settings{
		"place": boxtest.Settings{"join_at_start": true},
		"rtp":   boxtest.Settings{"first": 21000, "last": 21999},
	}
	for key, value := range settings {
		all[key] = value
	}
	return boxtest.Start(b, boxtest.Config{Settings: all, Microphone: phonetest.Speech(b, talk, 48000)})
}

// loaded waits until the calls of load are up, and returns the CPU time of process pid in the window after that, in µs per leg
// and 20 ms. It makes sure that packets go both ways, and calls then while they still do.
func loaded(b *testing.B, load *phonetest.Process, pid, legs int, then func()) float64 {
	b.Helper()
	load.WaitLine(fmt.Sprintf("%d calls are up", legs), time.Minute)
	time.Sleep(settle)
	used := usage(b, pid, window) / float64(legs)
	then()
	load.Stop()
	sent, received := traffic(b, load)
	if sent < legs*int((settle+window)/(20*time.Millisecond))*9/10 || received < sent*9/10 {
		b.Fatalf("the load was none: %d packets sent, %d received; it said:\n%s", sent, received, load.Tail(5))
	}
	return used
}

// heardToo makes sure that one more caller hears the talkers.
func heardToo(b *testing.B, to, codec string) {
	b.Helper()
	dir := b.TempDir()
	heard := filepath.Join(dir, "heard.wav")
	call := phonetest.Start(b, dir, boxtest.Program(b, "parleyctl"), "call", "1000", "-box", to, "-codec", codec, "-record", heard, "-for", "3s")
	if code := call.Wait(30 * time.Second); code != 0 {
		b.Fatalf("one more call ended with %d: %s", code, call.Tail(5))
	}
	if level := phonetest.ReadWAV(b, heard).RMS(); level < -40 {
		b.Fatalf("four talk, and one more caller hears %.0f dBFS", level)
	}
}

var trafficLine = regexp.MustCompile(`(\d+) packets sent, (\d+) received`)

// traffic is what a load has said at its end.
func traffic(b *testing.B, load *phonetest.Process) (sent, received int) {
	b.Helper()
	m := trafficLine.FindStringSubmatch(load.WaitLine("packets sent", time.Second))
	if m == nil {
		b.Fatalf("no counts in: %s", load.Tail(5))
	}
	sent, _ = strconv.Atoi(m[1])
	received, _ = strconv.Atoi(m[2])
	return sent, received
}

// usage is the CPU time, user and system, of a process in a time from now on, in µs per 20 ms.
func usage(b *testing.B, pid int, d time.Duration) float64 {
	b.Helper()
	began, before := time.Now(), cpuTime(b, pid)
	time.Sleep(d)
	used := cpuTime(b, pid) - before
	return float64(used.Microseconds()) / (float64(time.Since(began)) / float64(20*time.Millisecond))
}

// cpuTime is what all threads of a process have used so far; the kernel counts in 10 ms.
func cpuTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:])) // from the third on
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		b.Fatalf("/proc/%d/stat: %s", pid, raw)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// status is a line of /proc/PID/status that is in kB, in MB.
func status(b *testing.B, pid int, name string) float64 {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			kB, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kB) / 1024
		}
	}
	b.Fatalf("no %s of process %d", name, pid)
	return 0
}

func median(x []float64) float64 { return quantile(x, 0.5) }

func quantile(x []float64, q float64) float64 {
	if len(x) == 0 {
		return 0
	}
	x = slices.Sorted(slices.Values(x))
	return x[min(len(x)-1, int(q*float64(len(x))))]
}
