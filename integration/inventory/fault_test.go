package inventory

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/sony/gobreaker/v2"

	"product-service/dev/simulator"
)

// faults are all ways in which the service as a whole can fail.
var faults = []simulator.Fault{
	{Mode: simulator.Slow, DelayMs: 5000},
	{Mode: simulator.Fail, Status: 500},
	{Mode: simulator.Fail, Status: 503},
	{Mode: simulator.Fail, Status: 503, RetryAfter: 1},
	{Mode: simulator.Fail, Status: 429, RetryAfter: 1},
	{Mode: simulator.Fail, Status: 401},
	{Mode: simulator.Fail, Status: 400},
	{Mode: simulator.Reset},
	{Mode: simulator.Drip, DelayMs: 20},
	{Mode: simulator.Truncated},
	{Mode: simulator.Wrong},
	{Mode: simulator.Huge},
	{Mode: simulator.Away},
}

func name(f simulator.Fault) string {
	parts := []string{string(f.Mode)}
	if f.Status != 0 {
		parts = append(parts, fmt.Sprint(f.Status))
	}
	if f.RetryAfter != 0 {
		parts = append(parts, "retry-after")
	}
	return strings.Join(parts, "-")
}

// TestFaultsAreSurvived breaks the service in every way under concurrent reads of known and of
// unknown variants. Known ones must be answered stale with their level, unknown ones unavailable,
// all in time; after the fault all are live again.
func TestFaultsAreSurvived(t *testing.T) {
	for _, fault := range faults {
		for _, readers := range []int{1, 50} {
			t.Run(fmt.Sprintf("%s/%d", name(fault), readers), func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, func(f *fixture) {
					f.clock = newClock()
					f.cfg.BreakerOpen = 300 * time.Millisecond
				})
				ids := f.stock(10)
				f.read(ids[:8]...) // the last two stay unknown
				f.clock.Advance(time.Minute)
				f.fault(fault)
				begin := f.calls()
				f.readDuringFault(ids, readers)
				// What comes back can be seen, though nothing has asked for it yet.
				if calls := f.calls() - begin; calls == 0 {
					t.Error("the service was never asked")
				}
				f.fault(simulator.Fault{Mode: simulator.None})
				eventually(t, "everything live again", func() bool {
					f.clock.Advance(2 * time.Second)
					for _, got := range f.read(ids...) {
						if got.Outcome != Known || got.Level.Source == StaleFallback {
							return false
						}
					}
					return true
				})
			})
		}
	}
}

func (f *fixture) readDuringFault(ids []uuid.UUID, readers int) {
	var done sync.WaitGroup
	for range readers {
		done.Go(func() {
			for range 5 {
				start := time.Now()
				results := f.read(ids...)
				if took := time.Since(start); took > f.cfg.Budget+time.Second {
					f.t.Errorf("a read took %s", took)
				}
				for i, got := range results {
					switch {
					case i >= 8 && got.Outcome != Unavailable:
						f.t.Errorf("unknown variant: %+v", got)
					case i < 8 && (got.Outcome != Known || !got.Stale || got.Level.Available != 100 || got.Level.Source != StaleFallback):
						f.t.Errorf("known variant: %+v", got)
					}
				}
			}
		})
	}
	done.Wait()
}

// TestBadItemsSpoilOnlyThemselves serves lists of which every second item is unreadable.
func TestBadItemsSpoilOnlyThemselves(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.clock = newClock() })
	ids := f.stock(8)
	missing := uuid.New()
	f.fault(simulator.Fault{Mode: simulator.Partial})
	results := f.read(append(ids, missing)...)
	unavailable := 0
	for i, got := range results[:8] {
		switch got.Outcome {
		case Unavailable:
			unavailable++
		case Known:
			if got.Level.VariantID != ids[i] || got.Level.Available != 100 {
				t.Errorf("got %+v", got)
			}
		default:
			t.Errorf("a variant the service mentioned is called %s", got.Outcome)
		}
	}
	if unavailable != 4 || results[8].Outcome != Absent {
		t.Fatalf("%d of 8 unavailable, want 4; the missing one is %s", unavailable, results[8].Outcome)
	}
	if !f.client.reads.closed() {
		t.Fatal("bad items opened the breaker")
	}
}

// TestOutageCostsNothing checks that once the breaker is open reads make no calls and return at once.
func TestOutageCostsNothing(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.clock, f.cfg.BreakerOpen = newClock(), time.Minute })
	ids := f.stock(40)
	f.read(ids...)
	f.clock.Advance(time.Minute)
	f.fault(simulator.Fault{Mode: simulator.Slow})
	eventually(t, "breaker open", func() bool {
		f.clock.Advance(2 * time.Second)
		f.read(ids...)
		return !f.client.reads.closed()
	})
	f.settle()
	f.clock.Advance(2 * time.Second)
	before := f.calls()
	start := time.Now()
	const rounds = 200
	for range rounds {
		for _, got := range f.read(ids...) {
			if !got.Stale || got.Level.Source != StaleFallback {
				t.Fatalf("got %+v", got)
			}
		}
	}
	// Microseconds on an idle machine (see the benchmark); what must show on any is that nobody waits.
	if perRead := time.Since(start) / rounds; perRead > f.cfg.StaleWait/10 {
		t.Errorf("a read of 40 levels takes %s during an outage", perRead)
	}
	if f.calls() != before {
		t.Errorf("%d calls while the breaker is open", f.calls()-before)
	}
}

// TestNoUserPaysForAProbe: whether the breaker is open or would let a probe through, a read makes no call.
func TestNoUserPaysForAProbe(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.clock = newClock() })
	id := f.stock(1)[0]
	f.read(id)
	f.clock.Advance(time.Minute)
	before := f.calls()
	for _, state := range []gobreaker.State{gobreaker.StateHalfOpen, gobreaker.StateOpen} {
		f.client.reads.state.Store(int32(state))
		if got := f.read(id)[0]; got.Level.Source != StaleFallback || f.calls() != before {
			t.Errorf("breaker %s: %+v after %d calls", state, got, f.calls()-before)
		}
	}
	f.client.reads.state.Store(int32(gobreaker.StateClosed))
	if got := f.read(id)[0]; got.Level.Source != Live {
		t.Errorf("breaker closed: %+v", got)
	}
}

// TestRetriesAreBudgeted lets every tenth call fail: readers don't notice, and the pool of
// connections survives.
func TestRetriesAreBudgeted(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.clock = newClock() })
	id := f.stock(1)[0]
	f.fault(simulator.Fault{Mode: simulator.Fail, Rate: 0.1})
	for range 500 {
		f.clock.Advance(time.Minute)
		if got := f.read(id)[0]; got.Outcome != Known && f.calls() > 20 {
			t.Fatalf("got %+v", got)
		}
	}
	stats := f.sim.Stats()
	t.Logf("%d connections for %d calls, every tenth failing", stats.Connections, stats.Total())
	if stats.Connections > 3 {
		t.Errorf("%d connections for %d calls", stats.Connections, stats.Total())
	}
	f.fault(simulator.Fault{Mode: simulator.Fail})
	before := f.calls()
	reads := 0
	for ; f.client.reads.closed() && reads < 100; reads++ {
		f.clock.Advance(time.Minute)
		f.read(id)
	}
	if calls := f.calls() - before; calls > 20 {
		t.Errorf("%d calls until the breaker opened", calls)
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.clock = newClock() })
	id := f.stock(1)[0]
	f.read(id)
	f.clock.Advance(time.Minute)
	f.fault(simulator.Fault{Mode: simulator.Fail, Status: 429, RetryAfter: 1})
	f.read(id)
	paused := time.Now()
	after := f.calls()
	f.fault(simulator.Fault{Mode: simulator.None})
	eventually(t, "live again", func() bool {
		f.clock.Advance(2 * time.Second)
		got := f.read(id)[0]
		if early := time.Since(paused); early < 800*time.Millisecond && f.calls() != after {
			t.Fatalf("asked again after %s", early)
		}
		return got.Level.Source == Live
	})
}

// TestOnePoisonIDDoesNotSpoilItsChunk has a service that refuses any list with one certain variant in it.
func TestOnePoisonIDDoesNotSpoilItsChunk(t *testing.T) {
	f := newFixture(t, nil)
	ids := f.stock(32)
	f.server.Config.Handler = poisoned(f.sim, ids[11].String())
	for i, got := range f.read(ids...) {
		if (i == 11) != (got.Outcome == Unavailable) {
			t.Errorf("position %d: %s", i, got.Outcome)
		}
	}
	if calls := f.calls(); calls > maxSplits {
		t.Errorf("%d calls", calls)
	}
}

func TestBulkheadSheds(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.cfg.Concurrency = 3 })
	ids := f.stock(30)
	f.fault(simulator.Fault{Mode: simulator.Slow, DelayMs: 200})
	var done sync.WaitGroup
	for i := range ids {
		done.Go(func() { f.reader.level(context.Background(), ids[i], 0) })
	}
	done.Wait()
	if most := f.sim.Stats().MaxInFlight; most > 3 {
		t.Errorf("%d calls at a time, allowed are 3", most)
	}
	f.fault(simulator.Fault{Mode: simulator.None})
	f.settle()
	for _, got := range f.read(ids...) { // shed variants may be asked for at once
		if got.Outcome != Known {
			t.Errorf("got %+v", got)
		}
	}
}

// TestServerStartedDuringAnOutage reads through a second reader that has only what the first made durable.
func TestServerStartedDuringAnOutage(t *testing.T) {
	for _, fault := range []simulator.Fault{{Mode: simulator.Away}, {Mode: simulator.Slow, DelayMs: 5000}} {
		t.Run(name(fault), func(t *testing.T) {
			known := newMemory()
			f := newFixture(t, func(f *fixture) { f.known, f.cfg.SaveDelay = known, time.Millisecond })
			ids := f.stock(5)
			f.read(ids...)
			f.close()
			for _, id := range ids {
				if _, saved := known.get(id); !saved {
					t.Fatal("a level was not saved when the reader closed")
				}
			}
			f.fault(fault)
			f.open()
			stranger := uuid.New()
			for range 20 {
				results := f.read(append(ids, stranger)...)
				for _, got := range results[:5] {
					if got.Outcome != Known || !(got.Stale || got.Level.Source == Cache) || got.Level.Available != 100 {
						t.Fatalf("got %+v", got)
					}
				}
				if results[5].Outcome != Unavailable {
					t.Fatalf("unknown variant: %+v", results[5])
				}
			}
			if loads := known.loadCount(); loads > 2 {
				t.Errorf("%d loads of durable levels, want one a variant", loads)
			}
		})
	}
}

func TestSavesSurviveABrokenStore(t *testing.T) {
	known := newMemory()
	known.broken = true
	f := newFixture(t, func(f *fixture) { f.known, f.cfg.SaveDelay = known, time.Millisecond })
	id := f.stock(1)[0]
	if got := f.read(id)[0]; got.Outcome != Known {
		t.Fatalf("got %+v", got)
	}
	eventually(t, "a save was tried", func() bool { known.mu.Lock(); defer known.mu.Unlock(); return known.saves > 0 })
	known.mu.Lock()
	known.broken = false
	known.mu.Unlock()
	eventually(t, "the level is saved", func() bool { _, ok := known.get(id); return ok })
}
