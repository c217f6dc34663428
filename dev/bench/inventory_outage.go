package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"product-service/dev/simulator"
	"product-service/integration/inventory"
)

const (
	shopRate     = 20               // queries a second of each contender
	shopPatience = 10 * time.Second // how long somebody waits for a page
	shopHealthy  = 30 * time.Second // 600 queries: the 99th percentile is the 6th worst of them
)

var discard = slog.New(slog.DiscardHandler)

// contender is one of those that are asked for the page during the outage.
type contender struct {
	name      string
	neighbour *neighbour
	ask       func(context.Context) (seenPage, error)
	mu        sync.Mutex
	phase     string
	seen      map[string]*tally
	fresh     time.Time // when all levels were first fetched after the outage
	healed    time.Time
	pid       int                // 0: its memory isn't watched
	resident  map[string][]int64 // bytes, every second of a phase
}

// tally counts the queries of a phase.
type tally struct {
	queries, failed, late        int
	levels, stale, lack, untold  int
	took                         histogram
	callsBefore, calls           int
	lasted                       time.Duration
	connectionsBefore, connected int
}

// outage sends queries to the server and to the plain stack at a constant rate while their
// neighbours are well, away, slow and well again.
func (s *shop) outage(ctx context.Context) error {
	ours := &contender{name: "product-service", neighbour: s.neighbour, ask: s.ask, seen: map[string]*tally{}, pid: s.child.process.PID(), resident: map[string][]int64{}}
	other, err := startNeighbour(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = other.server.Close() }()
	if err := other.fill(s.variants); err != nil {
		return err
	}
	stack := newPlain(other.url)
	theirs := &contender{name: "plain stack", neighbour: other, seen: map[string]*tally{}, ask: func(ctx context.Context) (seenPage, error) {
		levels, err := stack.levels(ctx, s.variants)
		p := seenPage{known: len(levels), oldest: time.Now()}
		for _, l := range levels {
			if fetched := l.until.Add(-plainTTL); fetched.Before(p.oldest) {
				p.oldest = fetched
			}
		}
		return p, err
	}}
	contenders := []*contender{ours, theirs}
	healthy, after := min(shopHealthy, s.b.outage), max(15*time.Second, s.b.outage/10)
	for _, p := range []struct {
		name  string
		fault simulator.Fault
		lasts time.Duration
	}{
		{"healthy", simulator.Fault{Mode: simulator.None}, healthy},
		{"away", simulator.Fault{Mode: simulator.Away}, s.b.outage / 2},
		{"slow", simulator.Fault{Mode: simulator.Slow, DelayMs: 2000}, s.b.outage / 2},
		{"after", simulator.Fault{Mode: simulator.None}, after},
	} {
		s.b.out.step("inventory: %s for %s, %d queries/s to each", p.name, p.lasts, shopRate)
		if err := runPhase(ctx, contenders, p.name, p.fault, p.lasts); err != nil {
			return err
		}
	}
	for _, c := range contenders {
		c.report(s.b, c == ours)
	}
	return nil
}

// runPhase puts the fault in force and sends queries when they are due, whatever became of earlier
// ones; it waits for all that it sent only as long as somebody would.
func runPhase(ctx context.Context, contenders []*contender, name string, fault simulator.Fault, lasts time.Duration) error {
	for _, c := range contenders {
		if err := c.neighbour.SetFault(fault); err != nil {
			return err
		}
		c.begin(name)
	}
	began := time.Now()
	tick := time.NewTicker(time.Second / shopRate)
	defer tick.Stop()
	for n := 0; time.Since(began) < lasts; n++ {
		for _, c := range contenders {
			if c.pid != 0 && n%shopRate == 0 {
				c.resident[name] = append(c.resident[name], memoryOf(c.pid, "VmRSS:"))
			}
			go c.query(ctx, c.phase)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	for _, c := range contenders {
		c.end(time.Since(began))
	}
	return nil
}

func (c *contender) begin(phase string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := c.neighbour.Stats()
	if c.phase = phase; phase == "after" {
		c.healed = time.Now()
	}
	c.seen[phase] = &tally{took: newHistogram(), callsBefore: stats.Total(), connectionsBefore: stats.Connections}
}

func (c *contender) end(lasted time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := c.neighbour.Stats()
	t := c.seen[c.phase]
	t.lasted, t.calls, t.connected = lasted, stats.Total()-t.callsBefore, stats.Connections-t.connectionsBefore
}

func (c *contender) query(ctx context.Context, phase string) {
	ctx, cancel := context.WithTimeout(ctx, shopPatience)
	defer cancel()
	began := time.Now()
	p, err := c.ask(ctx)
	took := time.Since(began)
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.seen[phase]
	t.queries++
	t.took.record(took)
	t.levels += shopLevels
	switch {
	case err != nil:
		t.failed++
		t.lack += shopLevels
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.late++
		}
	default:
		t.stale, t.untold, t.lack = t.stale+p.stale, t.untold+p.untold, t.lack+shopLevels-p.known
		if phase == "after" && c.fresh.IsZero() && p.known == shopLevels && p.stale == 0 && p.oldest.After(c.healed) {
			c.fresh = time.Now()
		}
	}
}

// report adds what came of it. The targets are those of the server; the plain stack has none.
func (c *contender) report(b *bench, bound bool) {
	goal := func(t target) target {
		if !bound {
			return target{}
		}
		return t
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p99 := func(t *tally) float64 { return t.took.ms(99) }
	well, away, slow := c.seen["healthy"], c.seen["away"], c.seen["slow"]
	out := &tally{took: newHistogram()}
	for _, t := range []*tally{away, slow} {
		out.queries, out.failed, out.late = out.queries+t.queries, out.failed+t.failed, out.late+t.late
		out.levels, out.stale, out.lack, out.untold = out.levels+t.levels, out.stale+t.stale, out.lack+t.lack, out.untold+t.untold
		out.calls, out.connected, out.lasted = out.calls+t.calls, out.connected+t.connected, out.lasted+t.lasted
		out.took.Merge(t.took.Histogram)
	}
	at := fmt.Sprintf("outage of %s, %s: ", b.outage, c.name)
	b.report.add(at+"queries failed", float64(out.failed), "", target{}, "of %d; %d of them had no answer within %s; 0 is the target", out.queries, out.late, shopPatience)
	b.report.Figures[len(b.report.Figures)-1].Met = !bound || out.failed == 0
	b.report.add(at+"p99", p99(out), "ms", goal(atMost(2*p99(well))), "healthy %.1f, away %.1f, slow %.1f; target: twice healthy", p99(well), p99(away), p99(slow))
	told := 100 * float64(out.levels-out.lack-out.untold) / float64(max(1, out.levels))
	b.report.add(at+"levels fresh or marked stale", told, "%", goal(atLeast(100)), "%d levels: %d marked stale, %d lacking, %d old but not marked", out.levels, out.stale, out.lack, out.untold)
	b.report.add(at+"upstream calls", rateOf(out.calls, out.lasted), "/s", goal(atMost(1)), "healthy %.2f, away %.2f, slow %.2f; connections opened %d",
		rateOf(well.calls, well.lasted), rateOf(away.calls, away.lasted), rateOf(slow.calls, slow.lasted), out.connected)
	c.reportMemory(b, at)
	if c.fresh.IsZero() {
		b.report.add(at+"back to live", c.seen["after"].lasted.Seconds(), "s", target{}, "not within this time")
		b.report.Figures[len(b.report.Figures)-1].Met = false
		return
	}
	b.report.add(at+"back to live", c.fresh.Sub(c.healed).Seconds(), "s", goal(atMost(10)), "from the healing to a page whose levels were all fetched after it; load %s", loadAverage())
}

// reportMemory says whether the server's memory stayed flat: what it held in the last quarter of
// the outage over what it held in the first.
func (c *contender) reportMemory(b *bench, at string) {
	out := slices.Concat(c.resident["away"], c.resident["slow"])
	quarter := len(out) / 4
	if quarter == 0 || out[0] == 0 {
		return
	}
	mean := func(samples []int64) float64 {
		var sum int64
		for _, bytes := range samples {
			sum += bytes
		}
		return float64(sum) / float64(len(samples))
	}
	mib := func(bytes int64) float64 { return float64(bytes) / (1 << 20) }
	healthy, after := c.resident["healthy"], c.resident["after"]
	b.report.add(at+"memory, end over start", mean(out[len(out)-quarter:])/mean(out[:quarter]), "x", atMost(1.1),
		"RSS: at the start %.1f MiB, highest in the outage %.1f, at its end %.1f, after it %.1f", mib(healthy[0]), mib(slices.Max(out)), mib(out[len(out)-1]), mib(after[len(after)-1]))
}

// warmRead reads levels that are in memory.
func (s *shop) warmRead(ctx context.Context) error {
	r, done, err := s.reader(func(c *inventory.Config) { c.Fresh, c.Revalidate = time.Hour, time.Hour })
	if err != nil {
		return err
	}
	defer done()
	for _, got := range r.Levels(ctx, s.variants, 0) {
		if got.Outcome != inventory.Known {
			return fmt.Errorf("a warm read: %w", got.Err)
		}
	}
	const reads = 20_000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	for range reads {
		r.Levels(ctx, s.variants, 0)
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	s.b.report.add("warm read of 40 levels", float64(took.Nanoseconds())/reads/1000, "µs", atMost(20), "mean of %d reads of the integration in this process, load %s", reads, loadAverage())
	s.b.report.add("warm read of 40 levels, allocations", float64(after.Mallocs-before.Mallocs)/reads, "", target{}, "%.0f bytes, of which %d levels are returned",
		float64(after.TotalAlloc-before.TotalAlloc)/reads, len(s.variants))
	return nil
}

// connections counts what 500 calls open when one in ten fails.
func (s *shop) connections(ctx context.Context) error {
	const calls, atOnce = 500, 10
	if err := s.neighbour.SetFault(simulator.Fault{Mode: simulator.Fail, Status: http.StatusInternalServerError, Rate: 0.1}); err != nil {
		return err
	}
	r, done, err := s.reader(func(*inventory.Config) {})
	if err != nil {
		return err
	}
	defer done()
	stack := newPlain(s.neighbour.url)
	count := func(name string, t target, call func(uuid.UUID) error) {
		s.neighbour.ResetStats()
		began := time.Now()
		var wait sync.WaitGroup
		var mu sync.Mutex
		failed := 0
		for lane := range atOnce {
			wait.Go(func() {
				for i := range calls / atOnce {
					if err := call(s.variants[(i*atOnce+lane)%len(s.variants)]); err != nil {
						mu.Lock()
						failed++
						mu.Unlock()
					}
				}
			})
		}
		wait.Wait()
		stats := s.neighbour.Stats()
		s.b.report.add("connections for 500 calls, 10 % errors, "+name, float64(stats.Connections), "", t, "%d at a time, %d attempts, %d calls failed in the end, %.1f s",
			atOnce, stats.Total(), failed, time.Since(began).Seconds())
	}
	count("product-service", atMost(2*atOnce), func(id uuid.UUID) error {
		return r.Levels(ctx, []uuid.UUID{id}, time.Nanosecond)[0].Err
	})
	count("plain stack", target{}, func(id uuid.UUID) error {
		stack.mu.Lock()
		clear(stack.known) // each call asks
		stack.mu.Unlock()
		_, err := stack.levels(ctx, []uuid.UUID{id})
		return err
	})
	return s.neighbour.SetFault(simulator.Fault{Mode: simulator.None})
}
