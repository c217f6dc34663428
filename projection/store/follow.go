package store

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/projection/view"
	"product-service/wait"
)

// Log is the log of the event store, as far as following changes needs it: [eventstore.Store]
// implements it.
type Log interface {
	Tail(ctx context.Context, cursors []eventstore.Cursor, limit int) ([]eventstore.Record, error)
}

const (
	followEvery = 100 * time.Millisecond // how often checkpoints are looked at, and the generation that is read
	followPause = time.Second            // after a failure
)

// errElsewhere says that another generation is read by now, or that nobody wants to know any more.
var errElsewhere = errors.New("there is something else to follow")

// FollowChanges tells the subscribers of changes that other processes make, until ctx ends: by a
// change stream of MongoDB where the server has them, else by the checkpoints of the read model and
// the log behind them. It asks nobody while nobody wants to know.
func (s *Store) FollowChanges(ctx context.Context, log Log, logger *slog.Logger) error {
	f := &changeFollower{store: s, log: log, streams: s.Server.Streams}
	for ctx.Err() == nil {
		if !s.Changes.wanted() {
			select {
			case <-ctx.Done():
			case <-s.Changes.begun:
			}
			continue
		}
		if err := f.follow(ctx); err != nil && !errors.Is(err, errElsewhere) && ctx.Err() == nil {
			logger.WarnContext(ctx, "changes of other instances can't be followed; it is tried again", "error", err)
			wait.For(ctx, followPause)
		}
	}
	return nil
}

// changeFollower follows the changes of other processes.
type changeFollower struct {
	store   *Store
	log     Log
	streams bool // the server has change streams
	resume  resumePoint
}

func (f *changeFollower) follow(ctx context.Context) error {
	defer f.store.followed.Store(nil)
	g, err := f.store.Generation(ctx)
	if err != nil {
		return err
	}
	if f.streams {
		err := f.stream(ctx, g)
		if !unsupported(err) {
			return err
		}
		f.streams = false // whatever the server said of itself
	}
	return f.tail(ctx, g)
}

// moved says why to begin anew: another generation is read than g, or nobody wants to know.
func (f *changeFollower) moved(ctx context.Context, g Generation) error {
	now, err := f.store.Generation(ctx)
	switch {
	case err != nil:
		return err
	case now.Name != g.Name, !f.store.Changes.wanted():
		return errElsewhere
	}
	return nil
}

// heard notes that all changes of a generation were told that were made before a time.
func (f *changeFollower) heard(g Generation, at time.Time) {
	f.store.followed.Store(&followed{g.Name, at})
}

// tail follows the checkpoints: what lies between two states of one is in the documents by now.
func (f *changeFollower) tail(ctx context.Context, g Generation) error {
	began := time.Now()
	from, err := f.store.LoadCheckpoints(ctx, g.Name)
	if err != nil {
		return err
	}
	f.store.Changes.tell(nil) // what changed before isn't known
	for {
		f.heard(g, began)
		wait.For(ctx, followEvery)
		if err := f.moved(ctx, g); err != nil {
			return err
		}
		began = time.Now()
		to, err := f.store.LoadCheckpoints(ctx, g.Name)
		if err != nil {
			return err
		}
		if err := f.between(ctx, from, to); err != nil {
			return err
		}
		from = to
	}
}

// furthest is how many rows are looked through to find out what changed. Where it was more,
// anything may have.
const furthest = 5000

// between tells of the products with rows between two states of the checkpoints.
func (f *changeFollower) between(ctx context.Context, from, to map[int16]Checkpoint) error {
	rows := int64(0)
	var cursors []eventstore.Cursor
	for shard, c := range to {
		if moved := c.Pos - from[shard].Pos; moved > 0 {
			rows += moved
			cursors = append(cursors, eventstore.Cursor{Shard: shard, Pos: from[shard].Pos})
		} else if moved < 0 { // the log was put back
			rows += furthest + 1
		}
	}
	if rows > furthest {
		f.store.Changes.tell(nil)
		return nil
	}
	changed := map[uuid.UUID]view.Change{}
	for len(cursors) > 0 {
		records, err := f.log.Tail(ctx, cursors, furthest)
		if err != nil {
			return err
		}
		for i := range records {
			if r := &records[i]; r.Pos <= to[r.Shard].Pos {
				c, again := changed[r.ProductID]
				changed[r.ProductID] = view.Change{ProductID: r.ProductID, Pos: max(c.Pos, r.Pos), Version: max(c.Version, r.Version),
					StockOnly: view.StockOnly(r.Type) && (c.StockOnly || !again)}
			}
		}
		if len(records) < furthest {
			break
		}
		cursors = after(cursors, records) // they were full of what isn't projected yet
	}
	all := make([]view.Change, 0, len(changed))
	for _, c := range changed {
		all = append(all, c)
	}
	if len(all) > 0 {
		f.store.Changes.tell(all)
	}
	return nil
}

// after are the cursors of the shards that a full page didn't come to the end of.
func after(cursors []eventstore.Cursor, records []eventstore.Record) []eventstore.Cursor {
	last := records[len(records)-1]
	for i, c := range cursors {
		if c.Shard == last.Shard {
			rest := cursors[i:]
			rest[0].Pos = last.Pos
			return rest
		}
	}
	return nil
}
