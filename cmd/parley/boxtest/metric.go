package boxtest

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// page is the box's metrics page, as of now.
func (b *Box) page() (string, error) {
	client := http.Client{Timeout: 10 * time.Second}
	res, err := client.Get("http://" + b.HTTP + "/metrics")
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	defer client.CloseIdleConnections()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return string(text), err
}

// counters are what the box has counted of packets and ticks, for whoever asks why a test has failed; empty if it does not run any more.
func (b *Box) counters() string {
	text, _ := b.page()
	var lines []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "parley_rtp_") || strings.HasPrefix(line, "parley_mixer_") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}

// Metric is a figure of the box's metrics page, as of now.
func (b *Box) Metric(name string) float64 {
	b.t.Helper()
	text, err := b.page()
	if err != nil {
		b.t.Fatalf("metrics: %v", err)
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			if f, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil {
				return f
			}
		}
	}
	b.t.Fatalf("the metrics page does not have %s", name)
	return 0
}
