package inventory

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"product-service/wait"
)

// LastKnown keeps levels where a restart doesn't lose them. Both methods may be called concurrently.
type LastKnown interface {
	// Load returns the levels that it has of ids, in any order.
	Load(ctx context.Context, ids []uuid.UUID) ([]Level, error)
	// Save keeps each level unless the stored one is later, as Level.Supersedes says.
	Save(ctx context.Context, levels []Level) error
}

const (
	saveBatch   = 500
	saveTimeout = 10 * time.Second
	saveBacklog = 20_000

	lastKnownTimeout = 500 * time.Millisecond // of reading what was saved
)

// saver makes levels durable in the background: the newest of each variant, in batches, kept until they
// are saved. Past its bound it drops variants, which memory still has and whose next change queues them
// again.
type saver struct {
	to      LastKnown
	delay   time.Duration
	log     *slog.Logger
	metrics *readerMetrics

	mu    sync.Mutex
	dirty map[uuid.UUID]Level
	wake  chan struct{}
}

func newSaver(to LastKnown, delay time.Duration, log *slog.Logger, metrics *readerMetrics) *saver {
	return &saver{to: to, delay: delay, log: log, metrics: metrics, dirty: map[uuid.UUID]Level{}, wake: make(chan struct{}, 1)}
}

func (s *saver) add(levels ...Level) {
	s.mu.Lock()
	for _, level := range levels {
		held, ok := s.dirty[level.VariantID]
		switch {
		case ok && !level.Supersedes(held):
		case !ok && len(s.dirty) >= saveBacklog:
			s.metrics.saves.WithLabelValues("save", "dropped").Inc()
		default:
			s.dirty[level.VariantID] = level
		}
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *saver) take() []Level {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := make([]Level, 0, min(saveBatch, len(s.dirty)))
	for id, level := range s.dirty {
		if len(batch) == saveBatch {
			break
		}
		batch = append(batch, level)
		delete(s.dirty, id)
	}
	return batch
}

// run saves until ctx ends, then what is left once more.
func (s *saver) run(ctx context.Context) {
	delay := s.delay
	for {
		select {
		case <-ctx.Done():
			s.flush(context.WithoutCancel(ctx))
			return
		case <-s.wake:
		}
		wait.For(ctx, delay)
		if s.flush(context.WithoutCancel(ctx)) {
			delay = s.delay
		} else {
			delay = min(30*time.Second, 2*delay)
		}
	}
}

// flush writes batch after batch and says whether all went well.
func (s *saver) flush(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	for {
		batch := s.take()
		if len(batch) == 0 {
			return true
		}
		if err := s.to.Save(ctx, batch); err != nil {
			s.metrics.saves.WithLabelValues("save", "failed").Add(float64(len(batch)))
			s.log.Warn("last known levels not saved, will try again", "levels", len(batch), "error", err)
			s.add(batch...)
			return false
		}
		s.metrics.saves.WithLabelValues("save", "ok").Add(float64(len(batch)))
	}
}

// loadLastKnown reads the durable levels of the flight's variants that memory knows no level of, once a
// flight, and once a variant and process if there is none.
func (r *Reader) loadLastKnown(f *flight) {
	f.load.Do(func() {
		defer close(f.loaded)
		if r.known == nil {
			return
		}
		var unknown []uuid.UUID
		for i := range f.ids {
			if found := r.store.find(&f.ids[i]); found == nil || (!found.hasLevel() && !found.checked.Load()) {
				unknown = append(unknown, f.ids[i])
			}
		}
		if len(unknown) > 0 {
			r.load(unknown)
		}
	})
}

func (r *Reader) load(ids []uuid.UUID) {
	ctx, cancel := context.WithTimeout(r.ctx, lastKnownTimeout)
	defer cancel()
	levels, err := r.known.Load(ctx, ids)
	if err != nil {
		r.metrics.saves.WithLabelValues("load", "failed").Inc()
		r.log.Warn("last known levels cannot be read", "levels", len(ids), "error", err)
		for _, id := range ids { // not at once again
			if at := r.store.slot(id); at.failure.Load() == nil {
				r.fail(at, false, 0)
			}
		}
		return
	}
	r.metrics.saves.WithLabelValues("load", "ok").Inc()
	for _, level := range levels {
		if level.Status.known() && !level.FetchedAt.IsZero() {
			r.store.change(level.VariantID, true, func(cur *entry) *entry { return mergeStored(cur, level) })
		}
	}
	for _, id := range ids {
		r.store.slot(id).checked.Store(true)
	}
}
