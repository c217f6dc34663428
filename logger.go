package main

import (
	"context"
	"io"
	"log/slog"
	"os"

	"product-service/correlation"
)

// newLogger writes for people in a terminal and JSON elsewhere, unless told otherwise.
func newLogger(w io.Writer, s Settings) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(s.LogLevel)) // checked with the settings
	options := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewJSONHandler(w, options)
	if s.LogFormat == "text" || (s.LogFormat == "" && isTerminal(w)) {
		h = slog.NewTextHandler(w, options)
	}
	return slog.New(correlated{h}).With("instance_id", s.Leases.InstanceID)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// correlated adds the correlation id of the context to each line, so that no call site can forget it.
type correlated struct{ slog.Handler }

func (h correlated) Handle(ctx context.Context, r slog.Record) error {
	if id := correlation.ID(ctx); id != "" {
		r.AddAttrs(slog.String("correlation_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

func (h correlated) WithAttrs(attrs []slog.Attr) slog.Handler {
	return correlated{h.Handler.WithAttrs(attrs)}
}
func (h correlated) WithGroup(name string) slog.Handler { return correlated{h.Handler.WithGroup(name)} }
