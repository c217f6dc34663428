package projectiontest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"product-service/product"
	"product-service/projection/store"
	"product-service/projection/view"
)

// Expected is the model: the whole history in memory, by no code of the projector's but the folding
// itself.
func Expected(l *Log, id uuid.UUID) (d view.Document, rows []view.Movement) {
	e := view.NewEntry(id)
	for _, r := range l.Of(id) {
		event, err := product.Decode(r.Type, r.Data)
		if err != nil {
			panic(err)
		}
		if view.Unshown[r.Type] {
			continue
		}
		m, ok, err := e.Fold(r, event)
		if err != nil {
			panic(err)
		}
		if ok {
			rows = append(rows, m)
		}
	}
	return e.Doc, rows
}

// Compare holds the documents of every product against the model.
func Compare(t rapid.TB, s *store.Store, l *Log) {
	m, err := s.LoadMeta(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	documents := map[string]view.Document{}
	for _, d := range Stored[view.Document](t, s, "products_"+m.Generation, bson.D{}) {
		documents[d.ID] = d
	}
	rows := map[string][]view.Movement{}
	for _, b := range Stored[view.Block](t, s, "movements_"+m.Generation, bson.D{}) {
		more, err := b.Rows.Movements(uuid.MustParse(b.Product))
		if err != nil {
			t.Fatal(err)
		}
		rows[b.Product] = append(rows[b.Product], more...)
	}
	for _, d := range documents {
		tail, err := d.Tail.Movements(uuid.MustParse(d.ID))
		if err != nil {
			t.Fatal(err)
		}
		rows[d.ID] = append(rows[d.ID], tail...)
	}
	compareJournal(t, s, m.Generation, rows)
	for id, state := range l.Products {
		want, wantRows := Expected(l, id)
		got := documents[id.String()]
		if state.Version == 0 {
			want = view.Document{}
		}
		want.Rev = got.Rev
		if diff := cmp.Diff(normal(want), normal(got)); diff != "" {
			t.Fatalf("product %s (-want +got):\n%s", id, diff)
		}
		if state.Version != got.Version || (state.Version > 0 && (state.StockTotal != got.Total || state.Reserved != got.Reserved)) {
			t.Fatalf("product %s: the aggregate is %+v, the document %+v", id, state, got)
		}
		gotRows := rows[id.String()]
		slices.SortFunc(gotRows, func(a, b view.Movement) int { return int(a.Pos - b.Pos) })
		if diff := cmp.Diff(wantRows, gotRows); diff != "" {
			t.Fatalf("movements of %s (-want +got):\n%s", id, diff)
		}
		checkDays(t, s, m.Generation, id, gotRows)
	}
}

// compareJournal holds the journal against the movements of each product: it has each that people
// see, once.
func compareJournal(t rapid.TB, s *store.Store, generation string, of map[string][]view.Movement) {
	var want, got []view.Movement
	for _, rows := range of {
		for _, m := range rows {
			if m.Type.Visible() {
				want = append(want, m)
			}
		}
	}
	for _, s := range Stored[view.Segment](t, s, "journal_"+generation, bson.D{}) {
		rows, err := s.Rows.Movements(uuid.Nil)
		if err != nil {
			t.Fatal(err)
		}
		counts := map[view.MovementType]int64{}
		for _, m := range rows {
			counts[m.Type]++
		}
		last := rows[len(rows)-1]
		if s.Last != last.Pos || s.Order != last.Order() || !maps.Equal(counts, s.Counts) || last.At-rows[0].At > view.SegmentSpan.Microseconds() {
			t.Fatalf("segment %s is described as %+v, and has %+v", s.ID, s, rows)
		}
		got = append(got, rows...)
	}
	for _, rows := range [][]view.Movement{want, got} {
		slices.SortFunc(rows, func(a, b view.Movement) int { return strings.Compare(a.Order(), b.Order()) })
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("journal (-want +got):\n%s", diff)
	}
}

func normal(d view.Document) view.Document {
	if len(d.Tail) == 0 {
		d.Tail = nil
	}
	if len(d.Words) == 0 {
		d.Words = nil
	}
	if len(d.Variants) == 0 {
		d.Variants = nil
	}
	return d
}

// checkDays holds the hours and the days against the movements: they chain, and sum up what moved.
// What was refused, and how long nothing was available, is held against the log by [Expected].
func checkDays(t rapid.TB, s *store.Store, generation string, id uuid.UUID, rows []view.Movement) {
	hours, days := map[int64]view.Bucket{}, map[int64]view.Bucket{}
	stored := Stored[view.Day](t, s, "days_"+generation, bson.D{{Key: "product", Value: id.String()}})
	checkMonths(t, s, generation, id, stored)
	for _, d := range stored {
		for _, h := range d.Hours {
			hours[h.Number*view.SecondsPerHour] = h.Bucket
		}
		if d.Sums != nil {
			days[d.Date.Unix()] = *d.Sums
		}
	}
	for _, d := range Stored[view.Document](t, s, "products_"+generation, store.ByID(id.String())) {
		if d.Hour.Start != 0 {
			hours[d.Hour.Start], days[d.Today.Start] = d.Hour.Bucket, d.Today.Bucket
		}
	}
	for width, got := range map[int64]map[int64]view.Bucket{view.SecondsPerHour: hours, view.SecondsPerDay: days} {
		checkSums(t, fmt.Sprintf("spans of %d s of %s", width, id), width, got, rows)
	}
}

// checkMonths holds the months against the days that they follow from.
func checkMonths(t rapid.TB, s *store.Store, generation string, id uuid.UUID, days []view.Day) {
	slices.SortFunc(days, func(a, b view.Day) int { return a.Date.Compare(b.Date) })
	got := Stored[view.Month](t, s, "months_"+generation, bson.D{{Key: "product", Value: id.String()}})
	slices.SortFunc(got, func(a, b view.Month) int { return a.Date.Compare(b.Date) })
	if diff := cmp.Diff(append([]view.Month{}, view.MonthsOf(days)...), append([]view.Month{}, got...)); diff != "" {
		t.Fatalf("months of %s (-want +got):\n%s", id, diff)
	}
}

func checkSums(t rapid.TB, what string, width int64, got map[int64]view.Bucket, rows []view.Movement) {
	type sums struct{ reserved, released, expired, adjusted, movements int64 }
	want, have := map[int64]sums{}, map[int64]sums{}
	for _, m := range rows {
		if !m.Type.Visible() {
			continue
		}
		start := m.At / 1_000_000 / width * width
		sum := want[start]
		switch m.Type {
		case view.Reserved:
			sum.reserved += m.Quantity
		case view.Released:
			sum.released += m.Quantity
		case view.Expired:
			sum.released, sum.expired = sum.released+m.Quantity, sum.expired+m.Quantity
		default:
			sum.adjusted += m.Delta
		}
		sum.movements++
		want[start] = sum
	}
	level := int64(0)
	for _, start := range slices.Sorted(maps.Keys(got)) {
		b := got[start]
		if b.Opening != level {
			t.Fatalf("%s: the one at %d opens with %d, the one before closed with %d", what, start, b.Opening, level)
		}
		if b.OutOfStock < 0 || b.OutOfStock > width || (b.Min > 0 && b.OutOfStock > 0) {
			t.Fatalf("%s: the one at %d was out of stock for %d s, with %d at least", what, start, b.OutOfStock, b.Min)
		}
		level = b.Closing
		if b.Movements > 0 {
			have[start] = sums{b.Reserved, b.Released, b.Expired, b.Adjusted, b.Movements}
		}
	}
	if diff := cmp.Diff(want, have, cmp.AllowUnexported(sums{})); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}
