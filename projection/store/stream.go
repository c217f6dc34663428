package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"product-service/projection/view"
)

// resumePoint is how far the change stream of a generation was read.
type resumePoint struct {
	generation string
	token      bson.Raw
}

// changed is one change of the stream, reduced to what is told of it.
type changed struct {
	Kind string `bson:"operationType"`
	Key  struct {
		ID string `bson:"_id"`
	} `bson:"documentKey"`
	Pos     int64 `bson:"pos"`
	Version int64 `bson:"version"`
}

// changeStream reduces the changes of products to their ids, positions and versions: documents can be long.
var changeStream = mongo.Pipeline{
	{{Key: "$match", Value: bson.D{{Key: "operationType", Value: bson.D{{Key: "$in", Value: bson.A{"insert", "update", "replace", "delete", "invalidate", "drop", "rename"}}}}}}},
	{{Key: "$project", Value: bson.D{
		{Key: "operationType", Value: 1}, {Key: "documentKey", Value: 1},
		{Key: "pos", Value: bson.D{{Key: "$ifNull", Value: bson.A{"$updateDescription.updatedFields.pos", "$fullDocument.pos"}}}},
		{Key: "version", Value: bson.D{{Key: "$ifNull", Value: bson.A{"$updateDescription.updatedFields.version", "$fullDocument.version"}}}},
	}}},
}

// streamBatch is how many changes come at once. Behind as many there may be more.
const streamBatch = 1000

// stream follows the products of a generation by a change stream. It goes on where it was, as far
// as the server remembers.
func (f *changeFollower) stream(ctx context.Context, g Generation) error {
	opts := options.ChangeStream().SetMaxAwaitTime(heardFor / 2).SetBatchSize(streamBatch)
	resumes := f.resume.generation == g.Name && f.resume.token != nil
	if resumes {
		opts.SetResumeAfter(f.resume.token)
	}
	f.resume.generation = g.Name
	stream, err := g.Products.Watch(ctx, changeStream, opts)
	if err != nil {
		f.resume.token = nil // it may be too old: the next stream begins now
		return err
	}
	defer func() { _ = stream.Close(context.WithoutCancel(ctx)) }()
	if !resumes {
		f.store.Changes.tell(nil) // what changed before isn't known
	}
	var page []view.Change
	for ctx.Err() == nil {
		began := time.Now()
		if stream.TryNext(ctx) {
			change, over, err := readChange(stream)
			if err != nil || over {
				f.resume.token = nil
				return errors.Join(err, errElsewhere)
			}
			page = append(page, change)
			if stream.RemainingBatchLength() > 0 {
				continue
			}
		}
		if len(page) > 0 {
			f.store.Changes.tell(page)
		}
		all := len(page) < streamBatch
		page = nil
		if f.resume.token = stream.ResumeToken(); stream.Err() != nil {
			if lost(stream.Err()) {
				f.resume.token = nil
			}
			return stream.Err()
		}
		if all {
			f.heard(g, began)
		}
		if err := f.moved(ctx, g); err != nil {
			if errors.Is(err, errElsewhere) {
				f.resume.token = nil
			}
			return err
		}
	}
	return ctx.Err()
}

// readChange reads one change. It says whether the collection is gone.
func readChange(stream *mongo.ChangeStream) (change view.Change, over bool, err error) {
	var c changed
	if err := stream.Decode(&c); err != nil {
		return change, false, err
	}
	switch c.Kind {
	case "invalidate", "drop", "rename":
		return change, true, nil
	}
	id, err := uuid.Parse(c.Key.ID)
	stockOnly := c.Kind == "update" // all else is written by replacing the document
	return view.Change{ProductID: id, Pos: c.Pos, Version: c.Version, StockOnly: stockOnly}, false, err
}

// lost says that the server doesn't remember what came after a token. The codes are those of
// MongoDB's error_codes.yml.
func lost(err error) bool {
	return hasCode(err, 280, 286, 260) // ChangeStreamFatalError, ChangeStreamHistoryLost, InvalidResumeToken
}

// unsupported says that the server has no change streams, or none for this user.
func unsupported(err error) bool {
	// Unauthorized, CommandNotFound, CommandNotSupported, NotImplemented, an unrecognized stage,
	// one for replica sets only
	return hasCode(err, 13, 59, 115, 238, 40324, 40573)
}

func hasCode(err error, codes ...int) bool {
	var failed mongo.ServerError
	return errors.As(err, &failed) && slices.ContainsFunc(codes, failed.HasErrorCode)
}
