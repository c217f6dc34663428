package read

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"product-service/product"
	"product-service/projection/projectiontest"
	"product-service/projection/view"
)

// Ensure that the pages of products, read either way in any order under any filter, are the list.
func TestProductPages(t *testing.T) {
	s := projectiontest.Open(t)
	rapid.Check(t, func(t *rapid.T) {
		l, r := projected(t, s, 12, rapid.IntRange(10, 120).Draw(t, "commands"))
		where, order := productFilter(t, l), ProductOrder{Field: rapid.SampledFrom([]OrderField{"", ByName, ByCreatedAt, ByUpdatedAt, ByAvailable, ByStockStatus}).Draw(t, "order"),
			Descending: rapid.Bool().Draw(t, "descending")}
		want := wantedProducts(l, where, order)
		size, backward := rapid.IntRange(1, 6).Draw(t, "size"), rapid.Bool().Draw(t, "backward")
		var got []uuid.UUID
		for _, p := range pages(t, size, backward, func(page Range) (Page[Product], error) { return r.Products(t.Context(), where, order, page) }) {
			got = append(got, p.ID)
		}
		if !slices.Equal(want, got) {
			t.Fatalf("products by %+v where %+v:\nwant %v\ngot  %v", order, where, want, got)
		}
		counted, err := r.Products(t.Context(), where, order, Range{Last: 2, Count: true})
		if err != nil || counted.Total != int64(len(want)) {
			t.Fatalf("the list of %d counts %d, error %v", len(want), counted.Total, err)
		}
	})
}

func productFilter(t *rapid.T, l *projectiontest.Log) ProductFilter {
	var w ProductFilter
	yes, n, at := rapid.Bool().Draw(t, "orderable"), rapid.Int64Range(0, 60).Draw(t, "bound"), moment(t, l)
	for _, condition := range rapid.SliceOfNDistinct(rapid.IntRange(0, 7), 0, 2, rapid.ID).Draw(t, "conditions") {
		switch condition {
		case 0:
			w.Search = rapid.SampledFrom([]string{"prod", "PRODUCT 1", "sku", "extra", "!?", "roduct", "product 1 sku-bb"}).Draw(t, "search")
		case 1:
			w.StockStatus = rapid.SampledFrom([]product.StockStatus{product.InStock, product.LowStock, product.OutOfStock}).Draw(t, "status")
		case 2:
			w.Orderable = &yes
		case 3:
			w.AvailableGTE = &n
		case 4:
			w.AvailableLTE = &n
		case 5:
			w.UpdatedGTE = &at
		case 6:
			w.UpdatedLTE = &at
		case 7:
			w.IDs = []uuid.UUID{projectiontest.ID(0xaa, 1), projectiontest.ID(0xaa, 3), projectiontest.ID(0xaa, 5), projectiontest.ID(0xaa, 77)}
		}
	}
	return w
}

// wantedProducts is the list by the model: every document against every condition.
func wantedProducts(l *projectiontest.Log, w ProductFilter, order ProductOrder) []uuid.UUID {
	var docs []view.Document
	for id, state := range l.Products {
		d, _ := projectiontest.Expected(l, id)
		if state.Exists() && meets(&d, w) {
			docs = append(docs, d)
		}
	}
	slices.SortFunc(docs, func(a, b view.Document) int {
		c := 0
		switch order.Field {
		case ByName:
			c = strings.Compare(product.SortKey(a.Name), product.SortKey(b.Name))
		case ByUpdatedAt:
			c = int(a.UpdatedAt - b.UpdatedAt)
		case ByAvailable:
			c = int(a.Available - b.Available)
		case ByStockStatus:
			c = int(view.StockRanks[product.StatusOf(a.Available, a.Threshold)] - view.StockRanks[product.StatusOf(b.Available, b.Threshold)])
		default:
			c = int(a.CreatedAt - b.CreatedAt)
		}
		if c == 0 {
			c = strings.Compare(a.ID, b.ID)
		}
		if order.Descending {
			return -c
		}
		return c
	})
	var ids []uuid.UUID
	for _, d := range docs {
		ids = append(ids, uuid.MustParse(d.ID))
	}
	return ids
}

func meets(d *view.Document, w ProductFilter) bool {
	p := productOf(d)
	orderable := p.Available() > 0 && slices.ContainsFunc(p.Variants, func(v Variant) bool { return v.IsOrderable })
	text := strings.ToLower(" " + p.Name)
	for _, v := range d.Variants {
		text += strings.ToLower(" " + v.SKU + " " + v.Name)
	}
	for _, word := range strings.FieldsFunc(strings.ToLower(w.Search), func(r rune) bool { return r == ' ' || r == '-' }) {
		if !strings.Contains(strings.ReplaceAll(text, "-", " "), " "+word) {
			return false
		}
	}
	return (w.StockStatus == "" || product.StatusOf(p.Available(), p.LowStockThreshold) == w.StockStatus) &&
		(w.Orderable == nil || *w.Orderable == orderable) &&
		(w.AvailableGTE == nil || p.Available() >= *w.AvailableGTE) && (w.AvailableLTE == nil || p.Available() <= *w.AvailableLTE) &&
		(w.UpdatedGTE == nil || !p.UpdatedAt.Before(*w.UpdatedGTE)) && (w.UpdatedLTE == nil || !p.UpdatedAt.After(*w.UpdatedLTE)) &&
		(w.IDs == nil || slices.Contains(w.IDs, p.ID))
}
