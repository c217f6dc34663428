package graph

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"product-service/projection/read"
)

// Ensure that a report asks for what its arguments say, and shows rows with their products, and
// those with their levels.
func TestAReportShowsItsRows(t *testing.T) {
	c := newCatalogue(2)
	f := fakesOf(c)
	type ask struct {
		Where read.ReportFilter
		Order read.ReportOrder
		Page  read.Range
	}
	var asked ask
	f.report = func(where read.ReportFilter, order read.ReportOrder, page read.Range) (p read.Page[read.ReportRow], err error) {
		asked = ask{where, order, page}
		bucket := read.Bucket{Opening: 1, Closing: 2, Min: 3, Max: 4, ReservedQuantity: 5, ReleasedQuantity: 6, ExpiredQuantity: 7, AdjustedQuantity: -8,
			RefusedQuantity: 9, Refusals: 10, OutOfStockSeconds: 11, Movements: 12}
		for i, id := range []uuid.UUID{c[1].ID, numbered("f", 9)} {
			p.Edges = append(p.Edges, read.Edge[read.ReportRow]{Cursor: fmt.Sprint("c", i), Node: read.ReportRow{Bucket: bucket, ProductID: id}})
		}
		p.HasNext, p.Total = true, 7
		return p, nil
	}
	const fields = `productId opening closing minAvailable maxAvailable reservedQuantity releasedQuantity expiredQuantity adjustedQuantity refusedQuantity refusals outOfStockSeconds movements`
	got := post(t, newTestHandler(t, f), `{stockReport(from:"2026-01-01T00:00:00Z",to:"2026-02-01T00:00:00Z",productIds:["`+idA+`"],orderBy:{field:NAME,direction:ASC},last:5,before:"c9"){
		totalCount pageInfo{hasNextPage endCursor} edges{cursor node{movements}} nodes{`+fields+` product{name variants{inventory{source}}}}}}`, "")
	row := func(id uuid.UUID, product any) map[string]any {
		return map[string]any{"productId": id.String(), "opening": 1.0, "closing": 2.0, "minAvailable": 3.0, "maxAvailable": 4.0, "reservedQuantity": 5.0, "releasedQuantity": 6.0,
			"expiredQuantity": 7.0, "adjustedQuantity": -8.0, "refusedQuantity": 9.0, "refusals": 10.0, "outOfStockSeconds": 11.0, "movements": 12.0, "product": product}
	}
	variants := make([]any, len(c[1].Variants))
	for i := range variants {
		variants[i] = map[string]any{"inventory": map[string]any{"source": "CACHE"}}
	}
	edge := func(cursor string) any {
		return map[string]any{"cursor": cursor, "node": map[string]any{"movements": 12.0}}
	}
	want := map[string]any{"totalCount": 7.0, "pageInfo": map[string]any{"hasNextPage": true, "endCursor": "c1"}, "edges": []any{edge("c0"), edge("c1")},
		"nodes": []any{row(c[1].ID, map[string]any{"name": c[1].Name, "variants": variants}), row(numbered("f", 9), nil)}}
	if diff := cmp.Diff(want, got.Data["stockReport"]); diff != "" {
		t.Errorf("the report (-want +got):\n%s\n%s", diff, got.body)
	}
	day := func(month time.Month) time.Time { return time.Date(2026, month, 1, 0, 0, 0, 0, time.UTC) }
	wanted := ask{read.ReportFilter{From: day(1), To: day(2), ProductIDs: []uuid.UUID{uuid.MustParse(idA)}}, read.ReportOrder{Field: read.ReportName}, read.Range{Last: 5, Before: "c9", Count: true}}
	if diff := cmp.Diff(wanted, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if len(f.loads) != 1 || len(f.loads[0].ids) != len(variants) {
		t.Errorf("levels were read %d times for %d variants", len(f.loads), len(variants))
	}
}

// Ensure that a report without an order has what was refused most first, and that it weighs more
// than a list does.
func TestAReportIsOrderedAndWeighed(t *testing.T) {
	var order read.ReportOrder
	f := &fakes{report: func(_ read.ReportFilter, o read.ReportOrder, _ read.Range) (read.Page[read.ReportRow], error) {
		order = o
		return read.Page[read.ReportRow]{}, nil
	}}
	const report = `{stockReport(from:"2026-01-01T00:00:00Z",to:"2026-02-01T00:00:00Z"%s){nodes{productId}}}`
	for args, want := range map[string]read.ReportOrder{
		"": {}, ",orderBy:{field:EXPIRED}": {Field: read.ReportExpired, Descending: true}, ",orderBy:{field:OUT_OF_STOCK_TIME,direction:ASC}": {Field: read.ReportOutOfStockTime},
	} {
		if got := post(t, newTestHandler(t, f), fmt.Sprintf(report, args), ""); len(got.Errors) > 0 || order != want {
			t.Errorf("%s asks for the order %+v: %s", args, order, got.body)
		}
	}
	if got := post(t, newTestHandler(t, f, "GRAPHQL_MAX_COST", fmt.Sprint(reportCost)), fmt.Sprintf(report, ""), ""); fmt.Sprint(got.codes()) != "[QUERY_TOO_COMPLEX]" {
		t.Errorf("it weighs too little: %s", got.body)
	}
}
