package projection

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

// twins are two followers of the first generation that hold all shards and stand where the log ends.
func twins(t *testing.T, s *Store, l *memoryLog) (a, b *follower) {
	t.Helper()
	g, err := s.generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	metrics := project(t, s, l, &leases{}).metrics
	a, b = newFollower(s, g, l, quiet, metrics), newFollower(s, g, l, quiet, metrics)
	for _, f := range []*follower{a, b} {
		if _, _, err := f.sweep(t.Context(), (&leases{epoch: 1}).Held(Role)); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

// sameShard are products of the shard of the first, and one of another.
func sameShard(n int) (ids []uuid.UUID) {
	for i := 1; len(ids) < n; i++ {
		id := testID(0xaa, i)
		if len(ids) == 0 || (eventstore.ShardOf(id) == eventstore.ShardOf(ids[0])) == (len(ids) < n-1) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Ensure that the journal has each movement once when two projectors read stretches that begin alike and end differently, whichever of them
// goes on, and however often they meet.
func TestTwoProjectorsMeetInTheJournal(t *testing.T) {
	for _, ends := range []string{"the first ends", "both go on", "the second ends"} {
		t.Run(ends, func(t *testing.T) {
			s := open(t)
			l := newMemoryLog()
			ids := sameShard(3)
			for _, id := range ids {
				l.do(id, time.Second, product.Create{Name: "P", InitialStock: 100, LowStockThreshold: 5})
			}
			a, b := twins(t, s, l)
			move := func(n int) {
				for i := range n {
					l.do(ids[i%len(ids)], 20*time.Millisecond, product.AdjustStock{Delta: 1, Reason: "counted"})
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
			if _, _, err := b.sweep(t.Context(), (&leases{epoch: 1}).Held(Role)); err != nil {
				t.Fatal(err)
			}
			move(7)
			next := map[string][]*follower{"the first ends": {b}, "both go on": {a, b, a}, "the second ends": {a}}[ends]
			for _, f := range next {
				if _, _, err := f.sweep(t.Context(), (&leases{epoch: 1}).Held(Role)); err != nil {
					t.Fatal(err)
				}
				move(3)
			}
			if err := drain(t.Context(), project(t, s, l, &leases{epoch: 1})); err != nil {
				t.Fatal(err)
			}
			compare(t, s, l)
		})
	}
}

// Ensure that a projector that begins within a segment goes on behind it: one that read further wrote it, and another the checkpoint.
func TestCheckpointWithinASegment(t *testing.T) {
	s := open(t)
	l := newMemoryLog()
	id := testID(0xaa, 1)
	l.do(id, time.Second, product.Create{Name: "P", InitialStock: 100, LowStockThreshold: 5})
	a, b := twins(t, s, l)
	l.do(id, time.Second, product.AdjustStock{Delta: 1, Reason: "counted"})
	short, err := l.Tail(t.Context(), a.cursors(), 100)
	if err != nil {
		t.Fatal(err)
	}
	l.do(id, time.Millisecond, product.AdjustStock{Delta: 1, Reason: "counted"})
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
	if err := a.checkpoint(t.Context(), a.progress(&reading{cursors: a.cursors(), records: short, limit: 100})); err != nil {
		t.Fatal(err)
	}
	if err := drain(t.Context(), project(t, s, l, &leases{epoch: 1})); err != nil {
		t.Fatal(err)
	}
	compare(t, s, l)
}
