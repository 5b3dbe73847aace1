package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/term"

	"parley/board"
	"parley/cmd/parley/config"
	"parley/mqtt/wire"
	"parley/web/token"
)

// cmdSupport is `parley support`: the bundle of the box that runs on a data folder, or, where none answers, of the folder and the
// machine alone.
func cmdSupport(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("parley support", flag.ContinueOnError)
	file := flags.String("config", "", "settings `file`")
	folder := flags.String("data", "", "data `folder`")
	if err := flags.Parse(args); err != nil {
		return helpOr(err)
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "parley support: %q is not expected\n", flags.Arg(0))
		return errUsage
	}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintln(os.Stderr, "parley support: a bundle is compressed: send it to a file, as in `parley support -data FOLDER > support.txt.gz`")
		return errUsage
	}
	cfg, loading := loadConfig(*file, *folder)
	dir := *folder
	if dir == "" {
		dir = cfg.Data
	}
	asking := loading
	if loading == nil {
		var bundle []byte
		if bundle, asking = askSupport(cfg, dir); asking == nil {
			_, err := out.Write(bundle)
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "parley support: of the folder and the machine alone, since the box did not answer: %v\n", asking)
	hide := hider(cfg)
	sections := append([]section{
		{"box", func(w io.Writer) {
			fmt.Fprintf(w, "the box did not answer: %v\nfirmware %s\nnow %s\n", hide.Replace(asking.Error()), firmware(), time.Now().Format(time.RFC3339))
			for _, b := range board.List() {
				if b.Name == cfg.Board {
					fmt.Fprintf(w, "%+v\n", b)
				}
			}
		}},
		{"settings", func(w io.Writer) {
			if loading == nil {
				io.WriteString(w, cfg.String())
			}
		}},
	}, aboutFolder(dir, hide)...)
	bundle, err := pack(append(sections, aboutMachine()...), func(int) []byte { return []byte("a box keeps its log in memory, and this one does not run\n") })
	if err != nil {
		return err
	}
	_, err = out.Write(bundle)
	return err
}

// askSupport asks the box that runs, with the key that is in its folder.
func askSupport(cfg config.Config, dir string) ([]byte, error) {
	if cfg.HTTP.Listen == "" || cfg.HTTP.TLS.Given() {
		return nil, errors.New("its HTTP is off or under TLS; `parleyctl support` asks over MQTT, too")
	}
	key, err := wire.LoadKey(filepath.Join(dir, "token.key"))
	if err != nil {
		return nil, err
	}
	now := time.Now().Truncate(time.Second)
	shown, err := token.Sign(token.Claims{Issuer: token.LocalIssuer, Audience: []string{cfg.EID}, Subject: "support", Role: token.Admin,
		IssuedAt: now, Expires: now.Add(time.Minute)}, key)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+cfg.HTTP.Listen+"/api/v1/support", nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+shown)
	answer, err := ask(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", answer.Status)
	}
	bundle, err := io.ReadAll(io.LimitReader(answer.Body, maxBundle+1))
	if err == nil && len(bundle) > maxBundle {
		err = errors.New("its answer is too long")
	}
	return bundle, err
}

// ask sends one request and reads its answer, whose body ends the connection when it is closed. It stands in for http.Client, whose transport
// keeps connections, follows proxies and redirects, and is 0.15 MB that nothing else in the box needs.
func ask(r *http.Request) (*http.Response, error) {
	conn, err := new(net.Dialer).DialContext(r.Context(), "tcp", r.URL.Host)
	if err != nil {
		return nil, err
	}
	if deadline, ok := r.Context().Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	r.Close = true
	if err := r.Write(conn); err != nil {
		conn.Close()
		return nil, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		conn.Close()
		return nil, err
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{answer.Body, conn}
	return answer, nil
}
