package graph

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"product-service/integration/inventory"
	"product-service/product"
	"product-service/projection/read"
)

// Ensure that each row of a bulk mutation is decided by itself, in order; that its products are
// read and their levels loaded at once.
func TestRowsOfABulkMutationAreDecidedByThemselves(t *testing.T) {
	c := newCatalogue(2)
	f := fakesOf(c)
	var reads, submitted int
	var waited atomic.Bool
	byIDs := f.byIDs
	f.byIDs = func(ids []uuid.UUID) ([]*read.Product, error) { reads++; return byIDs(ids) }
	f.level = func(_ context.Context, id uuid.UUID) inventory.Result {
		return inventory.Result{Outcome: inventory.Known, Level: inventory.Level{VariantID: id, Available: 4}}
	}
	var order []string
	f.execute = func(_ context.Context, id, _ uuid.UUID, _ product.Origin, c product.Command) (int64, *product.Refusal, error) {
		if waited.Load() {
			t.Error("a row was waited for before all were submitted")
		}
		submitted++
		a := c.(product.AdjustStock)
		order = append(order, fmt.Sprintf("%s %d", id, a.Delta))
		if a.Delta == -100 {
			return 0, &product.Refusal{Code: product.BadInput, Field: []string{"delta"}, Message: "too few"}, nil
		}
		return int64(submitted), nil, nil
	}
	f.waitFor = func(context.Context, uuid.UUID, int64) error { waited.Store(true); return nil }
	a, b := c[0].ID.String(), c[1].ID.String()
	got := post(t, newTestHandler(t, f), `mutation { bulkAdjustStock(input: {items: [
		{productId: "`+a+`", delta: 5, reason: "x"}, {productId: "`+a+`", delta: -100, reason: "x"}, {productId: "nobody", total: 5, reason: "x"},
		{productId: "`+b+`", delta: 1, total: 1, reason: "x"}, {productId: "`+b+`", delta: 7, reason: "x"}, {productId: "`+a+`", delta: 9, reason: "x"}]}) {
		results { index version product { id variants { inventory { availableQuantity } } } userErrors { field code message } } } }`, "")
	if len(got.Errors) > 0 {
		t.Fatal(got.body)
	}
	var rows []string
	for _, row := range got.Data["bulkAdjustStock"].(map[string]any)["results"].([]any) {
		r := row.(map[string]any)
		p, _ := r["product"].(map[string]any)
		var field any
		if first := r["userErrors"].([]any); len(first) > 0 {
			field = first[0].(map[string]any)["field"]
		}
		rows = append(rows, fmt.Sprintf("%v %v %v %v", r["index"], r["version"], p["id"], field))
	}
	want := []string{"0 1 " + a + " <nil>", "1 <nil> <nil> [delta]", "2 <nil> <nil> [productId]", "3 <nil> <nil> []", "4 3 " + b + " <nil>", "5 4 " + a + " <nil>"}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	wantOrder := []string{a + " 5", a + " -100", b + " 7", a + " 9"}
	if diff := cmp.Diff(wantOrder, order); diff != "" {
		t.Errorf("submitted (-want +got):\n%s", diff)
	}
	if reads != 1 || len(f.loads) != 1 || len(f.loads[0].ids) != len(c[0].Variants)+len(c[1].Variants) {
		t.Errorf("%d reads, loads %v; want one of each, of all", reads, f.loads)
	}
}

// Ensure that what isn't known of one row is said at that row alone.
func TestARowThatFailsFailsNoOther(t *testing.T) {
	c := newCatalogue(3)
	f := fakesOf(c)
	f.execute = func(_ context.Context, id, _ uuid.UUID, _ product.Origin, _ product.Command) (int64, *product.Refusal, error) {
		if id == c[1].ID {
			return 0, nil, errors.New("dial tcp 10.0.0.7: refused")
		}
		return 2, nil, nil
	}
	f.waitFor = func(_ context.Context, id uuid.UUID, _ int64) error {
		if id == c[2].ID {
			return read.ErrNotYet
		}
		return nil
	}
	items := ""
	for _, p := range c {
		items += `{productId: "` + p.ID.String() + `", delta: 5, reason: "x"}`
	}
	got := post(t, newTestHandler(t, f), `mutation { bulkAdjustStock(input: {items: [`+items+`]}) { r: results { version product { id } userErrors { code } } } }`, "")
	var errs []string
	for _, e := range got.Errors {
		errs = append(errs, fmt.Sprintf("%v %v", e.Path, e.Extensions["code"]))
	}
	slices.Sort(errs)
	want := []string{"[bulkAdjustStock r 1] INTERNAL_SERVER_ERROR", "[bulkAdjustStock r 2 product] NOT_YET_AVAILABLE"}
	if diff := cmp.Diff(want, errs); diff != "" || strings.Contains(got.body, "10.0.0.7") {
		t.Errorf("errors (-want +got):\n%s\n%s", diff, got.body)
	}
	rows := fmt.Sprint(got.Data["bulkAdjustStock"].(map[string]any)["r"])
	if want := fmt.Sprintf("[map[product:map[id:%s] userErrors:[] version:2] map[product:<nil> userErrors:[] version:<nil>] map[product:<nil> userErrors:[] version:2]]", c[0].ID); rows != want {
		t.Errorf("rows %s, want %s", rows, want)
	}
}

func TestABulkMutationHasAtMostAHundredRows(t *testing.T) {
	f := &fakes{}
	all := recording(f)
	h := newTestHandler(t, f)
	bulk := func(n int) reply {
		rows := strings.Repeat(`{"productId":"`+idA+`","delta":1,"reason":"x"},`, n)
		return post(t, h, `mutation($items: [AdjustStockInput!]!) { bulkAdjustStock(input: {items: $items}) { results { index } } }`, `{"items":[`+strings.TrimSuffix(rows, ",")+`]}`)
	}
	if got := bulk(maxRows + 1); fmt.Sprint(got.codes()) != "[BAD_USER_INPUT]" || len(*all) > 0 {
		t.Errorf("%d were executed: %s", len(*all), got.body)
	}
	if got := bulk(maxRows); len(got.Errors) > 0 || len(*all) != maxRows {
		t.Errorf("%d were executed: %s", len(*all), got.body)
	}
	if got := bulk(0); len(got.Errors) > 0 || len(*all) != maxRows {
		t.Errorf("%d were executed: %s", len(*all), got.body)
	}
}
