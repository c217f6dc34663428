package command

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

func (l *fakeLog) InventoryTail(ctx context.Context, cursors []eventstore.Cursor, limit int) ([]eventstore.Record, error) {
	var page []eventstore.Record
	for _, c := range cursors {
		rows, err := l.Tail(ctx, []eventstore.Cursor{c}, 1<<20)
		if err != nil {
			return nil, err
		}
		rows = slices.DeleteFunc(slices.Clone(rows), func(r eventstore.Record) bool { return r.Type != product.TypeOf(product.InventoryChanged{}) })
		page = append(page, rows[:min(len(rows), limit)]...)
	}
	return page, nil
}

// listener is who inventory events are announced to.
type listener struct {
	mu   sync.Mutex
	told []uuid.UUID
	away map[uuid.UUID]bool // it takes these only once it is back
	back chan struct{}
}

func newListener(away ...uuid.UUID) *listener {
	l := &listener{away: map[uuid.UUID]bool{}, back: make(chan struct{})}
	for _, id := range away {
		l.away[id] = true
	}
	return l
}

func (l *listener) announce(ctx context.Context, e InventoryEvent) error {
	if l.away[e.ID] {
		select {
		case <-l.back:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, e.ID)
	return nil
}

func (l *listener) heard() []uuid.UUID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.told)
}

// succeed gives all leases to the next owner.
func (l *fakeLog) succeed() {
	l.mu.Lock()
	for shard := range l.epochs {
		l.epochs[shard]++
	}
	l.mu.Unlock()
	l.beat()
}

func (l *fakeLog) note(t *testing.T, productID uuid.UUID) uuid.UUID {
	t.Helper()
	event := uuid.New()
	l.append(t, productID, event, 0, product.InventoryChanged{VariantID: uuid.New(), Type: "InventoryLowStockEvent", Timestamp: time.Now()}, product.Origin{})
	return event
}

func startAnnouncer(t *testing.T, l *fakeLog, to *listener) func() {
	t.Helper()
	a := NewAnnouncer(l, l, l.wake, to.announce, quiet)
	return run(t, a.Run)
}

// Ensure that each event is announced once, in order per product, that one product doesn't wait for
// another, and that what a stopped announcer didn't come to is announced by the next: not what was
// there before the first.
func TestInventoryEventsAreAnnounced(t *testing.T) {
	l, p, other := newFakeLog(), id(productX), uuid.New()
	for eventstore.ShardOf(other) == eventstore.ShardOf(p) {
		other = uuid.New()
	}
	old := l.note(t, p)
	to := newListener()
	stop := startAnnouncer(t, l, to)
	eventually(t, "the first announcer begins at the end", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.saved[eventstore.ShardOf(p)] == 1 })
	l.beat()
	var want []uuid.UUID
	for range 3 {
		l.append(t, p, uuid.New(), 0, reserved(1), product.Origin{})
		want = append(want, l.note(t, p))
	}
	eventually(t, "three events are announced", func() bool { return slices.Equal(to.heard(), want) })
	stop()

	stuck := l.note(t, p)
	behind := l.note(t, p)
	elsewhere := l.note(t, other)
	to = newListener(stuck)
	l.succeed()
	stop = startAnnouncer(t, l, to)
	eventually(t, "one that isn't taken holds up its own product only", func() bool { return slices.Equal(to.heard(), []uuid.UUID{elsewhere}) })
	stop() // while it waits
	l.succeed()

	to = newListener()
	stop = startAnnouncer(t, l, to)
	eventually(t, "the next one goes on where the last one ended", func() bool { return slices.Equal(to.heard(), []uuid.UUID{stuck, behind}) })
	stop()
	if slices.Contains(to.heard(), old) {
		t.Error("what was there before anybody was to be told is announced")
	}
}

// Ensure that an announcer whose lease has gone stops telling, and that its checkpoint doesn't move
// the new owner's.
func TestALostLeaseEndsAnnouncing(t *testing.T) {
	l, p := newFakeLog(), id(productX)
	shard := eventstore.ShardOf(p)
	stuck := newListener()
	event := l.note(t, p)
	stuck.away[event] = true
	l.succeed()
	begun, ended := make(chan struct{}), make(chan error, 1)
	a := NewAnnouncer(l, l, l.wake, func(ctx context.Context, e InventoryEvent) error {
		close(begun)
		err := stuck.announce(ctx, e)
		ended <- err
		return err
	}, quiet)
	stop := run(t, a.Run)
	defer stop()
	<-begun
	l.mu.Lock()
	l.epochs[shard]++
	delete(l.held, shard)
	l.mu.Unlock()
	l.beat()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("it ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on telling")
	}
}
