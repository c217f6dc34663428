package inventory

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/dev/simulator"
)

// changed is an event without a quantity, as the specification's example is.
func changed(id uuid.UUID, at time.Time) Event {
	return Event{ID: uuid.New(), Type: LowStockEvent, VariantID: id, At: at}
}

// watch gives what watchers of ids are told, which is little enough for the channel.
func watch(r *Reader, ids []uuid.UUID) (levels <-chan Level, stop func()) {
	told := make(chan Level, 10_000)
	var stops []func()
	for _, id := range ids {
		stops = append(stops, r.Watch(id, func(l Level) { told <- l }))
	}
	return told, func() {
		for _, s := range stops {
			s()
		}
	}
}

// heard collects what a watch tells until each of ids was told to be at want.
func heard(t *testing.T, levels <-chan Level, ids []uuid.UUID, want int64) {
	t.Helper()
	missing := slices.Clone(ids)
	late := time.After(15 * time.Second)
	for len(missing) > 0 {
		select {
		case level := <-levels:
			if level.Available == want {
				missing = slices.DeleteFunc(missing, func(id uuid.UUID) bool { return id == level.VariantID })
			}
		case <-late:
			t.Fatalf("watchers were not told of %d of %d variants", len(missing), len(ids))
		}
	}
}

// TestBurstOfChangesReachesSubscribers: each variant's change is told, in few calls, held or not.
func TestBurstOfChangesReachesSubscribers(t *testing.T) {
	f := newFixture(t, nil)
	ids := f.stock(40)
	f.read(ids[:20]...) // of the others nothing is held
	levels, cancel := watch(f.reader, ids)
	defer cancel()
	for _, id := range ids {
		f.set(id, 5)
	}
	f.fault(simulator.Fault{Mode: simulator.Slow, DelayMs: 30})
	before := f.calls()
	for _, id := range ids {
		f.reader.Apply(context.Background(), changed(id, time.Now().Add(time.Second)))
	}
	heard(t, levels, ids, 5)
	if calls := f.calls() - before; calls > 8 {
		t.Errorf("%d calls for a burst of %d events", calls, len(ids))
	}
	f.settle()
}

// TestChangesDuringAnOutageReachWatchers once the service is back.
func TestChangesDuringAnOutageReachWatchers(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.cfg.BreakerOpen, f.cfg.FailureQuiet, f.cfg.Retries = 100*time.Millisecond, 50*time.Millisecond, 0
	})
	ids := f.stock(12)
	f.read(ids[:6]...)
	levels, cancel := watch(f.reader, ids)
	defer cancel()
	f.fault(simulator.Fault{Mode: simulator.Fail})
	for _, id := range ids[:3] { // asked for in vain, until the breaker opens
		f.reader.Apply(context.Background(), changed(id, time.Now().Add(time.Second)))
	}
	eventually(t, "breaker open", func() bool { return !f.client.reads.closed() })
	for _, id := range ids[3:] {
		f.reader.Apply(context.Background(), changed(id, time.Now().Add(time.Second)))
	}
	for _, id := range ids {
		f.set(id, 5)
	}
	f.fault(simulator.Fault{Mode: simulator.None})
	heard(t, levels, ids, 5)
}

// TestNobodyIsAskedForInVainForEver: once nobody watches any more a variant that gets no answer is let go.
func TestNobodyIsAskedForInVainForEver(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.cfg.BreakerRow, f.cfg.BreakerCalls, f.cfg.FailureQuiet = 1e6, 1e6, 20*time.Millisecond
	})
	id := uuid.New()
	_, cancel := watch(f.reader, []uuid.UUID{id})
	f.fault(simulator.Fault{Mode: simulator.Fail})
	f.reader.Apply(context.Background(), changed(id, time.Now()))
	eventually(t, "asked for again and again", func() bool { return f.calls() > 6 })
	cancel()
	f.settle()
	time.Sleep(2 * f.cfg.FailureQuiet)
	f.settle()
	before := f.calls()
	time.Sleep(5 * f.cfg.FailureQuiet)
	if calls := f.calls() - before; calls > 0 {
		t.Errorf("%d calls for nobody", calls)
	}
}

// TestLargeStalePagesAreRefreshedWhole: one read of a thousand stale levels makes them all fresh,
// in full chunks.
func TestLargeStalePagesAreRefreshedWhole(t *testing.T) {
	f := newFixture(t, func(f *fixture) { patient(f); f.clock = newClock() })
	ids := f.stock(1000)
	f.read(ids...)
	f.clock.Advance(10 * time.Second)
	before := f.calls()
	f.read(ids...)
	f.settle()
	if calls := f.calls() - before; calls != 10 {
		t.Errorf("%d calls for 1000 variants", calls)
	}
	for _, got := range f.read(ids...) {
		if got.Stale {
			t.Fatalf("got %+v", got)
		}
	}
}

// TestHealthyServiceShedsNobody: a read of more variants than there are calls at a time waits its turn.
func TestHealthyServiceShedsNobody(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.cfg.AttemptTimeout, f.cfg.Budget = 5*time.Second, 5*time.Second })
	ids := f.stock(4000)
	f.fault(simulator.Fault{Mode: simulator.Slow, DelayMs: 60})
	for i, got := range f.read(ids...) {
		if got.Outcome != Known {
			t.Fatalf("position %d: %v", i, got.Err)
		}
	}
	if most := f.sim.Stats().MaxInFlight; most > f.cfg.Concurrency {
		t.Errorf("%d calls at a time", most)
	}
}

// TestLineIsBounded: who would stand in line for longer than any reader waits is refused at once.
func TestLineIsBounded(t *testing.T) {
	f := newFixture(t, func(f *fixture) { patient(f); f.cfg.Concurrency, f.cfg.ChunkIDs = 2, 1 })
	f.fault(simulator.Fault{Mode: simulator.Slow, DelayMs: 20})
	shed := 0
	for _, got := range f.read(f.stock(100)...) {
		if got.Outcome == Unavailable {
			shed++
		}
	}
	if most := 100 - 2 - 2*queuePerCall; shed == 0 || shed > most {
		t.Errorf("%d of 100 shed, at most %d had to be", shed, most)
	}
}
