package projection

import (
	"context"
	"fmt"
	"iter"
	"maps"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/projection/store"
	"product-service/projection/view"
)

// repairJournal writes the gaps as the log has them. Readers miss nothing meanwhile that was there. A
// segment keeps its name where one began before, so that a projector that is behind still finds that
// name taken.
func (b *builder) repairJournal(ctx context.Context, c *JournalCheck) error {
	if len(c.bad) == 0 {
		return nil
	}
	again := &JournalCheck{builder: b, shard: c.shard, pages: func([]eventstore.Record) {}, broken: map[uuid.UUID]bool{}}
	next, stop := iter.Pull2(again.movements(ctx))
	defer stop()
	m, err, ok := next()
	for i := range c.bad {
		part := &c.bad[i]
		w, failed := b.beginRepair(ctx, c.shard, part)
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

// journalRepair is a gap that is being written again.
type journalRepair struct {
	builder *builder
	part    *Gap
	old     map[string]bool // ids of segments that were there and haven't been replaced
	starts  map[string]bool
	now     view.Segments
	full    view.Segments
}

func (b *builder) beginRepair(ctx context.Context, shard int16, s *Gap) (*journalRepair, error) {
	w := &journalRepair{builder: b, part: s, old: map[string]bool{}}
	for old, err := range b.segments(ctx, view.SegmentID(shard, s.from+1), view.SegmentID(shard, s.to+1)) {
		if err != nil {
			return nil, err
		}
		w.old[old.ID] = true
	}
	w.starts = maps.Clone(w.old)
	return w, nil
}

func (w *journalRepair) add(ctx context.Context, m *view.Movement) error {
	if w.starts[view.SegmentID(eventstore.ShardOf(m.Product), m.Pos)] {
		w.full, w.now = append(w.full, w.now...), nil
	}
	w.now.Add(m)
	if n := len(w.now) - 1; n > 0 {
		w.full, w.now = append(w.full, w.now[:n]...), w.now[n:]
	}
	if len(w.full) < 100 {
		return nil
	}
	return w.flush(ctx)
}

func (w *journalRepair) flush(ctx context.Context) error {
	for _, s := range w.full {
		delete(w.old, s.ID)
	}
	full := w.full
	w.full = nil
	return w.builder.replaceAll(ctx, w.builder.into.Journal, segmentModels(full))
}

// end writes what is left, and only then deletes the segments that have no place any more.
func (w *journalRepair) end(ctx context.Context) error {
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
		if _, err := w.builder.into.Journal.DeleteOne(ctx, store.ByID(id)); err != nil {
			return fmt.Errorf("write the journal: %w", err)
		}
	}
	return nil
}
