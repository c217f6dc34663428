package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/eventstore"
)

// checkpoints say how far a generation is. They are one document, so that a page over many shards
// moves them with one write.
type checkpoints struct {
	ID     string                `bson:"_id"`
	Schema int                   `bson:"schema"`
	Shards map[string]Checkpoint `bson:"shards"`
}

// Checkpoint says how far one shard is.
type Checkpoint struct {
	Pos       int64  `bson:"pos"`           // of the last row that is in the documents
	CommandAt string `bson:"commandAt"`     // that row's command: a log that has another there isn't the log it was
	At        int64  `bson:"at"`            // that row's time
	First     int64  `bson:"first"`         // the time of the first row; 0 where it isn't known
	Complete  int64  `bson:"complete"`      // every row up to this time is in the documents
	Epoch     int64  `bson:"epoch"`         // of the latest owner's lease: an older one may not write
	CaughtUp  int64  `bson:"caughtUpUnder"` // the epoch under which the shard was last read to its end
}

// ShardKey is a shard as it is written in documents and metrics.
func ShardKey(shard int16) string { return fmt.Sprintf("%02d", shard) }

// LoadCheckpoints reads how far a generation is.
func (s *Store) LoadCheckpoints(ctx context.Context, generation string) (map[int16]Checkpoint, error) {
	var c checkpoints
	if err := s.db.Collection(checkpointName).FindOne(ctx, ByID(generation)).Decode(&c); err != nil {
		return nil, fmt.Errorf("read the checkpoints of generation %s: %w", generation, err)
	}
	return c.byShard()
}

func (c *checkpoints) byShard() (map[int16]Checkpoint, error) {
	byShard := make(map[int16]Checkpoint, len(c.Shards))
	for key, at := range c.Shards {
		shard, err := strconv.ParseInt(key, 10, 16)
		if err != nil || shard < 0 || shard >= eventstore.Shards {
			return nil, fmt.Errorf("read the checkpoints of generation %s: there is no shard %q", c.ID, key)
		}
		byShard[int16(shard)] = at
	}
	return byShard, nil
}

// Checkpoints are the positions below which the read model needs nothing of the log any more, for
// pruning it: of every generation, also of one that is being filled.
func (s *Store) Checkpoints(ctx context.Context) ([]eventstore.Cursor, error) {
	found, err := s.db.Collection(checkpointName).Find(ctx, bson.D{})
	if err != nil {
		return nil, fmt.Errorf("read all checkpoints: %w", err)
	}
	var all []checkpoints
	if err := found.All(ctx, &all); err != nil {
		return nil, fmt.Errorf("read all checkpoints: %w", err)
	}
	var cursors []eventstore.Cursor
	for _, c := range all {
		byShard, err := c.byShard()
		if err != nil {
			return nil, err
		}
		for n, at := range byShard {
			cursors = append(cursors, eventstore.Cursor{Shard: n, Pos: max(0, at.Pos-1)}) // the row at the checkpoint proves that the log is the one it was
		}
	}
	return cursors, nil
}

// ErrFenced says that a shard has gone to another owner.
var ErrFenced = errors.New("another owner has written the checkpoint")

// updateCheckpoints sets fields of a generation's checkpoints: none where a shard has a newer owner
// than that of its epoch here.
func (s *Store) updateCheckpoints(ctx context.Context, generation string, epochs map[int16]int64, fields bson.D) error {
	filter := ByID(generation)
	for shard, epoch := range epochs {
		filter = append(filter, bson.E{Key: "shards." + ShardKey(shard) + ".epoch", Value: bson.D{{Key: "$lte", Value: epoch}}})
	}
	result, err := s.db.Collection(checkpointName).UpdateOne(ctx, filter, Set(fields))
	if err == nil && result.MatchedCount == 0 {
		err = ErrFenced
	}
	if err != nil {
		return fmt.Errorf("write the checkpoints of generation %s: %w", generation, err)
	}
	return nil
}

// Fence makes shards of a generation their new owners', under the epochs of the leases: who had one
// before can't move its checkpoint any more. It returns where all shards stand from then on. Those
// that have a newer owner yet stay his: their epochs are above those asked for.
func (s *Store) Fence(ctx context.Context, generation string, epochs map[int16]int64) (map[int16]Checkpoint, error) {
	for older := maps.Clone(epochs); ; {
		fields := bson.D{}
		for shard, epoch := range older {
			fields = append(fields, bson.E{Key: "shards." + ShardKey(shard) + ".epoch", Value: epoch})
		}
		fenced := s.updateCheckpoints(ctx, generation, older, fields)
		if fenced != nil && !errors.Is(fenced, ErrFenced) {
			return nil, fenced
		}
		saved, err := s.LoadCheckpoints(ctx, generation)
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

// SaveCheckpoints moves shards of a generation, all or none: none where one of them has a newer
// owner, which is [errFenced].
func (s *Store) SaveCheckpoints(ctx context.Context, generation string, moved map[int16]Checkpoint) error {
	if len(moved) == 0 {
		return nil
	}
	epochs, fields := make(map[int16]int64, len(moved)), bson.D{}
	for shard, c := range moved {
		epochs[shard], fields = c.Epoch, append(fields, bson.E{Key: "shards." + ShardKey(shard), Value: c})
	}
	return s.updateCheckpoints(ctx, generation, epochs, fields)
}
