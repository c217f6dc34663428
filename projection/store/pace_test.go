package store

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Ensure that a pause ends with its time, with a hint or with its context, whichever comes first.
func TestPause(t *testing.T) {
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
				Pause(ctx, hints, time.Second)
				if took := time.Since(began); took != c.want {
					t.Errorf("it took %s, want %s", took, c.want)
				}
			})
		})
	}
}

// Ensure that questions come ever slower while nothing is found, up to a limit, and fast again when something is.
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

// Ensure that those who wait for a product are told when it has changed, that the projector hears of them, and that none is left behind.
func TestWaiters(t *testing.T) {
	w := newWaiters()
	told, leave := w.Join("a")
	other, leaveOther := w.Join("b")
	<-w.Came
	w.Wake("a")
	w.Wake("a") // it isn't kept up by who doesn't listen
	select {
	case <-told:
	default:
		t.Error("nobody told it")
	}
	select {
	case <-other:
		t.Error("it was told of another product")
	default:
	}
	leave()
	leaveOther()
	if len(w.byProduct) > 0 {
		t.Errorf("left behind: %v", w.byProduct)
	}
}
