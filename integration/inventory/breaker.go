package inventory

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// breaker stops calls to a service that fails (https://martinfowler.com/bliki/CircuitBreaker.html). It counts each
// attempt: transport errors, timeouts, 5xx and undecodable answers fail it; other statuses and our own shutdown don't.
type breaker struct {
	cb     *gobreaker.CircuitBreaker[*http.Response]
	open   time.Duration
	opened chan struct{} // gets a value when the breaker opens
	state  atomic.Int32  // gobreaker.State as the last change said
}

// probes is how many calls in a row must succeed for a half-open breaker to close.
const probes = 2

func newBreaker(name string, cfg Config, log *slog.Logger) *breaker {
	b := &breaker{opened: make(chan struct{}, 1)}
	// The spread keeps instances that saw the same failure from probing in step.
	b.open = time.Duration(float64(cfg.BreakerOpen) * (0.8 + 0.4*rand.Float64()))
	//nolint:bodyclose // bodies are in memory by then, and closed by who made the call
	b.cb = gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{
		Name: name, MaxRequests: probes, Interval: 10 * time.Second, BucketPeriod: time.Second, Timeout: b.open,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return int(c.ConsecutiveFailures) >= cfg.BreakerRow ||
				(int(c.Requests) >= cfg.BreakerCalls && c.TotalFailures*2 >= c.Requests)
		},
		// Runs under the breaker's lock: it must not ask for the state.
		OnStateChange: func(name string, from, to gobreaker.State) {
			b.state.Store(int32(to))
			level := slog.LevelDebug // each probe of an outage passes here
			if from == gobreaker.StateClosed || to == gobreaker.StateClosed {
				level = slog.LevelWarn
			}
			log.Log(context.Background(), level, "breaker changed", "breaker", name, "from", from.String(), "to", to.String())
			if to == gobreaker.StateOpen {
				select {
				case b.opened <- struct{}{}:
				default:
				}
			}
		},
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
	})
	return b
}

// closed says whether calls may be made on a user's behalf.
func (b *breaker) closed() bool { return gobreaker.State(b.state.Load()) == gobreaker.StateClosed }

func (b *breaker) name() string { return gobreaker.State(b.state.Load()).String() }

// halfOpen says whether probes are let through now.
func (b *breaker) halfOpen() bool { return b.cb.State() == gobreaker.StateHalfOpen }

func (b *breaker) do(attempt func() (*http.Response, error)) (*http.Response, error) {
	return b.cb.Execute(attempt)
}
