package store

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestCleanName(t *testing.T) {
	for _, c := range []struct{ raw, want string }{
		{"Plan für Q3.pdf", "Plan für Q3.pdf"},
		{"会议纪要.docx", "会议纪要.docx"},
		{"a\r\nSet-Cookie: x", "aSet-Cookie_ x"},
		{"a\x00b\x1b[31m\x7f\u0085c", "ab[31mc"},
		{"photo\u202egpj.exe", "photogpj.exe"},
		{"\u200b\u2066a\ufeff\u2028", "a"},
		{"../../etc/passwd", "_.._etc_passwd"},
		{`C:\x\y.txt`, "C__x_y.txt"},
		{"<script>alert(1)</script>", "_script_alert(1)__script_"},
		{" \t a \u00a0 b. . ", "a b"},
		{"\xff\xfea", "a"},
		{strings.Repeat("a", MaxName), strings.Repeat("a", MaxName)},
		{"", ""}, {".", ""}, {"..", ""}, {" . ", ""}, {"\n", ""}, {"\u202e", ""},
		{strings.Repeat("a", MaxName+1), ""}, {strings.Repeat("a", 10_000), ""}, {strings.Repeat("\n", 10_000) + "a", ""},
	} {
		got, err := CleanName(c.raw)
		if got != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%.40q is %.40q, %v; want %.40q", c.raw, got, err, c.want)
		}
	}
}

func FuzzCleanName(f *testing.F) {
	f.Add("a/../b\r\n\u202e.txt")
	f.Fuzz(func(t *testing.T, raw string) {
		name, err := CleanName(raw)
		if err != nil {
			return
		}
		if name == "" || len(name) > MaxName || !utf8.ValidString(name) || strings.ContainsAny(name, `/\<>:"|?*`) || name[0] == '.' {
			t.Errorf("%q is %q", raw, name)
		}
		for _, r := range name {
			if !unicode.IsGraphic(r) {
				t.Errorf("%q keeps %U", raw, r)
			}
		}
		if again, err := CleanName(name); again != name || err != nil {
			t.Errorf("%q becomes %q, then %q", raw, name, again)
		}
	})
}
