// Package wait holds the ways in which a loop waits: for a time, for a hint that there is work, and
// longer from failure to failure. Every wait ends with its context.
package wait

import (
	"context"
	"math/rand/v2"
	"time"
)

// For waits until the time is up, and returns false where the context ended first.
func For(ctx context.Context, d time.Duration) bool { return ForHint(ctx, d, nil) }

// ForHint is [For], and ends as well when a hint comes that there is work.
func ForHint(ctx context.Context, d time.Duration, hint <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-hint:
	case <-timer.C:
	}
	return ctx.Err() == nil
}

// Backoff is how long to wait after failure number attempt, counted from 0: between a half and the
// whole of least·2^attempt, never more than most. The random half keeps instances from trying again
// all at once.
func Backoff(least, most time.Duration, attempt int) time.Duration {
	whole := doubled(least, most, attempt)
	return whole/2 + rand.N(whole-whole/2+1)
}

// Jitter is a random time up to least·2^attempt, never more than most ("full jitter" of Amazon's
// "Exponential Backoff And Jitter").
func Jitter(least, most time.Duration, attempt int) time.Duration {
	return rand.N(doubled(least, most, attempt) + 1)
}

// doubled is least·2^attempt, but at most most.
func doubled(least, most time.Duration, attempt int) time.Duration {
	if attempt < 30 && least<<attempt > 0 {
		return min(most, least<<attempt)
	}
	return most
}

// Pace is how long to wait from one question to the next: the least after one that found something,
// and twice as long after each that found nothing, up to the most.
type Pace struct{ Least, Most, now time.Duration }

// Next is the time to wait until the next question.
func (p *Pace) Next(found bool) time.Duration {
	p.now = min(p.Most, max(p.Least, p.now*2))
	if found {
		p.now = p.Least
	}
	return p.now
}
