package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/eventstore"
	"product-service/product"
)

// errStale says that the database holds other documents than the worker believed: it has to read them again.
var errStale = errors.New("documents changed under the projector")

// folder folds pages of the log into one generation. It belongs to one goroutine.
type folder struct {
	store   *Store
	into    generation
	log     Log
	logger  *slog.Logger
	metrics *metrics
	now     func() time.Time
	cache   *cache
	journal journal
	parked  map[uuid.UUID]int64 // the position of the row that can't be folded in
}

// item is a row that concerns documents, decoded.
type item struct {
	eventstore.Record
	event product.Event
}

// page is what becomes of some rows.
type page struct {
	rows    []eventstore.Record
	entries map[uuid.UUID]*entry
	journal map[int16]segments
}

// apply folds rows into the documents and writes them. When it returns nil every row is in them, or its product is parked.
func (f *folder) apply(ctx context.Context, records []eventstore.Record) error {
	const attempts = 5
	for attempt := 1; ; attempt++ {
		p := &page{rows: records, entries: map[uuid.UUID]*entry{}, journal: map[int16]segments{}}
		err := f.try(ctx, p, attempt > 1)
		if err == nil {
			return nil
		}
		for id := range p.entries {
			f.cache.take(id)
		}
		if !errors.Is(err, errStale) || attempt == attempts {
			return err
		}
		f.metrics.stale.Inc()
	}
}

// skips says that a row is in no document: nothing of its kind is shown, or its product is parked.
func (f *folder) skips(r *eventstore.Record) bool {
	poison := f.parked[r.ProductID]
	return unshown[r.Type] || (poison > 0 && r.Pos >= poison)
}

// unshown are the facts no document shows anything of.
var unshown = map[string]bool{
	product.TypeOf(product.ReservationConfirmed{}): true,
	product.TypeOf(product.StockConfirmed{}):       true,
	product.TypeOf(product.ReservationFailed{}):    true,
	product.TypeOf(product.ReleaseIgnored{}):       true,
	product.TypeOf(product.OutcomeResent{}):        true,
}

// try folds a page. With again set it trusts no entry it kept, and a product whose versions have a hole is folded anew from its stream.
func (f *folder) try(ctx context.Context, p *page, again bool) error {
	if err := f.load(ctx, p, again); err != nil {
		return err
	}
	for i := range p.rows {
		r := &p.rows[i]
		if f.skips(r) {
			continue
		}
		e := p.entries[r.ProductID]
		hole := r.Pos > e.doc.Pos && r.Version > 0 && r.Version != e.doc.Version+1
		if hole && !again {
			return fmt.Errorf("product %s is at version %d, the next row has %d: %w", r.ProductID, e.doc.Version, r.Version, errStale)
		}
		var err error
		if !hole {
			err = f.add(ctx, p, e, r)
		}
		if hole || errors.Is(err, errCut) {
			err = f.mend(ctx, p, r, err)
		}
		if err != nil {
			return err
		}
	}
	if err := f.write(ctx, p); err != nil {
		return err
	}
	for id, e := range p.entries {
		if e.changed {
			f.store.waiting.wake(e.doc.ID)
		}
		e.written()
		f.cache.put(id, e)
	}
	return nil
}

// add folds a row in. One that can't be decoded parks its product.
func (f *folder) add(ctx context.Context, p *page, e *entry, r *eventstore.Record) error {
	if r.Pos <= e.doc.Pos {
		return f.remember(ctx, p, e, r)
	}
	event, err := product.Decode(r.Type, r.Data)
	if err != nil {
		return f.park(ctx, *r, err)
	}
	m, ok, err := e.fold(item{Record: *r, event: event})
	if ok && err == nil {
		f.note(p, &m)
	}
	return err
}

// mend folds the product of a row anew, whose versions have a hole or whose documents are damaged: it is then further than the page.
func (f *folder) mend(ctx context.Context, p *page, r *eventstore.Record, damage error) error {
	id := r.ProductID
	f.logger.WarnContext(ctx, "a product's documents have a hole in their versions, or are damaged; folding it anew", "product", id, "generation", f.into.name, "error", damage)
	if err := f.refold(ctx, id); err != nil {
		return err
	}
	delete(p.entries, id)
	if err := f.loadAll(ctx, p, []uuid.UUID{id}, true); err != nil || f.skips(r) { // its log can't be read so far
		return err
	}
	return f.add(ctx, p, p.entries[id], r)
}

// note adds a movement to the page's part of the journal, if people see it and it isn't there yet.
func (f *folder) note(p *page, m *movement) {
	shard := eventstore.ShardOf(m.Product)
	if !m.Type.visible() || m.Pos <= f.journal[shard] {
		return
	}
	s := p.journal[shard]
	s.add(m)
	p.journal[shard] = s
}

// remember adds the movement of a row that is folded in already, as after a product was folded anew, and isn't in the journal.
func (f *folder) remember(ctx context.Context, p *page, e *entry, r *eventstore.Record) error {
	if r.Version == 0 || r.Pos <= f.journal[r.Shard] {
		return nil
	}
	history, err := NewReader(f.store, nil).stream(f.into, r.ProductID, &e.doc)
	if err != nil {
		return err
	}
	m, ok, err := history.at(ctx, r.Version)
	if err == nil && !ok {
		err = fmt.Errorf("product %s lacks version %d: %w", r.ProductID, r.Version, errCut)
	}
	if err == nil {
		f.note(p, &m)
	}
	return err
}

// fold adds a row to the entry, and returns the movement it makes, if it makes one.
func (e *entry) fold(it item) (m movement, ok bool, err error) {
	if _, cancelled := it.event.(product.ReservationCancelled); cancelled {
		m = move(&e.doc, it.Record, it.event)
		return m, true, e.keep(&m)
	}
	whole, changed := e.doc.fold(it.Record, it.event)
	e.whole, e.changed = e.whole || whole, e.changed || changed
	if it.Version == 0 {
		return movement{}, false, nil
	}
	m = move(&e.doc, it.Record, it.event)
	if m.Type.visible() {
		if h := e.doc.Hour; h.Movements > 0 && h.Number != m.At/microsPerHour {
			e.ended = append(e.ended, h)
			e.doc.Hour = hour{}
		}
		e.doc.Hour = e.doc.Hour.add(&m)
	}
	return m, true, e.keep(&m)
}

// load fills in the page's entries: kept ones, and the rest from the database.
func (f *folder) load(ctx context.Context, p *page, again bool) error {
	var ids []uuid.UUID
	seen := map[uuid.UUID]bool{}
	for i := range p.rows {
		if r := &p.rows[i]; !seen[r.ProductID] && !f.skips(r) {
			seen[r.ProductID], ids = true, append(ids, r.ProductID)
		}
	}
	return f.loadAll(ctx, p, ids, again)
}

func (f *folder) loadAll(ctx context.Context, p *page, ids []uuid.UUID, again bool) error {
	var missing []string
	for _, id := range ids {
		e := f.cache.take(id)
		if e == nil || again {
			e = newEntry(id)
			missing = append(missing, e.doc.ID)
		}
		p.entries[id] = e
	}
	var damaged []uuid.UUID
	if err := find(ctx, f.store, f.into.products, missing, whole, func(raw bson.Raw) {
		id := uuid.MustParse(raw.Lookup("_id").StringValue())
		e := p.entries[id]
		if err := bson.Unmarshal(raw, &e.doc); err != nil {
			damaged = append(damaged, id)
			f.logger.WarnContext(ctx, "a product's document can't be read; folding it anew", "product", id, "generation", f.into.name, "error", err)
			return
		}
		e.loaded = e.doc.Pos
	}); err != nil {
		return fmt.Errorf("load products: %w", err)
	}
	for _, id := range damaged {
		if err := f.refold(ctx, id); err != nil {
			return err
		}
		p.entries[id] = newEntry(id)
	}
	if len(damaged) > 0 {
		return f.loadAll(ctx, p, damaged, true)
	}
	return nil
}
