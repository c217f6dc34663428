// Package audit folds the log again and compares what comes out with everything that is kept of it:
// the heads and reservations of the write side, and the documents, the journal and the parked
// products of the read model. It looks both ways: for what is missing or wrong, and for what the
// log doesn't come to.
//
// It runs beside writers and projectors: what is merely late is no difference. It repairs documents
// where it is told to, and nothing of the write side.
package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"product-service/eventstore"
	"product-service/product"
	"product-service/projection"
	"product-service/projection/store"
	"product-service/projection/view"
	"product-service/wait"
)

// Log is the log as an audit reads it: [eventstore.Store] implements it.
type Log interface {
	projection.Log
	Stream(ctx context.Context, productID uuid.UUID, afterVersion int64, limit int) ([]eventstore.Record, error)
	Facts(ctx context.Context, productID uuid.UUID, after int64, limit int) ([]eventstore.Record, error)
}

// MaxVariants is how many variants, and how many documents without a name, are looked at in one call.
const MaxVariants = 100

// Options say how to audit.
type Options struct {
	Heal      bool // make documents anew that differ
	PerSecond int  // products, at most; 0: as fast as it goes

	// Absent says which of at most MaxVariants variants the Inventory Service has no record of;
	// nil: nobody is asked.
	Absent func(ctx context.Context, variants []uuid.UUID) ([]uuid.UUID, error)
}

// Difference is something that isn't as the log has it.
type Difference struct {
	Product uuid.UUID // of the journal, which is a shard's, the first that something is wrong with
	Where   string    // log, head, reservation, document, movements, days, parked, journal or inventory
	What    string    // in words
	Healed  bool
}

// Result sums an audit up.
type Result struct{ Products, Rows, Differences, Healed int64 }

// Run folds the whole log again, product by product, and compares what comes out with the heads and
// reservations of the write side and with the documents that are read, each as of the row it was
// written for: what is merely late is no difference. Then it looks for what is kept of products
// that the log doesn't name. It calls report with each difference. An error means that the audit
// couldn't be done, as when a rebuild has named another generation meanwhile.
func Run(
	ctx context.Context, s *store.Store, log Log, tables Tables, logger *slog.Logger, o Options, report func(Difference),
) (Result, error) {
	g, err := s.Generation(ctx)
	if err != nil {
		return Result{}, err
	}
	if g.Schema != view.Schema {
		return Result{}, projection.ErrShape
	}
	repair, err := projection.NewRepairer(ctx, s, g, log, logger)
	if err != nil {
		return Result{}, err
	}
	a := &audit{store: s, into: g, log: log, tables: tables, repair: repair, options: o, report: report,
		compared: map[uuid.UUID]bool{}}
	if o.Heal {
		if err := repair.SameLog(ctx); err != nil {
			return a.result, err
		}
	}
	for shard := range int16(eventstore.Shards) {
		ids, err := a.journal(ctx, shard)
		if err == nil {
			err = a.shard(ctx, shard, ids)
		}
		if err != nil {
			return a.result, fmt.Errorf("audit shard %d: %w", shard, err)
		}
	}
	if err := a.orphans(ctx); err != nil {
		return a.result, err
	}
	return a.result, s.StillCurrent(ctx, g)
}

type audit struct {
	store    *store.Store
	into     store.Generation
	log      Log
	tables   Tables
	repair   *projection.Repairer
	options  Options
	report   func(Difference)
	result   Result
	compared map[uuid.UUID]bool // products that were compared though the log doesn't name them
}

func (a *audit) shard(ctx context.Context, shard int16, ids []uuid.UUID) error {
	for _, id := range ids {
		began := time.Now()
		if err := a.product(ctx, shard, id); err != nil {
			return fmt.Errorf("product %s: %w", id, err)
		}
		if a.options.PerSecond > 0 {
			wait.For(ctx, time.Second/time.Duration(a.options.PerSecond)-time.Since(began))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// comparison is what the log says about one product, as of what the others were written for.
type comparison struct {
	id      uuid.UUID
	head    eventstore.Head // as it is kept
	stored  view.Document
	exists  bool            // the document is
	damage  error           // why it can't be read
	upTo    int64           // the checkpoint
	folded  product.Product // as of the head's version
	entry   *view.Entry     // as of the document's position and the checkpoint
	last    int64           // version in the log
	pos     int64           // of the last row in the log, and then of the last fact
	held    map[uuid.UUID]product.Reservation
	touched map[uuid.UUID]bool // reservations with events after the head was read
	part    int64              // of the reservations, in which they are compared: all at once could be millions
	parts   int64
	found   []Difference
}

func (c *comparison) differ(where, format string, args ...any) {
	c.found = append(c.found, Difference{Product: c.id, Where: where, What: fmt.Sprintf(format, args...)})
}

// product compares one product. What is compared is read before the log, which then holds at least
// all of it.
func (a *audit) product(ctx context.Context, shard int16, id uuid.UUID) error {
	var found []Difference
	for part, parts := int64(0), int64(1); part < parts; part++ {
		c := &comparison{id: id, entry: view.NewEntry(id), folded: product.Product{ID: id}, part: part, parts: parts,
			held: map[uuid.UUID]product.Reservation{}, touched: map[uuid.UUID]bool{}}
		if err := a.read(ctx, shard, c); err != nil {
			return err
		}
		if part == 0 {
			parts = c.head.Version/auditPart + 1
			c.parts = parts
		}
		if err := a.compare(ctx, c); err != nil {
			return err
		}
		found = append(found, c.found...)
	}
	a.result.Products++
	return a.conclude(ctx, id, found)
}

// compare reads the log and holds everything against it; the later parts of the reservations leave
// out the rest.
func (a *audit) compare(ctx context.Context, c *comparison) error {
	for r, err := range a.log.ProductRecords(ctx, c.id) {
		if err != nil {
			return err
		}
		a.result.Rows++
		e, err := product.Decode(r.Type, r.Data)
		if err != nil {
			c.differ("log", "the row at position %d can't be read: %v", r.Pos, err)
			if a.repair.IsParked(c.id) {
				return a.differParked(ctx, c)
			}
			return nil
		}
		if err := c.fold(r, e); err != nil {
			return err
		}
		if len(c.entry.Blocks) >= 100 {
			if err := a.compareBlocks(ctx, c); err != nil {
				return err
			}
		}
	}
	if err := a.compareReservations(ctx, c); err != nil || c.part > 0 {
		return err
	}
	c.compareHead()
	return a.compareDocuments(ctx, c)
}

func (a *audit) read(ctx context.Context, shard int16, c *comparison) error {
	shards, err := a.store.LoadCheckpoints(ctx, a.into.Name)
	if err != nil {
		return err
	}
	c.upTo = shards[shard].Pos
	raw, err := a.into.Products.FindOne(ctx, store.ByID(c.id.String())).Raw()
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return err
	}
	if c.exists = err == nil; c.exists {
		if c.damage = bson.Unmarshal(raw, &c.stored); c.damage != nil {
			c.stored = view.Document{}
		}
	}
	heads, err := a.tables.Heads(ctx, []uuid.UUID{c.id})
	if err == nil && len(heads) > 0 {
		c.head = heads[0]
	}
	return err
}

func (c *comparison) fold(r eventstore.Record, e product.Event) error {
	key := reservationOf(e)
	c.last, c.pos = max(c.last, r.Version), r.Pos
	if r.Version > 0 && r.Version > c.head.Version {
		c.touched[key] = true
	} else {
		c.folded = c.folded.Apply(e)
		if key != uuid.Nil && c.inPart(key) {
			c.held[key] = c.held[key].Apply(e)
		}
	}
	if c.part > 0 || view.Unshown[r.Type] || r.Pos > max(c.stored.Pos, c.upTo) {
		return nil
	}
	_, _, err := c.entry.Fold(r, e)
	return err
}

// conclude heals what can be and reports.
func (a *audit) conclude(ctx context.Context, id uuid.UUID, found []Difference) error {
	if len(found) == 0 {
		return nil
	}
	if err := a.store.StillCurrent(ctx, a.into); err != nil { // or what was dropped meanwhile would be missed
		return err
	}
	heal := a.options.Heal && slices.ContainsFunc(found, Difference.ofDocuments)
	if heal {
		if err := a.repair.Product(ctx, id); err != nil {
			return err
		}
		if heal = !a.repair.IsParked(id); heal { // else its log still can't be folded
			a.result.Healed++
		}
	}
	for _, d := range found {
		d.Healed = heal && d.ofDocuments()
		a.note(d)
	}
	return nil
}

func (a *audit) note(d Difference) {
	a.result.Differences++
	a.report(d)
}

func (d Difference) ofDocuments() bool {
	return d.Where == "document" || d.Where == "movements" || d.Where == "days" || d.Where == "parked"
}
