package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"product-service/eventstore"
	"product-service/product"
	"product-service/projection/store"
	"product-service/projection/view"
)

// errStale says that the database holds other documents than the builder believed. The builder has
// to read them again.
var errStale = errors.New("documents changed under the projector")

// builder folds pages of the log into one generation. It belongs to one goroutine.
type builder struct {
	store   *store.Store
	into    store.Generation
	log     Log
	logger  *slog.Logger
	metrics *metrics
	now     func() time.Time
	cache   *cache
	journal journal
	parked  map[uuid.UUID]int64 // the position of the row that can't be folded in
}

// page is some rows of the log, and what becomes of them.
type page struct {
	rows    []eventstore.Record
	entries map[uuid.UUID]*view.Entry
	further map[uuid.UUID]bool // products that were found further than a row of theirs: another may have written them
	journal map[int16]view.Segments
}

// apply folds rows into the documents and writes them. When it returns nil every row is in the
// documents, or its product is parked.
func (b *builder) apply(ctx context.Context, records []eventstore.Record) error {
	const attempts = 5
	for attempt := 1; ; attempt++ {
		p := &page{rows: records, entries: map[uuid.UUID]*view.Entry{}, further: map[uuid.UUID]bool{}, journal: map[int16]view.Segments{}}
		err := b.try(ctx, p, attempt > 1)
		if err == nil {
			return nil
		}
		for id := range p.entries {
			b.cache.take(id)
		}
		if !errors.Is(err, errStale) || attempt == attempts {
			return err
		}
		b.metrics.stale.Inc()
	}
}

// skips says that a row goes into no document: no document shows rows of its type, or its product is
// parked.
func (b *builder) skips(r *eventstore.Record) bool {
	poison := b.parked[r.ProductID]
	return view.Unshown[r.Type] || (poison > 0 && r.Pos >= poison)
}

// try folds a page. With again set it trusts no entry that it kept, and repairs a product whose
// versions have a hole from the product's stream.
func (b *builder) try(ctx context.Context, p *page, again bool) error {
	if err := b.load(ctx, p, again); err != nil {
		return err
	}
	for i := range p.rows {
		r := &p.rows[i]
		if b.skips(r) {
			continue
		}
		e := p.entries[r.ProductID]
		hole := r.Pos > e.Doc.Pos && r.Version > 0 && r.Version != e.Doc.Version+1
		if hole && !again {
			return fmt.Errorf("product %s is at version %d, the next row has %d: %w",
				r.ProductID, e.Doc.Version, r.Version, errStale)
		}
		var err error
		if !hole {
			err = b.add(ctx, p, e, r)
		}
		if hole || errors.Is(err, view.ErrDamaged) {
			err = b.repairInPage(ctx, p, r, err)
		}
		if err != nil {
			return err
		}
	}
	if err := b.write(ctx, p); err != nil {
		b.store.TellChanges(b.into, p.touched()...) // some of it may have been written, now or when it arrives
		return err
	}
	b.store.TellChanges(b.into, p.written()...)
	for id, e := range p.entries {
		if e.Changed {
			b.store.Waiting.Wake(e.Doc.ID)
		}
		e.Written()
		b.cache.put(id, e)
	}
	return nil
}

// touched are the products of the page, of which it isn't known how far they are.
func (p *page) touched() []view.Change {
	all := make([]view.Change, 0, len(p.entries))
	for id := range p.entries {
		all = append(all, view.Change{ProductID: id})
	}
	return all
}

// written are the products of the page, each as far as it is: also those that it found further, as
// a former owner may have written them.
func (p *page) written() []view.Change {
	all := make([]view.Change, 0, len(p.entries))
	for id, e := range p.entries {
		all = append(all, view.Change{ProductID: id, Pos: e.Doc.Pos, Version: e.Doc.Version, StockOnly: !e.Catalogue && !p.further[id]})
	}
	return all
}

// add folds a row in. A row that can't be decoded parks its product.
func (b *builder) add(ctx context.Context, p *page, e *view.Entry, r *eventstore.Record) error {
	if r.Pos <= e.Doc.Pos {
		p.further[r.ProductID] = true
		return b.noteAgain(ctx, p, e, r)
	}
	event, err := product.Decode(r.Type, r.Data)
	if err != nil {
		return b.park(ctx, *r, err)
	}
	m, ok, err := e.Fold(*r, event)
	if ok && err == nil {
		b.note(p, &m)
	}
	return err
}

// repairInPage repairs the product of a row: its versions have a hole, or its documents are damaged.
// The product's documents are then further than the page.
func (b *builder) repairInPage(ctx context.Context, p *page, r *eventstore.Record, damage error) error {
	id := r.ProductID
	b.logger.WarnContext(ctx, "a product's documents have a hole in their versions, or are damaged; folding it anew",
		"product_id", id, "generation", b.into.Name, "error", damage)
	if err := b.repairProduct(ctx, id); err != nil {
		return err
	}
	delete(p.entries, id)
	if err := b.loadAll(ctx, p, []uuid.UUID{id}, true); err != nil || b.skips(r) { // its log can't be read so far
		return err
	}
	return b.add(ctx, p, p.entries[id], r)
}

// note adds a movement to the page's part of the journal, if people see it and it isn't there yet.
func (b *builder) note(p *page, m *view.Movement) {
	shard := eventstore.ShardOf(m.Product)
	if !m.Type.Visible() || m.Pos <= b.journal[shard] {
		return
	}
	s := p.journal[shard]
	s.Add(m)
	p.journal[shard] = s
}

// noteAgain adds the movement of a row to the page's part of the journal, where the row is folded in
// already but isn't in the journal: as after a repair of its product.
func (b *builder) noteAgain(ctx context.Context, p *page, e *view.Entry, r *eventstore.Record) error {
	if r.Version == 0 || r.Pos <= b.journal[r.Shard] {
		return nil
	}
	m, err := b.movement(ctx, e, r)
	if err == nil {
		b.note(p, &m)
	}
	return err
}

// movement finds the movement of a row that is folded in: in the product's tail, or in its block.
func (b *builder) movement(ctx context.Context, e *view.Entry, r *eventstore.Record) (view.Movement, error) {
	stored := e.Doc.Tail
	if r.Version < e.Doc.TailStart() {
		var full view.Block
		id := view.MovementID(e.Doc.ID, view.BlockStart(r.Version))
		rowsOnly := options.FindOne().SetProjection(bson.D{{Key: "rows", Value: 1}})
		err := b.into.Movements.FindOne(ctx, store.ByID(id), rowsOnly).Decode(&full)
		if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
			return view.Movement{}, fmt.Errorf("read movements: %w", err)
		}
		stored = full.Rows
	}
	rows, err := stored.Movements(r.ProductID)
	if err != nil {
		return view.Movement{}, err
	}
	for i := range rows {
		if rows[i].Version == r.Version {
			return rows[i], nil
		}
	}
	return view.Movement{}, fmt.Errorf("product %s lacks version %d: %w", r.ProductID, r.Version, view.ErrDamaged)
}

// load fills in the page's entries: kept ones, and the rest from the database.
func (b *builder) load(ctx context.Context, p *page, again bool) error {
	var ids []uuid.UUID
	seen := map[uuid.UUID]bool{}
	for i := range p.rows {
		if r := &p.rows[i]; !seen[r.ProductID] && !b.skips(r) {
			seen[r.ProductID], ids = true, append(ids, r.ProductID)
		}
	}
	return b.loadAll(ctx, p, ids, again)
}

func (b *builder) loadAll(ctx context.Context, p *page, ids []uuid.UUID, again bool) error {
	var missing []string
	for _, id := range ids {
		e := b.cache.take(id)
		if e == nil || again {
			e = view.NewEntry(id)
			missing = append(missing, e.Doc.ID)
		}
		p.entries[id] = e
	}
	var damaged []uuid.UUID
	if err := store.Find(ctx, b.store, b.into.Products, missing, store.AllFields, func(raw bson.Raw) {
		id := uuid.MustParse(raw.Lookup("_id").StringValue())
		e := p.entries[id]
		if err := e.Load(raw); err != nil {
			damaged = append(damaged, id)
			b.logger.WarnContext(ctx, "a product's document can't be read; folding it anew",
				"product_id", id, "generation", b.into.Name, "error", err)
		}
	}); err != nil {
		return fmt.Errorf("load products: %w", err)
	}
	for _, id := range damaged {
		if err := b.repairProduct(ctx, id); err != nil {
			return err
		}
		p.entries[id] = view.NewEntry(id)
	}
	if len(damaged) > 0 {
		return b.loadAll(ctx, p, damaged, true)
	}
	return nil
}
