package store

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxName bounds a file's name, in bytes of UTF-8.
const MaxName = 255

// maxRawName bounds what is looked at at all.
const maxRawName = 1024

// CleanName makes what a user calls a file safe to show, to put into a header, and to save under elsewhere: control
// characters (CR, LF, NUL …), those that turn the direction of writing or are invisible, and bytes that are no UTF-8 are left out; a
// slash, a backslash and what else some file system gives a meaning (< > : " | ? *) become '_'; spaces and dots at either end
// fall away, and white space becomes single spaces. What is more than MaxName bytes long then, or empty, is ErrInvalid: a name is not
// shortened, since its end says what the file is. On the box itself no path is ever made of a name.
func CleanName(raw string) (string, error) {
	if len(raw) > maxRawName {
		return "", fmt.Errorf("file name of %d bytes: %w", len(raw), ErrInvalid)
	}
	var b strings.Builder
	for len(raw) > 0 {
		r, n := utf8.DecodeRuneInString(raw)
		raw = raw[n:]
		switch {
		case r == utf8.RuneError && n == 1:
		case unicode.Is(unicode.Zs, r) || r == '\t':
			b.WriteByte(' ')
		case strings.ContainsRune(`/\<>:"|?*`, r):
			b.WriteByte('_')
		case unicode.IsGraphic(r):
			b.WriteRune(r)
		}
	}
	name := strings.Trim(strings.Join(strings.Fields(b.String()), " "), ". ")
	if name == "" || len(name) > MaxName {
		return "", fmt.Errorf("file name of %d bytes: %w", len(name), ErrInvalid)
	}
	return name, nil
}
