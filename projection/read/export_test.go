package read

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"product-service/product"
	"product-service/projection"
	"product-service/projection/projectiontest"
	"product-service/projection/store"
)

// long is a history of one product over several pieces of a list, and of another at the same times,
// projected and complete.
func long(t *testing.T, s *store.Store) (*projectiontest.Log, uuid.UUID) {
	t.Helper()
	l, id, other := projectiontest.NewLog(), projectiontest.ID(0xaa, 1), projectiontest.ID(0xaa, 2)
	for _, id := range []uuid.UUID{id, other} {
		l.Do(id, time.Second, product.Create{Name: "P", InitialStock: 100, LowStockThreshold: 5})
	}
	for range 450 {
		l.Do(id, time.Minute, product.AdjustStock{Delta: 1, Reason: "x"})
		l.Do(other, time.Millisecond, product.AdjustStock{Delta: 1, Reason: "x"})
	}
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	projectiontest.Settle(t, s, l)
	return l, id
}

// exported is what an export gives, oldest first.
func exported(t rapid.TB, r *Reader, where MovementFilter, after MovementID, at func(n int)) []Movement {
	var got []Movement
	if err := r.Export(context.Background(), where, after, func(m *Movement) error {
		got = append(got, *m)
		at(len(got))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

// Ensure that an export goes on, without a gap and without a repetition, when a rebuild drops the
// generation that it began in.
func TestAnExportOutlivesItsGeneration(t *testing.T) {
	for _, at := range []int{3, 350} {
		s := projectiontest.Open(t)
		s.Config.ReadTimeout = 300 * time.Millisecond // rebuilds wait for readers
		l, id := long(t, s)
		s.Server.Indexes = true // pieces as there are where indexes are used
		for _, where := range []MovementFilter{{}, {ProductID: id}} {
			want := wantedMovements(l, where)
			slices.Reverse(want)
			got := exported(t, NewReader(s, nil), where, MovementID{}, func(n int) {
				if n != at {
					return
				}
				if err := projection.Rebuild(t.Context(), s, l, projectiontest.Quiet, projection.RebuildOptions{}, nil); err != nil {
					t.Fatal(err)
				}
				m, err := s.LoadMeta(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				projectiontest.SettleIn(t, s, l, m.Generation)
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("a rebuild at row %d of %v: %d rows of %d; (-want +got):\n%.2000s", at, where.ProductID, len(got), len(want), diff)
			}
		}
	}
}

// Ensure that an export whose movements are gone, and that no other generation has, fails rather than ends.
func TestAnExportOfWhatIsGoneFails(t *testing.T) {
	s := projectiontest.Open(t)
	_, id := long(t, s)
	s.Server.Indexes = true
	n := 0
	err := NewReader(s, nil).Export(t.Context(), MovementFilter{ProductID: id}, MovementID{}, func(*Movement) error {
		if n++; n == 3 {
			projectiontest.SetMeta(t, s, bson.D{{Key: "generation", Value: "2"}})
			lock := s.NewRebuildLock("2")
			return s.DropOthers(t.Context(), &lock, "2")
		}
		return nil
	})
	if err == nil {
		t.Errorf("it ended well after %d rows", n)
	}
}

// Ensure that who goes away ends the export.
func TestAnExportEndsWithItsReader(t *testing.T) {
	s := projectiontest.Open(t)
	_, id := long(t, s)
	for _, where := range []MovementFilter{{}, {ProductID: id}} {
		ctx, leave := context.WithCancel(t.Context())
		n := 0
		err := NewReader(s, nil).Export(ctx, where, MovementID{}, func(*Movement) error {
			if n++; n == 10 {
				leave()
			}
			return ctx.Err()
		})
		if leave(); n != 10 || !errors.Is(err, context.Canceled) {
			t.Errorf("%d rows, %v", n, err)
		}
	}
}

// Ensure that an export of any history is the movements, that those are the events, and that it
// goes on after any of them.
func TestAnExportIsTheMovements(t *testing.T) {
	s := projectiontest.Open(t)
	rapid.Check(t, func(t *rapid.T) {
		l, r := projected(t, s, 3, rapid.IntRange(1, 80).Draw(t, "commands"))
		var where MovementFilter
		if rapid.Bool().Draw(t, "one product") {
			where.ProductID = projectiontest.ID(0xaa, rapid.IntRange(0, 2).Draw(t, "which"))
		}
		if rapid.Bool().Draw(t, "from") {
			where.From = new(moment(t, l))
		}
		if rapid.Bool().Draw(t, "to") {
			where.To = new(moment(t, l))
		}
		want := wantedMovements(l, where)
		listed := pages(t, 7, false, func(page Range) (Page[Movement], error) { return r.Movements(context.Background(), where, page) })
		slices.Reverse(want)
		slices.Reverse(listed)
		got := exported(t, r, where, MovementID{}, func(int) {})
		if len(want)+len(got)+len(listed) == 0 {
			return
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("export (-events +got):\n%s", diff)
		}
		if diff := cmp.Diff(listed, got); diff != "" {
			t.Fatalf("export (-movements +got):\n%s", diff)
		}
		n := rapid.IntRange(0, len(want)-1).Draw(t, "after")
		rest := exported(t, r, where, MovementID{want[n].ProductID, want[n].Version}, func(int) {})
		if diff := cmp.Diff(append([]Movement{}, want[n+1:]...), append([]Movement{}, rest...)); diff != "" {
			t.Fatalf("after row %d (-want +got):\n%s", n, diff)
		}
	})
}

// Ensure that only a movement of the list can be gone on after, and that times beyond those an
// order has room for bound a list as any do.
func TestTheEdgesOfAnExport(t *testing.T) {
	s := projectiontest.Open(t)
	l := projectiontest.Stocked(t, 2)
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	projectiontest.Settle(t, s, l)
	r := NewReader(s, nil)
	one, other, far := projectiontest.ID(0xaa, 0), projectiontest.ID(0xaa, 1), time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, after := range map[string]MovementID{"another product's": {other, 3}, "one that isn't there": {one, 99}, "none": {one, 0}} {
		err := r.Export(t.Context(), MovementFilter{ProductID: one}, after, func(*Movement) error { return nil })
		if !errors.Is(err, ErrBadRange) {
			t.Errorf("after %s: %v", name, err)
		}
	}
	for _, id := range []uuid.UUID{uuid.Nil, one} {
		all, err := r.Movements(t.Context(), MovementFilter{ProductID: id}, Range{First: MaxNodes})
		if err != nil || len(all.Edges) == 0 {
			t.Fatal(len(all.Edges), err)
		}
		until, err1 := r.Movements(t.Context(), MovementFilter{ProductID: id, To: &far}, Range{First: MaxNodes, Count: true})
		since, err2 := r.Movements(t.Context(), MovementFilter{ProductID: id, From: &far}, Range{First: MaxNodes, Count: true})
		if err := errors.Join(err1, err2); err != nil || until.Total != int64(len(all.Edges)) || len(until.Edges) != len(all.Edges) || len(since.Edges) > 0 || since.Total > 0 {
			t.Errorf("product %s: %d and %d of %d up to 2300, %d and %d since; %v", id, len(until.Edges), until.Total, len(all.Edges), len(since.Edges), since.Total, err)
		}
	}
}
