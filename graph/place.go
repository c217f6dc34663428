package graph

import (
	"context"
	"sync"
)

// places bound how many requests are executed at once: a token each.
type places chan struct{}

// place is the token of one request. The request gives it back while all of its running root fields
// only wait, so that waiting for a version or for the writer keeps no other request out.
type place struct {
	of places

	mu      sync.Mutex
	held    bool
	running int // root fields
	waits   int
}

type placeKey struct{}

// take waits for a place and returns it, to be left, with the context to execute in. It returns the
// context's error where there is none in time.
func (p places) take(ctx context.Context) (context.Context, *place, error) {
	select {
	case p <- struct{}{}:
		taken := &place{of: p, held: true}
		return context.WithValue(ctx, placeKey{}, taken), taken, nil
	case <-ctx.Done():
		return ctx, nil, context.Cause(ctx)
	}
}

func (p *place) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(false, nil)
}

// placed runs a root field.
func placed[T any](ctx context.Context, field func() T) T {
	p, _ := ctx.Value(placeKey{}).(*place)
	if p == nil {
		return field()
	}
	p.change(ctx, 1, 0)
	defer p.change(ctx, -1, 0)
	return field()
}

// idly calls wait, which only waits.
func idly(ctx context.Context, wait func() error) error {
	p, _ := ctx.Value(placeKey{}).(*place)
	if p == nil {
		return wait()
	}
	p.change(ctx, 0, 1)
	defer p.change(ctx, 0, -1)
	return wait()
}

func (p *place) change(ctx context.Context, running, waits int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running += running
	p.waits += waits
	if p.running > 0 { // before and after that it is being read or written
		p.set(p.running > p.waits, ctx.Done())
	}
}

// set takes the place or gives it back. Where the request's time is over while it waits for one it
// goes on without: it has little left to do.
func (p *place) set(held bool, over <-chan struct{}) {
	switch {
	case held && !p.held:
		select {
		case p.of <- struct{}{}:
			p.held = true
		case <-over:
		}
	case !held && p.held:
		<-p.of
		p.held = false
	}
}
