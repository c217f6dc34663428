package inventory

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/dev/simulator"
)

// TestNamelessItemsLeaveAbsenceOpen: an item that doesn't name its variant may be the one that is missing.
func TestNamelessItemsLeaveAbsenceOpen(t *testing.T) {
	f := newFixture(t, nil)
	good, other := uuid.New(), uuid.New()
	f.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `[{"productVariantId":%q,"availableQuantity":1,"status":"IN_STOCK","updatedAt":"2026-03-01T12:00:00Z"},{"availableQuantity":3}]`, good)
	})
	if got := f.read(good, other); got[0].Outcome != Known || got[1].Outcome != Unavailable {
		t.Fatalf("got %+v", got)
	}
}

// TestUnaskedAndRepeatedItems: what nobody asked for is ignored, of two items for one variant the
// newer counts.
func TestUnaskedAndRepeatedItems(t *testing.T) {
	f := newFixture(t, nil)
	id, other, unasked := uuid.New(), uuid.New(), uuid.New()
	item := func(id uuid.UUID, n, second int) string {
		return fmt.Sprintf(`{"productVariantId":%q,"availableQuantity":%d,"status":"IN_STOCK","updatedAt":"2026-03-01T12:00:%02dZ"}`, id, n, second)
	}
	body := "[" + strings.Join([]string{item(id, 1, 1), item(id, 3, 3), item(id, 2, 2), item(unasked, 9, 9)}, ",") + "]"
	f.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
	if got := f.read(id, other); got[0].Level.Available != 3 || got[1].Outcome != Absent {
		t.Fatalf("got %+v", got)
	}
	if f.reader.store.find(&unasked) != nil {
		t.Error("a variant nobody asked for is held")
	}
}

func TestBodiesAreBounded(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.cfg.MaxBody = 1000 })
	id := uuid.New()
	var padding atomic.Int64
	f.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"productVariantId":%q,"availableQuantity":1,"status":"IN_STOCK","updatedAt":"2026-03-01T12:00:00Z"}%s`,
			id, strings.Repeat(" ", int(padding.Load())))
	})
	padding.Store(2000) // whole and right, but too long
	if got := f.read(id)[0]; got.Outcome != Unavailable || !errors.Is(got.Err, errTooLarge) {
		t.Fatalf("got %+v", got)
	}
	padding.Store(10)
	eventually(t, "a short body is read", func() bool { return f.read(id)[0].Outcome == Known })
}

// TestOneHangingAttemptIsNotTheWholeBudget: the second attempt still fits.
func TestOneHangingAttemptIsNotTheWholeBudget(t *testing.T) {
	f := newFixture(t, nil)
	id := f.stock(1)[0]
	var calls atomic.Int64
	f.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			<-r.Context().Done()
			return
		}
		f.sim.ServeHTTP(w, r)
	})
	start := time.Now()
	if got := f.read(id)[0]; got.Outcome != Known || calls.Load() != 2 {
		t.Fatalf("got %+v after %d attempts", got, calls.Load())
	}
	if took := time.Since(start); took < f.cfg.AttemptTimeout || took > f.cfg.Budget {
		t.Errorf("took %s", took)
	}
}

func TestRetriesStayAFifth(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.clock = newClock()
		f.cfg.BreakerRow, f.cfg.BreakerCalls, f.cfg.RetryBase = 1e6, 1e6, time.Microsecond
	})
	f.fault(simulator.Fault{Mode: simulator.Fail})
	const reads = 200
	for range reads {
		f.clock.Advance(time.Minute)
		f.read(uuid.New()) // one that failed before isn't tried twice in a read
	}
	if calls := f.calls(); calls > reads+reads/5+retryFloor+1 || calls < reads+reads/5-1 {
		t.Errorf("%d attempts for %d calls", calls, reads)
	}
}

func TestBearerGoesToItsOriginOnly(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.cfg.Token = "hush" })
	var seen []string
	auth := &authorizer{origin: f.client.origin, static: "hush", next: roundTrip(func(r *http.Request) (*http.Response, error) {
		seen = append(seen, r.Header.Get("Authorization"))
		return nil, errors.New("not sent")
	})}
	for _, target := range []string{f.client.base, "http://elsewhere.example/inventory", strings.Replace(f.client.base, "http:", "https:", 1)} {
		req, err := http.NewRequest(http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = auth.RoundTrip(req)
	}
	if len(seen) != 3 || seen[0] != "Bearer hush" || seen[1] != "" || seen[2] != "" {
		t.Fatalf("sent %q", seen)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestUnknownVariantsAreLookedUpOnce: during an outage the durable store is asked once for what it
// doesn't have.
func TestUnknownVariantsAreLookedUpOnce(t *testing.T) {
	known := newMemory()
	f := newFixture(t, func(f *fixture) { f.clock, f.known, f.cfg.BreakerOpen = newClock(), known, time.Hour })
	f.client.reads.state.Store(2) // open
	id := uuid.New()
	for range 10 {
		f.clock.Advance(time.Minute)
		if got := f.read(id)[0]; got.Outcome != Unavailable || !errors.Is(got.Err, errBreakerOpen) {
			t.Fatalf("got %+v", got)
		}
	}
	if loads := known.loadCount(); loads != 1 {
		t.Errorf("%d loads, want 1", loads)
	}
}

// TestLateAbsenceDoesNotHideANewRecord: "no such record" was asked before the record's creation was
// answered.
func TestLateAbsenceDoesNotHideANewRecord(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.clock = newClock() })
	id := uuid.New()
	asked := f.clock.Now()
	f.clock.Advance(time.Second)
	f.reader.Put(Level{VariantID: id, Available: 5, Status: LowStock, UpdatedAt: f.clock.Now(), FetchedAt: f.clock.Now(), Source: Live})
	f.reader.putAbsence(id, asked)
	if got := f.read(id)[0]; got.Outcome != Known || got.Level.Available != 5 || got.Stale {
		t.Fatalf("got %+v", got)
	}
	for range 2 {
		f.clock.Advance(f.cfg.AbsentFor)
		f.reader.putAbsence(id, f.clock.Now())
	}
	if got := f.read(id)[0]; got.Outcome != Absent {
		t.Fatalf("a later absence lost: %+v", got)
	}
	f.reader.Apply(context.Background(), Event{ID: uuid.New(), Type: OutOfStockEvent, VariantID: id, At: asked})
	if got := f.read(id)[0]; got.Outcome != Absent {
		t.Fatalf("an older event won over a later absence: %+v", got)
	}
}

// TestAnswersThatCameInMeanwhileAreUsed: a flight ends between a reader's look at the store and its
// look at the table.
func TestAnswersThatCameInMeanwhileAreUsed(t *testing.T) {
	f := newFixture(t, nil)
	ids := f.stock(2)
	p := &pendingRead{reader: f.reader, ids: ids, limits: f.reader.ages, out: make([]Result, 2)}
	f.read(ids[0])
	joined := f.reader.flights.join(context.Background(), p, []int{0, 1}, nil)
	if p.out[0].Outcome != Known {
		t.Errorf("asked again for what is known: %+v", p.out[0])
	}
	if len(joined) != 1 || joined[0].at != 1 {
		t.Fatalf("waits for %+v", joined)
	}
	<-joined[0].flight.done
}

// TestFailedVariantsAreLeftAloneForAWhile: with the breaker closed a variant that failed is not
// asked for at once.
func TestFailedVariantsAreLeftAloneForAWhile(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.clock, f.cfg.Retries = newClock(), 0 })
	id := uuid.New()
	f.fault(simulator.Fault{Mode: simulator.Fail})
	for _, step := range []struct {
		advance time.Duration
		calls   int
	}{{0, 1}, {0, 1}, {450 * time.Millisecond, 1}, {600 * time.Millisecond, 2}, {900 * time.Millisecond, 2}, {1200 * time.Millisecond, 3}} {
		f.clock.Advance(step.advance)
		if got := f.read(id)[0]; got.Outcome != Unavailable {
			t.Fatalf("got %+v", got)
		}
		if f.calls() != step.calls {
			t.Fatalf("%d calls, want %d", f.calls(), step.calls)
		}
	}
}

// TestStaleLevelsWaitLessThanUnknownOnes: who has something to show doesn't wait for the whole budget.
func TestStaleLevelsWaitLessThanUnknownOnes(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.clock, f.cfg.StaleWait, f.cfg.AttemptTimeout, f.cfg.Budget = newClock(), 30*time.Millisecond, 5*time.Second, 5*time.Second
	})
	id := f.stock(1)[0]
	f.read(id)
	f.clock.Advance(time.Minute)
	f.fault(simulator.Fault{Mode: simulator.Slow, DelayMs: 2000})
	start := time.Now()
	if got := f.read(id)[0]; got.Level.Source != StaleFallback {
		t.Fatalf("got %+v", got)
	}
	if took := time.Since(start); took > time.Second {
		t.Fatalf("waited %s with a level at hand", took)
	}
	// The answer that nobody waited for is taken in all the same.
	eventually(t, "the late answer is known", func() bool {
		return f.reader.store.find(&id).known().level.FetchedAt.Equal(f.clock.Now())
	})
}

// TestEvictedSlotsAreNotRead: the hot cache still has a slot that the store has evicted and made anew.
func TestEvictedSlotsAreNotRead(t *testing.T) {
	levels, err := newStore(1)
	if err != nil {
		t.Fatal(err)
	}
	defer levels.close()
	put := func(id uuid.UUID, n int64) {
		levels.change(id, true, func(*entry) *entry { return &entry{known: true, level: Level{Available: n}} })
	}
	id := uuid.New()
	put(id, 1)
	levels.find(&id)
	levels.hot.Wait()
	rival := uuid.New()
	for levels.shardOf(&rival) != levels.shardOf(&id) {
		rival = uuid.New()
	}
	put(rival, 7)
	if levels.find(&id) != nil {
		t.Fatal("an evicted variant is found")
	}
	put(id, 2)
	if got := levels.find(&id).known().level.Available; got != 2 {
		t.Fatalf("got %d", got)
	}
}

// TestOurOwnEndIsNoFailure: calls cut off by our shutdown say nothing about the service.
func TestOurOwnEndIsNoFailure(t *testing.T) {
	f := newFixture(t, nil)
	for range 10 {
		if err := f.client.reads.do(func() blame { return blameOf(0, fmt.Errorf("cut off: %w", context.Canceled)) }); err != nil {
			t.Fatal(err)
		}
	}
	if !f.client.reads.closed() {
		t.Error("the breaker opened")
	}
}

// TestWarmReadAllocatesItsResultsOnly: one allocation for all results, none for each.
func TestWarmReadAllocatesItsResultsOnly(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.clock = newClock() })
	ids := f.stock(40)
	f.read(ids...)
	f.read(ids...)
	f.reader.store.hot.Wait() // now the hot cache knows them too
	// The hot cache keeps books in pooled buffers of 64 reads, which the race detector makes the
	// pool forget: those are its own.
	if allocations := testing.AllocsPerRun(200, func() { f.read(ids...) }); allocations >= 40 {
		t.Errorf("%.0f allocations for 40 levels", allocations)
	}
}

// TestUseAfterCloseIsHarmless reads, applies and watches while and after the reader closes.
func TestUseAfterCloseIsHarmless(t *testing.T) {
	f := newFixture(t, nil)
	ids := f.stock(200)
	reader := f.reader
	var stop atomic.Bool
	var users sync.WaitGroup
	for i := range 4 {
		users.Go(func() {
			for n := i; !stop.Load(); n++ {
				id := ids[n%len(ids)]
				reader.Levels(context.Background(), []uuid.UUID{id, uuid.New()}, 0)
				reader.Apply(context.Background(), Event{ID: uuid.New(), Type: OutOfStockEvent, VariantID: uuid.New(), At: time.Now()})
				reader.Put(Level{VariantID: uuid.New(), Status: InStock, Available: 1, UpdatedAt: time.Now(), FetchedAt: time.Now()})
				_, cancel := watch(reader, ids[:2])
				cancel()
			}
		})
	}
	eventually(t, "the reader is in use", func() bool { return f.calls() > 20 })
	f.close()
	reader.Close()
	if got := reader.level(context.Background(), ids[0], 0); got.Outcome != Unavailable || !errors.Is(got.Err, ErrUnavailable) {
		t.Errorf("got %+v", got)
	}
	stop.Store(true)
	users.Wait()
}
