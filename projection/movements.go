package projection

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"product-service/eventstore"
)

// Movement is a change of a product's stock.
type Movement struct {
	ProductID     uuid.UUID
	Version       int64 // it made of the product
	Type          MovementType
	Quantity      int64 // without a sign
	Delta         int64 // the change of what is available
	Total         int64 // these after it
	Reserved      int64
	ReservationID uuid.UUID // uuid.Nil where it was about none
	SagaID        string
	Reason        string
	CommandID     uuid.UUID
	CorrelationID string
	OccurredAt    time.Time
}

// Available is what could be reserved after the movement.
func (m Movement) Available() int64 { return m.Total - m.Reserved }

// MovementFilter says which movements a list holds.
type MovementFilter struct {
	ProductID uuid.UUID // uuid.Nil: of all products
	From, To  time.Time // from this instant on, before that one; zero: open
	Types     []MovementType
}

// Movement returns the movement that made a version of a product.
func (r *Reader) Movement(ctx context.Context, productID uuid.UUID, version int64) (m Movement, ok bool, err error) {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	g, d, ok, err := r.visible(ctx, productID)
	if err != nil || !ok || version < d.Since || version > d.Version {
		return Movement{}, false, err
	}
	var row movement
	err = g.movements.FindOne(ctx, bson.D{{Key: "_id", Value: movementID(d.ID, version)}}, r.one()).Decode(&row)
	if errors.Is(err, mongo.ErrNoDocuments) || (err == nil && !row.Type.visible()) {
		return Movement{}, false, nil
	}
	if err != nil {
		return Movement{}, false, fmt.Errorf("read a movement of product %s: %w", productID, err)
	}
	return row.shown(), true, nil
}

// visible reads what the history of a product depends on, if it is shown.
func (r *Reader) visible(ctx context.Context, productID uuid.UUID) (generation, document, bool, error) {
	g, err := r.store.generation(ctx)
	if err != nil {
		return g, document{}, false, err
	}
	d, ok, err := r.document(ctx, g, productID)
	return g, d, ok && d.Status == active, err
}

// Movements returns a page of movements, the newest first. A list over all products ends at the moment up to which every one of them is
// projected, so that what was read of it stays as it was. It returns [ErrBadCursor] and [ErrBadRange].
func (r *Reader) Movements(ctx context.Context, where MovementFilter, page Range) (Page[Movement], error) {
	if err := page.check(); err != nil {
		return Page[Movement]{}, err
	}
	for _, t := range where.Types {
		if !slices.Contains(movementTypes, t) {
			return Page[Movement]{}, fmt.Errorf("there are no movements of type %q: %w", t, ErrBadRange)
		}
	}
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	list, err := r.span(ctx, where)
	if err != nil {
		return Page[Movement]{}, err
	}
	part, err := list.part(page)
	if err != nil {
		return Page[Movement]{}, err
	}
	rows, err := part.read(ctx, r, page)
	if err != nil {
		return Page[Movement]{}, fmt.Errorf("read a page of movements: %w", err)
	}
	edges := make([]Edge[Movement], len(rows))
	for i := range rows {
		edges[i] = Edge[Movement]{Cursor: cursor(list.list, list.key(&rows[i])), Node: rows[i].shown()}
	}
	result := paged(page, edges)
	if page.Count {
		if result.Total, err = list.count(ctx); err != nil {
			return Page[Movement]{}, fmt.Errorf("count movements: %w", err)
		}
	}
	return result, nil
}

// movementTypes are those people see; rareTypes are the ones that an index of their own finds among millions of others.
var (
	movementTypes = []MovementType{Initial, Adjusted, Reserved, Released, Expired}
	rareTypes     = []MovementType{Initial, Adjusted, Expired}
)

func (t MovementType) rare() bool { return slices.Contains(rareTypes, t) }

func common(t MovementType) bool { return !t.rare() }

// span returns the list that a filter describes.
func (r *Reader) span(ctx context.Context, where MovementFilter) (span, error) {
	if where.ProductID == uuid.Nil {
		return r.spanOfAll(ctx, where)
	}
	g, d, ok, err := r.visible(ctx, where.ProductID)
	if err != nil || !ok {
		return span{}, err
	}
	first, end := d.Since, d.Version+1
	if !where.From.IsZero() {
		before, err := r.versionAt(ctx, g, &d, where.From.UnixMicro()-1)
		if err != nil {
			return span{}, err
		}
		first = max(first, before+1)
	}
	if !where.To.IsZero() {
		before, err := r.versionAt(ctx, g, &d, where.To.UnixMicro()-1)
		if err != nil {
			return span{}, err
		}
		end = min(end, before+1)
	}
	s := span{list: "product", in: g.movements, field: "_id", width: 128, growth: 4, most: 4e11,
		shape: movementID(d.ID, 0), fixed: len(d.ID) + 1,
		bound: func(version int64) string { return movementID(d.ID, version) },
		at: func(key string) int64 {
			version, _ := strconv.ParseInt(key[len(d.ID)+1:len(d.ID)+13], 10, 64) // it has the shape
			return version
		},
		key: func(m *movement) string { return m.ID }}
	s.lo, s.hi = s.bound(first), s.bound(end)
	types := where.Types
	if len(types) == 0 {
		types = movementTypes
	}
	s.only(types, "rare")
	if r.fit(&s); !r.store.server.indexes {
		s.types = append(s.types, bson.E{Key: "product", Value: d.ID}) // which it looks for by itself
	}
	return s, nil
}

// spanOfAll is the list over all products. It ends at the watermark.
func (r *Reader) spanOfAll(ctx context.Context, where MovementFilter) (span, error) {
	g, err := r.store.generation(ctx)
	if err != nil {
		return span{}, err
	}
	watermark, err := r.watermark(ctx, g)
	if err != nil {
		return span{}, err
	}
	s := span{list: "all", in: g.movements, field: "order", width: 20_000, growth: 8, most: 4e15,
		shape: order(eventstore.Record{At: time.UnixMicro(0)}),
		bound: func(micros int64) string { return fmt.Sprintf("%016d", max(0, micros)) },
		at: func(key string) int64 {
			micros, _ := strconv.ParseInt(key[:16], 10, 64)
			return micros
		},
		key: func(m *movement) string { return m.Order }}
	s.lo, s.hi = s.bound(0), s.bound(watermark+1)
	if !where.From.IsZero() {
		s.lo = s.bound(where.From.UnixMicro())
	}
	if !where.To.IsZero() {
		s.hi = min(s.hi, s.bound(where.To.UnixMicro()))
	}
	if len(where.Types) > 0 {
		s.only(where.Types, "rareOrder")
	}
	r.fit(&s)
	return s, nil
}

// fit lets a server that reads whole collections do it once.
func (r *Reader) fit(s *span) {
	if !r.store.server.indexes {
		s.width = s.most
	}
}

// watermark is the time up to which every shard is projected.
func (r *Reader) watermark(ctx context.Context, g generation) (int64, error) {
	shards, err := r.store.loadCheckpoints(ctx, g.name)
	if err != nil {
		return 0, err
	}
	least := int64(math.MaxInt64)
	for _, c := range shards {
		least = min(least, c.Complete)
	}
	return least, nil
}

func (m *movement) shown() Movement {
	shown := Movement{Version: m.Version, Type: m.Type, Quantity: m.Quantity, Delta: m.Delta, Total: m.Total, Reserved: m.Reserved,
		SagaID: m.Saga, Reason: m.Reason, CorrelationID: m.Correlation, OccurredAt: timeOf(m.At)}
	shown.ProductID, _ = uuid.Parse(m.Product) // all three were written from one
	shown.CommandID, _ = uuid.Parse(m.Command)
	shown.ReservationID, _ = uuid.Parse(m.Reservation)
	return shown
}
