package qemutest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"parley/hal"
)

// rhythms are the patterns by name.
var rhythms = map[string]hal.Pattern{
	"off": hal.Off, "on": hal.On, "slow": hal.Slow, "breathe": hal.Breathe, "fast": hal.Fast, "flicker": hal.Flicker, "wink": hal.Wink,
	"double-wink": hal.DoubleWink, "flash": hal.Flash, "double-flash": hal.DoubleFlash, "flurry": hal.Flurry, "blip": hal.Blip,
}

// look is one look at a lamp.
type look struct {
	at  time.Duration
	lit bool
}

// rhythm tells which pattern the looks at a lamp are of, by the guest's own clock.
func (a *asked) rhythm(w []string) (string, error) {
	if len(w) != 1 {
		return "", io.ErrUnexpectedEOF
	}
	f, err := os.Open(a.path(w[0]))
	if err != nil {
		return "", err
	}
	defer f.Close()
	var looks []look
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var seconds float64
		var lit int
		if _, err := fmt.Sscan(lines.Text(), &seconds, &lit); err != nil {
			return "", fmt.Errorf("%q: %w", lines.Text(), err)
		}
		looks = append(looks, look{time.Duration(seconds * float64(time.Second)), lit != 0})
	}
	return recognize(looks)
}

// recognize finds the pattern that explains the looks, of which there must be enough to tell it from every other.
func recognize(looks []look) (string, error) {
	const period, fit = 2 * time.Second, 0.85
	if len(looks) < 40 || looks[len(looks)-1].at-looks[0].at < period {
		return "", fmt.Errorf("%d looks at the lamp are too few", len(looks))
	}
	best, name := 0.0, ""
	for n, p := range rhythms {
		for phase := time.Duration(0); phase < period; phase += 20 * time.Millisecond {
			same := 0
			for _, l := range looks {
				if hal.Blink(p, l.at-looks[0].at+phase) == l.lit {
					same++
				}
			}
			if share := float64(same) / float64(len(looks)); share > best {
				best, name = share, n
			}
		}
	}
	if best < fit {
		var seen strings.Builder
		for _, l := range looks {
			seen.WriteByte(".#"[map[bool]int{true: 1}[l.lit]])
		}
		return "", fmt.Errorf("the lamp blinks like nothing known: %s", seen.String())
	}
	return name, nil
}
