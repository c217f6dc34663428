package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// lifecycle runs the parts of the server, and stops them in the reverse of the order in which they
// were started: what takes work in stops before what does it, and that before what it is written
// with.
type lifecycle struct {
	log    *slog.Logger
	parts  []part
	broken chan error // the first part that ended by itself
}

type part struct {
	name   string
	cancel context.CancelCauseFunc
	ended  chan struct{}
	after  func(context.Context) error
}

var errStopping = errors.New("the server is stopping")

func newLifecycle(log *slog.Logger) *lifecycle {
	return &lifecycle{log: log, broken: make(chan error, 1)}
}

// start runs a part until it is told to stop. A part that ends before that, with an error or
// without, ends the server.
func (l *lifecycle) start(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	p := part{name: name, cancel: cancel, ended: make(chan struct{})}
	l.parts = append(l.parts, p)
	go func() {
		defer close(p.ended)
		err := run(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		select {
		case l.broken <- fmt.Errorf("%s: %w", name, err):
		default:
		}
	}()
}

// closing has something done once the parts started later have ended.
func (l *lifecycle) closing(name string, after func(context.Context) error) {
	l.parts = append(l.parts, part{name: name, after: after})
}

// stop ends every part, the last one first, within the time given in all. It reports the parts that
// didn't end in it.
func (l *lifecycle) stop(within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	var faults []error
	for _, p := range slices.Backward(l.parts) {
		if p.after != nil {
			if err := p.after(ctx); err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", p.name, err))
			}
			continue
		}
		p.cancel(errStopping)
		select {
		case <-p.ended:
			l.log.Debug("stopped", "part", p.name)
		case <-ctx.Done():
			faults = append(faults, fmt.Errorf("%s did not stop in time", p.name))
		}
	}
	return errors.Join(faults...)
}

// untilStopped adapts a function that ends only with its context to [lifecycle.start].
func untilStopped(run func(context.Context)) func(context.Context) error {
	return func(ctx context.Context) error { run(ctx); return nil }
}
