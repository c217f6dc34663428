package main

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"product-service/eventstore"
)

// lease is held or not, as a test says.
type lease struct {
	mu      sync.Mutex
	held    bool
	changed chan struct{}
}

func (l *lease) Held(string) []eventstore.Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held {
		return make([]eventstore.Lease, 1)
	}
	return nil
}

func (l *lease) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *lease) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = false
	close(l.changed)
	l.changed = make(chan struct{})
}

func TestOnlyTheInstanceThatAuditsTellsWhatWasFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lease{held: true, changed: make(chan struct{})}
		a := newAuditor(nil, nil, l, 1, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
		told := func() int { return testutil.CollectAndCount(a.differ) + testutil.CollectAndCount(a.ended) }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.run(ctx) }()
		a.found(9, 2)
		synctest.Wait()
		if got := testutil.ToFloat64(a.differ); got != 2 {
			t.Errorf("it tells of %v differences, want 2", got)
		}
		l.lose()
		synctest.Wait()
		if told() != 0 {
			t.Error("it goes on telling what it found once")
		}
		a.found(9, 2)
		if told() != 0 {
			t.Error("it tells what it found after it had lost the lease")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
