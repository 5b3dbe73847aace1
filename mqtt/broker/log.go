package broker

import (
	"context"
	"log/slog"
)

// logHandler takes mochi's own log into the box's: one step lower, because what mochi warns of is what clients do, and
// without the packets, in which there may be passwords.
type logHandler struct{ slog.Handler }

func newLogHandler(h slog.Handler) logHandler { return logHandler{h} }

var quieter = map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug, slog.LevelWarn: slog.LevelDebug,
	slog.LevelError: slog.LevelWarn}

func level(l slog.Level) slog.Level {
	if q, ok := quieter[l]; ok {
		return q
	}
	return l
}

// Enabled asks for the level under which a record is told.
func (h logHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.Handler.Enabled(ctx, level(l))
}

// Handle tells a record.
func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, level(r.Level), "mochi: "+r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "pk" && a.Key != "packet" && a.Key != "will" {
			out.AddAttrs(a)
		}
		return true
	})
	return h.Handler.Handle(ctx, out)
}

// WithAttrs keeps the wrapping.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the wrapping.
func (h logHandler) WithGroup(name string) slog.Handler { return logHandler{h.Handler.WithGroup(name)} }
