package view_test

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"product-service/eventstore"
	"product-service/product"
	"product-service/projection/projectiontest"
	"product-service/projection/view"
)

// folded is a product's part of a log, folded: the entry, and the movements that its rows made.
func folded(t rapid.TB, rows []eventstore.Record) (*view.Entry, []view.Movement) {
	t.Helper()
	e := view.NewEntry(rows[0].ProductID)
	var movements []view.Movement
	for _, r := range rows {
		event, err := product.Decode(r.Type, r.Data)
		if err != nil {
			t.Fatal(err)
		}
		if view.Unshown[r.Type] {
			continue
		}
		m, ok, err := e.Fold(r, event)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			movements = append(movements, m)
		}
	}
	return e, movements
}

// history is a random history of one product, and the aggregate that it comes to.
func history(t *rapid.T) ([]eventstore.Record, product.Product) {
	l := projectiontest.NewLog()
	projectiontest.History(t, l, 1, rapid.IntRange(1, 120).Draw(t, "commands"))
	id := projectiontest.ID(0xaa, 0)
	return l.Of(id), l.Products[id]
}

// Ensure that a document has what the aggregate has, and what follows from it.
func TestADocumentIsTheAggregate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows, p := history(t)
		if len(rows) == 0 {
			return
		}
		e, _ := folded(t, rows)
		d := e.Doc
		if p.Version == 0 {
			if d.Version != 0 {
				t.Fatalf("no event came to %+v", d)
			}
			return
		}
		if d.Version != p.Version || d.Total != p.StockTotal || d.Reserved != p.Reserved || d.Threshold != p.LowStockThreshold || (d.Status == view.Active) != p.Exists() {
			t.Fatalf("the aggregate is %+v, the document %+v", p, d)
		}
		orderable := d.Available > 0 && slices.ContainsFunc(d.Variants, func(v view.Variant) bool { return v.Orderable && !v.Hidden })
		if d.Available != d.Total-d.Reserved || d.StockStatus != string(product.StatusOf(d.Available, d.Threshold)) || d.Orderable != orderable {
			t.Fatalf("it isn't what follows from it: %+v", d)
		}
	})
}

// Ensure that a product's blocks and its tail are its movements, in order, and that each block is full.
func TestBlocksAndTailAreTheMovements(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows, _ := history(t)
		if len(rows) == 0 {
			return
		}
		e, want := folded(t, rows)
		var got []view.Movement
		for _, b := range e.Blocks {
			in, err := b.Rows.Movements(rows[0].ProductID)
			if err != nil {
				t.Fatal(err)
			}
			if cancelled := in[0].Type == view.Cancelled; (cancelled && len(in) != 1) || (!cancelled && len(in) != view.BlockSize) {
				t.Fatalf("block %s has %d movements", b.ID, len(in))
			}
			got = append(got, in...)
		}
		tail, err := e.Doc.Tail.Movements(rows[0].ProductID)
		if err != nil {
			t.Fatal(err)
		}
		if len(tail) >= view.BlockSize {
			t.Fatalf("the tail has %d movements", len(tail))
		}
		got = append(got, tail...)
		slices.SortFunc(got, func(a, b view.Movement) int { return int(a.Pos - b.Pos) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-folded +kept)\n%s", diff)
		}
	})
}

// Ensure that hours follow on each other, and that all of them together have moved what is available.
func TestHoursFollowOnEachOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows, _ := history(t)
		if len(rows) == 0 {
			return
		}
		e, _ := folded(t, rows)
		level, last := int64(0), int64(-1)
		for _, h := range hoursOf(e) {
			if h.Opening != level || h.Number <= last || h.Opening+h.Adjusted+h.Released-h.Reserved != h.Closing || h.Min > min(h.Opening, h.Closing) || h.Max < max(h.Opening, h.Closing) {
				t.Fatalf("behind hour %d, which closed with %d, comes %+v", last, level, h)
			}
			level, last = h.Closing, h.Number
		}
		if e.Doc.Status == view.Active && level != e.Doc.Available {
			t.Fatalf("the hours close with %d, available is %d", level, e.Doc.Available)
		}
	})
}

// hoursOf are the hours of a product in which something happened, in order.
func hoursOf(e *view.Entry) (hours []view.Hour) {
	for _, d := range e.Days {
		for _, key := range slices.Sorted(maps.Keys(d.Hours)) {
			hours = append(hours, d.Hours[key])
		}
	}
	if h := e.Doc.Hour; h.Start != 0 {
		hours = append(hours, view.Hour{Bucket: h.Bucket, Number: h.Start / view.SecondsPerHour})
	}
	return hours
}

// Ensure that the journal's segments are the movements, are within their bounds, and are described
// as they are.
func TestSegmentsAreTheMovements(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows, _ := history(t)
		if len(rows) == 0 {
			return
		}
		_, movements := folded(t, rows)
		var want, got []view.Movement
		var journal view.Segments
		for i := range movements {
			if movements[i].Type.Visible() {
				want = append(want, movements[i])
				journal.Add(&movements[i])
			}
		}
		for _, s := range journal {
			in, err := s.Movements()
			if err != nil {
				t.Fatal(err)
			}
			if span := in[len(in)-1].At - in[0].At; len(in) > view.SegmentRows || span > view.SegmentSpan.Microseconds() {
				t.Fatalf("segment %s has %d movements of %d µs", s.ID, len(in), span)
			}
			got = append(got, in...)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-movements +segments)\n%s", diff)
		}
	})
}

// Ensure that runs are merged in order, either way, with nothing lost.
func TestMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ascending := rapid.Bool().Draw(t, "ascending")
		order := func(a, b view.Movement) int {
			if c := strings.Compare(a.Order(), b.Order()); ascending {
				return c
			} else {
				return -c
			}
		}
		merge := view.NewMerge(ascending)
		var want []view.Movement
		for n := range rapid.IntRange(0, 5).Draw(t, "runs") {
			var run []view.Movement
			for range rapid.IntRange(1, 20).Draw(t, "movements") {
				run = append(run, view.Movement{Product: projectiontest.ID(0xaa, n), Pos: rapid.Int64Range(1, 100).Draw(t, "pos"), At: rapid.Int64Range(0, 9).Draw(t, "at")})
			}
			slices.SortFunc(run, order)
			want = append(want, run...)
			merge.Add(run)
		}
		slices.SortStableFunc(want, order)
		var got []view.Movement
		for next := merge.Peek(); next != nil; next = merge.Peek() {
			if first := *next; first != merge.Next() {
				t.Fatal("the next movement isn't the one that was looked at")
			} else {
				got = append(got, first)
			}
		}
		if !slices.EqualFunc(want, got, func(a, b view.Movement) bool { return order(a, b) == 0 }) {
			t.Fatalf("want %+v, got %+v", want, got)
		}
	})
}

// Ensure that the latest event of the Inventory Service counts, whatever order they come in, and
// that a clock that runs ahead doesn't win for good.
func TestTheLatestInventoryEventCounts(t *testing.T) {
	l, id, variant := projectiontest.NewLog(), projectiontest.ID(0xaa, 0), projectiontest.ID(0xbb, 0)
	l.Do(id, 0, product.Create{Name: "P", InitialStock: 5, Variants: []product.Variant{{ID: variant, SKU: "s", Name: "V"}}})
	l.Do(id, time.Second, product.NoteInventoryRecord{VariantID: variant})
	note := func(kind string, at time.Time) {
		l.Do(id, time.Second, product.NoteInventoryChange{VariantID: variant, Type: kind, Timestamp: at})
	}
	is := func(when string, orderable bool) {
		t.Helper()
		if e, _ := folded(t, l.Of(id)); e.Doc.Orderable != orderable {
			t.Errorf("%s it is orderable: %v", when, e.Doc.Orderable)
		}
	}
	is("with a record", true)
	note("InventoryOutOfStockEvent", l.Clock)
	is("out of stock", false)
	note("InventoryBackInStockEvent", l.Clock.Add(-time.Hour))
	is("after an older event", false)
	note("InventoryOutOfStockEvent", l.Clock.Add(24*time.Hour))
	note("InventoryBackInStockEvent", l.Clock.Add(2*time.Second))
	is("after an event of tomorrow", true)
}

// Ensure that ids which count up, or which begin with the same time, are told apart in the index of
// reservations.
func TestShortenedIDsTakeInAllOfThem(t *testing.T) {
	seen := map[int64]bool{}
	for n := range uint64(100) {
		low, high := projectiontest.ID(0xcc, 0), projectiontest.ID(0xcc, 0)
		binary.BigEndian.PutUint64(low[8:], n+1)
		binary.BigEndian.PutUint64(high[:8], n<<40)
		seen[view.Shortened(low)], seen[view.Shortened(high)] = true, true
	}
	if len(seen) != 200 {
		t.Errorf("200 ids have %d short forms", len(seen))
	}
}

// BenchmarkFold measures the part of projecting that is this process's own: decoding, folding and encoding.
func BenchmarkFold(b *testing.B) {
	l := projectiontest.Busy(b, 1, 1000)
	rows := l.Of(projectiontest.ID(0xaa, 0))
	b.ReportAllocs()
	for b.Loop() {
		e := view.NewEntry(projectiontest.ID(0xaa, 0))
		for _, r := range rows {
			event, err := product.Decode(r.Type, r.Data)
			if err != nil {
				b.Fatal(err)
			}
			if _, _, err := e.Fold(r, event); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(rows)), "ns/event")
}
