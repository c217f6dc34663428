package read

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"product-service/product"
	"product-service/projection/store"
	"product-service/projection/view"
)

// ProductFilter says which products a list holds: those that meet every condition given. Zero values are no condition.
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

// Products returns a page of the products that meet the filter. It returns [ErrBadCursor], [ErrBadRange] and [ErrTooMany].
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
	return r.lists.Do(ctx, walk.asked, walk.list)
}

// keptPage returns a page that is kept, with those of its products that have changed read anew. Not ok: it has to be read as a whole.
func (r *Reader) keptPage(ctx context.Context, asked string) (page Page[Product], ok bool) {
	page, missing, ok := r.kept.page(ctx, asked)
	if !ok || len(missing) == 0 {
		return page, ok
	}
	products, err := r.ProductsByIDs(ctx, missing)
	if err != nil {
		return page, false
	}
	for i := range page.Edges {
		node := &page.Edges[i].Node
		if len(missing) == 0 || node.ID != missing[0] {
			continue
		}
		if products[0] == nil { // it went, and the page has another instead
			return page, false
		}
		*node, products, missing = *products[0], products[1:], missing[1:]
	}
	return page, true
}

// list reads the page.
func (w productWalk) list(ctx context.Context) (Page[Product], error) {
	ctx, cancel := w.reader.bounded(ctx)
	defer cancel()
	g, err := w.reader.store.Generation(ctx)
	if err != nil {
		return Page[Product]{}, err
	}
	w.in = g.Products
	since := w.reader.kept.begin()
	docs, err := w.read(ctx)
	if err != nil {
		return Page[Product]{}, err
	}
	products := w.reader.keep(g, since, docs)
	edges := make([]Edge[Product], len(docs))
	for i := range docs {
		edges[i] = Edge[Product]{Cursor: w.cursor(&docs[i]), Node: *products[i]}
	}
	result := paged(w.page, edges)
	if w.page.Count {
		if result.Total, err = w.count(ctx, g); err != nil {
			return Page[Product]{}, err
		}
	}
	w.reader.kept.keepPage(g.Name, w.asked, w.where.ofStock() || w.order.ofStock(), since, result)
	return result, nil
}

// count counts the whole list. The count is kept as a page of the list is: one that is empty.
func (w productWalk) count(ctx context.Context, g store.Generation) (int64, error) {
	filter, err := json.Marshal(w.where)
	if err != nil {
		return 0, fmt.Errorf("write a filter: %w", err)
	}
	asked := "count " + string(filter)
	if known, _, ok := w.reader.kept.page(ctx, asked); ok {
		return known.Total, nil
	}
	since := w.reader.kept.begin()
	total, err := g.Products.CountDocuments(ctx, w.filter)
	if err != nil {
		return 0, fmt.Errorf("count products: %w", err)
	}
	w.reader.kept.keepPage(g.Name, asked, w.where.ofStock(), since, Page[Product]{Total: total})
	return total, nil
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

// productWalk reads products in an order, from a place in it.
type productWalk struct {
	reader *Reader
	in     *mongo.Collection
	asked  string // what is asked for, as a key
	where  ProductFilter
	filter bson.D
	order  ProductOrder
	key    string
	page   Range
}

// read returns up to one product more than the page has, from the end the page is counted from. What follows a place is read as what is
// equal in the order and has a higher id, and then what is higher in the order: each is one span of one index.
func (w productWalk) read(ctx context.Context) ([]view.Document, error) {
	start, end := w.page.After, w.page.Before
	if w.page.backward() {
		start, end = end, start
	}
	from, err := w.place(start)
	if err != nil {
		return nil, err
	}
	to, err := w.place(end)
	if err != nil {
		return nil, err
	}
	spans := []bson.D{w.filter}
	if from != nil {
		spans = []bson.D{
			w.within(bson.E{Key: w.key, Value: from.value}, bson.E{Key: "_id", Value: bson.D{{Key: w.operator(), Value: from.id}}}),
			w.within(bson.E{Key: w.key, Value: bson.D{{Key: w.operator(), Value: from.value}}}),
		}
	}
	var docs []view.Document
	for _, span := range spans {
		more, err := w.find(ctx, span, w.page.size()+1-len(docs))
		if err != nil {
			return nil, err
		}
		docs = append(docs, more...)
		if len(docs) > w.page.size() {
			break
		}
	}
	if to == nil {
		return docs, nil
	}
	for i := range docs {
		if !w.before(&docs[i], to) {
			return docs[:i], nil
		}
	}
	return docs, nil
}

// ascending is the direction of reading, which is the list's, or its opposite when the page is counted from the end.
func (w productWalk) ascending() bool { return w.order.Descending == w.page.backward() }

func (w productWalk) operator() string {
	if w.ascending() {
		return "$gt"
	}
	return "$lt"
}

// within adds conditions to the filter. Where it has one on the same field already, both hold.
func (w productWalk) within(conditions ...bson.E) bson.D {
	span := append(bson.D{}, w.filter...)
	var also bson.A
	for _, c := range conditions {
		also = append(also, bson.D{c})
	}
	for i, e := range span {
		if e.Key == "$and" {
			span[i].Value = append(append(bson.A{}, e.Value.(bson.A)...), also...)
			return span
		}
	}
	return append(span, bson.E{Key: "$and", Value: also})
}

func (w productWalk) find(ctx context.Context, span bson.D, limit int) ([]view.Document, error) {
	direction := -1
	if w.ascending() {
		direction = 1
	}
	sort := bson.D{{Key: w.key, Value: direction}, {Key: "_id", Value: direction}}
	projection := bson.D{{Key: "words", Value: 0}, {Key: "tail", Value: 0}, {Key: "hour", Value: 0}, {Key: "today", Value: 0}}
	c, err := w.in.Find(ctx, span, w.reader.many(ctx).SetSort(sort).SetLimit(int64(limit)).SetProjection(projection))
	if err != nil {
		return nil, fmt.Errorf("read a page of products: %w", err)
	}
	var docs []view.Document
	if err := c.All(ctx, &docs); err != nil {
		return nil, fmt.Errorf("read a page of products: %w", err)
	}
	return docs, nil
}

// place is where a cursor points.
type place struct {
	value any // int64, or string for names
	id    string
}

func (w productWalk) name() string {
	if w.order.Descending {
		return string(w.order.Field) + "-"
	}
	return string(w.order.Field)
}

func (w productWalk) cursor(d *view.Document) string {
	at := w.of(d)
	return cursor(w.name(), fmt.Sprint(at.value), at.id)
}

func (w productWalk) of(d *view.Document) place {
	switch w.order.Field {
	case ByName:
		return place{d.SortName, d.ID}
	case ByUpdatedAt:
		return place{d.UpdatedAt, d.ID}
	case ByAvailable:
		return place{d.Available, d.ID}
	case ByStockStatus:
		return place{int64(d.StockRank), d.ID}
	default:
		return place{d.CreatedAt, d.ID}
	}
}

func (w productWalk) place(c string) (*place, error) {
	if c == "" {
		return nil, nil
	}
	values, err := parseCursor(w.name(), c, 2)
	if err != nil {
		return nil, err
	}
	if _, err := uuid.Parse(values[1]); err != nil {
		return nil, ErrBadCursor
	}
	if w.order.Field == ByName {
		return &place{values[0], values[1]}, nil
	}
	n, err := strconv.ParseInt(values[0], 10, 64)
	if err != nil {
		return nil, ErrBadCursor
	}
	return &place{n, values[1]}, nil
}

// before says whether a product comes before a place, in the direction of reading.
func (w productWalk) before(d *view.Document, to *place) bool {
	at, c := w.of(d), 0
	switch v := at.value.(type) {
	case string:
		c = cmp.Compare(v, to.value.(string))
	case int64:
		c = cmp.Compare(v, to.value.(int64))
	}
	if c == 0 {
		c = cmp.Compare(at.id, to.id)
	}
	if w.ascending() {
		return c < 0
	}
	return c > 0
}
