package fleet

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"parley/cmd/parley/config"
)

func plainly(t testing.TB) *Settings {
	return &Settings{Folder: t.TempDir(), Env: func(string) string { return "" }, Secrets: config.Secrets(),
		Seal: func(path, secret string) (string, error) { return path + "=" + secret, nil }}
}

// What the box reads is what stands in the file: texts that look like numbers, lists, and nothing in the open that is a secret.
func TestSettingsJSON(t *testing.T) {
	s := plainly(t)
	s.Env = func(name string) string { return map[string]string{"PW": "of the environment"}[name] }
	if err := os.WriteFile(filepath.Join(s.Folder, "secret"), []byte("of the file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := s.JSON([]byte(`
# a comment
card: {volume: 55, ducking: false}
place: {name: "Room \"7\" <ü>", number: 007, join: 1000}
sip:
  codecs: [opus, pcmu]
  users:
    - {name: 201, password: open}
    - {name: "202", password_file: secret}
  upstreams:
    - name: pbx
      password_env: PW
mqtt: {password: 12}
`))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"card":{"volume":55,"ducking":false},"place":{"name":"Room \"7\" <ü>","number":"007","join":1000},` +
		`"sip":{"codecs":["opus","pcmu"],"users":[{"name":201,"password_sealed":"sip.users[0].password=open"},` +
		`{"name":"202","password_sealed":"sip.users[1].password=of the file"}],` +
		`"upstreams":[{"name":"pbx","password_sealed":"sip.upstreams[0].password=of the environment"}]},` +
		`"mqtt":{"password_sealed":"mqtt.password=12"}}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for text, want := range map[string]string{
		"":                              "",
		"a: &x 1\nb: *x":                "anchors",
		"mqtt: {password_file: absent}": "no such file",
		"mqtt: {password_env: ABSENT}":  "environment",
	} {
		_, err := s.JSON([]byte(text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestFill(t *testing.T) {
	values := Values{"box": "box-1", "name": `Saal "Ü": a\b # c`, "n": "55", "yes": "true", "pin": "0042", "empty": ""}
	for text, want := range map[string]any{
		`x: {{box}}`:              "box-1",
		`x: "{{name}}"`:           values["name"],
		`x: "<{{name}}> {{box}}"`: "<" + values["name"] + "> box-1",
		`x: "{{n}}"`:              55,
		`x: "{{ n }} "`:           "55 ",
		`x: "{{yes}}"`:            true,
		`x: "{{pin}}"`:            "0042",
		`x: "{{empty}}"`:          "",
		"# {{nothing}}\nx: 1":     1,
	} {
		filled, err := Fill(text, values)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var got struct{ X any }
		if err := yaml.Unmarshal([]byte(filled), &got); err != nil || !reflect.DeepEqual(got.X, want) {
			t.Errorf("%s becomes %q: %v, %v; want %v", text, filled, got.X, err, want)
		}
	}
	for text, want := range map[string]string{"x: 1\ny: {{other}}": "line 2", `x: {{name}}`: "double quotes", `x: '{{name}}'`: "double quotes", `x: {{empty}}`: "double quotes"} {
		if _, err := Fill(text, values); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Whatever a value holds, it stays one value.
func FuzzFill(f *testing.F) {
	f.Add(`a"b\`)
	f.Add("\n- x: 1")
	f.Fuzz(func(t *testing.T, value string) {
		filled, err := Fill("x: \"{{v}}-\"\ny: 1\n", Values{"v": value})
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := yaml.Unmarshal([]byte(filled), &got); err != nil {
			t.Skip() // no YAML takes it, such as a control character
		}
		var want string
		b, _ := json.Marshal(value)
		json.Unmarshal(b, &want)
		if len(got) != 2 || got["x"] != want+"-" {
			t.Errorf("%q becomes %q, which is %v", value, filled, got)
		}
	})
}

func TestReadValues(t *testing.T) {
	rows, err := ReadValues(strings.NewReader("box,name\n# the first floor\nbox-1,\"Room 1, left\"\nbox-2, Room 2\n"))
	if err != nil || len(rows) != 2 || rows[0]["name"] != "Room 1, left" || rows[1]["name"] != "Room 2" {
		t.Errorf("%v, %v", rows, err)
	}
	for text, want := range map[string]string{
		"": "names of its columns", "name\nx": "no column box", "serial\n7\n7": "serial \"7\"", "box,Name\nx,y": "column", "box,box\nx,y": "column",
		"box\nx\nx": "line 3", "box,a\n,1": "empty", "box,a\nx": "wrong number of fields",
	} {
		if _, err := ReadValues(strings.NewReader(text)); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestParseList(t *testing.T) {
	got, err := ParseList([]byte("# head\n\n S1 # room 1\r\nbox-2\n"))
	if err != nil || !reflect.DeepEqual(got, []string{"S1", "box-2"}) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := ParseList([]byte("a\nb c\n")); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "line 2") {
		t.Error(err)
	}
}
