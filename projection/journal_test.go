package projection

import (
	"testing"
	"time"

	"product-service/product"
	"product-service/projection/projectiontest"
	"product-service/projection/store"
)

// twins are two subscriptions to the first generation that hold all shards and stand where the log
// ends.
func twins(t *testing.T, s *store.Store, l *projectiontest.Log) (a, b *subscription) {
	t.Helper()
	g, err := s.Generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	metrics := project(t, s, l, &projectiontest.Leases{}).metrics
	a, b = newSubscription(s, g, l, projectiontest.Quiet, metrics), newSubscription(s, g, l, projectiontest.Quiet, metrics)
	for _, f := range []*subscription{a, b} {
		if _, _, err := f.poll(t.Context(), (&projectiontest.Leases{Epoch: 1}).Held(Role)); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

// Ensure that the journal has each movement once when two projectors read stretches that begin
// alike and end differently, whichever of them goes on, and however often they meet.
func TestTwoProjectorsMeetInTheJournal(t *testing.T) {
	for _, ends := range []string{"the first ends", "both go on", "the second ends"} {
		t.Run(ends, func(t *testing.T) {
			s := projectiontest.Open(t)
			l := projectiontest.NewLog()
			ids := projectiontest.SameShard(3)
			for _, id := range ids {
				l.Do(id, time.Second, product.Create{Name: "P", InitialStock: 100, LowStockThreshold: 5})
			}
			a, b := twins(t, s, l)
			move := func(n int) {
				for i := range n {
					l.Do(ids[i%len(ids)], 20*time.Millisecond, product.AdjustStock{Delta: 1, Reason: "counted"})
				}
			}
			move(5)
			short, err := l.Tail(t.Context(), a.cursors(), 100)
			if err != nil {
				t.Fatal(err)
			}
			move(11)
			if err := a.apply(t.Context(), short); err != nil {
				t.Fatal(err)
			}
			if _, _, err := b.poll(t.Context(), (&projectiontest.Leases{Epoch: 1}).Held(Role)); err != nil {
				t.Fatal(err)
			}
			move(7)
			next := map[string][]*subscription{"the first ends": {b}, "both go on": {a, b, a}, "the second ends": {a}}[ends]
			for _, f := range next {
				if _, _, err := f.poll(t.Context(), (&projectiontest.Leases{Epoch: 1}).Held(Role)); err != nil {
					t.Fatal(err)
				}
				move(3)
			}
			if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
				t.Fatal(err)
			}
			projectiontest.Compare(t, s, l)
		})
	}
}

// Ensure that a projector that begins within a segment goes on behind it: one that read further
// wrote it, and another the checkpoint.
func TestCheckpointWithinASegment(t *testing.T) {
	s := projectiontest.Open(t)
	l := projectiontest.NewLog()
	id := projectiontest.ID(0xaa, 1)
	l.Do(id, time.Second, product.Create{Name: "P", InitialStock: 100, LowStockThreshold: 5})
	a, b := twins(t, s, l)
	l.Do(id, time.Second, product.AdjustStock{Delta: 1, Reason: "counted"})
	short, err := l.Tail(t.Context(), a.cursors(), 100)
	if err != nil {
		t.Fatal(err)
	}
	l.Do(id, time.Millisecond, product.AdjustStock{Delta: 1, Reason: "counted"})
	long, err := l.Tail(t.Context(), b.cursors(), 100)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.apply(t.Context(), long); err != nil { // and then it is gone
		t.Fatal(err)
	}
	if err := a.apply(t.Context(), short); err != nil {
		t.Fatal(err)
	}
	if err := a.checkpoint(t.Context(), a.progress(&batch{cursors: a.cursors(), records: short, limit: 100})); err != nil {
		t.Fatal(err)
	}
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	projectiontest.Compare(t, s, l)
}
