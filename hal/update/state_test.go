package update

import (
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// A state reads as it was written, and one whose bytes have changed is none.
func TestState(t *testing.T) {
	for _, s := range []State{
		{A, None, 0, 0}, {A, B, 1, 7}, {B, A, 9, 0xffffffff}, {B, B, 0, 0x10},
	} {
		b := s.Encode()
		if got, err := ParseState(b); err != nil || got != s {
			t.Errorf("%+v comes back as %+v, %v", s, got, err)
		}
		for i := range b {
			b[i] ^= 0x20
			if got, err := ParseState(b); !errors.Is(err, ErrState) {
				t.Fatalf("byte %d of %+v changed, and it is taken for %+v", i, s, got)
			}
			b[i] ^= 0x20
		}
	}
	if b := (State{A, B, 1, 0xab}).Encode(); !strings.HasPrefix(string(b[4:]), "good=a\x00left=1\x00seq=ab\x00try=b\x00\x00") {
		t.Errorf("%q", b[:40]) // the form of `env export -c`
	}
	for _, s := range []State{{None, None, 0, 1}, {"c", None, 0, 1}, {A, "", 0, 1}, {A, B, 10, 1}, {A, B, -1, 1}} {
		if got, err := ParseState(s.Encode()); !errors.Is(err, ErrState) {
			t.Errorf("%+v is taken for %+v", s, got)
		}
	}
}

// Whatever becomes of a write to the boot state, the state before it or the new one counts.
func TestStateCutAtEveryWrite(t *testing.T) {
	for how := range survivals {
		for seed := range uint64(40) {
			for cut := 1; cut <= 2; cut++ {
				p := &power{rnd: rand.New(rand.NewPCG(seed, 1)), how: how}
				d := p.disk(8 << 20)
				before := State{Good: A, Try: None}
				for i := range int(seed % 4) {
					before = State{Good: A, Try: B, Left: i}
					if err := SaveState(d, before); err != nil {
						t.Fatal(err)
					}
				}
				before.Seq = uint32(seed % 4)
				p.cutAt = p.ops + cut
				after := State{Good: B, Try: None, Seq: before.Seq + 1}
				if err := SaveState(d, after); !errors.Is(err, errPower) {
					t.Fatal(err)
				}
				p.back()
				if got, err := LoadState(d); err != nil || got != before && got != after {
					t.Fatalf("cut in step %d (%d), seed %d: %+v, and it was %+v", cut, how, seed, got, before)
				}
			}
		}
	}
}

// The boot loader's choice: a slot is tried while tries are left, and each is counted first.
func TestChoose(t *testing.T) {
	for _, c := range []struct {
		state State
		slot  Slot
		save  State
	}{
		{State{A, None, 0, 3}, A, State{}},
		{State{B, None, 0, 3}, B, State{}},
		{State{A, B, 1, 3}, B, State{A, B, 0, 4}},
		{State{A, B, 0, 4}, A, State{}},
		{State{B, A, 2, 4}, A, State{B, A, 1, 5}},
		{State{A, A, 5, 4}, A, State{}},
	} {
		got := c.state.Choose()
		if got.Slot != c.slot || (got.Save == nil) != (c.save == State{}) || got.Save != nil && *got.Save != c.save {
			t.Errorf("%+v: %+v %+v", c.state, got, got.Save)
		}
	}
}

// What the boot loader's script relies on is what is written here.
func TestScript(t *testing.T) {
	b, err := os.ReadFile("../../buildroot/image/boot.cmd")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"setexpr second ${first} + 2000", // CopyGap, in sectors
		"env import -c ${at} 1000 good left seq try", "env export -c -s 1000 ${at} good left seq try", "parley.slot=${s}", "kernel-${s}", "root-${s}",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the script does not have %q", want)
		}
	}
	if CopyGap != 0x2000*512 || CopySize != 0x1000 {
		t.Error("the script has another place or size")
	}
}

func TestSlotOf(t *testing.T) {
	for line, want := range map[string]Slot{
		"quiet parley.slot=b root=/dev/vda6\n": B, "parley.slot=a": A, "parley.slot=c": None, "": None, "xparley.slot=a": None,
	} {
		if got := slotOf(line); got != want {
			t.Errorf("%q: %s", line, got)
		}
	}
	facts := "MAJOR=254\nMINOR=3\nDEVNAME=vda3\nDEVTYPE=partition\nPARTN=3\nPARTNAME=kernel-a\n"
	if got := partitionOf(facts, "kernel-a"); got != "vda3" {
		t.Errorf("%q", got)
	}
	if got := partitionOf(facts, "kernel"); got != "" {
		t.Errorf("%q", got)
	}
}

func FuzzParseState(f *testing.F) {
	f.Add((State{A, B, 1, 7}).Encode()[4:])
	f.Add([]byte("good=a\x00left=\x00seq=zz\x00try=-"))
	f.Fuzz(func(t *testing.T, text []byte) {
		b := make([]byte, CopySize)
		copy(b[4:], text)
		if s, err := ParseState(seal(b)); err == nil {
			if again, err := ParseState(s.Encode()); err != nil || again != s {
				t.Errorf("%q is %+v, which comes back as %+v, %v", text, s, again, err)
			}
		}
		if _, err := ParseState(text); err == nil && len(text) != CopySize {
			t.Error("taken without its length")
		}
	})
}
