package graph

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"product-service/correlation"
	"product-service/integration/inventory"
	"product-service/product"
	"product-service/projection/read"
	"product-service/projection/view"
)

func TestProduct(t *testing.T) {
	c := newCatalogue(1)
	got := post(t, newTestHandler(t, fakesOf(c)), `query($id:ID!){product(id:$id){__typename id name description isOrderable stockStatus lowStockThreshold version createdAt updatedAt
		stock{productId total reserved available version asOf} variants{id sku name isOrderable attributes{name value} product{id}}}}`,
		`{"id":"`+strings.ToUpper(c[0].ID.String())+`"}`)
	id := c[0].ID.String()
	variant := func(i int) map[string]any {
		return map[string]any{"id": c[0].Variants[i].ID.String(), "sku": fmt.Sprintf("SKU-0-%d", i), "name": "Variant", "isOrderable": true,
			"attributes": []any{map[string]any{"name": "size", "value": "L"}}, "product": map[string]any{"id": id}}
	}
	want := map[string]any{"product": map[string]any{
		"__typename": "Product", "id": id, "name": "Product 0", "description": "", "isOrderable": true, "stockStatus": "IN_STOCK", "lowStockThreshold": 0.0,
		"version": 7.0, "createdAt": "2026-02-28T12:00:00Z", "updatedAt": "2026-02-28T13:00:00Z",
		"stock":    map[string]any{"productId": id, "total": 10.0, "reserved": 3.0, "available": 7.0, "version": 7.0, "asOf": "2026-02-28T13:00:00Z"},
		"variants": []any{variant(0), variant(1)},
	}}
	if diff := cmp.Diff(want, got.Data); diff != "" {
		t.Errorf("data (-want +got):\n%s\n%s", diff, got.body)
	}
}

// What doesn't exist is null, and not an error.
func TestWhatIsNotThereIsNull(t *testing.T) {
	got := post(t, newTestHandler(t, &fakes{}), `{product(id:"`+idA+`"){id} productVariants(ids:["`+idA+`"]){id} node(id:"`+idA+`"){id}
		nodes(ids:["`+idA+`","`+idA+`.3","`+idA+`.`+idB+`"]){id} reservation(productId:"`+idA+`",reservationId:"`+idB+`"){id}
		stockMovements(productId:"`+idA+`"){nodes{id} edges{cursor} totalCount pageInfo{startCursor endCursor hasNextPage hasPreviousPage}}
		stockTimeline(productId:"`+idA+`",from:"2026-01-01T00:00:00Z",to:"2026-01-02T00:00:00Z",interval:DAY){start}
		products{nodes{id} edges{cursor} totalCount}}`, "")
	want := map[string]any{
		"product": nil, "productVariants": []any{nil}, "node": nil, "nodes": []any{nil, nil, nil}, "reservation": nil, "stockTimeline": []any{},
		"stockMovements": map[string]any{"nodes": []any{}, "edges": []any{}, "totalCount": 0.0,
			"pageInfo": map[string]any{"startCursor": nil, "endCursor": nil, "hasNextPage": false, "hasPreviousPage": false}},
		"products": map[string]any{"nodes": []any{}, "edges": []any{}, "totalCount": 0.0},
	}
	if diff := cmp.Diff(want, got.Data); diff != "" || len(got.Errors) > 0 {
		t.Errorf("data (-want +got):\n%s\n%s", diff, got.body)
	}
}

func TestNodesOfEveryKind(t *testing.T) {
	c := newCatalogue(2)
	f := fakesOf(c)
	owner, held := c[0].ID, uuid.MustParse(idB)
	f.reservation = func(productID, id uuid.UUID) (read.Reservation, bool, error) {
		return read.Reservation{ProductID: productID, ID: id, Quantity: 4, Held: 2, State: product.StateActive, CreatedAt: noon, UpdatedAt: noon}, productID == owner && id == held, nil
	}
	f.movement = func(id uuid.UUID, version int64) (read.Movement, bool, error) {
		return read.Movement{ProductID: id, Version: version, Type: view.Reserved, Quantity: 4, Delta: -4, Total: 10, Reserved: 4, OccurredAt: noon}, id == owner && version == 3, nil
	}
	ids := []string{owner.String(), c[1].Variants[0].ID.String(), owner.String() + "." + idB, owner.String() + ".3", owner.String() + ".4", idC, owner.String()}
	got := post(t, newTestHandler(t, f), `query($ids:[ID!]!){nodes(ids:$ids){__typename id ...on Product{name} ...on ProductVariant{sku product{name}} ...on Reservation{held expiresAt state} ...on StockMovement{delta availableAfter reason}}}`,
		`{"ids":["`+strings.Join(ids, `","`)+`"]}`)
	want := []any{
		map[string]any{"__typename": "Product", "id": ids[0], "name": "Product 0"},
		map[string]any{"__typename": "ProductVariant", "id": ids[1], "sku": "SKU-1-0", "product": map[string]any{"name": "Product 1"}},
		map[string]any{"__typename": "Reservation", "id": ids[2], "held": 2.0, "expiresAt": nil, "state": "ACTIVE"},
		map[string]any{"__typename": "StockMovement", "id": ids[3], "delta": -4.0, "availableAfter": 6.0, "reason": nil},
		nil, nil,
		map[string]any{"__typename": "Product", "id": ids[0], "name": "Product 0"},
	}
	if diff := cmp.Diff(want, got.Data["nodes"]); diff != "" {
		t.Errorf("nodes (-want +got):\n%s\n%s", diff, got.body)
	}
}

// Bad arguments are told with what is allowed, and nothing is read for them.
func TestBadArguments(t *testing.T) {
	many := `["` + strings.Repeat(idA+`","`, 100) + idA + `"]`
	f := &fakes{}
	reads := 0
	f.page = func(read.ProductFilter, read.ProductOrder, read.Range) (read.Page[read.Product], error) {
		reads++
		return read.Page[read.Product]{}, nil
	}
	f.movements = func(read.MovementFilter, read.Range) (read.Page[read.Movement], error) {
		reads++
		return read.Page[read.Movement]{}, nil
	}
	h := newTestHandler(t, f)
	for _, test := range []struct{ field, tells string }{
		{`product(id:""){id}`, "UUID"},
		{`product(id:"17"){id}`, "UUID"},
		{`product(id:17){id}`, "UUID"},
		{`product(id:"` + strings.ReplaceAll(idA, "-", "") + `"){id}`, "UUID"},
		{`product(id:"` + strings.Repeat("x", 5000) + `"){id}`, "UUID"},
		{`product(id:"` + idA + `",minVersion:0){id}`, "1 and more"},
		{`product(id:"` + idA + `",minVersion:3000000000){id}`, "2147483647"},
		{`products(first:0){totalCount}`, "1 to 100"},
		{`products(first:-1){totalCount}`, "1 to 100"},
		{`products(first:101){totalCount}`, "1 to 100"},
		{`products(last:101){totalCount}`, "1 to 100"},
		{`products(first:1,last:1){totalCount}`, "one of them"},
		{`products(after:""){totalCount}`, "cursor"},
		{`products(where:{ids:` + many + `}){totalCount}`, "100"},
		{`products(where:{ids:["x"]}){totalCount}`, "UUID"},
		{`products(where:{updatedAt:{gte:"yesterday"}}){totalCount}`, "RFC 3339"},
		{`products(where:{available:{gte:2,lte:1}}){totalCount}`, "gte"},
		{`products(where:{updatedAt:{gte:"2026-02-01T00:00:00Z",lte:"2026-01-01T00:00:00Z"}}){totalCount}`, "gte"},
		{`productVariants(ids:` + many + `){id}`, "100"},
		{`productVariants(ids:["x"]){id}`, "UUID"},
		{`nodes(ids:` + many + `){id}`, "100"},
		{`node(id:"x"){id}`, "<productId>"},
		{`node(id:"` + idA + `.0"){id}`, "<productId>"},
		{`node(id:"` + idA + `.03"){id}`, "<productId>"},
		{`node(id:"` + idA + `.x"){id}`, "<productId>"},
		{`reservation(productId:"x",reservationId:"` + idA + `"){id}`, "UUID"},
		{`reservation(productId:"` + idA + `",reservationId:"x"){id}`, "UUID"},
		{`stockMovements(first:101){totalCount}`, "1 to 100"},
		{`stockMovements(productId:"x"){totalCount}`, "UUID"},
		{`stockMovements(types:[]){totalCount}`, "type"},
		{`stockMovements(from:"2026-01-02T00:00:00Z",to:"2026-01-01T00:00:00Z"){totalCount}`, "after"},
		{`stockMovements(from:"2026-01-02"){totalCount}`, "RFC 3339"},
		{`stockReport(from:"2026-01-02T00:00:00Z",to:"2026-01-02T00:00:00Z"){totalCount}`, "after"},
		{`stockReport(from:"2026-01-02T00:00:00Z",to:"2026-01-03T00:00:00Z",first:0){totalCount}`, "1 to 100"},
		{`stockReport(from:"2026-01-02T00:00:00Z",to:"2026-01-03T00:00:00Z",productIds:["x"]){totalCount}`, "UUID"},
		{`stockTimeline(productId:"` + idA + `",from:"2026-01-02T00:00:00Z",to:"2026-01-02T00:00:00Z",interval:DAY){start}`, "after"},
	} {
		got := post(t, h, "{f:"+test.field+"}", "")
		if fmt.Sprint(got.codes()) != "[BAD_USER_INPUT]" || !strings.Contains(got.Errors[0].Message, test.tells) || len(got.Errors[0].Message) > 300 {
			t.Errorf("%s: want BAD_USER_INPUT that tells of %q, got %s", test.field, test.tells, got.body)
		}
	}
	if reads > 0 {
		t.Errorf("%d reads", reads)
	}
}

func TestWhatListsAskFor(t *testing.T) {
	yes, five, nine := true, int64(5), int64(9)
	from, to := noon, noon.Add(time.Hour)
	for _, test := range []struct {
		name, arguments string
		where           read.ProductFilter
		order           read.ProductOrder
		page            read.Range
	}{
		{"nothing", ``, read.ProductFilter{}, read.ProductOrder{}, read.Range{First: 20, Count: true}},
		{"forward", `(first:5,after:"x")`, read.ProductFilter{}, read.ProductOrder{}, read.Range{First: 5, After: "x", Count: true}},
		{"backward", `(last:5,before:"x",orderBy:{field:AVAILABLE,direction:DESC})`, read.ProductFilter{}, read.ProductOrder{Field: read.ByAvailable, Descending: true},
			read.Range{Last: 5, Before: "x", Count: true}},
		{"everything", `(orderBy:{field:NAME},where:{search:"lamp",stockStatus:LOW_STOCK,isOrderable:true,available:{gte:5,lte:9},updatedAt:{gte:"2026-02-28T13:00:00+01:00",lte:"2026-02-28T13:00:00Z"},ids:["` + idA + `"]})`,
			read.ProductFilter{Search: "lamp", StockStatus: product.LowStock, Orderable: &yes, AvailableGTE: &five, AvailableLTE: &nine, UpdatedGTE: &from, UpdatedLTE: &to, IDs: []uuid.UUID{uuid.MustParse(idA)}},
			read.ProductOrder{Field: read.ByName}, read.Range{First: 20, Count: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &fakes{}
			f.page = func(where read.ProductFilter, order read.ProductOrder, page read.Range) (read.Page[read.Product], error) {
				if diff := cmp.Diff(test.where, where) + cmp.Diff(test.order, order) + cmp.Diff(test.page, page); diff != "" {
					t.Errorf("asked (-want +got):\n%s", diff)
				}
				return read.Page[read.Product]{}, nil
			}
			if got := post(t, newTestHandler(t, f), "{products"+test.arguments+"{totalCount}}", ""); len(got.Errors) > 0 {
				t.Error(got.body)
			}
		})
	}
	t.Run("counted only where selected", func(t *testing.T) {
		f := &fakes{}
		f.page = func(_ read.ProductFilter, _ read.ProductOrder, page read.Range) (read.Page[read.Product], error) {
			if page.Count {
				t.Error("counted")
			}
			return read.Page[read.Product]{}, nil
		}
		post(t, newTestHandler(t, f), "query($n:Boolean!){products{nodes{id} totalCount @include(if:$n)}}", `{"n":false}`)
	})
	t.Run("movements", func(t *testing.T) {
		f := fakesOf(newCatalogue(1))
		var asked []read.MovementFilter
		f.movements = func(where read.MovementFilter, _ read.Range) (read.Page[read.Movement], error) {
			asked = append(asked, where)
			return read.Page[read.Movement]{Edges: []read.Edge[read.Movement]{{Cursor: "c", Node: read.Movement{
				ProductID: numbered("a", 0), Version: 5, Type: view.Expired, Quantity: 2, Delta: 2, Total: 9, Reserved: 1, ReservationID: uuid.MustParse(idB),
				SagaID: "s", Reason: "EXPIRED", CommandID: uuid.MustParse(idC), CorrelationID: "c-1", OccurredAt: noon}}}, HasNext: true, Total: 3}, nil
		}
		arguments := `(types:[RESERVED,EXPIRED],from:"2026-02-28T12:00:00Z",to:"2026-02-28T13:00:00Z",first:1)`
		got := post(t, newTestHandler(t, f), `{product(id:"`+numbered("a", 0).String()+`"){stockMovements`+arguments+`{totalCount pageInfo{hasNextPage hasPreviousPage startCursor endCursor} edges{cursor}
			nodes{id productId type quantity delta totalAfter reservedAfter availableAfter version reservationId sagaId reason commandId correlationId occurredAt}}}}`, "")
		id := numbered("a", 0).String()
		want := map[string]any{"totalCount": 3.0, "pageInfo": map[string]any{"hasNextPage": true, "hasPreviousPage": false, "startCursor": "c", "endCursor": "c"},
			"edges": []any{map[string]any{"cursor": "c"}}, "nodes": []any{map[string]any{
				"id": id + ".5", "productId": id, "type": "EXPIRED", "quantity": 2.0, "delta": 2.0, "totalAfter": 9.0, "reservedAfter": 1.0, "availableAfter": 8.0, "version": 5.0,
				"reservationId": idB, "sagaId": "s", "reason": "EXPIRED", "commandId": idC, "correlationId": "c-1", "occurredAt": "2026-02-28T12:00:00Z"}}}
		if diff := cmp.Diff(want, got.Data["product"].(map[string]any)["stockMovements"]); diff != "" {
			t.Errorf("movements (-want +got):\n%s\n%s", diff, got.body)
		}
		wanted := []read.MovementFilter{{ProductID: numbered("a", 0), From: &from, To: &to, Types: []view.MovementType{view.Reserved, view.Expired}}}
		if diff := cmp.Diff(wanted, asked); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
	})
}

func TestHistoryOfAProduct(t *testing.T) {
	f := fakesOf(newCatalogue(1))
	f.stockAt = func(id uuid.UUID, at time.Time) (read.Stock, bool, error) {
		return read.Stock{ProductID: id, Total: 8, Reserved: 2, Version: 3, AsOf: noon}, !at.Before(noon), nil
	}
	f.timeline = func(_ uuid.UUID, from, to time.Time, every read.Interval) ([]read.Bucket, error) {
		return []read.Bucket{{Start: from, End: to, Opening: 1, Closing: 2, Min: 3, Max: 4, ReservedQuantity: 5, ReleasedQuantity: 6, AdjustedQuantity: -7, Movements: 8}}, nil
	}
	id := numbered("a", 0).String()
	got := post(t, newTestHandler(t, f), `{product(id:"`+id+`"){then:stockAt(at:"2026-02-28T12:00:00Z"){productId total reserved available version asOf} before:stockAt(at:"2026-02-28T11:59:59.999Z"){total}
		stockTimeline(from:"2026-02-28T12:00:00Z",to:"2026-02-28T13:00:00Z",interval:HOUR){start end opening closing minAvailable maxAvailable reservedQuantity releasedQuantity adjustedQuantity movements}}}`, "")
	want := map[string]any{
		"then":   map[string]any{"productId": id, "total": 8.0, "reserved": 2.0, "available": 6.0, "version": 3.0, "asOf": "2026-02-28T12:00:00Z"},
		"before": nil,
		"stockTimeline": []any{map[string]any{"start": "2026-02-28T12:00:00Z", "end": "2026-02-28T13:00:00Z", "opening": 1.0, "closing": 2.0, "minAvailable": 3.0, "maxAvailable": 4.0,
			"reservedQuantity": 5.0, "releasedQuantity": 6.0, "adjustedQuantity": -7.0, "movements": 8.0}},
	}
	if diff := cmp.Diff(want, got.Data["product"]); diff != "" {
		t.Errorf("product (-want +got):\n%s\n%s", diff, got.body)
	}
}

// Errors of the services below come with their code; those that aren't meant for clients say
// nothing of their cause.
func TestErrorsOfReads(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		code string
	}{
		{"not yet", fmt.Errorf("product at 3: %w", read.ErrNotYet), "NOT_YET_AVAILABLE"},
		{"cursor", fmt.Errorf("page: %w", read.ErrBadCursor), "BAD_USER_INPUT"},
		{"range", fmt.Errorf("1 to 10 allowed: %w", read.ErrBadRange), "BAD_USER_INPUT"},
		{"internal", errors.New("server selection error: 10.0.0.7:27017"), "INTERNAL_SERVER_ERROR"},
		{"deadline below", fmt.Errorf("find: %w", context.DeadlineExceeded), "INTERNAL_SERVER_ERROR"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &fakes{
				waitFor: func(context.Context, uuid.UUID, int64) error { return test.err },
				page: func(read.ProductFilter, read.ProductOrder, read.Range) (read.Page[read.Product], error) {
					return read.Page[read.Product]{}, test.err
				},
			}
			h := newTestHandler(t, f)
			nullable := post(t, h, `{other:__typename product(id:"`+idA+`",minVersion:4){id}}`, "")
			if diff := cmp.Diff(map[string]any{"other": "Query", "product": nil}, nullable.Data); diff != "" || fmt.Sprint(nullable.codes()) != "["+test.code+"]" {
				t.Errorf("%s\n%s", diff, nullable.body)
			}
			required := post(t, h, `{products{totalCount}}`, "")
			if !strings.Contains(required.body, `"data":null`) || fmt.Sprint(required.codes()) != "["+test.code+"]" {
				t.Error(required.body)
			}
			for _, got := range []reply{nullable, required} {
				if strings.Contains(got.body, "10.0.0.7") {
					t.Errorf("an address leaks: %s", got.body)
				}
				if e := got.Errors[0]; e.Extensions["correlationId"] != got.header.Get(correlation.Header) || len(e.Path) != 1 || len(e.Locations) != 1 {
					t.Errorf("an error lacks its correlation id, path or location: %s", got.body)
				}
			}
		})
	}
}

func TestPanicsStayInside(t *testing.T) {
	c := newCatalogue(1)
	f := fakesOf(c)
	f.page = func(read.ProductFilter, read.ProductOrder, read.Range) (read.Page[read.Product], error) {
		panic("secret")
	}
	f.movement = func(uuid.UUID, int64) (read.Movement, bool, error) { panic("secret") }
	f.level = func(context.Context, uuid.UUID) inventory.Result { panic("secret") }
	h := newTestHandler(t, f)
	for _, query := range []string{
		`{products{totalCount}}`, `{node(id:"` + idA + `.3"){id}}`, `{product(id:"` + c[0].ID.String() + `"){variants{inventory{status}}}}`,
	} {
		got := post(t, h, query, "")
		if len(got.Errors) == 0 || got.codes()[0] != "INTERNAL_SERVER_ERROR" || strings.Contains(got.body, "secret") || got.status != 200 {
			t.Errorf("%s: %d %s", query, got.status, got.body)
		}
	}
}

func TestARequestEndsAtItsDeadline(t *testing.T) {
	f := &fakes{waitFor: func(ctx context.Context, _ uuid.UUID, _ int64) error { <-ctx.Done(); return ctx.Err() }}
	got := post(t, newTestHandler(t, f, "GRAPHQL_TIMEOUT", "20ms"), `{product(id:"`+idA+`",minVersion:2){id}}`, "")
	if fmt.Sprint(got.codes()) != "[INTERNAL_SERVER_ERROR]" || !strings.Contains(got.Errors[0].Message, "too long") {
		t.Error(got.body)
	}
}
