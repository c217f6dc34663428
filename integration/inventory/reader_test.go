package inventory

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"product-service/dev/simulator"
)

func TestJudge(t *testing.T) {
	rules := ages{fresh: 5 * time.Second, revalidate: 30 * time.Second, staleMax: 24 * time.Hour, absentFor: 3 * time.Second}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	known := func(age time.Duration) *entry { return &entry{known: true, level: Level{FetchedAt: now.Add(-age)}} }
	none := func(age time.Duration) *entry { return &entry{absentSince: now.Add(-age), absentAt: now.Add(-age)} }
	marked := known(time.Second)
	marked.changed = now
	doubtful := func(age, absent time.Duration) *entry {
		e := known(age)
		e.absentSince, e.absentAt = now.Add(-absent), now.Add(-absent)
		return e
	}
	cases := []struct {
		name  string
		held  *entry
		limit time.Duration
		want  verdict
	}{
		{"nothing held", nil, 0, ask},
		{"just fetched", known(0), 0, serve},
		{"from a clock ahead of ours", known(-time.Hour), 0, serve},
		{"last fresh moment", known(5*time.Second - 1), 0, serve},
		{"first moment past fresh", known(5 * time.Second), 0, serveAndRefresh},
		{"last moment to revalidate", known(30*time.Second - 1), 0, serveAndRefresh},
		{"first moment to ask", known(30 * time.Second), 0, askElseStale},
		{"last moment as fallback", known(24*time.Hour - 1), 0, askElseStale},
		{"too old", known(24 * time.Hour), 0, ask},
		{"absent", none(3*time.Second - 1), 0, serveAbsent},
		{"absent a while ago", none(3 * time.Second), 0, ask},
		{"reader tolerates an absence as old", none(time.Second), 2 * time.Second, serveAbsent},
		{"reader tolerates no absence as old", none(2 * time.Second), 2 * time.Second, ask},
		{"changed to an unknown level", marked, 0, askElseStale},
		{"called absent a moment ago", doubtful(2*time.Second, time.Second), 0, serveStale},
		{"called absent once, not asked since", doubtful(2*time.Second, 3*time.Second), 0, askElseStale},
		{"called absent, and too old", doubtful(24*time.Hour, time.Second), 0, serveAbsent},
		{"called absent, and older than the reader tolerates", doubtful(8*time.Second, time.Second), 5 * time.Second, serveAbsent},
		{"reader tolerates more than is fresh", known(6 * time.Second), 10 * time.Second, serveAndRefresh},
		{"reader tolerates less than is held", known(11 * time.Second), 10 * time.Second, ask},
		{"reader tolerates less than fresh", known(2 * time.Second), time.Second, ask},
		{"reader tolerates more than configured", known(25 * time.Hour), 48 * time.Hour, ask},
		{"reader tolerates nothing", known(0), 1, serve},
	}
	for _, c := range cases {
		if got := rules.within(c.limit).judge(c.held, now); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

// TestAgeRules reads one level at each age, with the service well and failing, and checks what is
// handed out and whether the service was asked.
func TestAgeRules(t *testing.T) {
	type want struct {
		outcome Outcome
		source  Source
		stale   bool
		asked   bool
	}
	cases := []struct {
		name    string
		age     time.Duration
		limit   time.Duration
		well    want
		failing want
	}{
		{"fresh", 4 * time.Second, 0, want{Known, Cache, false, false}, want{Known, Cache, false, false}},
		{"revalidate", 20 * time.Second, 0, want{Known, Cache, true, true}, want{Known, Cache, true, true}},
		{"ask", time.Minute, 0, want{Known, Live, false, true}, want{Known, StaleFallback, true, true}},
		{"ask after hours", 23 * time.Hour, 0, want{Known, Live, false, true}, want{Known, StaleFallback, true, true}},
		{"too old", 25 * time.Hour, 0, want{Known, Live, false, true}, want{Unavailable, "", false, true}},
		{"bounded by the reader", 3 * time.Second, time.Second, want{Known, Live, false, true}, want{Unavailable, "", false, true}},
	}
	for _, c := range cases {
		for _, failing := range []bool{false, true} {
			name, expected := c.name+"/well", c.well
			if failing {
				name, expected = c.name+"/failing", c.failing
			}
			t.Run(name, func(t *testing.T) {
				f := newFixture(t, func(f *fixture) { f.clock, f.cfg.Retries = newClock(), 0 })
				id := f.stock(1)[0]
				if got := f.read(id)[0]; got.Outcome != Known || got.Level.Source != Live || got.Level.Available != 100 {
					t.Fatalf("first read: %+v", got)
				}
				f.clock.Advance(c.age)
				if failing {
					f.fault(simulator.Fault{Mode: simulator.Fail})
				}
				before := f.calls()
				got := f.reader.level(context.Background(), id, c.limit)
				f.settle()
				if got.Outcome != expected.outcome || got.Level.Source != expected.source || got.Stale != expected.stale {
					t.Errorf("got %s %q stale=%v, want %+v", got.Outcome, got.Level.Source, got.Stale, expected)
				}
				if asked := f.calls() > before; asked != expected.asked {
					t.Errorf("asked the service: %v, want %v", asked, expected.asked)
				}
				if (got.Outcome == Unavailable) != errors.Is(got.Err, ErrUnavailable) {
					t.Errorf("error %v with outcome %s", got.Err, got.Outcome)
				}
				if got.Outcome == Known && got.Level.Available != 100 {
					t.Errorf("invented level %d", got.Level.Available)
				}
			})
		}
	}
}

// TestFailedRefreshShows: a level that is young enough to be served at once is a fallback once it
// was asked for in vain.
func TestFailedRefreshShows(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.clock, f.cfg.Retries = newClock(), 0 })
	id := f.stock(1)[0]
	f.read(id)
	f.clock.Advance(10 * time.Second)
	f.fault(simulator.Fault{Mode: simulator.Fail})
	for _, step := range []struct {
		advance time.Duration
		source  Source
		calls   int
	}{{0, Cache, 2}, {0, StaleFallback, 2}, {500 * time.Millisecond, StaleFallback, 2}, {2 * time.Second, StaleFallback, 3}} {
		f.clock.Advance(step.advance)
		got := f.read(id)[0]
		f.settle()
		if got.Level.Source != step.source || !got.Stale || f.calls() != step.calls {
			t.Fatalf("after %s: %+v and %d calls, want %+v", step.advance, got, f.calls(), step)
		}
	}
	f.fault(simulator.Fault{Mode: simulator.None})
	f.clock.Advance(2 * time.Second)
	f.read(id)
	f.settle()
	f.clock.Advance(10 * time.Second)
	if got := f.read(id)[0]; got.Level.Source != Cache || !got.Stale {
		t.Fatalf("after an answer: %+v", got)
	}
}

func TestAbsentIsKnownForAWhile(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.clock = newClock() })
	stocked, missing := f.stock(1)[0], uuid.New()
	for _, round := range []struct {
		advance time.Duration
		calls   int
	}{{0, 1}, {2 * time.Second, 1}, {2 * time.Second, 2}} {
		f.clock.Advance(round.advance)
		got := f.read(missing, stocked, missing)
		if got[0].Outcome != Absent || got[2].Outcome != Absent || got[0].Err != nil || got[1].Outcome != Known {
			t.Fatalf("got %+v", got)
		}
		if f.calls() != round.calls {
			t.Fatalf("%d calls, want %d", f.calls(), round.calls)
		}
	}
	// By itself a variant goes by another path: 404 of GET /inventory/{id}.
	if got := f.read(uuid.New())[0]; got.Outcome != Absent || f.sim.Stats().Calls["one"] != 2 {
		t.Fatalf("got %+v after %v", got, f.sim.Stats().Calls)
	}
	f.set(missing, 7)
	f.clock.Advance(4 * time.Second)
	if got := f.read(missing)[0]; got.Outcome != Known || got.Level.Available != 7 {
		t.Fatalf("after creation: %+v", got)
	}
}

func TestCallsOfAPage(t *testing.T) {
	f := newFixture(t, nil)
	ids := f.stock(40)
	for _, step := range []struct {
		name  string
		calls int
	}{{"cold", 1}, {"warm", 1}} {
		for i, got := range f.read(ids...) {
			if got.Outcome != Known || got.Level.VariantID != ids[i] {
				t.Fatalf("%s: position %d holds %+v", step.name, i, got)
			}
		}
		if f.calls() != step.calls {
			t.Fatalf("%s: %d calls, want %d", step.name, f.calls(), step.calls)
		}
	}
}

// patient gives a busy machine time: what is counted are calls, and a timed out one would be made again.
func patient(f *fixture) { f.cfg.AttemptTimeout, f.cfg.Budget = 10*time.Second, 10*time.Second }

func TestThousandConcurrentColdReadsAreOneCall(t *testing.T) {
	f := newFixture(t, patient)
	ids := f.stock(40)
	f.fault(simulator.Fault{Mode: simulator.Slow, DelayMs: 50})
	var start, done sync.WaitGroup
	start.Add(1)
	var mu sync.Mutex
	bad := 0
	for range 1000 {
		done.Go(func() {
			start.Wait()
			for _, got := range f.read(ids...) {
				if got.Outcome != Known || got.Level.Available != 100 {
					mu.Lock()
					bad++
					mu.Unlock()
				}
			}
		})
	}
	start.Done()
	done.Wait()
	if calls := f.calls(); calls != 1 || bad != 0 {
		t.Fatalf("%d calls, want 1; %d bad results", calls, bad)
	}
}

func TestOverlappingReadsAskForNothingTwice(t *testing.T) {
	f := newFixture(t, patient)
	ids := f.stock(30)
	f.fault(simulator.Fault{Mode: simulator.Slow, DelayMs: 50})
	var done sync.WaitGroup
	for i := range 20 {
		done.Go(func() {
			for _, got := range f.read(ids[i : i+10]...) {
				if got.Outcome != Known {
					t.Errorf("got %+v", got)
				}
			}
		})
	}
	done.Wait()
	if asked := f.sim.Stats().Variants; asked != 29 {
		t.Fatalf("%d variants asked for, want each of 29 once", asked)
	}
}

func TestLargeReadsAreChunked(t *testing.T) {
	f := newFixture(t, nil)
	ids := f.stock(250)
	for _, got := range f.read(ids...) {
		if got.Outcome != Known {
			t.Fatalf("got %+v", got)
		}
	}
	if f.calls() != 3 {
		t.Fatalf("%d calls for 250 variants, want 3", f.calls())
	}
	narrow := newFixture(t, func(f *fixture) { f.cfg.ChunkBytes = 370 })
	narrow.read(narrow.stock(25)...)
	if narrow.calls() != 3 {
		t.Fatalf("%d calls for 25 variants of 370 bytes a call, want 3", narrow.calls())
	}
}

func TestOneCallersEndIsItsOwn(t *testing.T) {
	f := newFixture(t, nil)
	id := f.stock(1)[0]
	f.fault(simulator.Fault{Mode: simulator.Slow, DelayMs: 150})
	ctx, cancel := context.WithCancel(context.Background())
	var first Result
	var done sync.WaitGroup
	done.Go(func() { first = f.reader.level(ctx, id, 0) })
	eventually(t, "the call is under way", func() bool { return f.sim.Stats().InFlight == 1 })
	var second Result
	done.Go(func() { second = f.read(id)[0] })
	cancel()
	done.Wait()
	if first.Outcome != Unavailable || second.Outcome != Known || f.calls() != 1 {
		t.Fatalf("cancelled: %+v, other: %+v, calls: %d", first, second, f.calls())
	}
}

// The time of this test moves only when all wait: a busy machine changes nothing.
func TestDeadlineOfTheCaller(t *testing.T) {
	for _, c := range []struct {
		name string
		held bool
		want Outcome
	}{{"a stale level is at hand", true, Known}, {"nothing is known", false, Unavailable}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := withoutNetwork(t)
				defer f.close()
				id := f.stock(1)[0]
				if c.held {
					f.read(id)
					time.Sleep(time.Hour)
				}
				f.fault(simulator.Fault{Mode: simulator.Slow, DelayMs: 10_000})
				const given = 100 * time.Millisecond
				ctx, cancel := context.WithTimeout(context.Background(), given)
				defer cancel()
				begun := time.Now()
				got := f.reader.level(ctx, id, 0)
				if took := time.Since(begun); took != given-answerMargin || ctx.Err() != nil {
					t.Errorf("the answer came after %s of the caller's %s; %s are to be left", took, given, answerMargin)
				}
				if got.Outcome != c.want || got.Stale != c.held || (c.held && got.Level.Source != StaleFallback) {
					t.Errorf("got %+v", got)
				}
			})
		})
	}
}

// withoutNetwork is a fixture whose client calls the simulated service itself, as a bubble of
// synctest needs it. The test closes it.
func withoutNetwork(t *testing.T) *fixture {
	t.Helper()
	sim, err := simulator.New(simulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, sim: sim, cfg: defaults(t, "http://inventory.example"), logs: &syncBuffer{}}
	f.cfg.Wrap = func(http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			sim.ServeHTTP(w, r)
			return w.Result(), r.Context().Err()
		})
	}
	f.open()
	return f
}
