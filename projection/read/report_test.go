package read

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"product-service/product"
	"product-service/projection/projectiontest"
)

// wantedReport is the report as the timelines of its products add up to, in no order, and the names they are ordered by.
func wantedReport(t *rapid.T, l *projectiontest.Log, r *Reader, products int, where ReportFilter) (rows []ReportRow, names map[uuid.UUID]string) {
	names = map[uuid.UUID]string{}
	for n := range products {
		id := projectiontest.ID(0xaa, n)
		movements := wantedMovements(l, MovementFilter{ProductID: id})
		if len(movements) == 0 || (where.ProductIDs != nil && !slices.Contains(where.ProductIDs, id)) {
			continue
		}
		buckets, err := r.Timeline(context.Background(), id, where.From, where.To, Daily)
		if err != nil {
			t.Fatal(err)
		}
		born := movements[len(movements)-1].OccurredAt.Truncate(24 * time.Hour)
		buckets = slices.DeleteFunc(buckets, func(b Bucket) bool { return b.Start.Before(born) || b.Start.After(r.now()) })
		if len(buckets) == 0 {
			continue
		}
		sum := buckets[0]
		for _, b := range buckets[1:] {
			sum.End, sum.Closing, sum.Min, sum.Max = b.End, b.Closing, min(sum.Min, b.Min), max(sum.Max, b.Max)
			sum.ReservedQuantity += b.ReservedQuantity
			sum.ReleasedQuantity += b.ReleasedQuantity
			sum.ExpiredQuantity += b.ExpiredQuantity
			sum.AdjustedQuantity += b.AdjustedQuantity
			sum.RefusedQuantity += b.RefusedQuantity
			sum.Refusals += b.Refusals
			sum.OutOfStockSeconds += b.OutOfStockSeconds
			sum.Movements += b.Movements
		}
		rows = append(rows, ReportRow{Bucket: sum, ProductID: id})
		p, ok, err := r.Product(context.Background(), id)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		names[id] = product.SortKey(p.Name)
	}
	return rows, names
}

// figureOf is what a report is ordered by.
func figureOf(b Bucket, field ReportField) int64 {
	return map[ReportField]int64{
		ReportRefused: b.RefusedQuantity, ReportReserved: b.ReservedQuantity, ReportReleased: b.ReleasedQuantity, ReportExpired: b.ExpiredQuantity,
		ReportOutOfStockTime: b.OutOfStockSeconds, ReportMovements: b.Movements,
	}[field]
}

// Ensure that a report over any span of any history is the sum of the timelines, in every order, page by page and either way.
func TestAReportIsTheSumOfTheTimelines(t *testing.T) {
	s := projectiontest.Open(t)
	rapid.Check(t, func(t *rapid.T) {
		const products = 6
		l, r := projected(t, s, products, rapid.IntRange(1, 80).Draw(t, "commands"))
		now := r.now()
		r.now = func() time.Time { return now }
		where := ReportFilter{From: moment(t, l)}
		where.To = where.From.Add(time.Duration(rapid.Int64Range(1, int64(40*24*time.Hour)).Draw(t, "long"))).Truncate(time.Microsecond).Add(time.Microsecond)
		if rapid.Bool().Draw(t, "some") {
			where.ProductIDs = []uuid.UUID{projectiontest.ID(0xaa, rapid.IntRange(0, products).Draw(t, "one")), projectiontest.ID(0xaa, 1)}
		}
		fields := []ReportField{ReportRefused, ReportReserved, ReportReleased, ReportExpired, ReportOutOfStockTime, ReportMovements, ReportName}
		order := ReportOrder{rapid.SampledFrom(fields).Draw(t, "field"), rapid.Bool().Draw(t, "descending")}
		want, names := wantedReport(t, l, r, products, where)
		slices.SortFunc(want, func(a, b ReportRow) int {
			c := cmp.Compare(figureOf(a.Bucket, order.Field), figureOf(b.Bucket, order.Field))
			if order.Field == ReportName {
				c = cmp.Compare(names[a.ProductID], names[b.ProductID])
			}
			if c = cmp.Or(c, cmp.Compare(a.ProductID.String(), b.ProductID.String())); order.Descending {
				return -c
			}
			return c
		})
		size, backward := rapid.IntRange(1, 8).Draw(t, "size"), rapid.Bool().Draw(t, "backward")
		got := pages(t, size, backward, func(page Range) (Page[ReportRow], error) {
			page.Count = true
			p, err := r.Report(context.Background(), where, order, page)
			if err == nil && p.Total != int64(len(want)) {
				t.Fatalf("the report of %d rows counts %d", len(want), p.Total)
			}
			return p, err
		})
		if diff := gocmp.Diff(append([]ReportRow{}, want...), append([]ReportRow{}, got...)); diff != "" {
			t.Fatalf("report of %+v by %+v (-want +got):\n%s", where, order, diff)
		}
	})
}

// Ensure that a cursor stays where it is: rows that are equal in the report's figure follow each other without a gap or a repetition, also when
// the figures of those before it, of its own row and of others change between the pages.
func TestACursorOfAReportOutlivesChanges(t *testing.T) {
	s, l := projectiontest.Open(t), projectiontest.NewLog()
	const products = 7
	for n := range products {
		l.Do(projectiontest.ID(0xaa, n), time.Second, product.Create{Name: "P", InitialStock: 100})
		l.Do(projectiontest.ID(0xaa, n), time.Second, product.Reserve{ReservationID: projectiontest.ID(0xcc, n), Quantity: 5})
	}
	p := project(t, s, l, &projectiontest.Leases{Epoch: 1})
	r, where := NewReader(s, nil), ReportFilter{From: l.Clock.Add(-24 * time.Hour), To: l.Clock.Add(24 * time.Hour)}
	page := func(after string) Page[ReportRow] {
		t.Helper()
		if err := projectiontest.Drain(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		got, err := r.Report(t.Context(), where, ReportOrder{ReportReserved, true}, Range{First: 2, After: after})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	check := func(got Page[ReportRow], more bool, want ...int) {
		t.Helper()
		var ids, wanted []uuid.UUID
		for _, e := range got.Edges {
			ids = append(ids, e.Node.ProductID)
		}
		for _, n := range want {
			wanted = append(wanted, projectiontest.ID(0xaa, n))
		}
		if !slices.Equal(ids, wanted) || got.HasNext != more {
			t.Fatalf("the page has %v (more: %v), want %v", ids, got.HasNext, wanted)
		}
	}
	first := page("")
	check(first, true, 6, 5)
	for i, n := range []int{6, 5, 1} { // 1 moves ahead of the cursor, the others are ahead of it
		l.Do(projectiontest.ID(0xaa, n), time.Second, product.Reserve{ReservationID: projectiontest.ID(0xcd, i), Quantity: 1})
	}
	second := page(first.Edges[1].Cursor)
	check(second, true, 4, 3)
	check(page(second.Edges[1].Cursor), false, 2, 0)
	check(page(""), true, 6, 5)
}

func TestWrongReports(t *testing.T) {
	r := NewReader(projectiontest.Open(t), nil)
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	month, day := ReportFilter{From: from, To: from.AddDate(0, 1, 0)}, Range{First: 1}
	for name, c := range map[string]struct {
		where ReportFilter
		order ReportOrder
		page  Range
		want  error
	}{
		"no span":                {ReportFilter{From: from, To: from}, ReportOrder{}, day, ErrBadRange},
		"too long":               {ReportFilter{From: from, To: from.AddDate(0, 0, MaxDays).Add(time.Microsecond)}, ReportOrder{}, day, ErrBadRange},
		"another order":          {month, ReportOrder{Field: "SIZE"}, day, ErrBadRange},
		"no page":                {month, ReportOrder{}, Range{}, ErrBadRange},
		"no cursor":              {month, ReportOrder{}, Range{First: 1, After: "x"}, ErrBadCursor},
		"another order's cursor": {month, ReportOrder{}, Range{First: 1, After: cursor("report NAME", "0", "", "x")}, ErrBadCursor},
		"too many products":      {ReportFilter{From: month.From, To: month.To, ProductIDs: make([]uuid.UUID, MaxIDs+1)}, ReportOrder{}, day, ErrTooMany},
	} {
		if _, err := r.Report(t.Context(), c.where, c.order, c.page); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p, err := r.Report(t.Context(), month, ReportOrder{}, Range{First: 1, Count: true}); err != nil || len(p.Edges) != 0 || p.Total != 0 {
		t.Errorf("without products: %+v, %v", p, err)
	}
}
