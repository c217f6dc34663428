package graph

import (
	"context"
	"sync"
)

// places bound how many requests are executed at once: a token each.
type places chan struct{}

// place is one that a request has taken. It is given back while all that the request does is wait, so that requests which wait for a version or for
// the writer hold up nobody.
type place struct {
	of places

	mu    sync.Mutex
	waits int // what of the request waits: its root fields run side by side
}

type placeKey struct{}

// take waits for a place and returns what holds it, to be left, with the context to execute in. It returns the context's error where there is none in time.
func (p places) take(ctx context.Context) (context.Context, *place, error) {
	select {
	case p <- struct{}{}:
		taken := &place{of: p}
		return context.WithValue(ctx, placeKey{}, taken), taken, nil
	case <-ctx.Done():
		return ctx, nil, context.Cause(ctx)
	}
}

func (p *place) leave() { <-p.of }

// idly calls wait, which only waits, and lets another request have the place meanwhile.
func idly(ctx context.Context, wait func() error) error {
	p, _ := ctx.Value(placeKey{}).(*place)
	if p == nil {
		return wait()
	}
	p.begin()
	defer p.end()
	return wait()
}

func (p *place) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waits++; p.waits == 1 {
		<-p.of
	}
}

// end takes a place again. It waits as long as that takes, and nothing that holds one waits for this: who has begun is finished before the next is let in.
func (p *place) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waits--; p.waits == 0 {
		p.of <- struct{}{}
	}
}
