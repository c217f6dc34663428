package store

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// Flights let reads that ask for the same at the same time share one. Those that come while one is
// under way share the next, which begins after the last of them came: nobody is answered with what
// was read before he asked, and a thousand clients that ask at once cost two reads. What is shared
// is for reading only.
type Flights[V any] struct {
	mu    sync.Mutex
	byKey map[string]*flight[V]
}

type flight[V any] struct {
	landed chan struct{}
	value  V
	err    error
	next   *flight[V] // nil: nobody has come since this one began
}

// Do returns what read returns, which is called with a context that none of those who share it can
// end. It returns early when ctx ends.
func (f *Flights[V]) Do(ctx context.Context, key string, read func(context.Context) (V, error)) (V, error) {
	mine := f.board(key, func(first *flight[V]) { go f.fly(context.WithoutCancel(ctx), key, first, read) })
	select {
	case <-mine.landed:
		return mine.value, mine.err
	case <-ctx.Done():
		var none V
		return none, context.Cause(ctx)
	}
}

// board returns the next flight to begin. Where none is under way it begins now.
func (f *Flights[V]) board(key string, begin func(*flight[V])) *flight[V] {
	f.mu.Lock()
	defer f.mu.Unlock()
	under := f.byKey[key]
	if under == nil {
		mine := &flight[V]{landed: make(chan struct{})}
		if f.byKey == nil {
			f.byKey = map[string]*flight[V]{}
		}
		f.byKey[key] = mine
		begin(mine)
		return mine
	}
	if under.next == nil {
		under.next = &flight[V]{landed: make(chan struct{})}
	}
	return under.next
}

// safely makes a panic of a read its error, with where it came from: in a goroutine of our own it
// would end the process.
func safely[V any](ctx context.Context, read func(context.Context) (V, error)) (value V, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
		}
	}()
	return read(ctx)
}

// fly flies until nobody waits for another one.
func (f *Flights[V]) fly(ctx context.Context, key string, flight *flight[V], read func(context.Context) (V, error)) {
	for flight != nil {
		flight.value, flight.err = safely(ctx, read)
		close(flight.landed)
		f.mu.Lock()
		if flight = flight.next; flight == nil {
			delete(f.byKey, key)
		} else {
			f.byKey[key] = flight
		}
		f.mu.Unlock()
	}
}
