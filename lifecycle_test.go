package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPartsStopInTheReverseOfTheirStart(t *testing.T) {
	life := newLifecycle(slog.New(slog.DiscardHandler))
	ended := make(chan string, 3)
	waits := func(name string) func(context.Context) error {
		return func(ctx context.Context) error { <-ctx.Done(); ended <- name; return nil }
	}
	life.start("database", waits("database"))
	life.closing("leases", func(context.Context) error { ended <- "leases"; return nil })
	life.start("consumer", waits("consumer"))
	if err := life.stop(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	close(ended)
	if order := slices.Collect(func(yield func(string) bool) {
		for name := range ended {
			if !yield(name) {
				return
			}
		}
	}); !slices.Equal(order, []string{"consumer", "leases", "database"}) {
		t.Errorf("they ended in the order %v", order)
	}
}

func TestAServerThatIsStoppedWhileItStartsEndsWell(t *testing.T) {
	setenv(t, good(nil))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, nil, &out, &errs); code != exitOK {
		t.Errorf("it ended with %d and said %s", code, errs.String())
	}
}

func TestAPartThatEndsByItselfIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		life := newLifecycle(slog.New(slog.DiscardHandler))
		broke := errors.New("broke")
		life.start("relay", func(context.Context) error { return broke })
		if err := <-life.broken; !errors.Is(err, broke) || !strings.Contains(err.Error(), "relay") {
			t.Errorf("it said %q", err)
		}
	})
}

func TestAPartThatDoesNotStopIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		life := newLifecycle(slog.New(slog.DiscardHandler))
		never := make(chan struct{})
		defer close(never)
		life.start("stuck", func(context.Context) error { <-never; return nil })
		if err := life.stop(shutdownLimit); err == nil || !strings.Contains(err.Error(), "stuck") {
			t.Errorf("it said %v", err)
		}
	})
}
