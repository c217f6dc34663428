package inventory

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"product-service/correlation"
	"product-service/wait"
)

const (
	refreshGather = 5 * time.Millisecond // a burst of events, or of pages, becomes a few full calls
	refreshChunks = 4                    // calls at a time, so that calls with a waiting reader find room
)

// refreshRequest is why a variant is to be asked for without anybody waiting.
type refreshRequest struct {
	correlation, trace string // of the first to ask for it
	event              bool   // an event said "changed": an answer that was asked for before it won't do
}

func (q refreshRequest) context() context.Context {
	return correlation.WithTraceparent(correlation.WithID(context.Background(), q.correlation), q.trace)
}

// refreshQueue holds the variants to ask for without anybody waiting, each once however many ask for it.
// It needs no bound: readers ask for what is held in memory and only while the service answers, events
// for what is watched.
type refreshQueue struct {
	mu      sync.Mutex
	pending map[uuid.UUID]refreshRequest
	taken   int           // being asked for
	wake    chan struct{} // gets a value when something is pending
}

func newRefreshQueue() *refreshQueue {
	return &refreshQueue{pending: map[uuid.UUID]refreshRequest{}, wake: make(chan struct{}, 1)}
}

func (b *refreshQueue) add(ctx context.Context, event bool, ids ...uuid.UUID) {
	if len(ids) == 0 {
		return
	}
	b.mu.Lock()
	for _, id := range ids {
		q, ok := b.pending[id]
		if !ok {
			q = refreshRequest{correlation: correlation.ID(ctx), trace: correlation.TraceparentOf(ctx)}
		}
		q.event = q.event || event
		b.pending[id] = q
	}
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take moves up to n requests out.
func (b *refreshQueue) take(n int) map[uuid.UUID]refreshRequest {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := make(map[uuid.UUID]refreshRequest, min(n, len(b.pending)))
	for id, q := range b.pending {
		if len(taken) == n {
			break
		}
		taken[id] = q
		delete(b.pending, id)
	}
	b.taken = len(taken)
	return taken
}

// settle ends what take began, and says whether more is pending.
func (b *refreshQueue) settle() (more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken = 0
	return len(b.pending) > 0
}

func (b *refreshQueue) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.taken == 0 && len(b.pending) == 0
}

// refreshPending works the queue off until the reader closes. While the service can't be asked it waits.
func (r *Reader) refreshPending() {
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.refreshes.wake:
		}
		for more := true; more; {
			pause := refreshGather
			if r.client.available() != nil {
				pause = r.client.reads.open/20 + time.Millisecond
			}
			if !wait.For(r.ctx, pause) {
				return
			}
			if r.client.available() == nil {
				r.refresh(r.refreshes.take(refreshChunks * r.client.chunk()))
				more = r.refreshes.settle()
			}
		}
	}
}

// refresh asks for variants and returns when they are answered. A request of an event that failed comes
// back after a rest, as long as the variant is watched. A request of a reader doesn't: the next reader
// asks again.
func (r *Reader) refresh(requests map[uuid.UUID]refreshRequest) {
	var failed []uuid.UUID
	rest := r.client.cfg.FailureQuiet / 2
	for _, f := range r.flights.startRefresh(r, requests) {
		<-f.done
		for i, id := range f.ids {
			if !requests[id].event || f.answers[id].err == nil {
				continue
			}
			failed = append(failed, id)
			if failure := r.failureOf(r.store.find(&f.ids[i])); failure != nil {
				rest = max(rest, failure.until.Sub(r.now()))
			}
		}
	}
	if len(failed) == 0 {
		return
	}
	time.AfterFunc(rest, func() {
		for _, id := range failed {
			if r.watchers.wanted(id) {
				r.refreshes.add(requests[id].context(), true, id)
			}
		}
	})
}

// startRefresh starts loads in the background, of the variants that still need one. Where a load of a
// variant is under way, a reader's request joins it; an event's request goes back, to be asked after it.
func (t *flights) startRefresh(r *Reader, requests map[uuid.UUID]refreshRequest) []*flight {
	now := r.now()
	var first *refreshRequest
	mine := make([]uuid.UUID, 0, len(requests))
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	for id, q := range requests {
		switch under := t.byID[id]; {
		case under != nil && q.event:
			r.refreshes.add(q.context(), true, id)
			continue
		case under != nil, !q.event && r.ages.judge(r.store.find(&id).known(), now) == serve:
			continue
		}
		if first == nil {
			first = &q
		}
		mine = append(mine, id)
	}
	if first == nil {
		return nil
	}
	return t.start(first.context(), r, mine, nil)
}
