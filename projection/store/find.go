package store

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// AllFields asks for all fields of documents.
var AllFields = bson.D{}

// IDOnly asks for no more of documents than their ids.
var IDOnly = bson.D{{Key: "_id", Value: 1}}

// IDPages reads the ids that are strings from lo up to but without hi, or to the last where hi is
// empty, in order and page by page: no cursor is open while somebody looks at them.
func IDPages(ctx context.Context, in *mongo.Collection, lo, hi string) iter.Seq2[[]string, error] {
	const page = 1000
	return func(yield func([]string, error) bool) {
		for from := "$gte"; ; from = "$gt" {
			span := bson.D{{Key: from, Value: lo}}
			if hi != "" {
				span = append(span, bson.E{Key: "$lt", Value: hi})
			}
			o := options.Find().SetSort(IDOnly).SetProjection(IDOnly).SetLimit(page).SetBatchSize(page)
			cursor, err := in.Find(ctx, ByID(span), o)
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

// All reads the documents that a cursor has left, and closes it. It decodes each in place: the
// driver's own [mongo.Cursor.All] makes a buffer of 4 KiB for each.
func All[D any](ctx context.Context, cursor *mongo.Cursor) (docs []D, err error) {
	defer func() { err = errors.Join(err, cursor.Close(context.WithoutCancel(ctx))) }()
	for cursor.Next(ctx) {
		if docs == nil {
			docs = make([]D, 0, cursor.RemainingBatchLength()+1)
		}
		var d D
		if err := bson.Unmarshal(cursor.Current, &d); err != nil {
			return nil, err
		}
		docs = append(docs, d)
	}
	return docs, cursor.Err()
}

// ByID matches the document of an id.
func ByID(id any) bson.D { return bson.D{{Key: "_id", Value: id}} }

// Set is the update that sets fields.
func Set(fields bson.D) bson.D { return bson.D{{Key: "$set", Value: fields}} }
