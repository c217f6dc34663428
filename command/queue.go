package command

import (
	"context"
	"sync"
)

// queue hands work from the writer's goroutines, which must not wait, to a goroutine that may. It
// has no bound of its own: what can be in it is bounded by the trackers of the claims, and by
// admit, which holds claims back while it is long or heavy.
type queue[T any] struct {
	most     int
	heaviest int         // 0: whatever it weighs
	weigh    func(T) int // of what has a weight

	mu    sync.Mutex
	items []T
	size  int           // with those that are being worked on
	load  int           // what they weigh
	some  chan struct{} // told when items came
	room  chan struct{} // closed and replaced when items were done with
}

func newQueue[T any](most int) *queue[T] {
	return &queue[T]{most: most, some: make(chan struct{}, 1), room: make(chan struct{})}
}

func (q *queue[T]) put(item T) {
	q.mu.Lock()
	q.items = append(q.items, item)
	q.size++
	if q.weigh != nil {
		q.load += q.weigh(item)
	}
	q.mu.Unlock()
	select {
	case q.some <- struct{}{}:
	default:
	}
}

// take waits for items and returns the oldest, at most n; nil when the context ends.
func (q *queue[T]) take(ctx context.Context, n int) []T {
	for {
		q.mu.Lock()
		if n := min(n, len(q.items)); n > 0 {
			items := q.items[:n:n]
			if q.items = q.items[n:]; len(q.items) == 0 {
				q.items = nil
			}
			q.mu.Unlock()
			return items
		}
		q.mu.Unlock()
		select {
		case <-q.some:
		case <-ctx.Done():
			return nil
		}
	}
}

// done says that n taken items are finished.
func (q *queue[T]) done(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.size -= n
	close(q.room)
	q.room = make(chan struct{})
}

// lift takes the weight of an item that is finished.
func (q *queue[T]) lift(item T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.load -= q.weigh(item)
}

// admit waits until the queue is shorter than its most, and lighter; it fails when the context ends.
func (q *queue[T]) admit(ctx context.Context) error {
	for {
		q.mu.Lock()
		short, room := q.size < q.most && (q.heaviest == 0 || q.load < q.heaviest), q.room
		q.mu.Unlock()
		if short {
			return nil
		}
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (q *queue[T]) waiting() float64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return float64(q.size)
}
