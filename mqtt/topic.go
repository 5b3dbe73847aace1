package mqtt

import (
	"strings"
	"unicode/utf8"
)

const (
	maxTopic  = 512 // bytes
	maxLevels = 32
)

func validText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

// validFilter holds a filter against MQTT 3.1.1, section 4.7.
func validFilter(filter string) bool {
	if filter == "" || len(filter) > maxTopic || !validText(filter) || strings.Count(filter, "/") >= maxLevels {
		return false
	}
	levels := strings.Split(filter, "/")
	for i, l := range levels {
		if strings.ContainsAny(l, "+#") && len(l) > 1 || l == "#" && i != len(levels)-1 {
			return false
		}
	}
	return true
}

// matches tells whether a topic is of those that a filter means (MQTT 3.1.1, section 4.7). Both are valid.
func matches(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && !strings.HasPrefix(filter, "$") {
		return false
	}
	for {
		f, restF, moreF := strings.Cut(filter, "/")
		t, restT, moreT := strings.Cut(topic, "/")
		switch {
		case f == "#":
			return true
		case f != "+" && f != t:
			return false
		case !moreF || !moreT:
			return moreF == moreT || moreF && restF == "#"
		}
		filter, topic = restF, restT
	}
}
