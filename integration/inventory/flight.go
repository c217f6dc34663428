package inventory

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

var errShed = errors.New("shed: too many calls under way")

// flight is one load of up to a chunk of variants, joined by every read that wants one of them meanwhile.
// It runs detached: no caller's end is its end.
type flight struct {
	ids     []uuid.UUID
	suspect bool          // calls with these variants failed before: they are asked for apart from all others
	refused error         // set: the service is not to be asked, only the durable levels
	done    chan struct{} // closed after the answers are in the store
	loaded  chan struct{} // closed after the durable levels, if they were needed, are in the store
	load    sync.Once

	mu      sync.Mutex
	answers map[uuid.UUID]learnt // complete once done is closed

	calls atomic.Int32 // how many more calls may look for the variant at fault
	began time.Time    // wall clock
}

// learnt is a flight's answer for one variant.
type learnt struct {
	entry    *entry
	err      error
	ownFault bool // the error says something about the variant itself
	among    int  // see failure
}

func (f *flight) isDone() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

func (f *flight) set(id uuid.UUID, l learnt) {
	f.mu.Lock()
	f.answers[id] = l
	f.mu.Unlock()
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

// start launches flights for ids: one a chunk of those that are well, and apart from them, in smaller
// parts, those that failed. The caller holds the lock.
func (t *flights) start(ctx context.Context, r *Reader, ids []uuid.UUID, refused error) (started []*flight) {
	type kind struct {
		suspect  bool
		together int // in one call
	}
	most := r.client.chunk()
	parts := map[kind][]uuid.UUID{}
	for _, id := range ids {
		k := kind{together: most}
		if f := r.failureOf(r.store.find(&id)); f.suspect() && refused == nil {
			k = kind{suspect: true, together: min(most, f.together())}
		}
		parts[k] = append(parts[k], id)
	}
	for k, part := range parts {
		for chunk := range slices.Chunk(part, k.together) {
			f := &flight{
				ids: chunk, suspect: k.suspect, refused: refused, answers: make(map[uuid.UUID]learnt, len(chunk)),
				done: make(chan struct{}), loaded: make(chan struct{}),
			}
			for _, id := range f.ids {
				t.byID[id] = f
			}
			r.tasks.Go(func() { r.run(context.WithoutCancel(ctx), f) })
			started = append(started, f)
		}
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
		late := time.AfterFunc(r.client.cfg.StaleWait, func() { r.loadLastKnown(f) })
		defer func() {
			if !late.Stop() {
				<-f.loaded // the timer's goroutine must not outlive the reader
			}
		}()
		r.fetch(ctx, f)
	}
	if r.settle(f) {
		r.loadLastKnown(f) // returns once the durable levels are in the store, whoever loads them
	}
	r.flights.finish(f)
}

// settle keeps what is to be remembered of the variants that got no answer, and says whether a durable
// level may have to stand in for one of the flight's.
func (r *Reader) settle(f *flight) (wanting bool) {
	logged := false
	for _, id := range f.ids {
		got := f.answers[id]
		if got.err == nil {
			wanting = wanting || !got.entry.known
			continue
		}
		wanting = true
		r.metrics.lost.WithLabelValues(reason(got.err)).Inc()
		if f.refused != nil || blameOf(0, got.err) == blameOurs {
			continue // says nothing about this variant: ask as soon as asking is possible
		}
		failed := r.fail(r.store.slot(id), got.ownFault, got.among)
		if failed.alone == 0 {
			continue
		}
		r.metrics.rests.Inc()
		if !logged && failed.alone == 1 {
			logged = true
			r.log.Warn("the Inventory Service fails for one variant; it rests", "variant_id", id, "error", got.err)
		}
	}
	return wanting
}

// fetch asks the service for the flight's variants and fills in an answer for each.
func (r *Reader) fetch(ctx context.Context, f *flight) {
	leave, ok := r.admit(ctx, f)
	if !ok {
		for _, id := range f.ids {
			f.answers[id] = learnt{err: errShed}
		}
		return
	}
	defer leave()
	// Counted from here: an attempt cut short by the time in line would count against a healthy service.
	ctx, cancel := context.WithTimeout(ctx, r.client.cfg.Budget)
	defer cancel()
	f.began = time.Now()
	f.calls.Store(maxSplits)
	how := asking{retries: r.client.cfg.Retries}
	if f.suspect {
		// One that failed alone and fails again says nothing new about the service; where it has answered
		// for others before, a control call can tell.
		how = asking{uncounted: len(f.ids) == 1 && !r.canaries.any()}
	}
	r.ask(ctx, f, f.ids, how)
}

// admit waits for a place among the calls under way, as long as a reader would.
func (r *Reader) admit(ctx context.Context, f *flight) (leave func(), ok bool) {
	ctx, cancel := context.WithTimeout(ctx, r.client.cfg.Budget)
	defer cancel()
	if !f.suspect {
		return r.bulkhead.leave, r.bulkhead.enter(ctx)
	}
	// The share of suspects is small, so that those that are slow don't take the places of the others.
	if !r.suspects.enter(ctx) {
		return nil, false
	}
	if !r.bulkhead.enter(ctx) {
		r.suspects.leave()
		return nil, false
	}
	return func() { r.bulkhead.leave(); r.suspects.leave() }, true
}

// maxSplits bounds the extra calls that look for the variants of a flight that the service fails for.
const maxSplits = 16

// ask makes one call for ids, and further ones for parts of them if it fails in a way that one of them
// may be the reason for.
func (r *Reader) ask(ctx context.Context, f *flight, ids []uuid.UUID, how asking) {
	askedAt := r.now()
	got, err := r.client.levels(ctx, ids, how)
	if err == nil {
		r.client.answered.Store(time.Now().UnixNano())
		r.canaries.answered(ids)
		r.takeIn(f, ids, got, askedAt)
		return
	}
	whose := blameOf(0, err)
	among := 0
	if whose.divisible() {
		among = len(ids)
		r.canaries.failed(ids)
	}
	for _, id := range ids {
		f.set(id, learnt{err: err, ownFault: whose.divisible(), among: among})
	}
	if parts := r.split(ctx, f, len(ids), err); parts > 1 {
		r.metrics.splits.Inc()
		r.askApart(ctx, f, slices.Collect(slices.Chunk(ids, (len(ids)+parts-1)/parts)))
	}
}

// askApart asks for each of the parts by itself, side by side as far as there is room.
func (r *Reader) askApart(ctx context.Context, f *flight, parts [][]uuid.UUID) {
	var beside sync.WaitGroup
	defer beside.Wait()
	for i, ids := range parts {
		if i == len(parts)-1 || !r.bulkhead.tryEnter() {
			r.ask(ctx, f, ids, asking{})
			continue
		}
		beside.Go(func() {
			defer r.bulkhead.leave()
			r.ask(ctx, f, ids, asking{})
		})
	}
}

// splitSlow is into how many parts a list is split that wasn't answered in time: more than two, since
// each further step of the search would take as long again.
const splitSlow = 8

// split says in how many parts to go on looking for the variant at fault now; 0 for not at all: then the
// next read of these variants does, for it is remembered among how many each of them failed. Where the
// service hasn't answered anybody lately the budget of retries pays for it, and it is asked in halves.
func (r *Reader) split(ctx context.Context, f *flight, ids int, err error) (parts int) {
	whose := blameOf(0, err)
	deadline, bounded := ctx.Deadline()
	if ids < 2 || !whose.divisible() || ctx.Err() != nil || (bounded && time.Until(deadline) < leftForAnswer) || r.client.available() != nil {
		return 0
	}
	parts = 2
	switch lately := r.client.answeredSince(f.began.Add(-controlPause)); {
	case lately && errors.Is(err, context.DeadlineExceeded):
		parts = min(ids, splitSlow)
	case !lately && whose != blameRequest && !r.client.budget.spend():
		return 0
	}
	if f.calls.Add(int32(-parts)) < 0 {
		return 0
	}
	return parts
}

// takeIn takes what an answer says about each of ids into the store.
func (r *Reader) takeIn(f *flight, ids []uuid.UUID, got answer, askedAt time.Time) {
	arrived := r.now()
	var missing []uuid.UUID
	for _, id := range ids {
		if level, ok := got.levels[id]; ok {
			level.FetchedAt = arrived
			f.set(id, learnt{entry: r.putAnswer(level, askedAt)})
		} else if fault := got.faulty[id]; fault != nil {
			f.set(id, learnt{err: fault, ownFault: true})
		} else {
			missing = append(missing, id)
		}
	}
	for _, id := range missing {
		if got.nameless != nil { // one of these
			f.set(id, learnt{err: got.nameless, ownFault: true, among: len(missing)})
			continue
		}
		f.set(id, learnt{entry: r.putAbsence(id, askedAt)})
	}
}
