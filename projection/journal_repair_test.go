package projection

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/eventstore"
	"product-service/product"
	"product-service/projection/projectiontest"
	"product-service/projection/store"
	"product-service/projection/view"
)

// Ensure that a repair leaves what a projector has written beyond its checkpoint: another goes on
// behind that.
func TestRepairEndsAtTheCheckpoint(t *testing.T) {
	for name, gap := range map[string]time.Duration{"a segment over the checkpoint": time.Millisecond, "a segment behind it": time.Second} {
		t.Run(name, func(t *testing.T) {
			s := projectiontest.Open(t)
			l, ids := projectiontest.Journaled()
			if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
				t.Fatal(err)
			}
			a, b := twins(t, s, l)
			l.Do(ids[0], time.Second, product.AdjustStock{Delta: 1, Reason: "counted"})
			short, err := l.Tail(t.Context(), a.cursors(), 100)
			if err != nil {
				t.Fatal(err)
			}
			l.Do(ids[1], gap, product.AdjustStock{Delta: 1, Reason: "counted"})
			long, err := l.Tail(t.Context(), b.cursors(), 100)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.apply(t.Context(), long); err != nil {
				t.Fatal(err)
			}
			if err := a.apply(t.Context(), short); err != nil {
				t.Fatal(err)
			}
			if err := a.checkpoint(t.Context(), a.progress(&batch{cursors: a.cursors(), records: short, limit: 100})); err != nil {
				t.Fatal(err)
			}
			if found := gaps(t, s, l, false); found != 0 {
				t.Fatalf("%d gaps before", found)
			}
			all := projectiontest.Stored[view.Segment](t, s, "journal_1", bson.D{})
			projectiontest.ChangeSegment(t, s, all[len(all)-2].ID, bson.D{{Key: "counts.ADJUSTED", Value: int64(99)}})
			projectiontest.ChangeSegment(t, s, view.SegmentID(short[0].Shard, short[0].Pos), bson.D{{Key: "order", Value: "late"}})
			if found := gaps(t, s, l, true); found == 0 {
				t.Error("nothing is wrong")
			}
			if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
				t.Fatal(err)
			}
			projectiontest.Compare(t, s, l)
		})
	}
}

// Ensure that the journal has every movement of a product that was parked, also of the rows that
// were passed over in a page whose checkpoint was never written, whoever repairs the product.
func TestParkedProductMissesNothingInTheJournal(t *testing.T) {
	for name, next := range map[string]func(t *testing.T, s *store.Store, l *projectiontest.Log, bad uuid.UUID){
		"the next projector": func(*testing.T, *store.Store, *projectiontest.Log, uuid.UUID) {},
		"a rebuild": func(t *testing.T, s *store.Store, l *projectiontest.Log, bad uuid.UUID) {
			if err := Rebuild(t.Context(), s, l, projectiontest.Quiet, RebuildOptions{Product: bad}, nil); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := projectiontest.Open(t)
			l, ids := projectiontest.Journaled()
			p := project(t, s, l, &projectiontest.Leases{Epoch: 1})
			if err := projectiontest.Drain(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			bad := ids[0]
			row := l.Do(bad, time.Second, product.AdjustStock{Delta: 1, Reason: "counted"})[0]
			kept := &l.Shards[row.Shard][row.Pos-1]
			right := kept.Data
			kept.Data = []byte(`{"delta":"five"}`)
			projectiontest.Bustle(l, ids, 10)
			if err := projectiontest.Drain(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			projectiontest.Bustle(l, ids, 10)
			rows, err := l.Tail(t.Context(), p.live.cursors(), 100)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.live.apply(t.Context(), rows); err != nil { // and then it is gone
				t.Fatal(err)
			}
			kept.Data = right
			next(t, s, l, bad)
			if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 2})); err != nil {
				t.Fatal(err)
			}
			projectiontest.Compare(t, s, l)
			if found := gaps(t, s, l, false); found != 0 {
				t.Errorf("%d gaps", found)
			}
		})
	}
}

// gaps counts the gaps in the journal, and may repair them.
func gaps(t *testing.T, s *store.Store, l *projectiontest.Log, repair bool) (n int) {
	t.Helper()
	r, err := NewRepairer(t.Context(), s, s.Collections("1"), l, projectiontest.Quiet)
	if err != nil {
		t.Fatal(err)
	}
	for shard := range int16(eventstore.Shards) {
		c, err := r.CheckJournal(t.Context(), shard, func([]eventstore.Record) {})
		if err == nil && repair {
			err = r.Journal(t.Context(), c)
		}
		if err != nil {
			t.Fatal(err)
		}
		n += len(c.Gaps())
	}
	return n
}
