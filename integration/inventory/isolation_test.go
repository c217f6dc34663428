package inventory

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/dev/simulator"
)

// itemFaults are all ways in which the service can fail for some of its variants while it answers for the
// others.
var itemFaults = []simulator.Fault{
	{Mode: simulator.Unreadable, As: "negative"},
	{Mode: simulator.Unreadable, As: "fraction"},
	{Mode: simulator.Unreadable, As: "too-large"},
	{Mode: simulator.Unreadable, As: "status"},
	{Mode: simulator.Unreadable, As: "zone"},
	{Mode: simulator.Unreadable, As: "case"},
	{Mode: simulator.Unreadable, As: "no-id"},
	{Mode: simulator.Unreadable, As: "other-id"},
	{Mode: simulator.Fail, Status: 500},
	{Mode: simulator.Fail, Status: 400},
	{Mode: simulator.Fail, Status: 404},
	{Mode: simulator.Gateway, Status: 404},
	{Mode: simulator.Gateway, Status: 502},
	{Mode: simulator.Slow, DelayMs: 2000},
	{Mode: simulator.Wrong},
	{Mode: simulator.Truncated},
	{Mode: simulator.Reset},
	{Mode: simulator.Away},
}

func itemFaultName(f simulator.Fault) string {
	if f.As != "" {
		return f.As
	}
	return name(f)
}

// impatient makes each read ask again soon, so that a test sees many answers.
func impatient(f *fixture) {
	f.cfg.Fresh, f.cfg.Revalidate = 20*time.Millisecond, 40*time.Millisecond
	f.cfg.FailureQuiet, f.cfg.BreakerOpen = 200*time.Millisecond, 500*time.Millisecond
}

// slack is what a machine under load may take longer.
const slack = time.Second

// live says whether a result is what the service says now, or said a moment ago.
func live(got Result) bool { return got.Outcome == Known && got.Level.Source != StaleFallback }

// breakerMoved says whether the breaker has ever left its closed state.
func (f *fixture) breakerMoved() bool { return strings.Contains(f.logs.String(), "breaker changed") }

// TestOneBadVariantCostsOneVariant lets the service fail for one variant of a page of 1, 2 and 40, in
// each way: the others of the page are live again soon, another product's is live all along, the bad one
// keeps its last known level, and the breaker stays closed.
func TestOneBadVariantCostsOneVariant(t *testing.T) {
	for _, fault := range itemFaults {
		for _, n := range []int{1, 2, 40} {
			t.Run(fmt.Sprintf("%s/%d", itemFaultName(fault), n), func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, impatient)
				ids := f.stock(n + 1)
				page, other, bad := ids[:n], ids[n], ids[n/2]
				f.read(page...)
				f.read(other)
				broken := fault
				broken.Variants = []uuid.UUID{bad}
				f.fault(broken)
				isolated := func() bool {
					time.Sleep(f.cfg.Revalidate)
					got := f.read(page...)
					return !slices.ContainsFunc(got, func(r Result) bool { return r.Level.VariantID != bad && !live(r) }) && !live(got[n/2])
				}
				eventually(t, "only the bad variant is stale", isolated)
				misses := 0
				for range 8 { // through some of the bad one's rests
					if !isolated() {
						misses++
					}
					if got := f.read(other)[0]; !live(got) {
						misses++
					}
				}
				if misses > 2 { // a machine under load may time out
					t.Errorf("%d times in 16 others weren't live", misses)
				}
				if got := f.read(bad)[0]; got.Outcome != Known || !got.Stale || got.Level.Available != 100 {
					t.Errorf("the bad one: %+v", got)
				}
				if f.breakerMoved() {
					t.Error("the breaker opened")
				}
				f.fault(simulator.Fault{Mode: simulator.None})
				eventually(t, "the bad one is live once it is well", func() bool { return live(f.read(bad)[0]) })
			})
		}
	}
}

// TestOnlyBadVariantsWanted: of a service that has answered for nothing yet only bad variants are wanted
// for a while; then a healthy one, which is live at once, or where the service might as well have been
// away, as soon as it was probed.
func TestOnlyBadVariantsWanted(t *testing.T) {
	for _, fault := range itemFaults {
		for _, n := range []int{1, 2, 40} {
			t.Run(fmt.Sprintf("%s/%d", itemFaultName(fault), n), func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, impatient)
				ids := f.stock(n + 1)
				page, healthy := ids[:n], ids[n]
				broken := fault
				broken.Variants = page
				f.fault(broken)
				for end := time.Now().Add(f.cfg.BreakerOpen); time.Now().Before(end); time.Sleep(f.cfg.Revalidate) {
					for i, got := range f.read(page...) {
						if got.Outcome == Known {
							t.Fatalf("position %d: a level is invented: %+v", i, got)
						}
					}
				}
				asked := time.Now()
				for !live(f.read(healthy)[0]) {
					if took := time.Since(asked); took > f.cfg.BreakerOpen+time.Second+slack {
						t.Fatalf("a healthy variant isn't live after %s", took)
					}
					time.Sleep(5 * time.Millisecond)
				}
				if n <= 2 && f.breakerMoved() {
					t.Error("the breaker opened over a variant or two")
				}
				if fault.Mode == simulator.Unreadable && f.breakerMoved() {
					t.Error("the breaker opened over levels that can't be read")
				}
			})
		}
	}
}

// TestPartOfTheServiceComesBack: after an outage the service answers again for all but the variants that
// were wanted last, or for one of them alone. What it answers for is live within the breaker's time and a
// second.
func TestPartOfTheServiceComesBack(t *testing.T) {
	for _, n := range []int{2, 40} {
		for _, rest := range []simulator.Fault{{Mode: simulator.Fail}, {Mode: simulator.Slow}, {Mode: simulator.Unreadable}} {
			t.Run(fmt.Sprintf("%s/%d", name(rest), n), func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, impatient)
				ids := f.stock(n)
				f.read(ids...)
				f.fault(simulator.Fault{Mode: simulator.Fail, Status: 503})
				eventually(t, "breaker open", func() bool {
					f.read(ids...)
					f.read(ids[0])
					return !f.client.reads.closed()
				})
				rest.Variants = ids[:1]
				f.fault(rest)
				well := time.Now()
				for {
					got := f.read(ids...)
					if !slices.ContainsFunc(got[1:], func(r Result) bool { return !live(r) }) {
						break
					}
					if took := time.Since(well); took > f.cfg.BreakerOpen+time.Second+slack {
						t.Fatalf("not live after %s", took)
					}
					time.Sleep(5 * time.Millisecond)
				}
			})
		}
	}
}

// TestAllLevelsUnreadable: a list in which none can be read is an answer. The breaker stays closed, and
// others are live.
func TestAllLevelsUnreadable(t *testing.T) {
	f := newFixture(t, impatient)
	ids := f.stock(41)
	f.read(ids...)
	f.fault(simulator.Fault{Mode: simulator.Unreadable, As: "status", Variants: ids[:40]})
	for range 20 {
		time.Sleep(f.cfg.Revalidate)
		f.read(ids[:40]...)
		if got := f.read(ids[40])[0]; !live(got) {
			t.Fatalf("got %+v", got)
		}
	}
	if f.breakerMoved() {
		t.Error("the breaker opened")
	}
}

// TestBadVariantsRest: the calls that a bad variant costs become few, and those it costs while it is
// looked for are bounded.
func TestBadVariantsRest(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.clock = newClock(); f.cfg.Retries = 0 })
	ids := f.stock(40)
	f.read(ids...)
	f.fault(simulator.Fault{Mode: simulator.Fail, Variants: ids[7:8]})
	f.clock.Advance(time.Minute)
	before := f.calls()
	f.read(ids...)
	if calls := f.calls() - before; calls > 1+maxSplits {
		t.Errorf("%d calls to find the bad one", calls)
	}
	before = f.calls()
	for range 100 { // ten seconds in which nothing else needs to be asked
		f.clock.Advance(100 * time.Millisecond)
		f.reader.Levels(t.Context(), ids[7:8], 0)
	}
	if calls := f.calls() - before; calls < 3 || calls > 12 {
		t.Errorf("%d calls in 10 s for one that failed", calls)
	}
}
