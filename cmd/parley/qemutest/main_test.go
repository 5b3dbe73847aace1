package qemutest

import (
	"os"
	"testing"

	"parley/cmd/parley/boxtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	boxtest.Clean()
	os.Exit(code)
}
