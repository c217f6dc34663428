package command

import (
	"context"
	"sync"
)

// tracker knows which messages of a claim are settled, and marks the offset up to which all are:
// messages are settled in any order, but a committed offset speaks for all before it. It holds at
// most window messages, so that one that takes long doesn't let the others run ahead without end.
type tracker struct {
	mark   func(offset int64) // gets the offset after the last of the settled prefix; called under the lock, so in order
	window int

	mu      sync.Mutex
	entries []entry // a ring: those of the sequence numbers first to next-1
	first   uint64
	next    uint64
	changed chan struct{} // told when the prefix grows; one waiter
}

type entry struct {
	offset  int64
	settled bool
}

// newTracker makes a tracker for up to window messages, a power of two.
func newTracker(window int, mark func(offset int64)) *tracker {
	return &tracker{mark: mark, window: window, changed: make(chan struct{}, 1)}
}

// add takes the next message in and returns its number for settle. It waits while the window is
// full; it fails when the context ends.
func (t *tracker) add(ctx context.Context, offset int64) (uint64, error) {
	for {
		t.mu.Lock()
		if n := int(t.next - t.first); n < t.window {
			if n == len(t.entries) {
				t.grow()
			}
			number := t.next
			t.entries[number%uint64(len(t.entries))] = entry{offset: offset}
			t.next++
			t.mu.Unlock()
			return number, nil
		}
		t.mu.Unlock()
		if err := t.wait(ctx); err != nil {
			return 0, err
		}
	}
}

func (t *tracker) grow() {
	larger := make([]entry, max(64, 2*len(t.entries)))
	for n := t.first; n < t.next; n++ {
		larger[n%uint64(len(larger))] = t.entries[n%uint64(len(t.entries))]
	}
	t.entries = larger
}

// settle notes that a message is done with, and marks the prefix if that made it longer. Each
// number is settled once.
func (t *tracker) settle(number uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	size := uint64(len(t.entries))
	t.entries[number%size].settled = true
	if number != t.first {
		return
	}
	var last int64
	for t.first < t.next && t.entries[t.first%size].settled {
		last = t.entries[t.first%size].offset
		t.first++
	}
	t.mark(last + 1)
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// undo takes back the message added last: nobody will settle it.
func (t *tracker) undo(number uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if number+1 == t.next {
		t.next--
	}
}

// drained waits until everything that was added is settled, or the context ends; it returns how
// many messages are not.
func (t *tracker) drained(ctx context.Context) int {
	for {
		t.mu.Lock()
		left := int(t.next - t.first)
		t.mu.Unlock()
		if left == 0 || t.wait(ctx) != nil {
			return left
		}
	}
}

func (t *tracker) wait(ctx context.Context) error {
	select {
	case <-t.changed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
