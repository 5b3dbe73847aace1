package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"parley/conference/create"
)

// memberKey is the one on the page that a member's token is bound to.
func memberKey(t *testing.T) ed25519.PublicKey {
	t.Helper()
	m := regexp.MustCompile("member's key is `([^`]+)`").FindStringSubmatch(protocol(t))
	if m == nil {
		t.Fatal("no member's key")
	}
	pub, err := ParsePublicKey(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

// The member's example is genuine, is what the page shows below it, and its token names the key on the page.
func TestSignedMemberExample(t *testing.T) {
	all, pub := examples(t), memberKey(t)
	var want ConfCommand
	if err := Decode([]byte(all["ConfCommand"][0]), &want); err != nil {
		t.Fatal(err)
	}
	claims, err := base64.RawURLEncoding.DecodeString(strings.Split(want.Token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		Sub string
		Cnf struct{ Jwk struct{ X string } }
	}
	if json.Unmarshal(claims, &body) != nil || body.Sub != "2001" || body.Cnf.Jwk.X != base64.RawURLEncoding.EncodeToString(pub) {
		t.Errorf("%s", claims)
	}
	d := NewMemberDoor(MemberConfig{EID: "local", Now: func() time.Time { return time.Unix(1795255200, 0) },
		Verify: func(token string) (Claims, error) {
			if token != want.Token {
				t.Errorf("token %s", token)
			}
			return Claims{Subject: body.Sub, Key: pub}, nil
		}})
	v := d.Receive(want.Topic, []byte(all["Envelope"][1]), false)
	if !v.Fresh || !reflect.DeepEqual(v.Command, want) || v.Topic != "/e/local/u/2001/notice" || v.Conf != "1000" {
		t.Errorf("%+v", v)
	}
}

func TestMemberTables(t *testing.T) {
	page := map[string][]string{}
	for _, row := range rows(t, "do") {
		page[row[0]] = []string{row[1], row[2]}
	}
	code := map[string][]string{}
	for _, do := range Dos() {
		takes, _ := takesOf(do)
		code[string(do)] = []string{strings.Join(takes.must.names(), " "), strings.Join(takes.may.names(), " ")}
	}
	same(t, "what can be asked", mapKeys(page), mapKeys(code))
	for do, args := range code {
		if !slices.Equal(page[do], args) {
			t.Errorf("%s: the page has %q, the code %q", do, page[do], args)
		}
	}
	same(t, "kinds of notice", column(t, "kind"), mapKeys(noticeKinds))
	var kinds []string
	for _, k := range imKinds {
		kinds = append(kinds, fmt.Sprintf("%#x", byte(k)))
	}
	same(t, "kinds of message", column(t, "kind of message"), kinds)
	var events []string
	for _, cell := range column(t, "event") {
		events = append(events, strings.Split(cell, ", ")...)
	}
	same(t, "events", events, eventWords)
	var onPage, codes []string
	for _, row := range rows(t, "code") {
		onPage = append(onPage, strings.Join(row, "|"))
	}
	for _, m := range create.Codes() {
		codes = append(codes, fmt.Sprintf("%s|%s|%s", m.Code, m.Name, m.Text))
	}
	same(t, "create's codes", onPage, codes)
	var keys, fields []string
	for _, row := range rows(t, "key") {
		keys = append(keys, strings.Split(row[0], ", ")...)
	}
	for i := range reflect.TypeFor[ConfCommand]().NumField() {
		fields = append(fields, tagOf(reflect.TypeFor[ConfCommand]().Field(i)))
	}
	same(t, "keys of a command", keys, fields)
}

// words are the values of a type's constants in a file of the package conference.
func words(t *testing.T, kind string) (list []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../conference/command.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
			id, isID := spec.Type.(*ast.Ident)
			if lit, isLit := spec.Values[0].(*ast.BasicLit); isID && isLit && id.Name == kind {
				word, _ := strconv.Unquote(lit.Value)
				list = append(list, word)
			}
		}
		return true
	})
	return list
}

// Whatever conference can tell travels, and whatever people can ask of it can be asked here.
func TestNothingOfConferenceIsForgotten(t *testing.T) {
	same(t, "events", words(t, "What"), eventWords)
	asked := []string{string(DoCreate), string(DoList), string(DoCan)}
	for _, do := range words(t, "Do") {
		if !slices.Contains([]string{"add", "state", "remove", "talk", "rest", "pass", "admit", "roam"}, do) { // the box's own
			asked = append(asked, do)
		}
	}
	var dos []string
	for _, do := range Dos() {
		dos = append(dos, string(do))
	}
	same(t, "commands", asked, dos)
}

var imExample = regexp.MustCompile("(?s)```im (..)\n(.*?)\n```")

// The messages on the page are read, are written the same but for what is not known, and the signed one is genuine.
func TestMessageExamples(t *testing.T) {
	found := imExample.FindAllStringSubmatch(protocol(t), -1)
	if len(found) != 3 {
		t.Fatalf("%d messages", len(found))
	}
	for _, m := range found {
		kind, _ := strconv.ParseUint(m[1], 16, 8)
		payload := append([]byte{byte(kind)}, m[2]...)
		got, err := DecodeMessage(payload)
		if err != nil {
			t.Errorf("%s: %v", m[2], err)
			continue
		}
		written, err := EncodeMessage(got)
		if want := bytes.ReplaceAll(payload, []byte(`,"style":{"bold":true}`), nil); err != nil || !bytes.Equal(written, want) {
			t.Errorf("comes back as\n%s\nnot\n%s\n%v", written, want, err)
		}
		if got.Sig == "" {
			continue
		}
		topic := "/e/local/im/u/" + GroupOf("box-0a1b2c-41-3")
		if err := got.Verify(topic, memberKey(t)); err != nil {
			t.Error(err)
		}
		_, lines, _ := strings.Cut(protocol(t), "```signed\n")
		lines, _, _ = strings.Cut(lines, "```")
		if lines != string(got.SignedBytes(topic)) {
			t.Errorf("the page says\n%sthe code\n%s", lines, got.SignedBytes(topic))
		}
	}
}
