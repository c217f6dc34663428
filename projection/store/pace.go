package store

import (
	"context"
	"time"
)

// Pause pauses until a hint comes, the time is up or the context ends.
func Pause(ctx context.Context, hints <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-hints:
	case <-timer.C:
	}
}

// Pace doubles the time between questions as long as nothing comes.
type Pace struct{ Least, Most, now time.Duration }

// Next is the time to wait until the next question. After one that found something it is the least.
func (p *Pace) Next(busy bool) time.Duration {
	p.now = min(p.Most, max(p.Least, p.now*2))
	if busy {
		p.now = p.Least
	}
	return p.now
}
