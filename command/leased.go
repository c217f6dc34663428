package command

import (
	"context"
	"math/rand/v2"
	"time"

	"product-service/eventstore"
)

// LeaseHolder says which shards are this instance's; eventstore.Leases does.
type LeaseHolder interface {
	Held(role string) []eventstore.Lease
	Changed() <-chan struct{}
}

// withGrace returns a context that ends some time after ctx does.
func withGrace(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(relayGrace):
			cancel()
		case <-longer.Done():
		}
	})
	return longer, func() { stop(); cancel() }
}

// pause waits before the next attempt: longer each time, up to 2 s, and never all instances equally long.
func pause(ctx context.Context, attempt int) {
	longest := min(2*time.Second, 10*time.Millisecond<<min(attempt, 10))
	select {
	case <-ctx.Done():
	case <-time.After(longest/2 + rand.N(longest/2+1)):
	}
}
