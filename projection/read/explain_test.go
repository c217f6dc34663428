package read

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"

	"product-service/dev/stack"
	"product-service/product"
	"product-service/projection/projectiontest"
	"product-service/projection/store"
	"product-service/projection/view"
)

// Ensure that no read scans a collection, or sorts what an index has in order, on a server that
// uses indexes and explains what it does.
func TestReadsUseIndexes(t *testing.T) {
	var mu sync.Mutex
	var finds []bson.Raw
	url, database := stack.Mongo(t)
	plain := projectiontest.Configured(t, url, database)
	plain.ReadCache = 0 // what is kept needs no query
	s, err := store.OpenMonitored(t.Context(), plain, &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		if e.CommandName == "find" {
			mu.Lock()
			defer mu.Unlock()
			finds = append(finds, append(bson.Raw{}, e.Command...))
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	l := projectiontest.Stocked(t, 40)
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	projectiontest.Settle(t, s, l)
	if s.Server.Indexes { // a plan that is wrong is seen to be
		for _, bad := range []bson.D{{{Key: "find", Value: "products_1"}, {Key: "filter", Value: bson.D{{Key: "description", Value: "x"}}}},
			{{Key: "find", Value: "products_1"}, {Key: "filter", Value: bson.D{{Key: "status", Value: view.Active}}}, {Key: "sort", Value: bson.D{{Key: "description", Value: 1}}}}} {
			raw, err := bson.Marshal(bad)
			if err != nil {
				t.Fatal(err)
			}
			if explain(t, s, raw) == "" {
				t.Errorf("%v is planned without a scan or a sort", bad)
			}
		}
	}
	r := NewReader(s, nil)
	for name, read := range everyRead(l) {
		t.Run(name, func(t *testing.T) {
			finds = nil
			if err := read(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if len(finds) == 0 {
				t.Fatal("it sent no query")
			}
			if !s.Server.Indexes {
				return // that it answers is all there is to see here
			}
			for _, find := range finds {
				if plan := explain(t, s, find); plan != "" {
					t.Errorf("%s\nis planned as %s", find, plan)
				}
			}
		})
	}
}

// explain returns a plan that scans or sorts; "" where there is nothing wrong. A sort of what was
// looked for by ids is of at most as many documents.
func explain(t *testing.T, s *store.Store, find bson.Raw) string {
	t.Helper()
	if c := find.Lookup("find").StringValue(); c == "meta" || c == "checkpoints" {
		return "" // a handful of documents, by id
	}
	var query bson.D
	for _, key := range []string{"find", "filter", "sort", "limit", "projection"} {
		if v, err := find.LookupErr(key); err == nil {
			query = append(query, bson.E{Key: key, Value: v})
		}
	}
	var plan bson.Raw
	if err := s.Database().RunCommand(t.Context(), bson.D{{Key: "explain", Value: query}, {Key: "verbosity", Value: "queryPlanner"}}).Decode(&plan); err != nil {
		t.Fatal(err)
	}
	winner := plan.Lookup("queryPlanner", "winningPlan").String()
	ids := strings.Contains(strings.ReplaceAll(find.Lookup("filter").String(), " ", ""), `"_id":{"$in"`)
	if strings.Contains(winner, "COLLSCAN") || (!ids && strings.Contains(winner, `"SORT"`)) {
		return winner
	}
	return ""
}

// everyRead is each kind of read, each order and each filter.
func everyRead(l *projectiontest.Log) map[string]func(context.Context, *Reader) error {
	id := projectiontest.ID(0xaa, 3)
	reads := map[string]func(context.Context, *Reader) error{
		"product": func(ctx context.Context, r *Reader) error { _, _, err := r.Product(ctx, id); return err },
		"by ids": func(ctx context.Context, r *Reader) error {
			_, err := r.ProductsByIDs(ctx, []uuid.UUID{id})
			return err
		},
		"variants": func(ctx context.Context, r *Reader) error {
			_, err := r.Variants(ctx, []uuid.UUID{projectiontest.ID(0xbb, 3)})
			return err
		},
		"reservation": func(ctx context.Context, r *Reader) error {
			_, _, err := r.Reservation(ctx, id, projectiontest.ID(0xcc, 30))
			return err
		},
		"movement": func(ctx context.Context, r *Reader) error { _, _, err := r.Movement(ctx, id, 1); return err },
		"stock at": func(ctx context.Context, r *Reader) error {
			_, _, err := r.StockAt(ctx, id, l.Clock.Add(-time.Hour))
			return err
		},
		"timeline": func(ctx context.Context, r *Reader) error {
			_, err := r.Timeline(ctx, id, l.Clock.AddDate(0, 0, -30), l.Clock, Hourly)
			return err
		},
		"report": func(ctx context.Context, r *Reader) error {
			p, err := r.Report(ctx, ReportFilter{From: l.Clock.AddDate(0, 0, -30), To: l.Clock}, ReportOrder{}, Range{First: 3})
			if err == nil && len(p.Edges) == 0 {
				err = errors.New("it is empty")
			}
			return err
		},
		"report of some": func(ctx context.Context, r *Reader) error {
			_, err := r.Report(ctx, ReportFilter{From: l.Clock.AddDate(0, 0, -30), To: l.Clock, ProductIDs: []uuid.UUID{id}}, ReportOrder{}, Range{First: 3})
			return err
		},
		"export of days": func(ctx context.Context, r *Reader) error {
			return r.ExportDays(ctx, DayFilter{}, DayID{}, func(*Day) error { return nil })
		},
		"version": func(ctx context.Context, r *Reader) error { return r.WaitFor(ctx, id, 1) },
	}
	for name, where := range map[string]MovementFilter{"of all": {}, "of one": {ProductID: id}, "of all since": {From: new(l.Clock.Add(-time.Hour))},
		"of all of rare types": {Types: []view.MovementType{view.Adjusted, view.Initial}}, "of one of rare types": {ProductID: id, Types: []view.MovementType{view.Expired}},
		"of all of a common type": {Types: []view.MovementType{view.Reserved}}} {
		for way, page := range map[string]Range{"newest": {First: 3}, "oldest": {Last: 3}} {
			reads["movements "+name+", "+way] = func(ctx context.Context, r *Reader) error {
				first, err := r.Movements(ctx, where, page)
				if err != nil || len(first.Edges) == 0 {
					return err
				}
				page.After = first.Edges[0].Cursor
				_, err = r.Movements(ctx, where, page)
				return err
			}
		}
	}
	yes, n, at := true, int64(10), l.Clock.Add(-time.Hour)
	filters := map[string]ProductFilter{"any": {}, "search": {Search: "sku prod"}, "status": {StockStatus: product.InStock}, "orderable": {Orderable: &yes},
		"available": {AvailableGTE: &n}, "updated": {UpdatedLTE: &at}}
	for _, field := range []OrderField{ByName, ByCreatedAt, ByUpdatedAt, ByAvailable, ByStockStatus} {
		for name, where := range filters {
			reads[fmt.Sprintf("products %s by %s", name, field)] = func(ctx context.Context, r *Reader) error {
				page := Range{First: 3}
				first, err := r.Products(ctx, where, ProductOrder{Field: field}, page)
				if err != nil || len(first.Edges) == 0 {
					return err
				}
				page.After = first.Edges[0].Cursor
				_, err = r.Products(ctx, where, ProductOrder{Field: field, Descending: false}, page)
				return err
			}
		}
	}
	reads["products by ids, ordered"] = func(ctx context.Context, r *Reader) error {
		_, err := r.Products(ctx, ProductFilter{IDs: []uuid.UUID{id}}, ProductOrder{Field: ByName}, Range{First: 3})
		return err
	}
	return reads
}

const (
	manyProducts = 2000
	fewProducts  = 10
)

// scattered is a log of many products, of which a few, evenly among them by name and age, are out
// of stock, rare and changed last.
func scattered() *projectiontest.Log {
	l := projectiontest.NewLog()
	rare := func(n int) bool { return n%(manyProducts/fewProducts) == 7 }
	for n := range manyProducts {
		id, variant, name := projectiontest.ID(0xaa, n), projectiontest.ID(0xbb, n), fmt.Sprintf("Common %d", n*7919%manyProducts)
		if rare(n) {
			name += " rare"
		}
		l.Do(id, time.Second, product.Create{Name: name, InitialStock: 1000 + int64(n*31%manyProducts), LowStockThreshold: 5, Variants: []product.Variant{{ID: variant, SKU: variant.String(), Name: "V"}}})
		l.Do(id, 0, product.NoteInventoryRecord{VariantID: variant})
	}
	for n := range manyProducts {
		if id := projectiontest.ID(0xaa, n); rare(n) {
			l.Do(id, time.Minute, product.AdjustStock{Delta: -l.Products[id].StockTotal, Reason: "sold"})
		}
	}
	return l
}

// Ensure that a page, and the count, of what few products have looks at few, in whatever order it
// is read, on a server that says what it looked at.
func TestFiltersLookAtFewProducts(t *testing.T) {
	var mu sync.Mutex
	var sent []bson.Raw
	url, database := stack.Mongo(t)
	s, err := store.OpenMonitored(t.Context(), projectiontest.Configured(t, url, database), &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		if e.CommandName == "find" || e.CommandName == "aggregate" {
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, append(bson.Raw{}, e.Command...))
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	if !s.Server.Indexes {
		t.Skip("this server reads all there is")
	}
	l := scattered()
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	no, nothing, late := false, int64(0), l.Clock.Add(-fewProducts*time.Minute+time.Second)
	for name, where := range map[string]ProductFilter{"any": {}, "status": {StockStatus: product.OutOfStock}, "orderable": {Orderable: &no}, "search": {Search: "rar"},
		"available": {AvailableLTE: &nothing}, "updated": {UpdatedGTE: &late}} {
		for field := range orderKeys {
			for _, descending := range []bool{false, true} {
				sent = nil
				page := Range{First: 5, Count: name != "any"} // that count is of all
				first, err := NewReader(s, nil).Products(t.Context(), where, ProductOrder{Field: field, Descending: descending}, page)
				if err != nil || len(first.Edges) != 5 || (page.Count && first.Total != fewProducts) {
					t.Fatal(name, field, len(first.Edges), first.Total, err)
				}
				page.After = first.Edges[4].Cursor
				if _, err := NewReader(s, nil).Products(t.Context(), where, ProductOrder{Field: field, Descending: descending}, page); err != nil {
					t.Fatal(err)
				}
				for _, query := range sent {
					most := int64(10 * fewProducts)
					if name == "any" {
						most = keysAhead + 1 // a list of all is read ahead, by its index alone
					}
					if docs, keys := examined(t, s, query); docs > 5*fewProducts || keys > most {
						t.Errorf("%s by %s: %d documents and %d keys were looked at by %s", name, field, docs, keys, query)
					}
				}
			}
		}
	}
}

// examined is what a query looks at.
func examined(t *testing.T, s *store.Store, command bson.Raw) (docs, keys int64) {
	t.Helper()
	kind, err := command.IndexErr(0)
	if err != nil {
		t.Fatal(err)
	}
	if c := kind.Value().StringValue(); c == "meta" || c == "checkpoints" {
		return 0, 0
	}
	var query bson.D
	for _, key := range []string{"find", "aggregate", "pipeline", "cursor", "filter", "sort", "limit", "projection"} {
		if v, err := command.LookupErr(key); err == nil {
			query = append(query, bson.E{Key: key, Value: v})
		}
	}
	var plan bson.Raw
	if err := s.Database().RunCommand(t.Context(), bson.D{{Key: "explain", Value: query}, {Key: "verbosity", Value: "executionStats"}}).Decode(&plan); err != nil {
		t.Fatal(err)
	}
	stats := plan
	if stages, ok := plan.Lookup("stages").ArrayOK(); ok { // of an aggregation: its first stage is the query
		stats = bson.Raw(stages).Lookup("0", "$cursor").Document()
	}
	d, ok1 := stats.Lookup("executionStats", "totalDocsExamined").AsInt64OK()
	k, ok2 := stats.Lookup("executionStats", "totalKeysExamined").AsInt64OK()
	if !ok1 || !ok2 {
		t.Fatalf("it doesn't say what it looked at: %s", plan)
	}
	return d, k
}
