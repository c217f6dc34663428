package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"product-service/eventstore"
	"product-service/product"
)

// refold makes a product's documents anew from its part of the log, whatever they were, and ends its being parked. Readers see the
// old documents until the new ones replace them.
func (f *folder) refold(ctx context.Context, id uuid.UUID) error {
	const attempts = 10
	var err error
	for range attempts {
		f.cache.take(id)
		if err = f.refoldOnce(ctx, id); !errors.Is(err, errStale) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("fold product %s anew: %w", id, err)
	}
	f.store.waiting.wake(id.String())
	return nil
}

// anew is a product that is being folded anew.
type anew struct {
	*entry
	missed  *missed // nil: it wasn't parked
	skipped segments
	bad     *eventstore.Record // the row that can't be folded in
	why     error
}

func (f *folder) refoldOnce(ctx context.Context, id uuid.UUID) error {
	a := &anew{entry: newEntry(id)}
	old, err := f.into.products.FindOne(ctx, bson.D{{Key: "_id", Value: id.String()}}).Raw()
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return err
	}
	if err == nil { // it may be damaged: no more of it is looked at than its guard
		rev, _ := old.Lookup("rev").AsInt64OK()
		a.loaded, a.doc.Rev = 0, rev+1
	}
	if from := f.parked[id]; from > 0 {
		if a.missed, err = f.missedBy(ctx, id, from); err != nil {
			return err
		}
	}
	if err := f.foldAnew(ctx, id, a); err != nil {
		return err
	}
	if err := f.replaceBlocks(ctx, a.entry); err != nil {
		return err
	}
	if err := f.amend(ctx, id, a.skipped); err != nil {
		return err
	}
	if err := f.replaceAll(ctx, f.into.days, a.allDays()); err != nil {
		return err
	}
	if err := f.sweep(ctx, id, a.entry); err != nil {
		return err
	}
	if err := f.replaceProduct(ctx, id, a, old); err != nil {
		return err
	}
	if a.bad != nil {
		return f.park(ctx, *a.bad, a.why)
	}
	return f.unpark(ctx, id)
}

// foldAnew folds the product's part of the log, up to the first row that can't be.
func (f *folder) foldAnew(ctx context.Context, id uuid.UUID, a *anew) error {
	for r, err := range f.log.ProductRecords(ctx, id) {
		if err != nil {
			return err
		}
		if unshown[r.Type] {
			continue
		}
		event, err := product.Decode(r.Type, r.Data)
		if err == nil && r.Version > 0 && r.Version != a.doc.Version+1 {
			err = fmt.Errorf("the log has version %d after %d", r.Version, a.doc.Version)
		}
		if err != nil {
			a.bad, a.why = &r, err
			return nil
		}
		m, _, err := a.fold(item{Record: r, event: event})
		if err != nil {
			return err
		}
		if m.Type.visible() && a.missed.has(m.Pos) {
			a.skipped.add(&m)
		}
		if len(a.blocks) >= f.store.server.operations {
			if err := f.replaceBlocks(ctx, a.entry); err != nil {
				return err
			}
		}
	}
	return nil
}

// missed says which movements of a product that was parked the journal lacks: those the projector passed over, and won't see again.
type missed struct {
	from, to int64
	there    map[int64]bool // but these: somebody has added them
}

func (m *missed) has(pos int64) bool {
	return m != nil && m.from <= pos && pos <= m.to && !m.there[pos]
}

func (f *folder) missedBy(ctx context.Context, id uuid.UUID, from int64) (*missed, error) {
	shards, err := f.store.loadCheckpoints(ctx, f.into.name)
	if err != nil {
		return nil, err
	}
	shard := eventstore.ShardOf(id)
	m := &missed{from: from, there: map[int64]bool{}}
	if _, m.to, err = journalEnd(ctx, f.into.journal, shard, shards[shard].Pos); err != nil { // beyond it the projector adds them
		return nil, err
	}
	start, _, err := journalEnd(ctx, f.into.journal, shard, from)
	if err != nil {
		return nil, err
	}
	for s, err := range f.segments(ctx, start, segmentID(shard, m.to+1)) {
		if err != nil {
			return nil, err
		}
		rows, _ := s.unpacked() // one that is damaged is for the audit
		for i := range rows {
			if rows[i].Product == id {
				m.there[rows[i].Pos] = true
			}
		}
	}
	return m, nil
}

func (f *folder) replaceBlocks(ctx context.Context, e *entry) error {
	models := make([]mongo.WriteModel, len(e.blocks))
	for i := range e.blocks {
		models[i] = replace(e.blocks[i].ID, &e.blocks[i])
	}
	e.blocks = nil
	return f.replaceAll(ctx, f.into.movements, models)
}

// amend adds to the journal what was passed over while the product was parked. Where another does the same it is done again, with what is left.
func (f *folder) amend(ctx context.Context, id uuid.UUID, skipped segments) error {
	for _, s := range skipped {
		s.ID = addedID(s.ID, id)
	}
	for chunk := range slices.Chunk(skipped, f.store.server.rows) {
		if err := f.insert(ctx, f.into.journal, chunk, true); onlyDuplicates(err) {
			return errStale
		} else if err != nil {
			return err
		}
	}
	return nil
}

func replace(id string, doc any) mongo.WriteModel {
	return mongo.NewReplaceOneModel().SetFilter(bson.D{{Key: "_id", Value: id}}).SetReplacement(doc).SetUpsert(true)
}

// allDays write every day of the product whole.
func (e *entry) allDays() []mongo.WriteModel {
	days := map[int64]*day{}
	var models []mongo.WriteModel
	for _, h := range e.ended {
		number := h.Number / 24
		if days[number] == nil {
			d := &day{ID: dayID(e.doc.ID, number), Product: e.doc.ID, Day: number, Hours: map[string]hour{}}
			days[number], models = d, append(models, replace(d.ID, d))
		}
		days[number].Hours[h.key()] = h
	}
	return models
}

// replaceAll writes documents whatever is there.
func (f *folder) replaceAll(ctx context.Context, in *mongo.Collection, models []mongo.WriteModel) error {
	for chunk := range slices.Chunk(models, f.store.server.operations) {
		if _, err := in.BulkWrite(ctx, chunk, options.BulkWrite().SetOrdered(false)); err != nil {
			if mongo.IsDuplicateKeyError(err) { // another process made the same row at this moment, and not every server tries an upsert again by itself
				return errStale
			}
			f.metrics.writeErrors.Inc()
			return fmt.Errorf("write %s: %w", in.Name(), err)
		}
	}
	return nil
}

// replaceProduct writes the product if it is still as it was read: else somebody folded on meanwhile. One without events has no document.
func (f *folder) replaceProduct(ctx context.Context, id uuid.UUID, a *anew, old bson.Raw) error {
	in := f.into.products
	switch {
	case old == nil && a.doc.Version == 0 && a.bad == nil:
		return f.eventless(ctx, id)
	case old == nil && a.doc.Version == 0:
		return nil
	case old == nil:
		if _, err := in.InsertOne(ctx, &a.doc); mongo.IsDuplicateKeyError(err) {
			return errStale
		} else if err != nil {
			return err
		}
		return nil
	case a.doc.Version == 0:
		result, err := in.DeleteOne(ctx, guardRaw(old))
		if err == nil && result.DeletedCount == 0 {
			err = errStale
		}
		return err
	}
	result, err := in.ReplaceOne(ctx, guardRaw(old), &a.doc)
	if err == nil && result.MatchedCount == 0 {
		err = errStale
	}
	return err
}

// eventless fails if the product has events by now. Without a document there is no guard: blocks may have been swept away that were just written.
func (f *folder) eventless(ctx context.Context, id uuid.UUID) error {
	for r, err := range f.log.ProductRecords(ctx, id) {
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

// sweep removes blocks and days that the log doesn't account for. Blocks of cancellations it has no guard for: it asks the log again, which has got
// those that somebody wrote meanwhile.
func (f *folder) sweep(ctx context.Context, id uuid.UUID, e *entry) error {
	for names, err := range idPages(ctx, f.into.movements, e.doc.ID+".", e.doc.ID+"0") {
		if err != nil {
			return err
		}
		stray, err := f.stray(ctx, id, e.doc.Version, names)
		if err == nil {
			err = deleteAll(ctx, f.into.movements, stray)
		}
		if err != nil {
			return err
		}
	}
	keep := map[string]bool{}
	for _, h := range e.ended {
		keep[dayID(e.doc.ID, h.Number/24)] = true
	}
	for names, err := range idPages(ctx, f.into.days, e.doc.ID+".", e.doc.ID+"0") {
		if err == nil {
			err = deleteAll(ctx, f.into.days, slices.DeleteFunc(names, func(name string) bool { return keep[name] }))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// deleteAll deletes documents by name.
func deleteAll(ctx context.Context, in *mongo.Collection, names []string) error {
	for _, name := range names {
		if _, err := in.DeleteOne(ctx, bson.D{{Key: "_id", Value: name}}); err != nil {
			return fmt.Errorf("sweep %s: %w", in.Name(), err)
		}
	}
	return nil
}

func (f *folder) unpark(ctx context.Context, id uuid.UUID) error {
	if _, err := f.store.db.Collection(parkedName).DeleteOne(ctx, bson.D{{Key: "_id", Value: f.into.name + "." + id.String()}}); err != nil {
		return fmt.Errorf("end parking: %w", err)
	}
	delete(f.parked, id)
	f.metrics.parked.Set(float64(len(f.parked)))
	return nil
}
