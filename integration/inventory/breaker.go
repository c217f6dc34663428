package inventory

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/singleflight"
)

// breaker stops calls to a service that fails (https://martinfowler.com/bliki/CircuitBreaker.html). It
// counts each attempt by whose fault it may be, and opens only when it is convinced that the service is
// at fault: before it opens over failures that may be those of the variants asked for, a control call for
// another variant must have failed too.
type breaker struct {
	cb     *gobreaker.CircuitBreaker[struct{}]
	cfg    Config
	open   time.Duration
	opened chan struct{} // gets a value when the breaker opens
	state  atomic.Int32  // gobreaker.State as the last change said
	closes atomic.Uint32 // how often it has closed after an outage

	// control makes the control call and says whether the service answered. nil: there is none, and each
	// failure counts.
	control     func() bool
	controlling singleflight.Group
	controlled  atomic.Int64 // when a control call was answered last, unix nanoseconds
	convinced   atomic.Bool  // the failures counted so far are the service's
}

// controlPause is how long an answered control call stands for those to come.
const controlPause = time.Second

func newBreaker(name string, cfg Config, log *slog.Logger) *breaker {
	b := &breaker{cfg: cfg, opened: make(chan struct{}, 1)}
	// The spread keeps instances that saw the same failure from probing in step.
	b.open = time.Duration(float64(cfg.BreakerOpen) * (0.8 + 0.2*rand.Float64()))
	b.cb = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name, MaxRequests: 1, Interval: 10 * time.Second, BucketPeriod: time.Second, Timeout: b.open,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return b.tooMany(c) && (b.control == nil || b.convinced.Load())
		},
		// Runs under the breaker's lock: it must not ask for the state.
		OnStateChange: func(name string, from, to gobreaker.State) { b.changed(log, name, from, to) },
		IsExcluded:    func(err error) bool { return errors.Is(err, errUncounted) },
	})
	return b
}

func (b *breaker) tooMany(c gobreaker.Counts) bool {
	return int(c.ConsecutiveFailures) >= b.cfg.BreakerRow || (int(c.Requests) >= b.cfg.BreakerCalls && c.TotalFailures*2 >= c.Requests)
}

func (b *breaker) changed(log *slog.Logger, name string, from, to gobreaker.State) {
	b.state.Store(int32(to))
	level := slog.LevelDebug // each probe of an outage passes here
	if from == gobreaker.StateClosed || to == gobreaker.StateClosed {
		level = slog.LevelWarn
	}
	log.Log(context.Background(), level, "breaker changed", "breaker", name, "from", from.String(), "to", to.String())
	switch to {
	case gobreaker.StateClosed:
		b.closes.Add(1)
	case gobreaker.StateOpen:
		select {
		case b.opened <- struct{}{}:
		default:
		}
	case gobreaker.StateHalfOpen:
	}
}

// closed says whether calls may be made on a user's behalf.
func (b *breaker) closed() bool { return gobreaker.State(b.state.Load()) == gobreaker.StateClosed }

func (b *breaker) name() string { return gobreaker.State(b.state.Load()).String() }

// halfOpen says whether a probe is let through now.
func (b *breaker) halfOpen() bool { return b.cb.State() == gobreaker.StateHalfOpen }

// errFailed and errUncounted tell the breaker how an attempt counts.
var (
	errFailed    = errors.New("failed")
	errUncounted = errors.New("not counted")
)

// do makes an attempt and counts it. The error says that it was not let through.
func (b *breaker) do(attempt func() blame) error {
	whose := blameOurs
	err := b.count(func() error {
		switch whose = attempt(); {
		case whose == blameOurs:
			return errUncounted
		case whose.answered():
			return nil
		}
		return errFailed
	})
	if refusedByBreaker(err) {
		return err
	}
	if (whose == blameUnclear || whose == blameService) && b.control != nil && b.closed() && b.tooMany(b.cb.Counts()) {
		b.convince(whose)
	}
	return nil
}

func (b *breaker) count(request func() error) error {
	_, err := b.cb.Execute(func() (struct{}, error) { return struct{}{}, request() })
	return err
}

// convince opens the breaker if the service is at fault, and begins a new row of failures if it answers
// for others.
func (b *breaker) convince(whose blame) {
	if whose != blameService && b.answersOthers() {
		_ = b.count(func() error { return nil })
		return
	}
	b.convinced.Store(true)
	_ = b.count(func() error { return errFailed })
	b.convinced.Store(false)
}

func (b *breaker) answersOthers() bool {
	if time.Now().UnixNano()-b.controlled.Load() < int64(controlPause) {
		return true
	}
	answered, _, _ := b.controlling.Do("", func() (any, error) {
		answers := b.control()
		if answers {
			b.controlled.Store(time.Now().UnixNano())
		}
		return answers, nil
	})
	return answered == true
}

// refusedByBreaker says whether the breaker let no attempt through.
func refusedByBreaker(err error) bool {
	return errors.Is(err, errBreakerOpen) || errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests)
}
