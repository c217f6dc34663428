package read

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/product"
	"product-service/projection/view"
)

// ProductFilter says which products a list holds: those that meet every condition given. Zero
// values are no condition.
type ProductFilter struct {
	Search       string // each of its words begins a word of the product's name, or of a variant's name or SKU (see [product.Words]); at most MaxSearch
	StockStatus  product.StockStatus
	Orderable    *bool
	AvailableGTE *int64
	AvailableLTE *int64
	UpdatedGTE   *time.Time
	UpdatedLTE   *time.Time
	IDs          []uuid.UUID // at most MaxIDs; nil: any, empty: none
}

// The longest search: each distinct word is a condition that every product in question is held against.
const (
	MaxSearch      = 200 // characters
	MaxSearchWords = 10
)

// OrderField is what a list of products can be ordered by.
type OrderField string

// The orders. Products that are equal in one are ordered by id.
const (
	ByName        OrderField = "NAME" // as in a dictionary: see [product.SortKey]
	ByCreatedAt   OrderField = "CREATED_AT"
	ByUpdatedAt   OrderField = "UPDATED_AT"
	ByAvailable   OrderField = "AVAILABLE"
	ByStockStatus OrderField = "STOCK_STATUS" // out of stock, low, in stock
)

// ProductOrder is the order of a list of products. The zero value is the oldest first.
type ProductOrder struct {
	Field      OrderField
	Descending bool
}

// orderKeys are the stored fields behind the orders.
var orderKeys = map[OrderField]string{ByName: "sortName", ByCreatedAt: "createdAt", ByUpdatedAt: "updatedAt", ByAvailable: "available", ByStockStatus: "stockRank"}

// Products returns a page of the products that meet the filter. It returns [ErrBadCursor],
// [ErrBadRange] and [ErrTooMany].
func (r *Reader) Products(ctx context.Context, where ProductFilter, order ProductOrder, page Range) (Page[Product], error) {
	if order.Field == "" {
		order.Field = ByCreatedAt
	}
	key, known := orderKeys[order.Field]
	if !known {
		return Page[Product]{}, fmt.Errorf("products can't be ordered by %q: %w", order.Field, ErrBadRange)
	}
	if err := page.check(); err != nil {
		return Page[Product]{}, err
	}
	filter, err := where.filter()
	if err != nil {
		return Page[Product]{}, err
	}
	asked, err := json.Marshal([]any{where, order, page})
	if err != nil {
		return Page[Product]{}, fmt.Errorf("write a filter: %w", err)
	}
	if known, ok := r.keptPage(ctx, string(asked)); ok {
		return known, nil
	}
	walk := productWalk{reader: r, where: where, filter: filter, order: order, key: key, page: page, asked: string(asked)}
	if walk.from, walk.to, err = walk.bounds(); err != nil {
		return Page[Product]{}, err
	}
	if known, ok := walk.known(ctx); ok {
		return known, nil
	}
	return r.lists.Do(ctx, walk.asked, walk.list)
}

// everything says whether all products meet the filter.
func (w ProductFilter) everything() bool {
	return !w.ofStock() && w.IDs == nil && product.Trim(w.Search) == ""
}

// ofStock says whether products meet the filter or not by their stock, or by what changes with it.
func (w ProductFilter) ofStock() bool {
	return w.StockStatus != "" || w.Orderable != nil || w.AvailableGTE != nil || w.AvailableLTE != nil || w.UpdatedGTE != nil || w.UpdatedLTE != nil
}

// ofStock says whether the order changes with the stock of products.
func (o ProductOrder) ofStock() bool { return o.Field != ByName && o.Field != ByCreatedAt }

func (w ProductFilter) filter() (bson.D, error) {
	filter := bson.D{{Key: "status", Value: view.Active}}
	add := func(key string, value any) { filter = append(filter, bson.E{Key: key, Value: value}) }
	if w.StockStatus != "" {
		rank, known := view.StockRanks[w.StockStatus]
		if !known {
			return nil, fmt.Errorf("there is no stock status %q: %w", w.StockStatus, ErrBadRange)
		}
		add("stockRank", rank)
	}
	if w.Orderable != nil {
		add("isOrderable", *w.Orderable)
	}
	if bounds := between(w.AvailableGTE, w.AvailableLTE); bounds != nil {
		add("available", bounds)
	}
	if bounds := between(microsOf(w.UpdatedGTE), microsOf(w.UpdatedLTE)); bounds != nil {
		add("updatedAt", bounds)
	}
	if len(w.IDs) > MaxIDs {
		return nil, ErrTooMany
	}
	if w.IDs != nil {
		add("_id", bson.D{{Key: "$in", Value: distinct(w.IDs)}})
	}
	if product.Trim(w.Search) != "" { // what shows nothing asks for nothing
		all, err := search(w.Search)
		if err != nil {
			return nil, err
		}
		add("$and", all)
	}
	return filter, nil
}

// search is a condition for each word.
func search(text string) (all bson.A, err error) {
	if n := utf8.RuneCountInString(text); n > MaxSearch {
		return nil, fmt.Errorf("search has %d characters; it can have %d: %w", n, MaxSearch, ErrBadRange)
	}
	distinct := product.Words(text)
	if len(distinct) > MaxSearchWords {
		return nil, fmt.Errorf("search has %d words; it can have %d: %w", len(distinct), MaxSearchWords, ErrBadRange)
	}
	for _, word := range distinct {
		all = append(all, bson.D{{Key: "words", Value: bson.Regex{Pattern: "^" + regexp.QuoteMeta(word)}}})
	}
	if all == nil { // nothing in it that a word has
		all = bson.A{bson.D{{Key: "words", Value: ""}}}
	}
	return all, nil
}

func between(least, most *int64) bson.D {
	var bounds bson.D
	if least != nil {
		bounds = append(bounds, bson.E{Key: "$gte", Value: *least})
	}
	if most != nil {
		bounds = append(bounds, bson.E{Key: "$lte", Value: *most})
	}
	return bounds
}

func microsOf(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	micros := t.UnixMicro()
	return &micros
}
