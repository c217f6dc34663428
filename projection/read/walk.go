package read

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"product-service/projection/store"
	"product-service/projection/view"
)

// productWalk reads products in an order, from a place in it.
type productWalk struct {
	reader   *Reader
	in       *mongo.Collection
	asked    string // what is asked for, as a key
	where    ProductFilter
	filter   bson.D
	order    ProductOrder
	key      string
	page     Range
	from, to *place // nil: the ends of the list, in the direction of reading
}

// keptPage returns a page that is kept, with those of its products that have changed read anew. Not
// ok: it has to be read as a whole.
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

// known makes the page of what is kept, but for single products. Not ok: the list has to be read.
func (w productWalk) known(ctx context.Context) (page Page[Product], ok bool) {
	if !w.byKeys() {
		return page, false
	}
	places, since, ok := w.reader.kept.order(ctx, w.order.Field, w.from, w.page.size()+1, !w.ascending())
	if !ok {
		return page, false
	}
	page, ok, err := w.pageOf(ctx, places)
	if !ok || err != nil {
		return page, false
	}
	if w.page.Count {
		if page.Total, err = w.count(ctx); err != nil {
			return page, false
		}
	}
	w.reader.kept.keepPage(w.asked, false, since, page)
	return page, true
}

// list reads the page.
func (w productWalk) list(ctx context.Context) (page Page[Product], err error) {
	bounded, cancel := w.reader.bounded(ctx)
	defer cancel()
	g, err := w.reader.store.Generation(bounded)
	if err != nil {
		return page, err
	}
	w.in = g.Products
	since, ok := w.reader.kept.begin(g.Name), false
	if w.byKeys() {
		if page, ok, err = w.listByKeys(bounded, since); err != nil {
			return page, err
		}
	}
	if !ok {
		if page, err = w.listWhole(bounded, since); err != nil {
			return page, err
		}
	}
	if w.page.Count { // in a time of its own
		if page.Total, err = w.count(ctx); err != nil {
			return page, err
		}
	}
	w.reader.kept.keepPage(w.asked, w.where.ofStock() || w.order.ofStock(), since, page)
	return page, nil
}

// listWhole reads the products of the page as they follow one another.
func (w productWalk) listWhole(ctx context.Context, since readStart) (page Page[Product], err error) {
	docs, err := w.read(ctx, w.page.size()+1, listed)
	if err != nil {
		return page, err
	}
	docs = docs[:w.within(len(docs), func(i int) place { return w.of(&docs[i]) })]
	products := w.reader.keep(since, docs)
	edges := make([]Edge[Product], len(docs))
	for i := range docs {
		edges[i] = Edge[Product]{Cursor: w.cursor(w.of(&docs[i])), Node: *products[i]}
	}
	return paged(w.page, edges), nil
}

// keysAhead is how many places in a list are read at once. An index alone answers that, and the
// next pages need not ask again.
const keysAhead = 500

// byKeys says whether the page is made of the places in the list and of single products, both of
// which may be kept: where the list holds all products, in an order that doesn't change with their
// stock. Any other list is read as it is at one moment.
func (w productWalk) byKeys() bool {
	return w.where.everything() && !w.order.ofStock() && w.reader.store.Config.ReadCache > 0
}

// listByKeys reads places in the list, and then the products that belong there. Not ok: one of them
// has gone meanwhile.
func (w productWalk) listByKeys(ctx context.Context, since readStart) (page Page[Product], ok bool, err error) {
	docs, err := w.read(ctx, keysAhead, bson.D{{Key: "_id", Value: 1}, {Key: w.key, Value: 1}})
	if err != nil {
		return page, false, err
	}
	places := make([]place, len(docs))
	for i := range docs {
		places[i] = w.of(&docs[i])
	}
	w.reader.kept.keepOrder(since, w.order.Field, w.from, places, !w.ascending(), len(docs) < keysAhead)
	return w.pageOf(ctx, places[:min(len(places), w.page.size()+1)])
}

// pageOf makes the page of places that follow one another in the direction of reading. Not ok: a
// product has gone.
func (w productWalk) pageOf(ctx context.Context, places []place) (page Page[Product], ok bool, err error) {
	places = places[:w.within(len(places), func(i int) place { return places[i] })]
	edges := make([]Edge[place], len(places))
	for i := range places {
		edges[i].Node = places[i]
	}
	of := paged(w.page, edges)
	ids := make([]uuid.UUID, len(of.Edges))
	for i := range ids {
		ids[i] = of.Edges[i].Node.id
	}
	products, err := w.reader.ProductsByIDs(ctx, ids)
	if err != nil {
		return page, false, err
	}
	page = Page[Product]{Edges: make([]Edge[Product], len(ids)), HasNext: of.HasNext, HasPrevious: of.HasPrevious}
	for i, p := range products {
		if p == nil {
			return page, false, nil
		}
		page.Edges[i] = Edge[Product]{Cursor: w.cursor(of.Edges[i].Node), Node: *p}
	}
	return page, true, nil
}

// count counts the whole list, once for all pages of it that are asked for. The count is kept as a
// page of the list is: one that is empty.
func (w productWalk) count(ctx context.Context) (int64, error) {
	filter, err := json.Marshal(w.where)
	if err != nil {
		return 0, fmt.Errorf("write a filter: %w", err)
	}
	asked := "count " + string(filter)
	if known, _, ok := w.reader.kept.page(ctx, asked); ok {
		return known.Total, nil
	}
	return w.reader.counts.Do(ctx, asked, func(ctx context.Context) (int64, error) {
		ctx, cancel := w.reader.bounded(ctx)
		defer cancel()
		g, err := w.reader.store.Generation(ctx)
		if err != nil {
			return 0, err
		}
		since := w.reader.kept.begin(g.Name)
		total, err := g.Products.CountDocuments(ctx, w.filter)
		if err != nil {
			return 0, fmt.Errorf("count products: %w", err)
		}
		w.reader.kept.keepPage(asked, w.where.ofStock(), since, Page[Product]{Total: total})
		return total, nil
	})
}

// bounds are the places between which the page is.
func (w productWalk) bounds() (from, to *place, err error) {
	start, end := w.page.After, w.page.Before
	if w.page.backward() {
		start, end = end, start
	}
	if from, err = w.place(start); err != nil {
		return nil, nil, err
	}
	to, err = w.place(end)
	return from, to, err
}

// listed is what is read of the products of a list.
var listed = bson.D{{Key: "words", Value: 0}, {Key: "tail", Value: 0}, {Key: "hour", Value: 0}, {Key: "today", Value: 0}}

// read returns up to so many products from where the page begins. What follows a place is read as
// what is equal in the order and has a higher id, and then what is higher in the order: each is one
// span of one index.
func (w productWalk) read(ctx context.Context, limit int, fields bson.D) ([]view.Document, error) {
	spans := []bson.D{w.filter}
	if w.from != nil {
		value := w.from.value(w.order.Field)
		spans = []bson.D{
			w.adding(bson.E{Key: w.key, Value: value}, bson.E{Key: "_id", Value: bson.D{{Key: w.operator(), Value: w.from.id.String()}}}),
			w.adding(bson.E{Key: w.key, Value: bson.D{{Key: w.operator(), Value: value}}}),
		}
	}
	var docs []view.Document
	for _, span := range spans {
		more, err := w.find(ctx, span, limit-len(docs), fields)
		if err != nil {
			return nil, err
		}
		if docs = append(docs, more...); len(docs) >= limit {
			break
		}
	}
	return docs, nil
}

// within is how many of n places come before the end of the page.
func (w productWalk) within(n int, at func(int) place) int {
	for i := range n {
		if w.to == nil {
			break
		}
		if c := at(i).compare(*w.to); c == 0 || (c < 0) != w.ascending() {
			return i
		}
	}
	return n
}

// ascending is the direction of reading, which is the list's, or its opposite when the page is
// counted from the end.
func (w productWalk) ascending() bool { return w.order.Descending == w.page.backward() }

func (w productWalk) operator() string {
	if w.ascending() {
		return "$gt"
	}
	return "$lt"
}

// adding adds conditions to the filter. Where it has one on the same field already, both hold.
func (w productWalk) adding(conditions ...bson.E) bson.D {
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

func (w productWalk) find(ctx context.Context, span bson.D, limit int, fields bson.D) ([]view.Document, error) {
	direction := -1
	if w.ascending() {
		direction = 1
	}
	sort := bson.D{{Key: w.key, Value: direction}, {Key: "_id", Value: direction}}
	c, err := w.in.Find(ctx, span, w.reader.many(ctx).SetSort(sort).SetLimit(int64(limit)).SetBatchSize(int32(limit)).SetProjection(fields))
	if err != nil {
		return nil, fmt.Errorf("read a page of products: %w", err)
	}
	docs, err := store.All[view.Document](ctx, c)
	if err != nil {
		return nil, fmt.Errorf("read a page of products: %w", err)
	}
	return docs, nil
}

// place is where a product is in a list, and where a cursor points: by what the list is ordered by,
// and the product's id.
type place struct {
	number int64
	name   string // of a list by name, which has no numbers
	id     uuid.UUID
}

// value is what the stored field of an order has there.
func (p place) value(by OrderField) any {
	if by == ByName {
		return p.name
	}
	return p.number
}

func (w productWalk) name() string {
	if w.order.Descending {
		return string(w.order.Field) + "-"
	}
	return string(w.order.Field)
}

func (w productWalk) cursor(at place) string {
	if w.order.Field == ByName {
		return cursor(w.name(), at.name, at.id.String())
	}
	return cursor(w.name(), strconv.FormatInt(at.number, 10), at.id.String())
}

func (w productWalk) of(d *view.Document) (at place) {
	at.id, _ = uuid.Parse(d.ID) // it was written from one
	switch w.order.Field {
	case ByName:
		at.name = d.SortName
	case ByUpdatedAt:
		at.number = d.UpdatedAt
	case ByAvailable:
		at.number = d.Available
	case ByStockStatus:
		at.number = int64(d.StockRank)
	default:
		at.number = d.CreatedAt
	}
	return at
}

func (w productWalk) place(c string) (*place, error) {
	if c == "" {
		return nil, nil
	}
	values, err := parseCursor(w.name(), c, 2)
	if err != nil {
		return nil, err
	}
	var at place
	if at.id, err = uuid.Parse(values[1]); err != nil {
		return nil, ErrBadCursor
	}
	if w.order.Field == ByName {
		at.name = values[0]
	} else if at.number, err = strconv.ParseInt(values[0], 10, 64); err != nil {
		return nil, ErrBadCursor
	}
	return &at, nil
}
