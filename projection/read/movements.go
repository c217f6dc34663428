package read

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"product-service/projection/store"
	"product-service/projection/view"
)

// Movement is a change of a product's stock.
type Movement struct {
	ProductID     uuid.UUID
	Version       int64 // it made of the product
	Type          view.MovementType
	Quantity      int64 // without a sign
	Delta         int64 // the change of what is available
	Total         int64 // these after it
	Reserved      int64
	ReservationID uuid.UUID // uuid.Nil where it was about none
	SagaID        string
	Reason        string
	Actor         string // who asked for it; empty where that was no person
	CommandID     uuid.UUID
	CorrelationID string
	OccurredAt    time.Time
}

// Available is what could be reserved after the movement.
func (m Movement) Available() int64 { return m.Total - m.Reserved }

// MovementFilter says which movements a list holds.
type MovementFilter struct {
	ProductID uuid.UUID  // uuid.Nil: of all products
	From, To  *time.Time // from this instant on, before that one; nil: open
	Types     []view.MovementType
}

// Movement returns the movement that made a version of a product.
func (r *Reader) Movement(ctx context.Context, productID uuid.UUID, version int64) (m Movement, ok bool, err error) {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	g, d, ok, err := r.visible(ctx, productID)
	if err != nil || !ok || version < d.Since || version > d.Version {
		return Movement{}, false, err
	}
	history, err := r.stream(g, productID, &d)
	if err != nil {
		return Movement{}, false, err
	}
	row, ok, err := history.at(ctx, version)
	return movementOf(&row), ok && row.Type.Visible(), err
}

// visible reads what the history of a product depends on, if it is shown.
func (r *Reader) visible(ctx context.Context, productID uuid.UUID) (store.Generation, view.Document, bool, error) {
	g, err := r.store.Generation(ctx)
	if err != nil {
		return g, view.Document{}, false, err
	}
	d, ok, err := r.shown(ctx, g, productID)
	return g, d, ok, err
}

// shown is visible in one generation.
func (r *Reader) shown(ctx context.Context, g store.Generation, productID uuid.UUID) (view.Document, bool, error) {
	d, ok, err := r.document(ctx, g, productID, withTail)
	return d, ok && d.Status == view.Active, err
}

// Movements returns a page of movements, the newest first. A list over all products ends at the
// moment up to which every one of them is projected, so that what was read of it stays as it was.
// It returns [ErrBadCursor] and [ErrBadRange].
func (r *Reader) Movements(ctx context.Context, where MovementFilter, page Range) (Page[Movement], error) {
	if err := page.check(); err != nil {
		return Page[Movement]{}, err
	}
	for _, t := range where.Types {
		if !slices.Contains(view.MovementTypes, t) {
			return Page[Movement]{}, fmt.Errorf("there are no movements of type %q: %w", t, ErrBadRange)
		}
	}
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	g, err := r.store.Generation(ctx)
	if err != nil {
		return Page[Movement]{}, err
	}
	list, err := r.keyRange(ctx, g, where)
	if err != nil {
		return Page[Movement]{}, err
	}
	part, err := list.part(page)
	if err != nil {
		return Page[Movement]{}, err
	}
	rows, err := part.read(ctx, page)
	if err != nil {
		return Page[Movement]{}, fmt.Errorf("read a page of movements: %w", err)
	}
	edges := make([]Edge[Movement], len(rows))
	for i := range rows {
		edges[i] = Edge[Movement]{Cursor: cursor(list.list, list.key(&rows[i])), Node: movementOf(&rows[i])}
	}
	result := paged(page, edges)
	if page.Count {
		if result.Total, err = list.total(ctx); err != nil {
			return Page[Movement]{}, fmt.Errorf("count movements: %w", err)
		}
	}
	return result, nil
}

// keyRange returns the list that a filter describes.
func (r *Reader) keyRange(ctx context.Context, g store.Generation, where MovementFilter) (keyRange, error) {
	if where.ProductID == uuid.Nil {
		return r.rangeOfAll(ctx, g, where)
	}
	d, ok, err := r.shown(ctx, g, where.ProductID)
	if err != nil || !ok {
		return keyRange{}, err
	}
	first, end := d.Since, d.Version+1
	if where.From != nil {
		before, err := r.versionAt(ctx, g, &d, where.From.UnixMicro()-1)
		if err != nil {
			return keyRange{}, err
		}
		first = max(first, before+1)
	}
	if where.To != nil {
		before, err := r.versionAt(ctx, g, &d, where.To.UnixMicro()-1)
		if err != nil {
			return keyRange{}, err
		}
		end = min(end, before+1)
	}
	history, err := r.stream(g, where.ProductID, &d)
	if err != nil {
		return keyRange{}, err
	}
	types := where.shown()
	if !slices.ContainsFunc(types, view.Common) {
		history.field = "rare"
	}
	s := keyRange{source: history, list: "product", types: types, width: 64, growth: 4, most: 4e11,
		shape: view.MovementID(d.ID, 0), fixed: len(d.ID) + 1,
		bound: func(version int64) string { return view.MovementID(d.ID, version) }, at: history.version, key: (*view.Movement).ID}
	s.lo, s.hi = s.bound(first), s.bound(end)
	r.fit(&s)
	return s, nil
}

// shown are the types the list has.
func (w MovementFilter) shown() []view.MovementType {
	if len(w.Types) == 0 {
		return view.MovementTypes
	}
	return w.Types
}

// lastMicro is the last microsecond that an order has room for, in the year 2286.
const lastMicro = 9_999_999_999_999_999

// rangeOfAll is the list over all products. It begins with the first row there is, and ends at the
// watermark.
func (r *Reader) rangeOfAll(ctx context.Context, g store.Generation, where MovementFilter) (keyRange, error) {
	first, watermark, err := r.projected(ctx, g)
	if err != nil {
		return keyRange{}, err
	}
	history, types := &journalReader{rowsReader{reader: r, in: g.Journal, journal: true, field: "order"}}, where.shown()
	if !slices.ContainsFunc(types, view.Common) {
		history.field = "rare"
	}
	s := keyRange{source: history, list: "all", types: types, width: 20_000, growth: 8, most: 4e15,
		shape: (&view.Movement{}).Order(), at: microsAt, key: (*view.Movement).Order,
		bound: func(at int64) string { return lowestAt(min(max(at, 0), lastMicro)) }}
	s.lo, s.hi = s.bound(first), s.bound(watermark+1)
	if where.From != nil {
		s.lo = max(s.lo, s.bound(where.From.UnixMicro()))
	}
	if where.To != nil {
		s.hi = min(s.hi, s.bound(where.To.UnixMicro()))
	}
	r.fit(&s)
	return s, nil
}

// fit lets a server that reads whole collections do it once.
func (r *Reader) fit(s *keyRange) {
	if !r.store.Server.Indexes {
		s.width = s.most
	}
}

// projected returns the time of the first row of all shards, and the watermark: the time up to
// which every one of them is projected.
func (r *Reader) projected(ctx context.Context, g store.Generation) (first, watermark int64, err error) {
	shards, err := r.store.LoadCheckpoints(ctx, g.Name)
	if err != nil {
		return 0, 0, err
	}
	first, watermark = lastMicro, lastMicro
	for _, c := range shards {
		if c.Pos > 0 {
			first = min(first, c.First)
		}
		watermark = min(watermark, c.Complete)
	}
	return first, watermark, nil
}
