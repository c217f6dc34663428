package inventory

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

var errShed = errors.New("shed: too many calls under way")

// flight is one load of up to a chunk of variants, joined by every read that wants one of them meanwhile. It runs
// detached: no caller's end is its end.
type flight struct {
	ids     []uuid.UUID
	refused error                // set: the service is not to be asked, only the durable levels
	answers map[uuid.UUID]learnt // complete once done is closed
	done    chan struct{}        // closed after the answers are in the store
	loaded  chan struct{}        // closed after the durable levels, if they were needed, are in the store
	load    sync.Once
}

// learnt is a flight's answer for one variant.
type learnt struct {
	entry *entry
	err   error
}

func (f *flight) isDone() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// flights is the table of loads under way, by variant.
type flights struct {
	mu     sync.Mutex
	byID   map[uuid.UUID]*flight
	closed bool
}

func (t *flights) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
}

// join gives each place of ask the flight that will answer it, starting those that nobody has started. What came in
// since the caller looked is not asked for again: a flight leaves its answer in the store before it leaves the table.
func (t *flights) join(ctx context.Context, q *question, places []int, refused error) {
	r, now := q.reader, q.reader.now()
	var mine []uuid.UUID
	var minePlaces []int
	t.mu.Lock()
	for _, k := range places {
		i := q.wanted[k]
		id := q.ids[i]
		if f := t.byID[id]; f != nil {
			q.flights[k] = f
			continue
		}
		found := r.store.find(&q.ids[i])
		switch verdict := q.limits.judge(found.known(), now); {
		case t.closed:
			q.fallBack(i, errClosed)
		case verdict != ask && verdict != askElseStale, r.isQuiet(found, now):
			q.fallBack(i, errQuiet)
		default:
			mine, minePlaces = append(mine, id), append(minePlaces, k)
		}
	}
	t.start(ctx, r, unique(mine), refused)
	for _, k := range minePlaces {
		q.flights[k] = t.byID[q.ids[q.wanted[k]]]
	}
	t.mu.Unlock()
}

// unique drops repetitions in place.
func unique(ids []uuid.UUID) []uuid.UUID {
	if len(ids) < 2 {
		return ids
	}
	seen := make(map[uuid.UUID]struct{}, len(ids))
	kept := ids[:0]
	for _, id := range ids {
		if _, repeated := seen[id]; !repeated {
			seen[id] = struct{}{}
			kept = append(kept, id)
		}
	}
	return kept
}

// start launches one flight a chunk. The caller holds the lock.
func (t *flights) start(ctx context.Context, r *Reader, ids []uuid.UUID, refused error) (started []*flight) {
	for chunk := range slices.Chunk(ids, r.client.chunk()) {
		f := &flight{
			ids: chunk, refused: refused, answers: make(map[uuid.UUID]learnt, len(chunk)),
			done: make(chan struct{}), loaded: make(chan struct{}),
		}
		for _, id := range f.ids {
			t.byID[id] = f
		}
		r.tasks.Go(func() { r.run(context.WithoutCancel(ctx), f) })
		started = append(started, f)
	}
	return started
}

func (t *flights) finish(f *flight) {
	t.mu.Lock()
	for _, id := range f.ids {
		delete(t.byID, id)
	}
	t.mu.Unlock()
	close(f.done)
}

// run is the life of one flight.
func (r *Reader) run(ctx context.Context, f *flight) {
	r.running.Add(1)
	defer r.running.Add(-1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	if f.refused != nil {
		for _, id := range f.ids {
			f.answers[id] = learnt{err: f.refused}
		}
	} else {
		late := time.AfterFunc(r.client.cfg.StaleWait, func() { r.loadKnown(f) })
		defer func() {
			if !late.Stop() {
				<-f.loaded // the timer's goroutine must not outlive the reader
			}
		}()
		r.hottest.Store(f)
		r.fetch(ctx, f, r.client.cfg.Retries)
	}
	if r.settleFailures(f) {
		r.loadKnown(f) // returns once the durable levels are in the store, whoever loads them
	}
	r.flights.finish(f)
}

// fetch asks the service for the flight's variants and fills in an answer for each.
func (r *Reader) fetch(ctx context.Context, f *flight, retries int) {
	if !r.admit(ctx) {
		for _, id := range f.ids {
			f.answers[id] = learnt{err: errShed}
		}
		return
	}
	defer r.bulkhead.Release(1)
	// Counted from here: an attempt cut short by the time in line would count against a healthy service.
	ctx, cancel := context.WithTimeout(ctx, r.client.cfg.Budget)
	defer cancel()
	splits := maxSplits
	r.fetchPart(ctx, f, f.ids, retries, &splits)
}

// queuePerCall is how many flights may stand in line for each that is under way. More would wait for longer than any
// reader does.
const queuePerCall = 5

// admit waits for a place among the calls under way, as long as a reader would. It refuses at once where the line is long.
func (r *Reader) admit(ctx context.Context) bool {
	if r.bulkhead.TryAcquire(1) {
		return true
	}
	defer r.queued.Add(-1)
	if r.queued.Add(1) > int64(queuePerCall*r.client.cfg.Concurrency) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, r.client.cfg.Budget)
	defer cancel()
	return r.bulkhead.Acquire(ctx, 1) == nil
}

// maxSplits bounds the extra calls that look for the one variant of a chunk that the service chokes on.
const maxSplits = 16

func (r *Reader) fetchPart(ctx context.Context, f *flight, ids []uuid.UUID, retries int, splits *int) {
	askedAt := r.now()
	got, err := r.client.levels(ctx, ids, retries)
	if len(ids) > 1 && *splits >= 2 && splittable(err) {
		*splits -= 2
		r.fetchPart(ctx, f, ids[:len(ids)/2], retries, splits)
		r.fetchPart(ctx, f, ids[len(ids)/2:], retries, splits)
		return
	}
	arrived := r.now()
	for _, id := range ids {
		f.answers[id] = r.learn(id, got, err, askedAt, arrived)
	}
}

// splittable says whether the fault may lie in one of the variants or in their number.
func splittable(err error) bool {
	var status statusError
	if !errors.As(err, &status) {
		return false
	}
	switch status.code {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
		return true
	}
	return false
}

// learn takes what the answer says about one variant into the store.
func (r *Reader) learn(id uuid.UUID, got answer, err error, askedAt, arrived time.Time) learnt {
	if err != nil {
		return learnt{err: err}
	}
	if level, ok := got.levels[id]; ok {
		level.FetchedAt = arrived
		return learnt{entry: r.put(entry{level: level}, askedAt)}
	}
	if fault := got.faulty[id]; fault != nil {
		return learnt{err: fault}
	}
	if got.nameless != nil {
		return learnt{err: got.nameless}
	}
	none := entry{absent: true, level: Level{VariantID: id, FetchedAt: askedAt}}
	return learnt{entry: r.put(none, askedAt)}
}
