package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"product-service/projection/view"
)

// Server is what the database server can do. It is asked once, and nothing else of this program
// knows which server it is: the operations below keep to its limits.
type Server struct {
	Indexes bool // queries use indexes
	Streams bool // there are change streams
	Sums    bool // an aggregation adds up fields of embedded documents

	Appends    bool // an update adds several elements to an array
	Views      bool // it has views: see [MovementsView]
	lookups    bool // a query for a list of ids doesn't read the whole collection
	operations int  // how many updates a command may carry
	inserts    int  // how many documents a command may make
}

var (
	mongoDB = Server{Indexes: true, Sums: true, Appends: true, Views: true, lookups: true, operations: 1000, inserts: 2500}

	// FerretDB 1 is for trying things out. It holds a connection of its pool for each operation of
	// an update command until the command ends, reads a whole collection for a list of ids, uses no
	// indexes, doesn't add up fields of embedded documents, misses large numbers in arrays, may
	// lose one of two updates of a document at the same time, and doesn't try an upsert again that
	// met another.
	ferretDB = Server{operations: 8, inserts: 100}
)

// ask finds out which server it is. FerretDB answers buildInfo with its own version beside MongoDB's.
func (s *Store) ask(ctx context.Context) error {
	var info struct {
		Ferret string `bson:"ferretdbVersion"`
	}
	if err := s.db.RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&info); err != nil {
		return fmt.Errorf("ask MongoDB what it can do: %w", err)
	}
	if s.Server = mongoDB; info.Ferret != "" {
		s.Server = ferretDB
		return nil
	}
	var hello struct {
		Set  string `bson:"setName"`
		Kind string `bson:"msg"`
	}
	if err := s.db.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
		return fmt.Errorf("ask MongoDB what it can do: %w", err)
	}
	s.Server.Streams = hello.Set != "" || hello.Kind == "isdbgrid" // members of a replica set, and routers to some
	return nil
}

// Find reads documents by id and hands each to found. Those that aren't there are left out.
func Find[D any](ctx context.Context, s *Store, in *mongo.Collection, ids []string, fields bson.D, found func(D)) error {
	if !s.Server.lookups {
		return findOneByOne(ctx, in, ids, fields, found)
	}
	for chunk := range slices.Chunk(ids, 1000) {
		o := options.Find().SetProjection(fields).SetBatchSize(1000)
		cursor, err := in.Find(ctx, ByID(bson.D{{Key: "$in", Value: chunk}}), o)
		if err != nil {
			return err
		}
		for cursor.Next(ctx) {
			var d D
			if err := bson.Unmarshal(cursor.Current, &d); err != nil {
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

func findOneByOne[D any](ctx context.Context, in *mongo.Collection, ids []string, fields bson.D, found func(D)) error {
	for _, id := range ids {
		var d D
		err := in.FindOne(ctx, ByID(id), options.FindOne().SetProjection(fields)).Decode(&d)
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

// Insert makes documents; those that are there stay as they are, which is an error that
// [OnlyDuplicates] knows. In order, none behind the first of those is made; else all others are.
func Insert[D any](ctx context.Context, s *Store, into *mongo.Collection, documents []D, ordered bool) error {
	var duplicates error
	for len(documents) > 0 {
		chunk, err := encodeSome(documents, s.Server.inserts)
		if err != nil {
			return fmt.Errorf("encode what goes to %s: %w", into.Name(), err)
		}
		documents = documents[len(chunk):]
		_, err = into.InsertMany(ctx, chunk, options.InsertMany().SetOrdered(ordered))
		if err == nil {
			continue
		}
		if duplicates = fmt.Errorf("write %s: %w", into.Name(), err); ordered || !OnlyDuplicates(err) {
			return duplicates
		}
	}
	return duplicates
}

// insertBytes is about how much one command makes: the driver copies it several times.
const insertBytes = 1 << 20

// encodeSome encodes the first of some documents: as many as a command makes, one at least.
func encodeSome[D any](documents []D, most int) (encoded []bson.Raw, err error) {
	for size := 0; len(encoded) < min(most, len(documents)) && size < insertBytes; {
		raw, err := encode(documents[len(encoded)])
		if err != nil {
			return nil, err
		}
		encoded, size = append(encoded, raw), size+len(raw)
	}
	return encoded, nil
}

// encode is [bson.Marshal], which copies what a document has encoded itself.
func encode(document any) (bson.Raw, error) {
	if m, ok := document.(bson.Marshaler); ok {
		return m.MarshalBSON()
	}
	return bson.Marshal(document)
}

// BulkWrite carries out operations in any order, each on another document, and says how many found
// or made theirs. One that would make a document that is there fails, which is an error that
// [OnlyDuplicates] knows, and the others are carried out.
func (s *Store) BulkWrite(ctx context.Context, in *mongo.Collection, operations []mongo.WriteModel) (applied int64, err error) {
	for chunk := range slices.Chunk(operations, s.Server.operations) {
		result, failed := in.BulkWrite(ctx, chunk, options.BulkWrite().SetOrdered(false))
		if failed != nil {
			if err = fmt.Errorf("write %s: %w", in.Name(), failed); !OnlyDuplicates(failed) {
				return applied, err
			}
		}
		if result != nil {
			applied += result.MatchedCount + result.InsertedCount + result.UpsertedCount
		}
	}
	return applied, err
}

// OnlyDuplicates says that a write failed for nothing but documents that were there already.
func OnlyDuplicates(err error) bool {
	const duplicateKey = 11000
	var bulk mongo.BulkWriteException
	var single mongo.WriteException
	switch {
	case errors.As(err, &bulk):
		others := func(e mongo.BulkWriteError) bool { return e.Code != duplicateKey }
		return bulk.WriteConcernError == nil && !slices.ContainsFunc(bulk.WriteErrors, others)
	case errors.As(err, &single):
		others := func(e mongo.WriteError) bool { return e.Code != duplicateKey }
		return single.WriteConcernError == nil && !slices.ContainsFunc(single.WriteErrors, others)
	}
	return false
}

// SumCounts adds up what documents say they hold of movements of some types, where the server has Sums.
func SumCounts(ctx context.Context, in *mongo.Collection, filter bson.D, types []view.MovementType) (n int64, err error) {
	group := bson.D{{Key: "_id", Value: nil}}
	for _, t := range types {
		group = append(group, bson.E{Key: string(t), Value: bson.D{{Key: "$sum", Value: "$counts." + string(t)}}})
	}
	c, err := in.Aggregate(ctx, mongo.Pipeline{{{Key: "$match", Value: filter}}, {{Key: "$group", Value: group}}})
	if err != nil {
		return 0, fmt.Errorf("count movements: %w", err)
	}
	var sums []map[view.MovementType]any
	if err := c.All(ctx, &sums); err != nil {
		return 0, fmt.Errorf("count movements: %w", err)
	}
	for _, sum := range sums {
		for _, t := range types {
			switch v := sum[t].(type) {
			case int32:
				n += int64(v)
			case int64:
				n += v
			}
		}
	}
	return n, nil
}
