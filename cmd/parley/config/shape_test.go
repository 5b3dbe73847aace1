package config

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// shapes are what the settings accept, as regular expressions.
var shapes = []struct {
	pattern string
	fits    func(string) bool
}{
	{`[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?`, slugShape.fits},
	{`[0-9A-Za-z][0-9A-Za-z._-]{0,31}`, numberShape.fits},
	{`\+?[0-9*]{0,32}`, dialled},
	{`[0-9A-Za-z][0-9A-Za-z._+-]{0,63}`, userIDShape.fits},
	{`[0-9A-Za-z-]{1,32}`, eidShape.fits},
	{`[0-9A-Za-z][0-9A-Za-z._-]{0,63}`, realmShape.fits},
	{`[0-9]{1,8}`, roomShape.fits},
	{`[0-9a-f]{32}`, hex32Shape.fits},
	{`auto|file|[A-Za-z0-9][A-Za-z0-9_:=,.-]{0,63}`, deviceShape.fits},
	{`.{1,128}`, oneLine},
	{`[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?`, dnsNameShape.fits},
	{`[A-Za-z0-9._~*+!$&=,/:%-]{1,128}`, sipUserShape.fits},
	{`(;[A-Za-z0-9._-]+(=[A-Za-z0-9._-]+)?)*`, sipTail},
	{`[+-][01][0-9]:[0-5][0-9]`, isOffset},
	{`yaml: line [1-9][0-9]{0,8}: (?s:.*)`, func(s string) bool { _, _, ok := yamlLine(s); return ok }},
}

// agree compares every shape with its expression.
func agree(t *testing.T, s string) {
	t.Helper()
	for i, one := range compiled {
		if len(s) > 500 && one.NumSubexp() > 0 { // a URI has 512 bytes at most, which is asked elsewhere
			continue
		}
		if want, got := one.MatchString(s), shapes[i].fits(s); want != got {
			t.Errorf("%q: %v, and by %s %v", s, got, one, want)
		}
	}
}

var compiled = func() (all []*regexp.Regexp) {
	for _, s := range shapes {
		all = append(all, regexp.MustCompile(`^(?:`+s.pattern+`)$`))
	}
	return all
}()

// what settings accept is the same with and without regular expressions.
func TestShapes(t *testing.T) {
	const bytes = "azAZ09fg-+._*;=:,/%~ \n\x00\xff"
	for i := range len(bytes) {
		for j := range len(bytes) {
			agree(t, bytes[i:i+1]+bytes[j:j+1])
			agree(t, ";"+bytes[i:i+1]+"="+bytes[j:j+1])
			agree(t, ";a"+bytes[i:i+1]+bytes[j:j+1]+"b")
		}
		for _, long := range []int{1, 7, 8, 31, 32, 33, 63, 64, 65, 127, 128, 129, 252, 253, 254} {
			agree(t, strings.Repeat(bytes[i:i+1], long))
			agree(t, strings.Repeat("1", long)+bytes[i:i+1])
		}
	}
	for c := range 256 {
		agree(t, string([]byte{'a', byte(c), 'b'}))
		agree(t, string([]byte{byte(c)}))
	}
	for i := range 200 {
		agree(t, fmt.Sprintf("%+03d:%02d", i-100, i))
		agree(t, fmt.Sprintf("%+03d:%02d", i-100, 59))
	}
	for _, s := range []string{"", "auto", "file", "+", "++1", "+*1", "é", strings.Repeat("é", 128), "-1:30", "+1:300", "yaml: line 3: x", "yaml: line x: y",
		"yaml: line 3:", "yaml: line 0: x", ";a;b=c;", ";a=b=c", ";;", "a;b"} {
		agree(t, s)
	}
}

func FuzzShapes(f *testing.F) {
	f.Add(";transport=tcp")
	f.Add("+08:00")
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := strings.CutPrefix(s, "yaml: line "); ok && strings.HasPrefix(strings.TrimLeft(n, "+-"), "0") || strings.HasPrefix(n, "+") && ok {
			return // the library never writes such lines
		}
		agree(t, s)
	})
}
