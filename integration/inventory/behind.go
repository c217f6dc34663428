package inventory

import (
	"context"
	"sync"
	"time"

	"product-service/correlation"

	"github.com/google/uuid"
)

const (
	behindGather = 5 * time.Millisecond // a burst of events, or of pages, becomes a few full calls
	behindChunks = 4                    // calls at a time, so that those that somebody waits for find room
)

// wish is why a variant is to be asked for without anybody waiting.
type wish struct {
	correlation, trace string // of who wished first
	event              bool   // an event said "changed": an answer that was asked for before it won't do
}

func (w wish) context(ctx context.Context) context.Context {
	return correlation.WithTraceparent(correlation.WithID(ctx, w.correlation), w.trace)
}

// behind holds the variants to ask for without anybody waiting, each once however many wish for it. It needs no bound:
// readers wish for what is held in memory and only while the service answers, events for what is watched.
type behind struct {
	mu     sync.Mutex
	wishes map[uuid.UUID]wish
	taken  int           // being asked for
	wake   chan struct{} // gets a value when there are wishes
}

func newBehind() *behind { return &behind{wishes: map[uuid.UUID]wish{}, wake: make(chan struct{}, 1)} }

func (b *behind) add(ctx context.Context, event bool, ids ...uuid.UUID) {
	if len(ids) == 0 {
		return
	}
	b.mu.Lock()
	for _, id := range ids {
		w, ok := b.wishes[id]
		if !ok {
			w = wish{correlation: correlation.ID(ctx), trace: correlation.TraceparentOf(ctx)}
		}
		w.event = w.event || event
		b.wishes[id] = w
	}
	b.mu.Unlock()
	b.wakeUp()
}

func (b *behind) wakeUp() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take moves up to n wishes out.
func (b *behind) take(n int) map[uuid.UUID]wish {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := make(map[uuid.UUID]wish, min(n, len(b.wishes)))
	for id, w := range b.wishes {
		if len(taken) == n {
			break
		}
		taken[id] = w
		delete(b.wishes, id)
	}
	b.taken = len(taken)
	return taken
}

// settle ends what take began, and says whether more is wished for.
func (b *behind) settle() (more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken = 0
	return len(b.wishes) > 0
}

func (b *behind) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.taken == 0 && len(b.wishes) == 0
}

// askBehind grants wishes until the reader closes. While the service can't be asked they wait.
func (r *Reader) askBehind() {
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.behind.wake:
		}
		for more := true; more; {
			pause := behindGather
			if r.client.available() != nil {
				pause = r.client.reads.open/20 + time.Millisecond
			}
			if !sleep(r.ctx, pause) {
				return
			}
			if r.client.available() == nil {
				r.grant(r.behind.take(behindChunks * r.client.chunk()))
				more = r.behind.settle()
			}
		}
	}
}

// grant asks for variants and returns when they are answered. What an event wished for in vain comes back after a
// while, as long as somebody watches it; what a reader wished for the next reader will wish for again.
func (r *Reader) grant(wishes map[uuid.UUID]wish) {
	started := r.flights.startBehind(r, wishes)
	var failed []uuid.UUID
	for _, f := range started {
		<-f.done
		for _, id := range f.ids {
			if wishes[id].event && f.answers[id].err != nil {
				failed = append(failed, id)
			}
		}
	}
	if len(failed) == 0 {
		return
	}
	time.AfterFunc(r.client.cfg.FailureQuiet, func() {
		for _, id := range failed {
			if r.watchers.wanted(id) {
				r.behind.add(wishes[id].context(context.Background()), true, id)
			}
		}
	})
}

// startBehind starts loads that nobody waits for, of those variants that still need it. A load that is under way does
// for a reader's wish; an event's goes back, to be granted after it.
func (t *flights) startBehind(r *Reader, wishes map[uuid.UUID]wish) []*flight {
	now := r.now()
	var first *wish
	mine := make([]uuid.UUID, 0, len(wishes))
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	for id, w := range wishes {
		switch under := t.byID[id]; {
		case under != nil && w.event:
			r.behind.add(w.context(context.Background()), true, id)
			continue
		case under != nil, !w.event && r.ages.judge(r.store.find(&id).known(), now) == serve:
			continue
		}
		if first == nil {
			first = &w
		}
		mine = append(mine, id)
	}
	if first == nil {
		return nil
	}
	return t.start(first.context(context.Background()), r, mine, nil)
}
