package projection

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"golang.org/x/sync/errgroup"
)

// whole asks for all fields of documents.
var whole = bson.D{}

// find reads documents by id, in the way that costs the server least, and hands each to found.
func find[D any](ctx context.Context, s *Store, in *mongo.Collection, ids []string, fields bson.D, found func(D)) error {
	if !s.server.lookups {
		for _, id := range ids {
			var d D
			err := in.FindOne(ctx, bson.D{{Key: "_id", Value: id}}, options.FindOne().SetProjection(fields)).Decode(&d)
			if errors.Is(err, mongo.ErrNoDocuments) {
				continue
			}
			if err != nil {
				return err
			}
			found(d)
		}
		return nil
	}
	for chunk := range slices.Chunk(ids, 1000) {
		cursor, err := in.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: chunk}}}}, options.Find().SetProjection(fields).SetBatchSize(1000))
		if err != nil {
			return err
		}
		for cursor.Next(ctx) {
			var d D
			if err := cursor.Decode(&d); err != nil {
				return errors.Join(err, cursor.Close(ctx))
			}
			found(d)
		}
		if err := errors.Join(cursor.Err(), cursor.Close(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// idOnly asks for no more of documents than their ids.
var idOnly = bson.D{{Key: "_id", Value: 1}}

// idPages reads the ids that are strings from lo up to but without hi, or to the last where hi is empty, in order and page by page: no cursor is
// open while somebody looks at them.
func idPages(ctx context.Context, in *mongo.Collection, lo, hi string) iter.Seq2[[]string, error] {
	const page = 1000
	return func(yield func([]string, error) bool) {
		for from := "$gte"; ; from = "$gt" {
			span := bson.D{{Key: from, Value: lo}}
			if hi != "" {
				span = append(span, bson.E{Key: "$lt", Value: hi})
			}
			cursor, err := in.Find(ctx, bson.D{{Key: "_id", Value: span}}, options.Find().SetSort(idOnly).SetProjection(idOnly).SetLimit(page).SetBatchSize(page))
			var found []struct {
				ID string `bson:"_id"`
			}
			if err == nil {
				err = cursor.All(ctx, &found)
			}
			if err != nil {
				yield(nil, fmt.Errorf("read the ids of %s: %w", in.Name(), err))
				return
			}
			ids := make([]string, len(found))
			for i := range found {
				lo = found[i].ID
				ids[i] = lo
			}
			if len(ids) > 0 && !yield(ids, nil) {
				return
			}
			if len(ids) < page {
				return
			}
		}
	}
}

// write writes a page: movements and ended hours before the products, so that a product that is there vouches for them.
func (f *folder) write(ctx context.Context, p *page) error {
	var days, products []mongo.WriteModel
	var blocks []block
	for _, e := range p.entries {
		days, blocks = append(days, dayModels(e.doc.ID, e.ended)...), append(blocks, e.blocks...)
		if e.changed {
			products = append(products, e.model())
		}
	}
	var group errgroup.Group // that ends none of them early: a write that was given up may still arrive, after the page has been folded again
	group.SetLimit(2)
	for chunk := range slices.Chunk(blocks, f.store.server.rows) {
		group.Go(func() error {
			if err := f.insert(ctx, f.into.movements, chunk, false); !onlyDuplicates(err) {
				return err
			}
			return nil // they are what they should be: a full block doesn't change
		})
	}
	group.Go(func() error { return f.replaceAll(ctx, f.into.days, days) })
	group.Go(func() error { return f.writeJournal(ctx, p) })
	if err := group.Wait(); err != nil {
		return err
	}
	return f.bulk(ctx, f.into.products, products)
}

// insert makes documents; those that are there stay. The others are made, in order only up to the first that is there.
func (f *folder) insert(ctx context.Context, into *mongo.Collection, documents any, ordered bool) error {
	_, err := into.InsertMany(ctx, documents, options.InsertMany().SetOrdered(ordered))
	if err != nil {
		if !onlyDuplicates(err) {
			f.metrics.writeErrors.Inc()
		}
		return fmt.Errorf("write %s: %w", into.Name(), err)
	}
	return nil
}

// writeJournal adds the page to the journal, in order: a shard's journal has no hole, wherever this ends. Where another has added to a
// shard meanwhile the page is stale, and nothing that follows is written: it would begin elsewhere than what the other writes next.
func (f *folder) writeJournal(ctx context.Context, p *page) error {
	var all []*segment
	from := map[int16]int64{}
	for shard, s := range p.journal {
		if all = append(all, s...); len(s) > 0 {
			from[shard] = f.journal[shard]
		}
	}
	for chunk := range slices.Chunk(all, f.store.server.rows) {
		if err := f.insert(ctx, f.into.journal, chunk, true); onlyDuplicates(err) {
			return errors.Join(errStale, f.journal.begin(ctx, f.into.journal, from))
		} else if err != nil {
			return err
		}
	}
	for shard, s := range p.journal {
		if len(s) > 0 {
			f.journal[shard] = s[len(s)-1].Last
		}
	}
	return nil
}

// bulk writes at most one operation a document. Each applies only to the state it was computed from; one that doesn't is stale.
func (f *folder) bulk(ctx context.Context, into *mongo.Collection, models []mongo.WriteModel) error {
	for chunk := range slices.Chunk(models, f.store.server.operations) {
		result, err := into.BulkWrite(ctx, chunk, options.BulkWrite().SetOrdered(false))
		switch {
		case err != nil && onlyDuplicates(err):
			return fmt.Errorf("write %s: %w", into.Name(), errStale)
		case err != nil:
			f.metrics.writeErrors.Inc()
			return fmt.Errorf("write %s: %w", into.Name(), err)
		case result.MatchedCount+result.InsertedCount != int64(len(chunk)):
			return fmt.Errorf("write %s: %w", into.Name(), errStale)
		}
	}
	return nil
}

// onlyDuplicates says that a write failed for nothing but documents that were there already.
func onlyDuplicates(err error) bool {
	var bulk mongo.BulkWriteException
	var single mongo.WriteException
	switch {
	case errors.As(err, &bulk):
		return bulk.WriteConcernError == nil && !slices.ContainsFunc(bulk.WriteErrors, func(e mongo.BulkWriteError) bool { return e.Code != 11000 })
	case errors.As(err, &single):
		return single.WriteConcernError == nil && !slices.ContainsFunc(single.WriteErrors, func(e mongo.WriteError) bool { return e.Code != 11000 })
	}
	return false
}

// guard matches a document in the state it was loaded in.
func guard(id string, pos, rev int64) bson.D {
	return bson.D{{Key: "_id", Value: id}, {Key: "pos", Value: pos}, {Key: "rev", Value: rev}}
}

// model writes the entry, if the document still is what the entry was loaded from.
func (e *entry) model() mongo.WriteModel {
	filter := guard(e.doc.ID, e.loaded, e.doc.Rev)
	switch {
	case e.loaded < 0:
		return mongo.NewInsertOneModel().SetDocument(&e.doc)
	case e.whole:
		return mongo.NewReplaceOneModel().SetFilter(filter).SetReplacement(&e.doc)
	default:
		return mongo.NewUpdateOneModel().SetFilter(filter).SetUpdate(set(e.doc.stock()))
	}
}

func set(fields bson.D) bson.D { return bson.D{{Key: "$set", Value: fields}} }
