// Package live fans changes out to those who follow them. A [Topic] keeps the present value of each
// id that somebody follows and reads it again when it is told of a change; subscribers that want
// the same of it share a stream, which encodes a value once for all of them. Nothing queues: a
// subscriber has a mark for each of its ids that has news, and takes the latest value when it comes
// to it.
package live

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	maxRead  = 100 // ids of one read
	maxReads = 4   // under way at once
	retry    = time.Second
)

// Source is where a topic has its values from.
type Source[V any] struct {
	// Name is what the values are, in the plural, for the log.
	Name string

	// Read returns the present values of at most 100 ids. What has none is left out.
	Read func(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]V, error)

	// Replaces says whether a value that was just read is news to those who know the one held.
	Replaces func(read, held V) bool

	// Watch is called when an id is followed for the first time, before it is read. From then on
	// until stop is called, Touch or TouchAll must be called after each change of it. Watch and
	// stop are called one at a time.
	Watch func(id uuid.UUID) (stop func())
}

// Topic is all that is followed of one kind. Safe for concurrent use.
type Topic[V any] struct {
	source   Source[V]
	interval time.Duration
	log      *slog.Logger
	wake     chan struct{}

	watching sync.Mutex // orders the calls of Watch and stop; taken before mu

	mu      sync.Mutex
	items   map[uuid.UUID]*item[V]
	urgent  map[uuid.UUID]struct{} // to be read at once: somebody has begun to follow it
	due     map[uuid.UUID]struct{} // to be read with the next round: it changed
	round   time.Time              // the earliest time of the next round
	reads   uint64                 // begun so far
	running int                    // reads under way
	streams map[string]*stream[V]
}

// item is what is known of an id that somebody follows.
type item[V any] struct {
	value   V
	known   bool
	reading bool
	streams map[*stream[V]]int // to the place of the id in it
	stop    func()
}

// NewTopic returns a topic that reads an id at most once an interval, however often it changes; the
// first change after a quiet time is read at once. Nothing is read before Run.
func NewTopic[V any](s Source[V], interval time.Duration, log *slog.Logger) *Topic[V] {
	return &Topic[V]{
		source: s, interval: interval, log: log, wake: make(chan struct{}, 1), items: map[uuid.UUID]*item[V]{},
		urgent: map[uuid.UUID]struct{}{}, due: map[uuid.UUID]struct{}{}, streams: map[string]*stream[V]{},
	}
}

// Touch says that ids changed, or may have. Ids that nobody follows are passed over.
func (t *Topic[V]) Touch(ids ...uuid.UUID) {
	t.mu.Lock()
	touched := false
	for _, id := range ids {
		if t.items[id] != nil {
			t.due[id] = struct{}{}
			touched = true
		}
	}
	t.mu.Unlock()
	if touched {
		t.hurry()
	}
}

// TouchAll says that anything may have changed.
func (t *Topic[V]) TouchAll() {
	t.mu.Lock()
	for id := range t.items {
		t.due[id] = struct{}{}
	}
	t.mu.Unlock()
	t.hurry()
}

// Followed returns the ids that somebody follows now.
func (t *Topic[V]) Followed() []uuid.UUID {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids := make([]uuid.UUID, 0, len(t.items))
	for id := range t.items {
		ids = append(ids, id)
	}
	return ids
}

func (t *Topic[V]) hurry() {
	select {
	case t.wake <- struct{}{}:
	default: // it has yet to look
	}
}

// Run reads what changes until the context ends.
func (t *Topic[V]) Run(ctx context.Context) error {
	var under sync.WaitGroup
	defer under.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.wake:
		case <-timer.C:
		}
		for {
			ids, read, next := t.take(time.Now())
			if len(ids) == 0 {
				timer.Reset(next)
				break
			}
			under.Go(func() { t.read(ctx, ids, read) })
		}
	}
}

// take returns what to read now, with the number of that read, or how long to wait at most before
// looking again.
func (t *Topic[V]) take(now time.Time) (ids []uuid.UUID, read uint64, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	wait = time.Hour // or until it is told
	if t.running == maxReads {
		return nil, 0, wait
	}
	t.reads++
	ids = t.pick(t.urgent, ids)
	if len(t.due) > 0 {
		if wait = t.round.Sub(now); wait <= 0 {
			before := len(ids)
			if ids = t.pick(t.due, ids); len(ids) > before && len(ids) < maxRead {
				t.round = now.Add(t.interval)
			}
			wait = t.interval
		}
	}
	if len(ids) > 0 {
		t.running++
	}
	return ids, t.reads, max(wait, time.Millisecond)
}

// pick moves ids out of a set, as far as the read has room and they aren't being read.
func (t *Topic[V]) pick(from map[uuid.UUID]struct{}, ids []uuid.UUID) []uuid.UUID {
	for id := range from {
		if len(ids) == maxRead {
			break
		}
		it := t.items[id]
		switch {
		case it == nil: // nobody follows it any more
			delete(from, id)
		case !it.reading:
			it.reading = true
			delete(from, id)
			ids = append(ids, id)
		}
	}
	return ids
}

// read reads ids and hands on what is new. Those that can't be read are read again after a while.
func (t *Topic[V]) read(ctx context.Context, ids []uuid.UUID, read uint64) {
	values, err := t.source.Read(ctx, ids)
	if err != nil && ctx.Err() == nil {
		t.log.WarnContext(ctx, "what clients follow can't be read; it is tried again", "what", t.source.Name, "error", err)
	}
	for _, id := range ids {
		if value, ok := values[id]; ok {
			t.tell(id, value, read)
		}
	}
	t.mu.Lock()
	t.running--
	for _, id := range ids {
		if it := t.items[id]; it != nil {
			it.reading = false
			if err != nil {
				t.due[id] = struct{}{}
			}
		}
	}
	if err != nil {
		t.round = time.Now().Add(retry)
	}
	t.mu.Unlock()
	t.hurry()
}

// tell hands a value to the streams of an id. For one id it isn't called twice at a time.
func (t *Topic[V]) tell(id uuid.UUID, value V, read uint64) {
	t.mu.Lock()
	it := t.items[id]
	if it == nil {
		t.mu.Unlock()
		return
	}
	news := !it.known || t.source.Replaces(value, it.value)
	if !news && t.source.Replaces(it.value, value) {
		value = it.value // an older one was read: whoever waits for the present value gets the one that is known
	}
	it.value, it.known = value, true
	to := maps.Clone(it.streams)
	t.mu.Unlock()
	for s, at := range to {
		s.tell(at, value, news, read)
	}
}
