package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"golang.org/x/sync/errgroup"
)

// find reads documents by id, in the way that costs the server least, and hands each to found.
func find[D any](ctx context.Context, s *Store, in *mongo.Collection, ids []string, found func(D)) error {
	if !s.server.lookups {
		for _, id := range ids {
			var d D
			err := in.FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Decode(&d)
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
		cursor, err := in.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: chunk}}}}, options.Find().SetBatchSize(1000))
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

// write writes a page: movements and days before the products, so that a product that is there vouches for them.
func (f *folder) write(ctx context.Context, p *page) error {
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() error { return f.insert(inner, p.rows) })
	group.Go(func() error { return f.bulk(inner, f.into.days, dayModels(p)) })
	if err := group.Wait(); err != nil {
		return err
	}
	return f.bulk(ctx, f.into.products, productModels(p))
}

// insert writes movements. Those that are there are what they should be: a row of the log doesn't change.
func (f *folder) insert(ctx context.Context, rows []any) error {
	for chunk := range slices.Chunk(rows, f.store.server.rows) {
		_, err := f.into.movements.InsertMany(ctx, chunk, options.InsertMany().SetOrdered(false))
		if err != nil && !onlyDuplicates(err) {
			f.metrics.writeErrors.Inc()
			return fmt.Errorf("insert movements: %w", err)
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

func onlyDuplicates(err error) bool {
	var bulk mongo.BulkWriteException
	if !errors.As(err, &bulk) || bulk.WriteConcernError != nil {
		return false
	}
	return !slices.ContainsFunc(bulk.WriteErrors, func(e mongo.BulkWriteError) bool { return e.Code != 11000 })
}

// guard matches a document in the state it was loaded in.
func guard(id string, pos, rev int64) bson.D {
	return bson.D{{Key: "_id", Value: id}, {Key: "pos", Value: pos}, {Key: "rev", Value: rev}}
}

func productModels(p *page) []mongo.WriteModel {
	var models []mongo.WriteModel
	for _, e := range p.entries {
		switch filter := guard(e.doc.ID, e.loaded, e.doc.Rev); {
		case !e.changed:
		case e.loaded < 0:
			models = append(models, mongo.NewInsertOneModel().SetDocument(&e.doc))
		case e.whole:
			models = append(models, mongo.NewReplaceOneModel().SetFilter(filter).SetReplacement(&e.doc))
		default:
			models = append(models, mongo.NewUpdateOneModel().SetFilter(filter).SetUpdate(set(e.doc.stock())))
		}
	}
	return models
}

func dayModels(p *page) []mongo.WriteModel {
	var models []mongo.WriteModel
	for _, e := range p.entries {
		for _, d := range e.days {
			switch {
			case len(d.touched) == 0:
			case d.loaded < 0:
				models = append(models, mongo.NewInsertOneModel().SetDocument(d))
			default:
				models = append(models, mongo.NewUpdateOneModel().SetFilter(guard(d.ID, d.loaded, d.Rev)).SetUpdate(set(d.changes())))
			}
		}
	}
	return models
}

func set(fields bson.D) bson.D { return bson.D{{Key: "$set", Value: fields}} }
