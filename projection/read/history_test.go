package read

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/product"
	"product-service/projection/projectiontest"
	"product-service/projection/store"
)

// Ensure that a timeline that is read between the write of ended hours and that of the product
// shows one moment: the product's.
func TestATimelineIsOfOneMoment(t *testing.T) {
	s := projectiontest.Open(t)
	l, id := projectiontest.NewLog(), projectiontest.ID(0xaa, 1)
	l.Clock = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	from := l.Clock
	l.Do(id, time.Second, product.Create{Name: "P", InitialStock: 100})
	p := project(t, s, l, &projectiontest.Leases{Epoch: 1})
	if err := projectiontest.Drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	before, ok, err := NewReader(s, nil).document(t.Context(), s.Collections("1"), id, withTail)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	for _, delta := range []int64{7, 20, 300} { // in the hour that the product knows, and in two that follow
		l.Do(id, time.Hour-time.Minute, product.AdjustStock{Delta: delta, Reason: "x"})
	}
	if err := projectiontest.Drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collections("1").Products.ReplaceOne(t.Context(), bson.D{{Key: "_id", Value: before.ID}}, before); err != nil {
		t.Fatal(err)
	}
	buckets, err := NewReader(s, nil).Timeline(t.Context(), id, from, from.Add(5*time.Hour), Hourly)
	if err != nil || len(buckets) != 5 {
		t.Fatal(len(buckets), err)
	}
	for i, b := range buckets {
		if moved := b.Movements; b.Closing != 100 || (i == 0) != (moved == 1) || b.Opening+b.AdjustedQuantity != b.Closing {
			t.Errorf("bucket %d is %+v", i, b)
		}
	}
}

// Ensure that how long a timeline may be is the time from its beginning to its end, wherever in a
// bucket they are.
func TestTheLongestTimeline(t *testing.T) {
	s := projectiontest.Open(t)
	l, id := projectiontest.Stocked(t, 1), projectiontest.ID(0xaa, 0)
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	r := NewReader(s, nil)
	for _, c := range []struct {
		every   Interval
		from    time.Time
		most    time.Duration
		buckets int
	}{
		{Hourly, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), MaxHours * time.Hour, MaxHours},
		{Hourly, time.Date(2026, 1, 1, 0, 30, 0, 0, time.UTC), MaxHours * time.Hour, MaxHours + 1},
		{Daily, time.Date(2020, 1, 1, 23, 0, 0, 0, time.UTC), MaxDays * 24 * time.Hour, MaxDays + 1},
	} {
		buckets, err := r.Timeline(t.Context(), id, c.from, c.from.Add(c.most), c.every)
		if err != nil || len(buckets) != c.buckets {
			t.Errorf("%s from %s: %d buckets, %v", c.every, c.from, len(buckets), err)
		}
		if _, err := r.Timeline(t.Context(), id, c.from, c.from.Add(c.most+time.Microsecond), c.every); !errors.Is(err, ErrBadRange) {
			t.Errorf("%s from %s, too long: %v", c.every, c.from, err)
		}
	}
}

// Ensure that an inventory event, which makes no version, leaves the time that the stock is as of.
func TestStockIsAsOfItsVersion(t *testing.T) {
	s := projectiontest.Open(t)
	l, id := projectiontest.Stocked(t, 1), projectiontest.ID(0xaa, 0)
	last := l.Clock
	l.Do(id, time.Hour, product.NoteInventoryChange{VariantID: projectiontest.ID(0xbb, 0), Type: "InventoryLowStockEvent", Timestamp: l.Clock})
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	r := NewReader(s, nil)
	p, ok, err := r.Product(t.Context(), id)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	at, ok, err := r.StockAt(t.Context(), id, l.Clock)
	if err != nil || !ok || p.Stock() != at || p.AsOf.Sub(last).Abs() >= time.Microsecond {
		t.Errorf("the stock is %+v, at the same time %+v (%v, %v); the last event was at %s", p.Stock(), at, ok, err, last)
	}
	if !p.UpdatedAt.After(p.AsOf) {
		t.Errorf("updated at %s, as of %s", p.UpdatedAt, p.AsOf)
	}
}

// Ensure that searches are bounded.
func TestTheLongestSearch(t *testing.T) {
	r := NewReader(projectiontest.Open(t), nil)
	for search, fits := range map[string]bool{
		strings.Repeat("é", MaxSearch): true, strings.Repeat("é", MaxSearch+1): false,
		"a b c d e f g h i j a b": true, "a b c d e f g h i j k": false,
	} {
		if _, err := r.Products(t.Context(), ProductFilter{Search: search}, ProductOrder{}, Range{First: 1}); (err == nil) != fits || (err != nil && !errors.Is(err, ErrBadRange)) {
			t.Errorf("%.30s…: %v", search, err)
		}
	}
}

// Ensure that histories in blocks of 16, as up to shape 6, are read like those of today's: whole,
// in parts, and at any time.
func TestHistoryInBlocksOfAnOlderShape(t *testing.T) {
	s, l := projectiontest.Open(t), projectiontest.NewLog()
	id := projectiontest.ID(0xaa, 0)
	l.Do(id, 0, product.Create{Name: "P", InitialStock: 100})
	for range 4*16 + 12 {
		l.Do(id, time.Minute, product.AdjustStock{Delta: 1, Reason: "counted"})
	}
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	history := func(s *store.Store) (all []Movement, levels []int64) {
		r := NewReader(s, nil)
		page := Range{First: 7}
		for {
			c, err := r.Movements(t.Context(), MovementFilter{ProductID: id}, page)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range c.Edges {
				all = append(all, e.Node)
			}
			if !c.HasNext {
				break
			}
			page.After = c.Edges[len(c.Edges)-1].Cursor
		}
		for _, m := range all {
			stock, _, err := r.StockAt(t.Context(), id, m.OccurredAt)
			if err != nil {
				t.Fatal(err)
			}
			levels = append(levels, stock.Total)
		}
		return all, levels
	}
	want, wantLevels := history(s)
	projectiontest.JoinBlocks(t, s)
	projectiontest.SetMeta(t, s, bson.D{{Key: "schema", Value: 6}})
	got, gotLevels := history(projectiontest.Another(t, s))
	if len(want) != 77 || !slices.Equal(want, got) || !slices.Equal(wantLevels, gotLevels) {
		t.Errorf("%d movements are read as %d, %v as %v", len(want), len(got), wantLevels, gotLevels)
	}
}
