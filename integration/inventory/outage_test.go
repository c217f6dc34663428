package inventory

import (
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/dev/simulator"
)

// pages reads random pages of 40 variants at a fixed pace until stop says so, and gives each read to see.
func (f *fixture) pages(ids []uuid.UUID, stop func() bool, see func(start time.Time, results []Result)) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	page := make([]uuid.UUID, 40)
	for !stop() {
		<-tick.C
		for i := range page {
			page[i] = ids[rand.IntN(len(ids))]
		}
		start := time.Now()
		see(start, f.read(page...))
	}
}

type measured struct {
	mu    sync.Mutex
	took  []time.Duration
	wrong int
}

// load runs two readers for d and measures their reads; right judges each result.
func (f *fixture) load(ids []uuid.UUID, d time.Duration, right func(start time.Time, got Result) bool) *measured {
	m := &measured{}
	end := time.Now().Add(d)
	var done sync.WaitGroup
	for range 2 {
		done.Go(func() {
			f.pages(ids, func() bool { return time.Now().After(end) }, func(start time.Time, results []Result) {
				took := time.Since(start)
				m.mu.Lock()
				defer m.mu.Unlock()
				m.took = append(m.took, took)
				for _, got := range results {
					if !right(start, got) {
						m.wrong++
					}
				}
			})
		})
	}
	done.Wait()
	slices.Sort(m.took)
	return m
}

func (m *measured) quantile(q float64) time.Duration { return m.took[int(q*float64(len(m.took)-1))] }

// TestOutageInRealTime takes the service away under load. No read may fail or wait, every level is
// fresh or marked stale, the service is asked less than once a second, memory doesn't grow, and the
// levels are live within seconds of its return. OUTAGE sets the length (default 6s) for a longer
// look.
func TestOutageInRealTime(t *testing.T) {
	length := 6 * time.Second
	if set := os.Getenv("OUTAGE"); set != "" {
		parsed, err := time.ParseDuration(set)
		if err != nil {
			t.Fatal(err)
		}
		length = parsed
	}
	for _, fault := range []simulator.Fault{{Mode: simulator.Away}, {Mode: simulator.Slow, DelayMs: 2000}} {
		t.Run(name(fault), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(f *fixture) { f.cfg.Fresh, f.cfg.Revalidate = 100*time.Millisecond, 500*time.Millisecond })
			ids := f.stock(200)
			f.read(ids...)
			honest := func(start time.Time, got Result) bool {
				fresh := start.Sub(got.Level.FetchedAt) < f.cfg.Fresh
				return got.Outcome == Known && got.Level.Available == 100 && (got.Stale || fresh)
			}
			well := f.load(ids, 2*time.Second, honest)
			f.fault(fault)
			first := f.load(ids, 2*time.Second, honest) // until the breaker has noticed
			f.sim.ResetStats()
			heap := heapNow()
			out := f.load(ids, length, honest)
			calls, grown := f.calls(), heapNow()-heap
			f.fault(simulator.Fault{Mode: simulator.None})
			back := time.Now()
			eventually(t, "every level live again", func() bool {
				f.read(ids...)
				return !slices.ContainsFunc(f.read(ids...), func(got Result) bool { return got.Stale || got.Level.Source == StaleFallback })
			})
			recovered := time.Since(back)
			t.Logf("p50/p99/max: well %s/%s/%s, first 2 s %s/%s/%s, outage %s/%s/%s; %d reads, %d calls in %s, heap %+d kB, live after %s",
				well.quantile(.5), well.quantile(.99), well.quantile(1), first.quantile(.5), first.quantile(.99), first.quantile(1),
				out.quantile(.5), out.quantile(.99), out.quantile(1), len(out.took), calls, length, grown/1024, recovered)
			// Generous, for a machine that does other things: who waited for the service would take
			// StaleWait.
			if most := max(2*well.quantile(.99), f.cfg.StaleWait/2); out.quantile(.99) > most {
				t.Errorf("p99 is %s during the outage, %s before", out.quantile(.99), well.quantile(.99))
			}
			if grown > 16<<20 {
				t.Errorf("the heap grew by %d kB", grown/1024)
			}
			if wrong := well.wrong + first.wrong + out.wrong; wrong != 0 {
				t.Errorf("%d results failed, or old without saying so", wrong)
			}
			if float64(calls) > length.Seconds() {
				t.Errorf("%d calls in %s of outage", calls, length)
			}
			if recovered > 10*time.Second {
				t.Errorf("live after %s", recovered)
			}
		})
	}
}

func heapNow() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
