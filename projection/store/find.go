package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// AllFields asks for all fields of documents.
var AllFields = bson.D{}

// Find reads documents by id, in the way that costs the server least, and hands each to found.
func Find[D any](ctx context.Context, s *Store, in *mongo.Collection, ids []string, fields bson.D, found func(D)) error {
	if !s.Server.lookups {
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

// IDOnly asks for no more of documents than their ids.
var IDOnly = bson.D{{Key: "_id", Value: 1}}

// IDPages reads the ids that are strings from lo up to but without hi, or to the last where hi is empty, in order and page by page: no cursor is
// open while somebody looks at them.
func IDPages(ctx context.Context, in *mongo.Collection, lo, hi string) iter.Seq2[[]string, error] {
	const page = 1000
	return func(yield func([]string, error) bool) {
		for from := "$gte"; ; from = "$gt" {
			span := bson.D{{Key: from, Value: lo}}
			if hi != "" {
				span = append(span, bson.E{Key: "$lt", Value: hi})
			}
			cursor, err := in.Find(ctx, bson.D{{Key: "_id", Value: span}}, options.Find().SetSort(IDOnly).SetProjection(IDOnly).SetLimit(page).SetBatchSize(page))
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

func Set(fields bson.D) bson.D { return bson.D{{Key: "$set", Value: fields}} }

// OnlyDuplicates says that a write failed for nothing but documents that were there already.
func OnlyDuplicates(err error) bool {
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
