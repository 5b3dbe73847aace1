package wire

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestMessage(t *testing.T) {
	two := Message{Kind: IMGroup, ID: "i-1", From: "021:2001", TS: 17, Media: []Medium{
		{Content: "first line\n\tsecond, with <script> and \u05d0"}, {Content: "https://h/x", File: "плана.pdf"}}}
	for name, tt := range map[string]struct {
		payload string
		want    Message
	}{
		"text":              {"\x01" + `{"co":"hi"}`, Message{Media: []Medium{{Content: "hi"}}}},
		"empty text":        {"\x11" + `{"co":""}`, Message{Kind: IMToPhone, Media: []Medium{{}}}},
		"no media":          {"\x20", Message{Kind: IMFromPhone}},
		"spaces around":     {"\x01 \n{ \"co\" : \"hi\" }\n", Message{Media: []Medium{{Content: "hi"}}}},
		"size as a text":    {"\x01" + `{"co":"u","fn":"a","si":"500"}`, Message{Media: []Medium{{Content: "u", File: "a", Size: 500}}}},
		"size as a number":  {"\x01" + `{"co":"u","fn":"a","si":500}`, Message{Media: []Medium{{Content: "u", File: "a", Size: 500}}}},
		"file without size": {"\x01" + `{"co":"u","fn":"a"}`, Message{Media: []Medium{{Content: "u", File: "a"}}}},
		"unknown keys, also by case": {"\x01" + `{"co":"hi","CO":"no","x":{"co":[null]},"ID":7}`,
			Message{Media: []Medium{{Content: "hi"}}}},
		"sender's keys count in the first object only": {"\xe2" + `[{"co":"a","id":"i"},{"co":"b","id":7}]`,
			Message{Kind: IMPublic, ID: "i", Media: []Medium{{Content: "a"}, {Content: "b"}}}},
	} {
		got, err := DecodeMessage([]byte(tt.payload))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		b, err := EncodeMessage(got)
		if again, err2 := DecodeMessage(b); err != nil || err2 != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%s: comes back as %q, %v, %v", name, b, err, err2)
		}
	}
	b, err := EncodeMessage(two)
	if got, err2 := DecodeMessage(b); err != nil || err2 != nil || !reflect.DeepEqual(got, two) || b[0] != 0xf2 {
		t.Errorf("%q: %+v, %v, %v", b, got, err, err2)
	}
	if strings.Contains(string(b), "<script>") {
		t.Errorf("%q is not escaped", b)
	}
}

func TestMessageIsRefused(t *testing.T) {
	many := "[" + strings.Repeat(`{"co":""},`, 14) + `{"co":""}]`
	if m, err := DecodeMessage([]byte("\x0f" + many)); err != nil || len(m.Media) != MaxMedia {
		t.Errorf("15 media: %v", err)
	}
	for name, tt := range map[string]struct {
		payload, path string
		kind          error
	}{
		"nothing":              {"", "", ErrTooLarge},
		"too long":             {"\x01" + `{"co":"` + strings.Repeat("x", MaxPayload) + `"}`, "", ErrTooLarge},
		"unknown kind":         {"\x31" + `{"co":"hi"}`, "", ErrInvalidValue},
		"no JSON":              {"\x01", "", ErrMalformed},
		"cut short":            {"\x01" + `{"co":"hi"`, "", ErrMalformed},
		"two values":           {"\x01" + `{"co":"hi"}{"co":"hi"}`, "", ErrMalformed},
		"not UTF-8":            {"\x01{\"co\":\"\xff\"}", "", ErrMalformed},
		"half a surrogate":     {"\x01" + `{"co":"\ud800"}`, "co", ErrMalformed},
		"JSON uncounted":       {"\x00" + `{"co":"hi"}`, "", ErrInvalidValue},
		"counts more":          {"\x03" + `[{"co":"a"},{"co":"b"}]`, "", ErrInvalidValue},
		"counts less":          {"\x02" + many, "", ErrInvalidValue},
		"one in an array":      {"\x01" + `[{"co":"a"}]`, "", ErrInvalidValue},
		"two as an object":     {"\x02" + `{"co":"a"}`, "", ErrInvalidValue},
		"a text":               {"\x01" + `"co"`, "", ErrInvalidValue},
		"null":                 {"\x01null", "", ErrInvalidValue},
		"array of texts":       {"\x02" + `[{"co":"a"},"b"]`, "[1]", ErrInvalidValue},
		"key twice":            {"\x01" + `{"co":"a","co":"b"}`, "co", ErrMalformed},
		"unknown key twice":    {"\x01" + `{"co":"a","x":1,"x":2}`, "x", ErrMalformed},
		"deep":                 {"\x01" + `{"co":"a","x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, "x[0][0][0][0][0][0][0][0]", ErrTooLarge},
		"many values":          {"\x01" + `{"co":"a","x":[` + strings.Repeat("1,", 20000) + `1]}`, "x[8189]", ErrTooLarge},
		"no content":           {"\x01" + `{"fn":"a"}`, "co", ErrInvalidValue},
		"content null":         {"\x01" + `{"co":null}`, "co", ErrInvalidValue},
		"content a number":     {"\x02" + `[{"co":"a"},{"co":7}]`, "[1].co", ErrInvalidValue},
		"NUL in a text":        {"\x01" + `{"co":"a\u0000"}`, "co", ErrInvalidValue},
		"escape in a text":     {"\x01" + `{"co":"\u001b[31m"}`, "co", ErrInvalidValue},
		"line end in a URL":    {"\x01" + `{"co":"http://h\r\nX: y","fn":"a"}`, "co", ErrInvalidValue},
		"line end in a name":   {"\x01" + `{"co":"u","fn":"a\nb"}`, "fn", ErrInvalidValue},
		"path":                 {"\x01" + `{"co":"u","fn":"../a"}`, "fn", ErrInvalidValue},
		"path of Windows":      {"\x01" + `{"co":"u","fn":"a\\b"}`, "fn", ErrInvalidValue},
		"the folder above":     {"\x01" + `{"co":"u","fn":".."}`, "fn", ErrInvalidValue},
		"turned name":          {"\x01" + `{"co":"u","fn":"a\u202efdp.exe"}`, "fn", ErrInvalidValue},
		"long name":            {"\x01" + `{"co":"u","fn":"` + strings.Repeat("n", 256) + `"}`, "fn", ErrInvalidValue},
		"size of no file":      {"\x01" + `{"co":"u","si":"1"}`, "si", ErrInvalidValue},
		"size below 0":         {"\x01" + `{"co":"u","fn":"a","si":-1}`, "si", ErrInvalidValue},
		"size of words":        {"\x01" + `{"co":"u","fn":"a","si":"big"}`, "si", ErrInvalidValue},
		"size beyond":          {"\x01" + `{"co":"u","fn":"a","si":99999999999999999999}`, "si", ErrInvalidValue},
		"id with a space":      {"\x01" + `{"co":"u","id":"a b"}`, "id", ErrInvalidValue},
		"id a number":          {"\x01" + `{"co":"u","id":7}`, "id", ErrInvalidValue},
		"from with a wildcard": {"\x01" + `{"co":"u","from":"+"}`, "from", ErrInvalidValue},
		"ts a text":            {"\x01" + `{"co":"u","ts":"7"}`, "ts", ErrInvalidValue},
		"ts below 0":           {"\x01" + `{"co":"u","ts":-7}`, "ts", ErrInvalidValue},
		"sig without id":       {"\x01" + `{"co":"u","from":"1","sig":"AA=="}`, "sig", ErrInvalidValue},
		"sig of two bytes":     {"\x01" + `{"co":"u","id":"i","from":"1","sig":"AAA="}`, "sig", ErrInvalidValue},
	} {
		m, err := DecodeMessage([]byte(tt.payload))
		var field *FieldError
		if !errors.As(err, &field) || !errors.Is(err, tt.kind) || field.Path != tt.path {
			t.Errorf("%s: %+v, %v\nwant %q: %v", name, m, err, tt.path, tt.kind)
		}
	}
	for name, m := range map[string]Message{
		"16 media":         {Media: make([]Medium, 16)},
		"size of no file":  {Media: []Medium{{Content: "a", Size: 1}}},
		"size below 0":     {Media: []Medium{{Content: "a", File: "f", Size: -1}}},
		"an id, no medium": {ID: "i"},
		"too long":         {Media: []Medium{{Content: strings.Repeat("\n", MaxPayload-10)}}}, // escapes make it twice as long
	} {
		if b, err := EncodeMessage(m); err == nil {
			t.Errorf("%s: %d bytes", name, len(b))
		}
	}
}

// A signature is good for what was signed, where it was sent, and nothing else.
func TestMessageSignature(t *testing.T) {
	const topic = "/e/local/im/u/2002"
	make2 := func() Message {
		return Message{Kind: IMPoint, ID: "i-1", From: "2001", TS: 5, Media: []Medium{{Content: "a"}, {Content: "u", File: "f", Size: 9}}}
	}
	signed := make2()
	if err := signed.Sign(topic, keyAda); err != nil {
		t.Fatal(err)
	}
	if err := signed.Verify(topic, public(keyAda)); err != nil {
		t.Error(err)
	}
	if err := signed.Verify(topic, public(keyBo)); !errors.Is(err, ErrBadSignature) {
		t.Errorf("another's key: %v", err)
	}
	if err := signed.Verify(topic, nil); !errors.Is(err, ErrBadSignature) {
		t.Errorf("no key: %v", err)
	}
	if err := signed.Verify("/e/local/im/u/2003", public(keyAda)); !errors.Is(err, ErrBadSignature) {
		t.Errorf("another topic: %v", err)
	}
	plain := make2()
	if err := plain.Verify(topic, public(keyAda)); !errors.Is(err, ErrUnsigned) {
		t.Errorf("unsigned: %v", err)
	}
	for name, change := range map[string]func(*Message){
		"kind":        func(m *Message) { m.Kind = IMGroup },
		"id":          func(m *Message) { m.ID = "i-2" },
		"from":        func(m *Message) { m.From = "2003" },
		"ts":          func(m *Message) { m.TS++ },
		"content":     func(m *Message) { m.Media[0].Content = "b" },
		"name":        func(m *Message) { m.Media[1].File = "g" },
		"size":        func(m *Message) { m.Media[1].Size = 8 },
		"no size":     func(m *Message) { m.Media[1].Size = 0 },
		"order":       func(m *Message) { m.Media[0], m.Media[1] = m.Media[1], m.Media[0] },
		"one less":    func(m *Message) { m.Media = m.Media[:1] },
		"name to one": func(m *Message) { m.Media[0].File, m.Media[1].File, m.Media[1].Size = "f", "", 0 },
	} {
		m := make2()
		m.Sig = signed.Sig
		change(&m)
		if err := m.Verify(topic, public(keyAda)); !errors.Is(err, ErrBadSignature) {
			t.Errorf("with another %s: %v", name, err)
		}
	}
	for name, m := range map[string]Message{"no id": {From: "1", Media: make([]Medium, 1)}, "no medium": {ID: "i", From: "1"}} {
		if err := m.Sign(topic, keyAda); err == nil {
			t.Errorf("%s is signed", name)
		}
	}
}

func TestForms(t *testing.T) {
	for m, want := range map[Medium]Form{
		{Content: "hello"}:                               Text,
		{Content: "see https://h/x"}:                     Text,
		{Content: "https://h/x and more"}:                Text,
		{Content: "javascript://h/x"}:                    Text,
		{Content: "HTTPS://h/x"}:                         Link,
		{Content: "http://"}:                             Text,
		{Content: "https://h/x", File: "a.JPG"}:          Picture,
		{Content: "https://h/x", File: "a.amr"}:          Voice,
		{Content: "https://h/x", File: "a.mp4"}:          Video,
		{Content: "https://h/x", File: "a.mp4.exe"}:      File,
		{Content: "https://h/x", File: "without ending"}: File,
	} {
		if got := m.Form(); got != want {
			t.Errorf("%+v is %s, not %s", m, got, want)
		}
	}
}

func TestGroups(t *testing.T) {
	if uid, ok := ConferenceOf(GroupOf("box-1-41-3")); uid != "box-1-41-3" || !ok {
		t.Errorf("%q, %v", uid, ok)
	}
	if err := CheckUser(GroupOf(strings.Repeat("u", 64))); err != nil {
		t.Errorf("the longest uid: %v", err)
	}
	for _, id := range []string{"2001", "c", "c+", ""} {
		if uid, ok := ConferenceOf(id); ok {
			t.Errorf("%q is the group of %q", id, uid)
		}
	}
}

// Whatever is read is what would be written, and is read again as the same.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{"\x01" + `{"co":"hi"}`, "\xf2" + `[{"co":"a","id":"i","from":"1","ts":5},{"co":"u","fn":"f","si":"5"}]`, "\x00",
		"\x01" + `{"co":"a\n<","x":[{"y":null}]}`, "\x02" + `[{},{}]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := DecodeMessage(payload)
		if err != nil {
			var field *FieldError
			if !errors.As(err, &field) {
				t.Fatalf("%T", err)
			}
			return
		}
		if len(m.Media) != int(payload[0]&0xf) || m.Type() != payload[0] {
			t.Fatalf("%d media", len(m.Media))
		}
		b, err := EncodeMessage(m)
		if err != nil {
			if errors.Is(err, ErrTooLarge) { // escapes can make it longer
				return
			}
			t.Fatal(err)
		}
		again, err := DecodeMessage(b)
		if err != nil || fmt.Sprintf("%#v", again) != fmt.Sprintf("%#v", m) {
			t.Fatalf("%q: %+v, %v", b, again, err)
		}
		if string(m.SignedBytes("t")) != string(again.SignedBytes("t")) {
			t.Fatal("what is signed depends on how it is written")
		}
	})
}
