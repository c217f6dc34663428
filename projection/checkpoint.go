package projection

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"product-service/eventstore"
)

// checkpoints say how far a generation is. They are one document, so that a page over many shards moves them with one write.
type checkpoints struct {
	ID     string                `bson:"_id"`
	Schema int                   `bson:"schema"`
	Shards map[string]checkpoint `bson:"shards"`
}

// checkpoint says how far one shard is.
type checkpoint struct {
	Pos      int64  `bson:"pos"`           // of the last row that is in the documents
	Mark     string `bson:"mark"`          // that row's command: a log that has another there isn't the log it was
	At       int64  `bson:"at"`            // that row's time
	First    int64  `bson:"first"`         // the time of the first row; 0 where it isn't known
	Complete int64  `bson:"complete"`      // every row up to this time is in the documents
	Epoch    int64  `bson:"epoch"`         // of the latest owner's lease: an older one may not write
	CaughtUp int64  `bson:"caughtUpUnder"` // the epoch under which the shard was last read to its end
}

func shardKey(shard int16) string { return fmt.Sprintf("%02d", shard) }

// loadCheckpoints reads how far a generation is.
func (s *Store) loadCheckpoints(ctx context.Context, generation string) (map[int16]checkpoint, error) {
	var c checkpoints
	if err := s.db.Collection(checkpointName).FindOne(ctx, bson.D{{Key: "_id", Value: generation}}).Decode(&c); err != nil {
		return nil, fmt.Errorf("read the checkpoints of generation %s: %w", generation, err)
	}
	byShard := make(map[int16]checkpoint, len(c.Shards))
	for key, at := range c.Shards {
		shard, err := strconv.ParseInt(key, 10, 16)
		if err != nil || shard < 0 || shard >= eventstore.Shards {
			return nil, fmt.Errorf("read the checkpoints of generation %s: there is no shard %q", generation, key)
		}
		byShard[int16(shard)] = at
	}
	return byShard, nil
}

// Checkpoints are the positions below which the read model needs nothing of the log any more, for pruning it.
func (s *Store) Checkpoints(ctx context.Context) ([]eventstore.Cursor, error) {
	g, err := s.generation(ctx)
	if err != nil {
		return nil, err
	}
	shards, err := s.loadCheckpoints(ctx, g.name)
	if err != nil {
		return nil, err
	}
	cursors := make([]eventstore.Cursor, 0, len(shards))
	for n, c := range shards {
		cursors = append(cursors, eventstore.Cursor{Shard: n, Pos: max(0, c.Pos-1)}) // the row at the checkpoint proves that the log is the one it was
	}
	return cursors, nil
}

// errFenced says that a shard has gone to another owner.
var errFenced = errors.New("another owner has written the checkpoint")

// updateCheckpoints sets fields of a generation's checkpoints: none where a shard has a newer owner than that of its epoch here.
func (s *Store) updateCheckpoints(ctx context.Context, generation string, epochs map[int16]int64, fields bson.D) error {
	filter := bson.D{{Key: "_id", Value: generation}}
	for shard, epoch := range epochs {
		filter = append(filter, bson.E{Key: "shards." + shardKey(shard) + ".epoch", Value: bson.D{{Key: "$lte", Value: epoch}}})
	}
	result, err := s.db.Collection(checkpointName).UpdateOne(ctx, filter, set(fields))
	if err == nil && result.MatchedCount == 0 {
		err = errFenced
	}
	if err != nil {
		return fmt.Errorf("write the checkpoints of generation %s: %w", generation, err)
	}
	return nil
}

// fence makes shards of a generation their new owners', under the epochs of the leases: who had one before can't move its checkpoint any more. It
// returns where all shards stand from then on. Those that have a newer owner yet stay his: their epochs are above those asked for.
func (s *Store) fence(ctx context.Context, generation string, epochs map[int16]int64) (map[int16]checkpoint, error) {
	for older := maps.Clone(epochs); ; {
		fields := bson.D{}
		for shard, epoch := range older {
			fields = append(fields, bson.E{Key: "shards." + shardKey(shard) + ".epoch", Value: epoch})
		}
		fenced := s.updateCheckpoints(ctx, generation, older, fields)
		if fenced != nil && !errors.Is(fenced, errFenced) {
			return nil, fenced
		}
		saved, err := s.loadCheckpoints(ctx, generation)
		if err != nil {
			return nil, err
		}
		asked := len(older)
		maps.DeleteFunc(older, func(shard int16, epoch int64) bool { return saved[shard].Epoch > epoch })
		switch {
		case fenced == nil, len(older) == 0:
			return saved, nil
		case len(older) == asked:
			return nil, fenced
		}
	}
}

// saveCheckpoints moves shards of a generation, all or none: none where one of them has a newer owner, which is [errFenced].
func (s *Store) saveCheckpoints(ctx context.Context, generation string, moved map[int16]checkpoint) error {
	if len(moved) == 0 {
		return nil
	}
	epochs, fields := make(map[int16]int64, len(moved)), bson.D{}
	for shard, c := range moved {
		epochs[shard], fields = c.Epoch, append(fields, bson.E{Key: "shards." + shardKey(shard), Value: c})
	}
	return s.updateCheckpoints(ctx, generation, epochs, fields)
}

// parkedProduct remembers why a product isn't kept up to date.
type parkedProduct struct {
	ID         string `bson:"_id"`
	Generation string `bson:"generation"`
	Product    string `bson:"product"`
	Shard      int16  `bson:"shard"`
	Pos        int64  `bson:"pos"` // of the row that can't be folded in
	Version    int64  `bson:"version"`
	Type       string `bson:"type"`
	Error      string `bson:"error"`
	At         int64  `bson:"at"`
}

// park sets a product aside: its rows are skipped until it is folded anew, while those of others go on.
func (f *folder) park(ctx context.Context, r eventstore.Record, why error) error {
	doc := parkedProduct{ID: f.into.name + "." + r.ProductID.String(), Generation: f.into.name, Product: r.ProductID.String(), Shard: r.Shard,
		Pos: r.Pos, Version: r.Version, Type: r.Type, Error: why.Error(), At: f.now().UnixMicro()}
	if _, err := f.store.db.Collection(parkedName).InsertOne(ctx, doc); err != nil && !mongo.IsDuplicateKeyError(err) {
		return fmt.Errorf("park product %s: %w", r.ProductID, err)
	}
	f.parked[r.ProductID] = r.Pos
	f.metrics.parked.Set(float64(len(f.parked)))
	f.logger.ErrorContext(ctx, "a product is parked: this row can't be folded into its document, and its later rows are skipped until it is replayed",
		"product", r.ProductID, "shard", r.Shard, "pos", r.Pos, "version", r.Version, "type", r.Type, "error", why)
	return nil
}

// Parked is a product that isn't kept up to date, because a row of the log can't be folded into its documents.
type Parked struct {
	Product uuid.UUID
	Shard   int16
	Pos     int64 // of the row, and its version and type
	Version int64
	Type    string
	Error   string
	At      time.Time
}

// Parked returns the products that are set aside. [Rebuild] with one of them tries it again; so does every program that takes over its shard.
func (s *Store) Parked(ctx context.Context) ([]Parked, error) {
	g, err := s.generation(ctx)
	if err != nil {
		return nil, err
	}
	cursor, err := s.db.Collection(parkedName).Find(ctx, bson.D{{Key: "generation", Value: g.name}})
	if err != nil {
		return nil, fmt.Errorf("read the parked products: %w", err)
	}
	var docs []parkedProduct
	if err := cursor.All(ctx, &docs); err != nil {
		return nil, fmt.Errorf("read the parked products: %w", err)
	}
	parked := make([]Parked, len(docs))
	for i, d := range docs {
		parked[i] = Parked{Shard: d.Shard, Pos: d.Pos, Version: d.Version, Type: d.Type, Error: d.Error, At: timeOf(d.At)}
		if parked[i].Product, err = uuid.Parse(d.Product); err != nil {
			return nil, fmt.Errorf("read the parked products: %w", err)
		}
	}
	return parked, nil
}

// loadParked reads which products are set aside, and returns those that were and aren't any more: others have folded them anew.
func (f *folder) loadParked(ctx context.Context) (released []uuid.UUID, err error) {
	cursor, err := f.store.db.Collection(parkedName).Find(ctx, bson.D{{Key: "generation", Value: f.into.name}})
	if err != nil {
		return nil, fmt.Errorf("read the parked products: %w", err)
	}
	var docs []parkedProduct
	if err := cursor.All(ctx, &docs); err != nil {
		return nil, fmt.Errorf("read the parked products: %w", err)
	}
	found := make(map[uuid.UUID]int64, len(docs))
	for _, doc := range docs {
		id, err := uuid.Parse(doc.Product)
		if err != nil {
			return nil, fmt.Errorf("read the parked products: %w", err)
		}
		found[id] = doc.Pos
	}
	for id, pos := range f.parked {
		if found[id] == 0 {
			released, found[id] = append(released, id), pos
		}
	}
	f.parked = found
	f.metrics.parked.Set(float64(len(f.parked)))
	return released, nil
}
