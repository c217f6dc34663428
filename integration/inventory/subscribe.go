package inventory

import (
	"sync"

	"github.com/google/uuid"
)

// topics fans changes of levels out to subscriptions, by variant.
type topics struct {
	mu     sync.RWMutex
	byID   map[uuid.UUID]map[*subscription]struct{}
	closed bool
}

// subscription holds at most one waiting level a variant: a slow reader sees the latest, not every one.
type subscription struct {
	mu     sync.Mutex
	latest map[uuid.UUID]Level // waiting to be delivered
	seen   map[uuid.UUID]Level // delivered or waiting last: older ones are dropped
	wake   chan struct{}
	end    chan struct{}
	once   sync.Once
}

// Subscribe delivers each change of the levels of ids from now on, until cancel is called or the reader closes, which
// close the channel. Under load the latest change of a variant wins. To begin with the present value subscribe first,
// then read Levels. cancel may be called more than once.
func (r *Reader) Subscribe(ids []uuid.UUID) (levels <-chan Level, cancel func()) {
	s := &subscription{
		latest: map[uuid.UUID]Level{}, seen: make(map[uuid.UUID]Level, len(ids)),
		wake: make(chan struct{}, 1), end: make(chan struct{}),
	}
	out := make(chan Level)
	if !r.topics.add(s, ids) {
		close(out)
		return out, func() {}
	}
	go s.pump(out)
	return out, func() {
		r.topics.remove(s, ids)
		s.stop()
	}
}

func (s *subscription) stop() { s.once.Do(func() { close(s.end) }) }

// pump moves waiting levels to the reader.
func (s *subscription) pump(out chan<- Level) {
	defer close(out)
	for {
		select {
		case <-s.wake:
		case <-s.end:
			return
		}
		for {
			level, ok := s.take()
			if !ok {
				break
			}
			select {
			case out <- level:
			case <-s.end:
				return
			}
		}
	}
}

func (s *subscription) take() (Level, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, level := range s.latest {
		delete(s.latest, id)
		return level, true
	}
	return Level{}, false
}

func (s *subscription) offer(level Level) {
	s.mu.Lock()
	// Publishers race each other between the store and here; the version decides again.
	if held, ok := s.seen[level.VariantID]; !ok || !held.UpdatedAt.After(level.UpdatedAt) {
		s.seen[level.VariantID] = level
		s.latest[level.VariantID] = level
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (t *topics) add(s *subscription, ids []uuid.UUID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	for _, id := range ids {
		if t.byID[id] == nil {
			t.byID[id] = map[*subscription]struct{}{}
		}
		t.byID[id][s] = struct{}{}
	}
	return true
}

func (t *topics) remove(s *subscription, ids []uuid.UUID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		delete(t.byID[id], s)
		if len(t.byID[id]) == 0 {
			delete(t.byID, id)
		}
	}
}

func (t *topics) publish(level Level) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for s := range t.byID[level.VariantID] {
		s.offer(level)
	}
}

func (t *topics) wanted(id uuid.UUID) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.byID[id]) > 0
}

func (t *topics) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, subscribers := range t.byID {
		for s := range subscribers {
			s.stop()
		}
	}
}
