package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// freeze stops one thread of a process, and no other, until thaw is called, or for the rest of the process's life.
func freeze(t testing.TB, pid int, thread string) (thaw func()) {
	t.Helper()
	tid := 0
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/comm", pid, task.Name()))
		if strings.TrimSpace(string(comm)) == thread {
			tid, _ = strconv.Atoi(task.Name())
		}
	}
	if tid == 0 {
		t.Fatalf("no thread %q among %d", thread, len(tasks))
	}
	stopped, end := make(chan error), make(chan struct{})
	go func() { // who traces is a thread
		runtime.LockOSThread()
		defer runtime.UnlockOSThread() // else it ends here, and with it each process that was started on it
		err := unix.PtraceSeize(tid)
		if err == nil {
			err = unix.PtraceInterrupt(tid)
		}
		if err == nil {
			_, err = unix.Wait4(tid, nil, unix.WALL, nil)
		}
		for err == nil && !asleep(pid, tid) { // in the middle of Go code it would hold up the runtime, as no fault of its own does
			if err = unix.PtraceCont(tid, 0); err == nil {
				err = unix.PtraceInterrupt(tid)
			}
			if err == nil {
				_, err = unix.Wait4(tid, nil, unix.WALL, nil)
			}
		}
		stopped <- err
		for err == nil { // the process cannot end before its tracer has taken note
			if n, e := unix.Wait4(tid, nil, unix.WALL|unix.WNOHANG, nil); e != nil || n == tid {
				return
			}
			select {
			case <-end:
				unix.PtraceDetach(tid)
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	if err := <-stopped; err == unix.EPERM {
		t.Skip("a thread can be stopped by root only")
	} else if err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() { close(end) })
}

// asleep tells whether a thread that was stopped was waiting in the kernel for its time.
func asleep(pid, tid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/syscall", pid, tid))
	return err != nil || strings.HasPrefix(string(text), fmt.Sprint(unix.SYS_CLOCK_NANOSLEEP, " "))
}

// while the audio loop stands, the microphone is closed; when it goes on by itself, as it was before. It must go on
// within the second after which the box gives itself up, so nothing runs beside this.
func TestTheAudioLoopStandsForAMoment(t *testing.T) {
	box := boxtest.Start(t, boxtest.Config{Settings: joined(nil)})
	watch := box.Watch()
	for range 5 { // of which a busy machine may spoil some: a second is too long
		began := time.Now()
		thaw := freeze(t, box.PID(), "parley-mixer")
		phonetest.Eventually(t, 20*time.Second, "the gate is closed, or the box ends", func() bool {
			select {
			case <-box.Done():
				return true
			default:
				return strings.Contains(strings.Join(box.Lines(), "\n"), "a part of the box stands")
			}
		})
		t.Logf("seen from outside after %v", time.Since(began).Round(time.Millisecond))
		thaw()
		select {
		case <-box.Done():
			t.Logf("it ended first, with status %d", box.ExitCode())
			box.Restart()
			watch = box.Watch()
			continue
		case <-time.After(100 * time.Millisecond): // it had not given itself up
		}
		watch.Wait("/mute", "muted by the box itself", 20*time.Second, func(p map[string]any) bool {
			return p["gate"] == "closed" && strings.Contains(fmt.Sprint(p["reasons"]), "system")
		})
		phonetest.Eventually(t, 20*time.Second, "the gate is open again", func() bool { return box.Metric("parley_muted") == 0 })
		box.StopCleanly()
		return
	}
	t.Error("the box ended each time before the loop went on")
}

// when the audio loop alone stands, the program gives itself up with a status of its own. Started again, the place is muted, the
// caller, who knew nothing of it, hears the others again in the same call, and why it ended is told once. Nothing runs beside
// it: no thread but the audio loop's is to be late.
func TestTheAudioLoopStands(t *testing.T) {
	box := boxtest.Start(t, boxtest.Config{})
	said := phonetest.StartBaresip(t, phonetest.BaresipConfig{Name: "2001", Codecs: []string{phonetest.PCMU}, Says: phonetest.Tone(8000, 440, -20, time.Second)})
	heard := phonetest.StartBaresip(t, phonetest.BaresipConfig{Name: "2002", Codecs: []string{phonetest.PCMU}})
	for _, p := range []*phonetest.Baresip{said, heard} {
		p.Dial(box.URI("1000"))
		p.Expect("CALL_ESTABLISHED", 20*time.Second)
	}
	time.Sleep(time.Second) // of sound, before

	freeze(t, box.PID(), "parley-mixer")
	stood := time.Now()
	if code := box.Wait(20 * time.Second); code != 70 {
		t.Fatalf("exit status %d:\n%s", code, box.Tail(40))
	}
	ended := time.Since(stood)
	box.Restart() // as whoever supervises it does
	t.Logf("the audio loop stands; ended after %v, ready again after %v", ended.Round(time.Millisecond), time.Since(stood).Round(time.Millisecond))

	watch := box.Watch()
	watch.Wait("/mute", "muted by the box itself", 20*time.Second, func(p map[string]any) bool {
		return p["gate"] == "closed" && strings.Contains(fmt.Sprint(p["reasons"]), "system")
	})
	watch.Wait("/alert/restarted", "why", 20*time.Second, func(p map[string]any) bool {
		return strings.Contains(fmt.Sprint(p["text"]), "mixer stood for 1")
	})
	phonetest.Eventually(t, 20*time.Second, "both are in again", func() bool {
		return box.Metric("parley_calls") == 2
	})
	time.Sleep(3 * time.Second) // of sound, after
	for _, p := range []*phonetest.Baresip{said, heard} {
		for _, e := range p.Events() {
			if e.Type == "CALL_CLOSED" {
				t.Errorf("a call was closed: %+v", e)
			}
		}
		p.Hangup()
	}
	s := heard.Heard(0)
	if level := s.Between(s.Duration()-2*time.Second, s.Duration()-500*time.Millisecond).RMS(); level < -30 {
		t.Errorf("the other is heard at %.1f dBFS after the restart", level)
	}
	cause, err := os.ReadFile(filepath.Join(box.Data, "last-stall.told"))
	if err != nil || !strings.Contains(string(cause), "goroutine ") {
		t.Errorf("the cause is kept: %v, %.200q", err, cause)
	}
	box.StopCleanly()
	box.Restart()
	box.Watch().Wait("/mute", "state", 20*time.Second, func(map[string]any) bool { return true })
	for _, l := range box.Lines() {
		if strings.Contains(l, "did not end in order") {
			t.Errorf("told twice: %s", l)
		}
	}
}

// A whole program that was stopped for a while, as on a machine that was asleep, goes on: no part of it is to blame.
func TestTheWholeProgramStood(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{})
	for range 3 {
		box.Signal(unix.SIGSTOP)
		time.Sleep(1500 * time.Millisecond)
		box.Signal(unix.SIGCONT)
		ticks := box.Metric("parley_mixer_ticks_total")
		phonetest.Eventually(t, 20*time.Second, "it goes on", func() bool { return box.Metric("parley_mixer_ticks_total") > ticks+50 })
	}
	box.StopCleanly()
}
