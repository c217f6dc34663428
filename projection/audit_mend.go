package projection

import (
	"context"
	"fmt"
	"iter"
	"maps"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/eventstore"
)

// rewriteJournal writes the stretches that are wrong as the log has them. Readers miss nothing meanwhile that was there. Segments that begin where
// one began before keep their names, so that a projector that is behind still meets them.
func (f *folder) rewriteJournal(ctx context.Context, c *journalCheck) error {
	if len(c.bad) == 0 {
		return nil
	}
	again := &journalCheck{folder: f, shard: c.shard, pages: func([]eventstore.Record) {}, broken: map[uuid.UUID]bool{}}
	next, stop := iter.Pull2(again.movements(ctx))
	defer stop()
	m, err, ok := next()
	for i := range c.bad {
		part := &c.bad[i]
		w, failed := f.rewrite(ctx, c.shard, part)
		if failed != nil {
			return failed
		}
		for ; ok && err == nil && m.Pos <= part.to; m, err, ok = next() {
			if m.Pos > part.from {
				err = w.add(ctx, &m)
			}
			if err != nil {
				return err
			}
		}
		if err == nil {
			err = w.end(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rewriting is a stretch that is being written again.
type rewriting struct {
	folder *folder
	part   *stretch
	old    map[string]bool // ids of segments that were there and haven't been replaced
	starts map[string]bool
	now    segments
	full   segments
}

func (f *folder) rewrite(ctx context.Context, shard int16, s *stretch) (*rewriting, error) {
	w := &rewriting{folder: f, part: s, old: map[string]bool{}}
	for old, err := range f.segments(ctx, segmentID(shard, s.from+1), segmentID(shard, s.to+1)) {
		if err != nil {
			return nil, err
		}
		w.old[old.ID] = true
	}
	w.starts = maps.Clone(w.old)
	return w, nil
}

func (w *rewriting) add(ctx context.Context, m *movement) error {
	if w.starts[segmentID(eventstore.ShardOf(m.Product), m.Pos)] {
		w.full, w.now = append(w.full, w.now...), nil
	}
	w.now.add(m)
	if n := len(w.now) - 1; n > 0 {
		w.full, w.now = append(w.full, w.now[:n]...), w.now[n:]
	}
	if len(w.full) < 100 {
		return nil
	}
	return w.flush(ctx)
}

func (w *rewriting) flush(ctx context.Context) error {
	for _, s := range w.full {
		delete(w.old, s.ID)
	}
	full := w.full
	w.full = nil
	return w.folder.replaceAll(ctx, w.folder.into.journal, full.models())
}

// end writes what is left, and only then removes what has no place any more.
func (w *rewriting) end(ctx context.Context) error {
	for i := range w.part.beyond {
		if err := w.add(ctx, &w.part.beyond[i]); err != nil {
			return err
		}
	}
	w.full = append(w.full, w.now...)
	if err := w.flush(ctx); err != nil {
		return err
	}
	for id := range w.old {
		if _, err := w.folder.into.journal.DeleteOne(ctx, bson.D{{Key: "_id", Value: id}}); err != nil {
			return fmt.Errorf("write the journal: %w", err)
		}
	}
	return nil
}

// mendJournal writes what is wrong with the journal of a shard anew. It leaves alone what it can't make from the log.
func (f *folder) mendJournal(ctx context.Context, shard int16) error {
	c, err := f.checkJournal(ctx, shard, func([]eventstore.Record) {})
	if err != nil || len(c.broken) > 0 {
		return err
	}
	return f.rewriteJournal(ctx, c)
}
