package boxtest

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Metric is a figure of the box's metrics page, as of now.
func (b *Box) Metric(name string) float64 {
	b.t.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	res, err := client.Get("http://" + b.HTTP + "/metrics")
	if err != nil {
		b.t.Fatalf("metrics: %v", err)
	}
	defer res.Body.Close()
	defer client.CloseIdleConnections()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		b.t.Fatalf("metrics: %v", err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			if f, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil {
				return f
			}
		}
	}
	b.t.Fatalf("the metrics page does not have %s", name)
	return 0
}
