package read

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"product-service/eventstore"
	"product-service/product"
	"product-service/projection/projectiontest"
	"product-service/projection/store"
	"product-service/projection/view"
)

// projected is a random history, projected, with a reader of it.
func projected(t *rapid.T, s *store.Store, products, commands int) (*projectiontest.Log, *Reader) {
	projectiontest.Begin(t, s)
	l := projectiontest.NewLog()
	projectiontest.History(t, l, products, commands)
	p := project(t, s, l, &projectiontest.Leases{Epoch: 1})
	if err := projectiontest.Drain(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	projectiontest.Settle(t, s, l)
	return l, NewReader(s, func(context.Context) string { return "test" })
}

// pages reads a whole list page by page, from the start or from the end, and checks what every page
// says of its neighbours.
func pages[T any](t *rapid.T, size int, backward bool, read func(Range) (Page[T], error)) []T {
	var all []T
	at := ""
	for {
		r := Range{First: size, After: at}
		if backward {
			r = Range{Last: size, Before: at}
		}
		p, err := read(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Edges) > size {
			t.Fatalf("a page of %d has %d nodes", size, len(p.Edges))
		}
		nodes := make([]T, len(p.Edges))
		for i, e := range p.Edges {
			nodes[i] = e.Node
		}
		if backward {
			all = append(nodes, all...)
			if p.HasNext != (at != "") {
				t.Fatalf("HasNext is %v behind cursor %q", p.HasNext, at)
			}
			if !p.HasPrevious {
				return all
			}
			at = p.Edges[0].Cursor
			continue
		}
		all = append(all, nodes...)
		if p.HasPrevious != (at != "") {
			t.Fatalf("HasPrevious is %v behind cursor %q", p.HasPrevious, at)
		}
		if !p.HasNext {
			return all
		}
		at = p.Edges[len(p.Edges)-1].Cursor
	}
}

// Ensure that the pages of movements, read either way, are the events in order, by product and over
// all, filtered or not.
func TestMovementPages(t *testing.T) {
	s := projectiontest.Open(t)
	rapid.Check(t, func(t *rapid.T) {
		l, r := projected(t, s, 3, rapid.IntRange(1, 60).Draw(t, "commands"))
		where := MovementFilter{Types: rapid.SliceOfNDistinct(rapid.SampledFrom(view.MovementTypes), 0, 3, rapid.ID).Draw(t, "types")}
		if rapid.Bool().Draw(t, "one product") {
			where.ProductID = projectiontest.ID(0xaa, rapid.IntRange(0, 3).Draw(t, "which"))
		}
		if rapid.Bool().Draw(t, "from") {
			where.From = new(moment(t, l))
		}
		if rapid.Bool().Draw(t, "to") {
			where.To = new(moment(t, l))
		}
		want := wantedMovements(l, where)
		size, backward := rapid.IntRange(1, 20).Draw(t, "size"), rapid.Bool().Draw(t, "backward")
		got := pages(t, size, backward, func(page Range) (Page[Movement], error) { return r.Movements(t.Context(), where, page) })
		if diff := cmp.Diff(want, got, cmp.Transformer("empty", func(m []Movement) []Movement { return append([]Movement{}, m...) })); diff != "" && len(want)+len(got) > 0 {
			t.Fatalf("movements (-want +got):\n%s", diff)
		}
		counted, err := r.Movements(t.Context(), where, Range{First: 1, Count: true})
		if err != nil || counted.Total != int64(len(want)) {
			t.Fatalf("the list of %d counts %d, error %v", len(want), counted.Total, err)
		}
		for _, m := range want {
			if one, ok, err := r.Movement(t.Context(), m.ProductID, m.Version); err != nil || !ok || one != m {
				t.Fatalf("movement %+v is %+v, %v, %v", m, one, ok, err)
			}
		}
	})
}

// moment is an instant at, just before, just after or between events.
func moment(t *rapid.T, l *projectiontest.Log) time.Time {
	var times []time.Time
	for _, rows := range l.Shards {
		for _, r := range rows {
			times = append(times, r.At)
		}
	}
	if len(times) == 0 {
		return l.Clock
	}
	at := times[rapid.IntRange(0, len(times)-1).Draw(t, "event")]
	return at.Add(time.Duration(rapid.SampledFrom([]int64{-3600e6, -1, 0, 1, 500, 1800e6}).Draw(t, "off")) * time.Microsecond)
}

// wantedMovements is the list by the model. Within an instant the order over all products is that
// of shards and positions.
func wantedMovements(l *projectiontest.Log, where MovementFilter) []Movement {
	type placed struct {
		Movement
		order string
	}
	var all []placed
	for id, state := range l.Products {
		if !state.Exists() || (where.ProductID != uuid.Nil && where.ProductID != id) {
			continue
		}
		_, rows := projectiontest.Expected(l, id)
		for _, m := range rows {
			shown := movementOf(&m)
			if !m.Type.Visible() || (len(where.Types) > 0 && !slices.Contains(where.Types, m.Type)) ||
				(where.From != nil && shown.OccurredAt.Before(*where.From)) || (where.To != nil && !shown.OccurredAt.Before(*where.To)) {
				continue
			}
			all = append(all, placed{shown, m.Order()})
		}
	}
	slices.SortFunc(all, func(a, b placed) int { return strings.Compare(b.order, a.order) })
	movements := make([]Movement, len(all))
	for i := range all {
		movements[i] = all[i].Movement
	}
	return movements
}

// Ensure that the stock at any instant is what the events up to then add up to, and that timelines
// chain and sum up the movements.
func TestHistoryIsTheFold(t *testing.T) {
	s := projectiontest.Open(t)
	rapid.Check(t, func(t *rapid.T) {
		l, r := projected(t, s, 2, rapid.IntRange(1, 150).Draw(t, "commands"))
		for range 4 {
			id, at := projectiontest.ID(0xaa, rapid.IntRange(0, 2).Draw(t, "product")), moment(t, l)
			want, exists := foldAt(l, id, at)
			got, ok, err := r.StockAt(t.Context(), id, at)
			if err != nil || ok != exists || (ok && (got.Total != want.StockTotal || got.Reserved != want.Reserved || got.Version != want.Version)) {
				t.Fatalf("stock of %s at %s: want %+v (%v), got %+v (%v, %v)", id, at, want, exists, got, ok, err)
			}
		}
		id := projectiontest.ID(0xaa, 0)
		from, to := moment(t, l), moment(t, l)
		if to.Before(from) {
			from, to = to, from
		}
		every := rapid.SampledFrom([]Interval{Hourly, Daily}).Draw(t, "interval")
		if to = to.Add(time.Hour); to.Sub(from) > MaxHours*time.Hour {
			to = from.Add(MaxHours * time.Hour / 2)
		}
		checkTimeline(t, l, r, id, from, to, every)
	})
}

// foldAt is a product's state at an instant, by the rules; an unconfirmed product isn't there.
func foldAt(l *projectiontest.Log, id uuid.UUID, at time.Time) (product.Product, bool) {
	var p product.Product
	began := false
	for _, r := range l.Of(id) {
		if r.At.After(at) {
			break
		}
		e, err := product.Decode(r.Type, r.Data)
		if err != nil {
			panic(err)
		}
		p = p.Apply(e)
		began = p.Exists()
	}
	return p, began && l.Products[id].Exists()
}

func checkTimeline(t *rapid.T, l *projectiontest.Log, r *Reader, id uuid.UUID, from, to time.Time, every Interval) {
	buckets, err := r.Timeline(t.Context(), id, from, to, every)
	if err != nil {
		t.Fatal(err)
	}
	if !l.Products[id].Exists() {
		if buckets != nil {
			t.Fatalf("a product that isn't there has %d buckets", len(buckets))
		}
		return
	}
	if len(buckets) == 0 || buckets[0].Start.After(from) || buckets[len(buckets)-1].End.Before(to) {
		t.Fatalf("%d buckets don't span %s to %s", len(buckets), from, to)
	}
	movements := wantedMovements(l, MovementFilter{ProductID: id})
	slices.Reverse(movements)
	level := int64(0)
	for len(movements) > 0 && movements[0].OccurredAt.Before(buckets[0].Start) {
		level, movements = movements[0].Available(), movements[1:]
	}
	for i, b := range buckets {
		want := Bucket{Start: b.Start, End: b.End, Opening: level, Closing: level, Min: level, Max: level}
		if i > 0 && !b.Start.Equal(buckets[i-1].End) {
			t.Fatalf("a gap before %s", b.Start)
		}
		for len(movements) > 0 && movements[0].OccurredAt.Before(b.End) {
			m := movements[0]
			level, movements = m.Available(), movements[1:]
			want.Closing, want.Min, want.Max, want.Movements = level, min(want.Min, level), max(want.Max, level), want.Movements+1
			switch m.Type {
			case view.Reserved:
				want.ReservedQuantity += m.Quantity
			case view.Expired:
				want.ExpiredQuantity += m.Quantity
				want.ReleasedQuantity += m.Quantity
			case view.Released:
				want.ReleasedQuantity += m.Quantity
			default:
				want.AdjustedQuantity += m.Delta
			}
		}
		want.OutOfStockSeconds = outOfStock(l, id, b.Start, b.End)
		want.Refusals, want.RefusedQuantity = refusals(l, id, b.Start, b.End)
		if b != want {
			t.Fatalf("bucket %d: want %+v, got %+v", i, want, b)
		}
	}
}

// outOfStock is how many seconds of a span nothing was available in, as the movements have it.
func outOfStock(l *projectiontest.Log, id uuid.UUID, from, to time.Time) (seconds int64) {
	movements := wantedMovements(l, MovementFilter{ProductID: id})
	slices.Reverse(movements)
	for i, m := range movements {
		until := to.Unix()
		if i+1 < len(movements) {
			until = min(until, movements[i+1].OccurredAt.Unix())
		}
		if m.Available() == 0 {
			seconds += max(0, until-max(from.Unix(), m.OccurredAt.Unix()))
		}
	}
	return seconds
}

// refusals are the requests for stock that were refused for want of it in a span, while the product
// was there.
func refusals(l *projectiontest.Log, id uuid.UUID, from, to time.Time) (n, quantity int64) {
	movements := wantedMovements(l, MovementFilter{ProductID: id})
	if len(movements) == 0 {
		return 0, 0
	}
	first := movements[len(movements)-1].Version
	for _, r := range l.Of(id) {
		if r.Version == first {
			first = 0
		}
		e, err := product.Decode(r.Type, r.Data)
		if err != nil {
			panic(err)
		}
		failed, ok := e.(product.ReservationFailed)
		if ok && first == 0 && failed.Reason == product.InsufficientStock && !r.At.Before(from) && r.At.Before(to) {
			n, quantity = n+1, quantity+failed.Quantity
		}
	}
	return n, quantity
}

// Ensure that a reservation is what the aggregate has of it.
func TestReservations(t *testing.T) {
	s := projectiontest.Open(t)
	rapid.Check(t, func(t *rapid.T) {
		l, r := projected(t, s, 2, rapid.IntRange(1, 60).Draw(t, "commands"))
		for n := range 3 {
			for i := range 8 {
				key := eventstore.ReservationKey{ProductID: projectiontest.ID(0xaa, n), ReservationID: projectiontest.ID(0xcc, i)}
				want := l.Held[key]
				got, ok, err := r.Reservation(t.Context(), key.ProductID, key.ReservationID)
				if err != nil || ok != want.Exists() {
					t.Fatalf("reservation %v: %v, %v; the aggregate has %+v", key, ok, err, want)
				}
				if ok && (got.State != want.State || got.Held != want.Held || got.Quantity != want.Quantity || got.SagaID != want.SagaID || !got.ExpiresAt.Equal(want.ExpiresAt)) {
					t.Fatalf("reservation %v: want %+v, got %+v", key, want, got)
				}
			}
		}
	})
}

// twoProducts are two products with two movements each, projected, and a reader of them.
func twoProducts(t *testing.T) (a, b uuid.UUID, l *projectiontest.Log, r *Reader) {
	t.Helper()
	s, l := projectiontest.Open(t), projectiontest.NewLog()
	a, b = projectiontest.ID(0xaa, 1), projectiontest.ID(0xaa, 2)
	for _, id := range []uuid.UUID{a, b} {
		l.Do(id, time.Second, product.Create{Name: "P", InitialStock: 5})
		l.Do(id, time.Second, product.AdjustStock{Delta: 1, Reason: "r"})
	}
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	projectiontest.Settle(t, s, l)
	return a, b, l, NewReader(s, nil)
}

// productsBy reads a page of products, and returns its first cursor.
func productsBy(r *Reader, order OrderField) func(Range) (string, error) {
	return func(page Range) (string, error) {
		p, err := r.Products(context.Background(), ProductFilter{}, ProductOrder{Field: order}, page)
		if err != nil {
			return "", err
		}
		return p.Edges[0].Cursor, nil
	}
}

// movementsOf does the same with movements.
func movementsOf(r *Reader, id uuid.UUID) func(Range) (string, error) {
	return func(page Range) (string, error) {
		p, err := r.Movements(context.Background(), MovementFilter{ProductID: id}, page)
		if err != nil {
			return "", err
		}
		return p.Edges[0].Cursor, nil
	}
}

// Ensure that changed and foreign cursors are refused.
func TestBadCursors(t *testing.T) {
	a, b, _, r := twoProducts(t)
	byName, byStock, ofA, ofB, ofAll := productsBy(r, ByName), productsBy(r, ByAvailable), movementsOf(r, a), movementsOf(r, b), movementsOf(r, uuid.Nil)
	first := func(list func(Range) (string, error)) string {
		cursor, err := list(Range{First: 1})
		if err != nil {
			t.Fatal(err)
		}
		return cursor
	}
	tampered, _ := base64.RawURLEncoding.DecodeString(first(byName))
	tampered[len(tampered)/2] ^= 1
	for name, c := range map[string]struct {
		list   func(Range) (string, error)
		cursor string
	}{
		"of another order":        {byName, first(byStock)},
		"changed":                 {byName, base64.RawURLEncoding.EncodeToString(tampered)},
		"none at all":             {byName, "x"},
		"not a number":            {byStock, cursor("AVAILABLE", "many", a.String())},
		"not an id":               {byStock, cursor("AVAILABLE", "1", "a")},
		"another product's":       {ofB, first(ofA)},
		"of the whole list":       {ofB, first(ofAll)},
		"a product's for all":     {ofAll, first(ofA)},
		"a product's, forged":     {ofA, cursor("product", a.String()+".00000000000x")},
		"a product's, of no size": {ofA, cursor("product", "")},
	} {
		for way, page := range map[string]Range{"after": {First: 1, After: c.cursor}, "before": {Last: 1, Before: c.cursor}} {
			if _, err := c.list(page); !errors.Is(err, ErrBadCursor) {
				t.Errorf("%s, %s: %v", name, way, err)
			}
		}
	}
}

// Ensure that pages, orders and spans of time that aren't read are refused, and more ids than a read takes.
func TestBadRanges(t *testing.T) {
	a, _, l, r := twoProducts(t)
	many := make([]uuid.UUID, MaxIDs+1)
	page := func(list func(Range) (string, error), page Range) func() error {
		return func() error { _, err := list(page); return err }
	}
	timeline := func(days int, every Interval) func() error {
		return func() error {
			_, err := r.Timeline(t.Context(), a, l.Clock, l.Clock.AddDate(0, 0, days), every)
			return err
		}
	}
	for name, c := range map[string]struct {
		read func() error
		want error
	}{
		"first and last":                {page(movementsOf(r, a), Range{First: 1, Last: 1}), ErrBadRange},
		"neither":                       {page(productsBy(r, ByName), Range{}), ErrBadRange},
		"more than a page":              {page(productsBy(r, ByName), Range{First: MaxNodes + 1}), ErrBadRange},
		"less than none":                {page(productsBy(r, ByName), Range{First: -1}), ErrBadRange},
		"an order that isn't one":       {page(productsBy(r, "PRICE"), Range{First: 1}), ErrBadRange},
		"a timeline that ends too late": {timeline(2*366, Hourly), ErrBadRange},
		"a timeline that runs back":     {timeline(-2, Daily), ErrBadRange},
		"too many products":             {func() error { _, err := r.ProductsByIDs(t.Context(), many); return err }, ErrTooMany},
		"too many variants":             {func() error { _, err := r.Variants(t.Context(), many); return err }, ErrTooMany},
	} {
		if err := c.read(); !errors.Is(err, c.want) {
			t.Errorf("%s: want %v, got %v", name, c.want, err)
		}
	}
}
