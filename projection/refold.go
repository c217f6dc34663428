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

func (f *folder) refoldOnce(ctx context.Context, id uuid.UUID) error {
	e := newEntry(id)
	var old document
	switch err := f.into.products.FindOne(ctx, bson.D{{Key: "_id", Value: id.String()}}).Decode(&old); {
	case err == nil:
		e.loaded, e.doc.Rev = old.Pos, old.Rev+1
	case !errors.Is(err, mongo.ErrNoDocuments):
		return err
	}
	var bad *eventstore.Record
	var why error
	keep, skipped := map[string]bool{}, segments{}
	settled, err := f.settled(ctx, id)
	if err != nil {
		return err
	}
	for r, err := range f.log.ProductRecords(ctx, id) {
		if err != nil {
			return err
		}
		if unshown[r.Type] {
			continue
		}
		event, err := product.Decode(r.Type, r.Data)
		if err == nil && r.Version > 0 && r.Version != e.doc.Version+1 {
			err = fmt.Errorf("the log has version %d after %d", r.Version, e.doc.Version)
		}
		if err != nil {
			bad, why = &r, err
			break
		}
		m, _, err := e.fold(item{Record: r, event: event})
		if err != nil {
			return err
		}
		if m.Type == cancelled {
			keep[cancelledID(e.doc.ID, m.Pos)] = true
		}
		if from := f.parked[id]; m.Type.visible() && from > 0 && from <= r.Pos && r.Pos <= settled {
			skipped.add(&m)
		}
		if len(e.blocks) >= f.store.server.operations {
			if err := f.replaceBlocks(ctx, e); err != nil {
				return err
			}
		}
	}
	if err := f.replaceBlocks(ctx, e); err != nil {
		return err
	}
	if err := f.amend(ctx, id, skipped); err != nil {
		return err
	}
	if err := f.replaceAll(ctx, f.into.days, e.allDays()); err != nil {
		return err
	}
	if err := f.sweep(ctx, id.String(), e, keep); err != nil {
		return err
	}
	if err := f.replaceProduct(ctx, e, old); err != nil {
		return err
	}
	if bad != nil {
		return f.park(ctx, *bad, why)
	}
	return f.unpark(ctx, id)
}

// settled is the checkpoint of the product's shard.
func (f *folder) settled(ctx context.Context, id uuid.UUID) (int64, error) {
	shards, err := f.store.loadCheckpoints(ctx, f.into.name)
	return shards[eventstore.ShardOf(id)].Pos, err
}

func (f *folder) replaceBlocks(ctx context.Context, e *entry) error {
	models := make([]mongo.WriteModel, len(e.blocks))
	for i := range e.blocks {
		models[i] = replace(e.blocks[i].ID, &e.blocks[i])
	}
	e.blocks = nil
	return f.replaceAll(ctx, f.into.movements, models)
}

// amend adds to the journal what was skipped while the product was parked. Beyond the checkpoint the projector adds it.
func (f *folder) amend(ctx context.Context, id uuid.UUID, skipped segments) error {
	var models []mongo.WriteModel
	for _, s := range skipped {
		s.ID = addedID(s.ID, id)
		models = append(models, replace(s.ID, s))
	}
	return f.replaceAll(ctx, f.into.journal, models)
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

// replaceProduct writes the product if it is still as it was read: else somebody folded on meanwhile.
func (f *folder) replaceProduct(ctx context.Context, e *entry, old document) error {
	if e.doc.Version == 0 && e.loaded < 0 {
		return nil // only facts are known of it
	}
	if e.loaded < 0 {
		if _, err := f.into.products.InsertOne(ctx, &e.doc); mongo.IsDuplicateKeyError(err) {
			return errStale
		} else if err != nil {
			return err
		}
		return nil
	}
	result, err := f.into.products.ReplaceOne(ctx, guard(old.ID, old.Pos, old.Rev), &e.doc)
	if err == nil && result.MatchedCount == 0 {
		err = errStale
	}
	return err
}

// sweep removes rows and days that the log doesn't account for: versions above the last, and whatever isn't in keep.
func (f *folder) sweep(ctx context.Context, id string, e *entry, keep map[string]bool) error {
	for _, h := range e.ended {
		keep[dayID(id, h.Number/24)] = true
	}
	for _, part := range []struct {
		in    *mongo.Collection
		above string
	}{{f.into.movements, movementID(id, e.doc.tailStart()-1)}, {f.into.days, id}} {
		beyond := bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: part.above}, {Key: "$lt", Value: id + "0"}}}}
		cursor, err := part.in.Find(ctx, beyond, options.Find().SetProjection(bson.D{{Key: "_id", Value: 1}}))
		if err != nil {
			return err
		}
		for cursor.Next(ctx) {
			found := cursor.Current.Lookup("_id").StringValue()
			if keep[found] {
				continue
			}
			if _, err := part.in.DeleteOne(ctx, bson.D{{Key: "_id", Value: found}}); err != nil {
				return errors.Join(err, cursor.Close(ctx))
			}
		}
		if err := errors.Join(cursor.Err(), cursor.Close(ctx)); err != nil {
			return err
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
