package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"parley/cmd/parley/config"
	"parley/hal"
	"parley/mqtt/wire"
)

// a key whose line is lost is an alert of its own, which is over when the line is back.
func TestLostKeyLineIsAnAlert(t *testing.T) {
	b := &box{house: newHouse(config.Default(), 1, slog.New(slog.NewTextHandler(io.Discard, nil)))}
	newPlace(b.house, &microphone{}, true)
	names, err := wire.NewBox("local", "box-1")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	b.house.alert = func(id string, f fault) {
		if _, err := names.Alert(id); err != nil {
			t.Error(err)
		}
		told[id] = f.text
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.house.Run(ctx)
	}()
	defer func() { cancel(); <-done }()
	for key := hal.Key(0); key < hal.NumKeys; key++ {
		for _, lost := range []error{errors.New("gone"), nil} {
			b.onLine(key, lost)
			b.house.ask(func() {
				text, ok := told["gpio-"+key.String()]
				if !ok || (lost != nil) != strings.Contains(text, key.String()+" key") || (lost != nil) != strings.Contains(text, "gone") {
					t.Errorf("%v, line lost: %v: told %q", key, lost, told)
				}
			})
		}
	}
}
