package wait

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Ensure that a wait ends with its time, with a hint or with its context, whichever comes first.
func TestForHint(t *testing.T) {
	for name, c := range map[string]struct {
		hint, end time.Duration // after which one comes
		want      time.Duration
	}{
		"its time is up":   {time.Hour, time.Hour, time.Second},
		"a hint comes":     {time.Millisecond, time.Hour, time.Millisecond},
		"the context ends": {time.Hour, 2 * time.Millisecond, 2 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.end)
				defer cancel()
				hints := make(chan struct{}, 1)
				hint := time.AfterFunc(c.hint, func() { hints <- struct{}{} })
				defer hint.Stop()
				began := time.Now()
				ended := !ForHint(ctx, time.Second, hints)
				if took := time.Since(began); took != c.want {
					t.Errorf("it took %s, want %s", took, c.want)
				}
				if ended != (ctx.Err() != nil) {
					t.Errorf("it says that the context ended: %v", ended)
				}
			})
		})
	}
}

// Ensure that questions come ever slower while nothing is found, up to a limit, and fast again when
// something is.
func TestPace(t *testing.T) {
	p := Pace{Least: 5, Most: 30}
	for i, want := range []time.Duration{5, 10, 20, 30, 30} {
		if got := p.Next(false); got != want {
			t.Errorf("question %d comes after %d, want %d", i, got, want)
		}
	}
	if got := p.Next(true); got != 5 {
		t.Errorf("after something was found the next comes after %d", got)
	}
}

// Ensure that the time doubles from failure to failure up to its limit, for any number of failures,
// and that a half of it is random.
func TestBackoffAndJitter(t *testing.T) {
	for attempt, whole := range map[int]time.Duration{
		0: time.Second, 1: 2 * time.Second, 3: 8 * time.Second, 4: 10 * time.Second, 63: 10 * time.Second, 1000: 10 * time.Second,
	} {
		least, most := whole, time.Duration(0)
		for range 1000 {
			got := Backoff(time.Second, 10*time.Second, attempt)
			least, most = min(least, got), max(most, got)
			if got < whole/2 || got > whole {
				t.Fatalf("failure %d: it waits %s, want %s to %s", attempt, got, whole/2, whole)
			}
			if got := Jitter(time.Second, 10*time.Second, attempt); got < 0 || got > whole {
				t.Fatalf("failure %d: the jitter is %s, want at most %s", attempt, got, whole)
			}
		}
		if most-least < whole/3 {
			t.Errorf("failure %d: it always waits %s to %s", attempt, least, most)
		}
	}
}
