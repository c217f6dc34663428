package command

import (
	"context"
	"time"

	"product-service/eventstore"
	"product-service/wait"
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
		wait.For(longer, relayGrace)
		cancel()
	})
	return longer, func() { stop(); cancel() }
}

// pause waits before the next attempt, longer after each failure, up to 2 s.
func pause(ctx context.Context, attempt int) {
	wait.For(ctx, wait.Backoff(10*time.Millisecond, 2*time.Second, attempt))
}
