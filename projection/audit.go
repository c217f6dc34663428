package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"product-service/eventstore"
	"product-service/product"
)

// AuditLog is the log as an audit reads it: [eventstore.Store] implements it.
type AuditLog interface {
	Log
	Stream(ctx context.Context, productID uuid.UUID, afterVersion int64, limit int) ([]eventstore.Record, error)
	Facts(ctx context.Context, productID uuid.UUID, after int64, limit int) ([]eventstore.Record, error)
}

// AuditOptions say how to audit.
type AuditOptions struct {
	Heal      bool                                                                 // fold products anew whose documents differ
	PerSecond int                                                                  // products, at most; 0: as fast as it goes
	Absent    func(ctx context.Context, variants []uuid.UUID) ([]uuid.UUID, error) // which of at most MaxIDs variants the Inventory Service has no record of; nil: not asked
}

// Difference is something that isn't as the log has it.
type Difference struct {
	Product uuid.UUID // of the journal, which is a shard's, the first that something is wrong with
	Where   string    // "log", "head", "reservation", "document", "movements", "days", "parked", "journal" or "inventory"
	What    string    // in words
	Healed  bool
}

// AuditResult sums an audit up.
type AuditResult struct{ Products, Rows, Differences, Healed int64 }

// Audit folds the whole log again, product by product, and compares what comes out with the heads and reservations of the write side and with the
// documents that are read, each as of the row it was written for: what is merely late is no difference. Then it looks for what is kept of
// products that the log doesn't name. It calls report with each difference. An error means that the audit couldn't be done, as
// when a rebuild has named another generation meanwhile.
func Audit(ctx context.Context, s *Store, log AuditLog, books Books, logger *slog.Logger, o AuditOptions, report func(Difference)) (AuditResult, error) {
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		return AuditResult{}, err
	}
	g, err := s.generation(ctx)
	if err != nil {
		return AuditResult{}, err
	}
	if g.schema != schema {
		return AuditResult{}, errShape
	}
	a := &audit{folder: newFollower(s, g, log, logger, m).folder, stream: log, books: books, options: o, report: report, strange: map[uuid.UUID]bool{}}
	if _, err := a.loadParked(ctx); err != nil {
		return a.result, err
	}
	if o.Heal {
		if err := a.sameLog(ctx); err != nil {
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
	if err := a.strangers(ctx); err != nil {
		return a.result, err
	}
	return a.result, s.still(ctx, g)
}

// sameLog fails where the log isn't the one that was projected, as another or a restored one isn't: healing would take away what it lacks.
func (a *audit) sameLog(ctx context.Context) error {
	saved, err := a.store.loadCheckpoints(ctx, a.into.name)
	if err != nil {
		return err
	}
	shards := make(map[int16]*shard, len(saved))
	for n, c := range saved {
		shards[n] = &shard{at: c}
	}
	if err := a.folder.compare(ctx, shards); err != nil {
		return err
	}
	for n, s := range shards {
		if s.stopped {
			return fmt.Errorf("nothing is healed: the log of shard %d isn't the one that was projected up to position %d; if it is the right one, rebuild", n, s.at.Pos)
		}
	}
	return nil
}

type audit struct {
	folder
	stream  AuditLog
	books   Books
	options AuditOptions
	report  func(Difference)
	result  AuditResult
	strange map[uuid.UUID]bool // products that were compared though the log doesn't name them
}

func (a *audit) shard(ctx context.Context, shard int16, ids []uuid.UUID) error {
	for _, id := range ids {
		began := time.Now()
		if err := a.product(ctx, shard, id); err != nil {
			return fmt.Errorf("product %s: %w", id, err)
		}
		if a.options.PerSecond > 0 {
			wait(ctx, nil, time.Second/time.Duration(a.options.PerSecond)-time.Since(began))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// account is what the log says about one product, as of what the others were written for.
type account struct {
	id      uuid.UUID
	head    eventstore.Head // as it is kept
	stored  document
	exists  bool            // the document is
	damage  error           // why it can't be read
	settled int64           // the checkpoint
	folded  product.Product // as of the head's version
	entry   *entry          // as of the document's position and the checkpoint
	last    int64           // version in the log
	pos     int64           // of the last row in the log, and then of the last fact
	held    map[uuid.UUID]product.Reservation
	touched map[uuid.UUID]bool // reservations with events after the head was read
	part    int64              // of the reservations, in which they are compared: all at once could be millions
	parts   int64
	found   []Difference
}

func (c *account) differ(where, format string, args ...any) {
	c.found = append(c.found, Difference{Product: c.id, Where: where, What: fmt.Sprintf(format, args...)})
}

// product compares one product. What is compared is read before the log, which then holds at least all of it.
func (a *audit) product(ctx context.Context, shard int16, id uuid.UUID) error {
	var found []Difference
	for part, parts := int64(0), int64(1); part < parts; part++ {
		c := &account{id: id, entry: newEntry(id), folded: product.Product{ID: id}, part: part, parts: parts,
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

// compare reads the log and holds everything against it; the later parts of the reservations leave out the rest.
func (a *audit) compare(ctx context.Context, c *account) error {
	for r, err := range a.log.ProductRecords(ctx, c.id) {
		if err != nil {
			return err
		}
		a.result.Rows++
		e, err := product.Decode(r.Type, r.Data)
		if err != nil {
			c.differ("log", "the row at position %d can't be read: %v", r.Pos, err)
			if a.parked[c.id] > 0 {
				c.differ("parked", parkedWords)
			}
			return nil
		}
		if err := c.fold(item{Record: r, event: e}); err != nil {
			return err
		}
		if len(c.entry.blocks) >= 100 {
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

func (a *audit) read(ctx context.Context, shard int16, c *account) error {
	shards, err := a.store.loadCheckpoints(ctx, a.into.name)
	if err != nil {
		return err
	}
	c.settled = shards[shard].Pos
	raw, err := a.into.products.FindOne(ctx, bson.D{{Key: "_id", Value: c.id.String()}}).Raw()
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return err
	}
	if c.exists = err == nil; c.exists {
		if c.damage = bson.Unmarshal(raw, &c.stored); c.damage != nil {
			c.stored = document{}
		}
	}
	heads, err := a.books.Heads(ctx, []uuid.UUID{c.id})
	if err == nil && len(heads) > 0 {
		c.head = heads[0]
	}
	return err
}

func (c *account) fold(it item) error {
	key := reservationOf(it.event)
	c.last, c.pos = max(c.last, it.Version), it.Pos
	if it.Version > 0 && it.Version > c.head.Version {
		c.touched[key] = true
	} else {
		c.folded = c.folded.Apply(it.event)
		if key != uuid.Nil && c.inPart(key) {
			c.held[key] = c.held[key].Apply(it.event)
		}
	}
	if c.part > 0 || unshown[it.Type] || it.Pos > max(c.stored.Pos, c.settled) {
		return nil
	}
	_, _, err := c.entry.fold(it)
	return err
}

// conclude heals what can be and reports.
func (a *audit) conclude(ctx context.Context, id uuid.UUID, found []Difference) error {
	if len(found) == 0 {
		return nil
	}
	if err := a.store.still(ctx, a.into); err != nil { // or what was dropped meanwhile would be missed
		return err
	}
	heal := a.options.Heal && slices.ContainsFunc(found, Difference.ofDocuments)
	if heal {
		if err := a.refold(ctx, id); err != nil {
			return err
		}
		if heal = a.parked[id] == 0; heal { // else its log still can't be folded
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
