// Package read answers reads from the documents of the read model: products, movements, histories,
// timelines, reservations, lists and exports.
//
// What one process has shown of a product it never shows older. A list over all products ends at
// the watermark, up to which every shard is projected, so that what was read of it stays as it was.
// Each read is bounded in time and in size.
//
// Not obvious: reads that ask for the same at the same time share one, which begins after the last
// of them came.
package read

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"product-service/product"
	"product-service/projection/store"
	"product-service/projection/view"
	"product-service/wait"
)

// MaxIDs is how many ids one read takes.
const MaxIDs = 100

// ErrNotYet says that a version wasn't projected in time.
var ErrNotYet = errors.New("the product isn't projected up to this version yet")

// ErrTooMany says that more was asked for than one read gives.
var ErrTooMany = fmt.Errorf("a read takes at most %d ids", MaxIDs)

// Product is a product as it is shown.
type Product struct {
	ID                uuid.UUID
	Name              string
	Description       string
	LowStockThreshold int64
	Total             int64
	Reserved          int64
	StockStatus       product.StockStatus
	IsOrderable       bool // something is available, and a variant is orderable
	Variants          []Variant
	Version           int64
	CreatedAt         time.Time
	UpdatedAt         time.Time // of the last event, or of the last change of what is shown of a variant's inventory
	AsOf              time.Time // of the last event
}

// Available is what can still be reserved.
func (p Product) Available() int64 { return p.Total - p.Reserved }

// Stock is the product's stock now.
func (p Product) Stock() Stock {
	return Stock{ProductID: p.ID, Total: p.Total, Reserved: p.Reserved, Version: p.Version, AsOf: p.AsOf}
}

// Variant is a variant as it is shown.
type Variant struct {
	ID          uuid.UUID
	ProductID   uuid.UUID
	SKU         string
	Name        string
	Attributes  []product.Attribute
	IsOrderable bool // it has an inventory record, and the latest inventory event isn't out-of-stock
}

// Stock is a product's stock at some time.
type Stock struct {
	ProductID uuid.UUID
	Total     int64
	Reserved  int64
	Version   int64     // of the last event counted
	AsOf      time.Time // of that event
}

// Available is what could be reserved then.
func (s Stock) Available() int64 { return s.Total - s.Reserved }

// Reader answers reads from the documents. What isn't there is false or nil, not an error; an error
// means that MongoDB couldn't answer in time, or one of this package's sentinels.
type Reader struct {
	store       *store.Store
	correlation func(context.Context) string
	now         func() time.Time
	kept        *kept

	lists     store.Flights[Page[Product]]
	counts    store.Flights[int64]
	single    store.Flights[*Product]
	histories store.Flights[[]view.Movement]
	several   store.Flights[map[uuid.UUID]*Product]
	variants  store.Flights[map[uuid.UUID]*Variant]
}

// NewReader returns a reader. correlation gives the id of the request a read belongs to, which
// MongoDB's log and profiler then show; it may be nil.
func NewReader(s *store.Store, correlation func(context.Context) string) *Reader {
	if correlation == nil {
		correlation = func(context.Context) string { return "" }
	}
	return &Reader{store: s, correlation: correlation, now: time.Now, kept: newKept(s)}
}

// Product returns a product.
func (r *Reader) Product(ctx context.Context, id uuid.UUID) (p Product, ok bool, err error) {
	if known := r.kept.one(ctx, id); known != nil {
		return *known, true, nil
	}
	found, err := r.single.Do(ctx, id.String(), func(ctx context.Context) (*Product, error) { return r.product(ctx, id) })
	if err != nil || found == nil {
		return Product{}, false, err
	}
	return *found, true, nil
}

func (r *Reader) product(ctx context.Context, id uuid.UUID) (*Product, error) {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	g, err := r.store.Generation(ctx)
	if err != nil {
		return nil, err
	}
	since := r.kept.begin(g.Name)
	d, ok, err := r.document(ctx, g, id, shown)
	if err != nil || !ok || d.Status != view.Active {
		return nil, err
	}
	return r.keep(since, []view.Document{d})[0], nil
}

// keep shows documents, and keeps what they show.
func (r *Reader) keep(since readStart, docs []view.Document) []*Product {
	products := make([]*Product, len(docs))
	for i := range docs {
		p := productOf(&docs[i])
		products[i] = &p
	}
	r.kept.keep(since, docs, products)
	return products
}

// document reads a product whatever its status.
func (r *Reader) document(ctx context.Context, g store.Generation, id uuid.UUID, fields bson.D) (d view.Document, ok bool, err error) {
	err = g.Products.FindOne(ctx, bson.D{{Key: "_id", Value: id.String()}}, r.one().SetProjection(fields)).Decode(&d)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return d, false, nil
	}
	if err != nil {
		return d, false, fmt.Errorf("read product %s: %w", id, err)
	}
	r.kept.shows(id, d.Version)
	return d, true, nil
}

// shown leaves out what only filters, orders and the history need.
var (
	shown    = append(bson.D{{Key: "tail", Value: 0}, {Key: "hour", Value: 0}, {Key: "today", Value: 0}}, withTail...)
	withTail = bson.D{{Key: "words", Value: 0}, {Key: "sortName", Value: 0}}
)

// ProductsByIDs returns products in the order asked; nil where there is none. It returns
// [ErrTooMany] for more than [MaxIDs].
func (r *Reader) ProductsByIDs(ctx context.Context, ids []uuid.UUID) ([]*Product, error) {
	return byIDs(ctx, r.kept, ids, r.kept.product, &r.several, r.productsByIDs)
}

// byIDs takes what is kept, by get, and reads the rest. Those that ask for the same share one read.
func byIDs[V any](ctx context.Context, k *kept, ids []uuid.UUID, get func(uuid.UUID) *V,
	flights *store.Flights[map[uuid.UUID]*V], read func(context.Context, []uuid.UUID) (map[uuid.UUID]*V, error)) ([]*V, error) {
	if len(ids) > MaxIDs {
		return nil, ErrTooMany
	}
	found, missing := find(ctx, k, ids, get)
	var others map[uuid.UUID]*V // shared: only to be read
	if len(missing) > 0 {
		var err error
		others, err = flights.Do(ctx, fmt.Sprint(missing), func(ctx context.Context) (map[uuid.UUID]*V, error) { return read(ctx, missing) })
		if err != nil {
			return nil, err
		}
	}
	all := make([]*V, len(ids))
	for i, id := range ids {
		if all[i] = found[id]; all[i] == nil {
			all[i] = others[id]
		}
	}
	return all, nil
}

func (r *Reader) productsByIDs(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]*Product, error) {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	g, err := r.store.Generation(ctx)
	if err != nil {
		return nil, err
	}
	since := r.kept.begin(g.Name)
	var docs []view.Document
	if err := store.Find(ctx, r.store, g.Products, distinct(ids), shown, func(d view.Document) {
		if d.Status == view.Active {
			docs = append(docs, d)
		}
	}); err != nil {
		return nil, fmt.Errorf("read products: %w", err)
	}
	found := make(map[uuid.UUID]*Product, len(docs))
	for _, p := range r.keep(since, docs) {
		found[p.ID] = p
	}
	return found, nil
}

// Variants returns variants in the order asked; nil where there is none. It returns [ErrTooMany]
// for more than [MaxIDs].
func (r *Reader) Variants(ctx context.Context, ids []uuid.UUID) ([]*Variant, error) {
	return byIDs(ctx, r.kept, ids, r.kept.variant, &r.variants, r.variantsByIDs)
}

func (r *Reader) variantsByIDs(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]*Variant, error) {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	g, err := r.store.Generation(ctx)
	if err != nil {
		return nil, err
	}
	since := r.kept.begin(g.Name)
	filter := bson.D{{Key: "status", Value: view.Active}, {Key: "variants.id", Value: bson.D{{Key: "$in", Value: distinct(ids)}}}}
	cursor, err := g.Products.Find(ctx, filter, r.many(ctx).SetProjection(shown))
	if err != nil {
		return nil, fmt.Errorf("read variants: %w", err)
	}
	docs, err := store.All[view.Document](ctx, cursor)
	if err != nil {
		return nil, fmt.Errorf("read variants: %w", err)
	}
	found := map[uuid.UUID]*Variant{}
	for _, p := range r.keep(since, docs) {
		for i := range p.Variants {
			found[p.Variants[i].ID] = &p.Variants[i]
		}
	}
	return found, nil
}

// WaitFor waits until the product is projected up to a version. It returns [ErrNotYet] when it
// takes longer than the configured time, and the context's error when that ends first.
func (r *Reader) WaitFor(ctx context.Context, id uuid.UUID, version int64) error {
	if r.kept.has(ctx, id, version) {
		return nil
	}
	woken, leave := r.store.Waiting.Join(id.String())
	defer leave()
	deadline := time.NewTimer(r.store.Config.WaitTimeout)
	defer deadline.Stop()
	for pause := (wait.Pace{Least: 25 * time.Millisecond, Most: 200 * time.Millisecond}); ; {
		reached, err := r.version(ctx, id)
		if err != nil {
			return err
		}
		if reached >= version {
			r.kept.reached(id, reached)
			return nil
		}
		poll := time.NewTimer(pause.Next(false))
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-deadline.C:
			err = fmt.Errorf("product %s at version %d, not %d: %w", id, reached, version, ErrNotYet)
		case <-woken:
		case <-poll.C:
		}
		poll.Stop()
		if err != nil {
			return err
		}
	}
}

func (r *Reader) version(ctx context.Context, id uuid.UUID) (int64, error) {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	g, err := r.store.Generation(ctx)
	if err != nil {
		return 0, err
	}
	var d struct {
		Version int64 `bson:"version"`
	}
	err = g.Products.FindOne(ctx, bson.D{{Key: "_id", Value: id.String()}}, r.one().SetProjection(bson.D{{Key: "version", Value: 1}})).Decode(&d)
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return 0, fmt.Errorf("read the version of product %s: %w", id, err)
	}
	return d.Version, nil
}

func (r *Reader) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, r.store.Config.ReadTimeout)
}

func (r *Reader) one() *options.FindOneOptionsBuilder { return options.FindOne() }

// many are the options of a read of many documents: they say whose request it is.
func (r *Reader) many(ctx context.Context) *options.FindOptionsBuilder {
	o := options.Find()
	if id := r.correlation(ctx); id != "" {
		o.SetComment(id)
	}
	return o
}

func distinct(ids []uuid.UUID) []string {
	seen, names := make(map[uuid.UUID]bool, len(ids)), make([]string, 0, len(ids))
	for _, id := range ids {
		if !seen[id] {
			seen[id], names = true, append(names, id.String())
		}
	}
	return names
}
