package projection

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"product-service/eventstore"
	"product-service/product"
	"product-service/projection/store"
	"product-service/projection/view"
)

// repairProduct makes a product's documents anew from its part of the log, whatever they were, and
// ends its being parked. Readers see the old documents until the new ones replace them.
func (b *builder) repairProduct(ctx context.Context, id uuid.UUID) error {
	const attempts = 10
	var err error
	for range attempts {
		b.cache.take(id)
		if err = b.tryRepair(ctx, id); !errors.Is(err, errStale) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("repair product %s: %w", id, err)
	}
	b.store.Waiting.Wake(id.String())
	b.store.TellChanges(b.into, view.Change{ProductID: id})
	return nil
}

// productRepair is a product that is being repaired: the fold of its part of the log.
type productRepair struct {
	*view.Entry
	missed  *missed // nil: it wasn't parked
	skipped view.Segments
	bad     *eventstore.Record // the row that can't be folded in
	why     error
}

func (b *builder) tryRepair(ctx context.Context, id uuid.UUID) error {
	repair := &productRepair{Entry: view.NewEntry(id)}
	old, err := b.into.Products.FindOne(ctx, store.ByID(id.String())).Raw()
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return err
	}
	if err == nil { // it may be damaged: no more of it is looked at than its guard
		rev, _ := old.Lookup("rev").AsInt64OK()
		repair.Loaded, repair.Doc.Rev = 0, rev+1
	}
	if from := b.parked[id]; from > 0 {
		if repair.missed, err = b.missedBy(ctx, id, from); err != nil {
			return err
		}
	}
	if err := b.foldLog(ctx, id, repair); err != nil {
		return err
	}
	if err := b.replaceBlocks(ctx, repair.Entry); err != nil {
		return err
	}
	if err := b.addToJournal(ctx, id, repair.skipped); err != nil {
		return err
	}
	if err := b.replaceDays(ctx, repair.Days); err != nil {
		return err
	}
	if err := b.deleteStray(ctx, id, repair.Entry); err != nil {
		return err
	}
	if err := b.replaceProduct(ctx, id, repair, old); err != nil {
		return err
	}
	if repair.bad != nil {
		return b.park(ctx, *repair.bad, repair.why)
	}
	return b.unpark(ctx, id)
}

// blocksAtOnce is how many blocks of a product are gathered before they are written.
const blocksAtOnce = 1000

// foldLog folds the product's part of the log, up to the first row that can't be folded in.
func (b *builder) foldLog(ctx context.Context, id uuid.UUID, repair *productRepair) error {
	for r, err := range b.log.ProductRecords(ctx, id) {
		if err != nil {
			return err
		}
		if view.Unshown[r.Type] {
			continue
		}
		event, err := product.Decode(r.Type, r.Data)
		if err == nil && r.Version > 0 && r.Version != repair.Doc.Version+1 {
			err = fmt.Errorf("the log has version %d after %d", r.Version, repair.Doc.Version)
		}
		if err != nil {
			repair.bad, repair.why = &r, err
			return nil
		}
		m, _, err := repair.Fold(r, event)
		if err != nil {
			return err
		}
		if m.Type.Visible() && repair.missed.has(m.Pos) {
			repair.skipped.Add(&m)
		}
		if len(repair.Blocks) >= blocksAtOnce {
			if err := b.replaceBlocks(ctx, repair.Entry); err != nil {
				return err
			}
		}
	}
	return nil
}

// missed says which movements of a parked product the journal lacks: those that the projector has
// passed over, and won't see again.
type missed struct {
	from, to int64
	there    map[int64]bool // but these: another process has added them
}

func (m *missed) has(pos int64) bool {
	return m != nil && m.from <= pos && pos <= m.to && !m.there[pos]
}

func (b *builder) missedBy(ctx context.Context, id uuid.UUID, from int64) (*missed, error) {
	shards, err := b.store.LoadCheckpoints(ctx, b.into.Name)
	if err != nil {
		return nil, err
	}
	shard := eventstore.ShardOf(id)
	m := &missed{from: from, there: map[int64]bool{}}
	// Beyond the checkpoint the projector adds them.
	if _, m.to, err = journalEnd(ctx, b.into.Journal, shard, shards[shard].Pos); err != nil {
		return nil, err
	}
	start, _, err := journalEnd(ctx, b.into.Journal, shard, from)
	if err != nil {
		return nil, err
	}
	for s, err := range b.segments(ctx, start, view.SegmentID(shard, m.to+1)) {
		if err != nil {
			return nil, err
		}
		rows, _ := s.Movements() // one that is damaged is for the audit
		for i := range rows {
			if rows[i].Product == id {
				m.there[rows[i].Pos] = true
			}
		}
	}
	return m, nil
}

func (b *builder) replaceBlocks(ctx context.Context, e *view.Entry) error {
	models := make([]mongo.WriteModel, len(e.Blocks))
	for i := range e.Blocks {
		models[i] = replace(e.Blocks[i].ID, &e.Blocks[i])
	}
	e.Blocks = nil
	return b.replaceAll(ctx, b.into.Movements, models)
}

// replaceDays writes days whole, and the months that follow from them: what else was in them is gone.
func (b *builder) replaceDays(ctx context.Context, days []view.Day) error {
	var models []mongo.WriteModel
	for i := range days {
		models = append(models, replace(days[i].ID, &days[i]))
	}
	if err := b.replaceAll(ctx, b.into.Days, models); err != nil {
		return err
	}
	models = nil
	for _, m := range view.MonthsOf(days) {
		models = append(models, replace(m.ID, m))
	}
	return b.replaceAll(ctx, b.into.Months, models)
}

// addToJournal adds to the journal what was passed over while the product was parked. It is stale
// where another process does the same: the next attempt adds what is then left.
func (b *builder) addToJournal(ctx context.Context, id uuid.UUID, skipped view.Segments) error {
	for _, s := range skipped {
		s.ID = view.AddedID(s.ID, id)
	}
	err := insert(ctx, b, b.into.Journal, skipped, true)
	if store.OnlyDuplicates(err) {
		return errStale
	}
	return err
}

// replaceProduct writes the product if it is still as it was read; else a projector has folded on
// meanwhile, which is stale. A product without events has no document.
func (b *builder) replaceProduct(ctx context.Context, id uuid.UUID, repair *productRepair, old bson.Raw) error {
	in := b.into.Products
	switch {
	case old == nil && repair.Doc.Version == 0 && repair.bad == nil:
		return b.eventless(ctx, id)
	case old == nil && repair.Doc.Version == 0:
		return nil
	case old == nil:
		if _, err := in.InsertOne(ctx, &repair.Doc); mongo.IsDuplicateKeyError(err) {
			return errStale
		} else if err != nil {
			return err
		}
		return nil
	case repair.Doc.Version == 0:
		result, err := in.DeleteOne(ctx, guardRaw(old))
		if err == nil && result.DeletedCount == 0 {
			err = errStale
		}
		return err
	}
	result, err := in.ReplaceOne(ctx, guardRaw(old), &repair.Doc)
	if err == nil && result.MatchedCount == 0 {
		err = errStale
	}
	return err
}

// eventless fails if the product has events by now. Without a document there is no guard: blocks
// may have been swept away that were just written.
func (b *builder) eventless(ctx context.Context, id uuid.UUID) error {
	for r, err := range b.log.ProductRecords(ctx, id) {
		if err != nil {
			return err
		}
		if r.Version > 0 {
			return errStale
		}
	}
	return nil
}

// guardRaw matches a document in the state it was read in, whatever was in it.
func guardRaw(old bson.Raw) bson.D {
	filter := bson.D{}
	for _, key := range []string{"_id", "pos", "rev"} {
		if value, err := old.LookupErr(key); err == nil {
			filter = append(filter, bson.E{Key: key, Value: value})
		} else {
			filter = append(filter, bson.E{Key: key, Value: bson.D{{Key: "$exists", Value: false}}})
		}
	}
	return filter
}
