package projection

import (
	"context"
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
)

// Ensure that no read scans a collection, or sorts what an index has in order, on a server that uses indexes and explains what it does.
func TestReadsUseIndexes(t *testing.T) {
	var mu sync.Mutex
	var finds []bson.Raw
	url, database := stack.Mongo(t)
	plain := configured(t, url, database)
	s, err := watched(t.Context(), plain, &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
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
	l := stocked(t, 40)
	if err := drain(t.Context(), project(t, s, l, &leases{epoch: 1})); err != nil {
		t.Fatal(err)
	}
	settle(t, s, l)
	if s.server.indexes { // a plan that is wrong is seen to be
		for _, bad := range []bson.D{{{Key: "find", Value: "products_1"}, {Key: "filter", Value: bson.D{{Key: "description", Value: "x"}}}},
			{{Key: "find", Value: "products_1"}, {Key: "filter", Value: bson.D{{Key: "status", Value: active}}}, {Key: "sort", Value: bson.D{{Key: "description", Value: 1}}}}} {
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
			if !s.server.indexes {
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

// explain returns a plan that scans or sorts; "" where there is nothing wrong. A sort of what was looked for by ids is of at most as many documents.
func explain(t *testing.T, s *Store, find bson.Raw) string {
	t.Helper()
	if c := find.Lookup("find").StringValue(); strings.HasPrefix(c, metaName) || strings.HasPrefix(c, checkpointName) {
		return "" // a handful of documents, by id
	}
	var query bson.D
	for _, key := range []string{"find", "filter", "sort", "limit", "projection"} {
		if v, err := find.LookupErr(key); err == nil {
			query = append(query, bson.E{Key: key, Value: v})
		}
	}
	var plan bson.Raw
	if err := s.db.RunCommand(t.Context(), bson.D{{Key: "explain", Value: query}, {Key: "verbosity", Value: "queryPlanner"}}).Decode(&plan); err != nil {
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
func everyRead(l *memoryLog) map[string]func(context.Context, *Reader) error {
	id := testID(0xaa, 3)
	reads := map[string]func(context.Context, *Reader) error{
		"product": func(ctx context.Context, r *Reader) error { _, _, err := r.Product(ctx, id); return err },
		"by ids": func(ctx context.Context, r *Reader) error {
			_, err := r.ProductsByIDs(ctx, []uuid.UUID{id})
			return err
		},
		"variants": func(ctx context.Context, r *Reader) error {
			_, err := r.Variants(ctx, []uuid.UUID{testID(0xbb, 3)})
			return err
		},
		"reservation": func(ctx context.Context, r *Reader) error {
			_, _, err := r.Reservation(ctx, id, testID(0xcc, 30))
			return err
		},
		"movement": func(ctx context.Context, r *Reader) error { _, _, err := r.Movement(ctx, id, 1); return err },
		"stock at": func(ctx context.Context, r *Reader) error {
			_, _, err := r.StockAt(ctx, id, l.clock.Add(-time.Hour))
			return err
		},
		"timeline": func(ctx context.Context, r *Reader) error {
			_, err := r.Timeline(ctx, id, l.clock.AddDate(0, 0, -30), l.clock, Hourly)
			return err
		},
		"version": func(ctx context.Context, r *Reader) error { return r.WaitFor(ctx, id, 1) },
	}
	for name, where := range map[string]MovementFilter{"of all": {}, "of one": {ProductID: id}, "of all since": {From: l.clock.Add(-time.Hour)},
		"of all of rare types": {Types: []MovementType{Adjusted, Initial}}, "of one of rare types": {ProductID: id, Types: []MovementType{Expired}},
		"of all of a common type": {Types: []MovementType{Reserved}}} {
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
	yes, n, at := true, int64(10), l.clock.Add(-time.Hour)
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
