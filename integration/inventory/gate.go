package inventory

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// queuePerCall is how many flights may stand in line for each that is under way. More would wait for
// longer than any reader does.
const queuePerCall = 5

// gate bounds how many flights are under way at a time, and how many wait for that.
type gate struct {
	places  *semaphore.Weighted
	waiting atomic.Int64
	longest int64
}

func newGate(places int) *gate {
	return &gate{places: semaphore.NewWeighted(int64(places)), longest: int64(queuePerCall * places)}
}

func (g *gate) tryEnter() bool { return g.places.TryAcquire(1) }

// enter waits for a place until ctx ends. It refuses at once where the line is long.
func (g *gate) enter(ctx context.Context) bool {
	if g.tryEnter() {
		return true
	}
	defer g.waiting.Add(-1)
	return g.waiting.Add(1) <= g.longest && g.places.Acquire(ctx, 1) == nil
}

func (g *gate) leave() { g.places.Release(1) }
