package projection

import (
	"context"
	"fmt"
	"time"

	"product-service/eventstore"
)

// ShardLag is how far the documents are behind the log in one shard.
type ShardLag struct {
	Shard   int16
	Pos     int64         // of the last row that is in the documents
	Events  int64         // rows that aren't
	Behind  time.Duration // how long ago the last projected row was written, where others wait
	Through time.Time     // every row up to then is in the documents
}

// Positions tells how long the log is: [eventstore.Store] implements it.
type Positions interface {
	Positions(ctx context.Context) ([eventstore.Shards]int64, error)
}

// Lag compares the generation that is read with the log, shard by shard, whoever projects them.
func (r *Reader) Lag(ctx context.Context, log Positions) ([eventstore.Shards]ShardLag, error) {
	var lags [eventstore.Shards]ShardLag
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	last, err := log.Positions(ctx)
	if err != nil {
		return lags, fmt.Errorf("measure the lag: %w", err)
	}
	g, err := r.store.generation(ctx)
	if err != nil {
		return lags, err
	}
	shards, err := r.store.loadCheckpoints(ctx, g.name)
	if err != nil {
		return lags, err
	}
	for n := range lags {
		c := shards[int16(n)]
		l := ShardLag{Shard: int16(n), Pos: c.Pos, Events: max(0, last[n]-c.Pos), Through: timeOf(c.Complete)}
		if l.Events > 0 && c.At > 0 {
			l.Behind = max(0, r.now().Sub(timeOf(c.At)))
		}
		lags[n] = l
	}
	return lags, nil
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
