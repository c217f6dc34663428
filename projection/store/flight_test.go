package store

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// Ensure that reads at the same time share one that began after each of them came, and that one who
// goes away takes nobody along.
func TestReadsShareTheNextFlight(t *testing.T) { synctest.Test(t, readsShareTheNextFlight) }

func readsShareTheNextFlight(t *testing.T) {
	var f Flights[int]
	var reads, written atomic.Int64
	began, goOn := make(chan struct{}, 10), make(chan struct{})
	read := func(ctx context.Context) (int, error) {
		reads.Add(1)
		seen := written.Load()
		began <- struct{}{}
		<-goOn
		return int(seen), ctx.Err()
	}
	leaving, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := f.Do(leaving, "a", read)
		first <- err
	}()
	<-began
	written.Store(7) // whoever asks from here on must see it
	var crowd sync.WaitGroup
	for range 1000 {
		crowd.Go(func() {
			mine := f.board("a", func(*flight[int]) { t.Error("another flight began beside the one under way") })
			if <-mine.landed; mine.value != 7 || mine.err != nil {
				t.Errorf("read %d, %v", mine.value, mine.err)
			}
		})
	}
	synctest.Wait() // all of them have boarded
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("who went away got %v", err)
	}
	close(goOn)
	crowd.Wait()
	if n := reads.Load(); n != 2 {
		t.Errorf("%d reads", n)
	}
	for i := range 3 {
		if v, err := f.Do(t.Context(), strconv.Itoa(i), func(context.Context) (int, error) { return i, nil }); v != i || err != nil {
			t.Errorf("key %d: %d, %v", i, v, err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.byKey) > 0 {
		t.Errorf("left behind: %v", f.byKey)
	}
}

// Ensure that a read that panics fails for all who share it, and that the next one flies.
func TestAPanicIsTheReadsError(t *testing.T) {
	var f Flights[int]
	if _, err := f.Do(t.Context(), "a", func(context.Context) (int, error) { panic("what now") }); err == nil || !strings.Contains(err.Error(), "what now") || !strings.Contains(err.Error(), "flight_test.go") {
		t.Errorf("it ended with %v", err)
	}
	if v, err := f.Do(t.Context(), "a", func(context.Context) (int, error) { return 3, nil }); v != 3 || err != nil {
		t.Errorf("the next read: %d, %v", v, err)
	}
}
