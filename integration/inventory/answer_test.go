package inventory

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/dev/simulator"
)

// TestLevelsAsTheServiceMayWriteThem reads one level in the forms that JSON and ISO 8601 allow, and
// refuses what isn't one, alone and in a list, where it is a fault of its own.
func TestLevelsAsTheServiceMayWriteThem(t *testing.T) {
	id, other := uuid.New(), uuid.New()
	item := func(change func(string) string) string {
		return change(fmt.Sprintf(`{"productVariantId":%q,"availableQuantity":25,"status":"IN_STOCK","updatedAt":"2026-01-02T03:04:05Z"}`, id))
	}
	replace := func(old, by string) string {
		return item(func(text string) string { return strings.Replace(text, old, by, 1) })
	}
	quantity := func(by string) string { return replace(`Quantity":25`, `Quantity":`+by) } // 25 alone may be in an id
	good := map[string]string{
		"plain":                             replace("", ""),
		"a fraction of zeros":               quantity("25.0"),
		"an exponent":                       quantity("2.5e1"),
		"the most that can be shown":        quantity("2147483647"),
		"a time in the basic form":          replace("2026-01-02T03:04:05Z", "20260102T030405Z"),
		"an offset without a colon":         replace("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123+0000"),
		"no seconds":                        replace("2026-01-02T03:04:05Z", "2026-01-02T03:04Z"),
		"an id in capitals":                 replace(id.String(), strings.ToUpper(id.String())),
		"a field in another case beside it": replace(`"status"`, `"AvailableQuantity":999,"AVAILABLEQUANTITY":-1,"status"`),
		"fields we don't know":              replace(`"status"`, `"warehouse":{"a":[1]},"status"`),
		"spaces":                            replace(`,`, " ,\n "),
	}
	bad := map[string]string{
		"negative":                  quantity("-2"),
		"a fraction":                quantity("2.5"),
		"more than can be shown":    quantity("2147483648"),
		"more than a double holds":  quantity("9007199254740993"),
		"beyond all":                quantity("1e400"),
		"a text for a number":       quantity(`"25"`),
		"no quantity":               quantity("null"),
		"a field in another case":   replace("availableQuantity", "AvailableQuantity"),
		"an unknown status":         replace("IN_STOCK", "BACKORDER"),
		"a status in another case":  replace("IN_STOCK", "in_stock"),
		"a time without an offset":  replace("05Z", "05"),
		"no time":                   replace(`,"updatedAt":"2026-01-02T03:04:05Z"`, ""),
		"a time as a number":        replace(`"2026-01-02T03:04:05Z"`, "1767323045"),
		"a field twice":             replace(`"status"`, `"availableQuantity":26,"status"`),
		"what is no UTF-8":          replace(`"status"`, "\"x\":\"\xe9\",\"status\""),
		"half a pair of surrogates": replace(`"status"`, `"x":"\ud83d","status"`),
	}
	neighbour := fmt.Sprintf(`{"productVariantId":%q,"availableQuantity":7,"status":"LOW_STOCK","updatedAt":"2026-01-02T03:04:05Z"}`, other)
	for name, text := range good {
		for _, bom := range []string{"", "\ufeff"} {
			one, err := decodeOne([]byte(bom+text), id)
			list, listErr := decodeList([]byte(bom + "[" + text + "," + neighbour + "]"))
			if err != nil || listErr != nil || len(list.levels) != 2 || list.levels[id] != one || one.Available != 25 && name != "the most that can be shown" {
				t.Errorf("%s: %+v %v, %+v %v", name, one, err, list, listErr)
			}
		}
	}
	for name, text := range bad {
		one, err := decodeOne([]byte(text), id)
		if blameOf(0, err) != blameNobody || err == nil || len(err.Error()) > 300 {
			t.Errorf("%s: %+v %v", name, one, err)
		}
		list, err := decodeList([]byte("[" + text + "," + neighbour + "]"))
		if err != nil || len(list.levels) != 1 || list.faulty[id] == nil || list.levels[other].Available != 7 {
			t.Errorf("%s in a list: %+v %v", name, list, err)
		}
	}
}

// TestTheLatestAnswerCounts: a level that the service stamps earlier than the one before is what it has
// now.
func TestTheLatestAnswerCounts(t *testing.T) {
	known := newMemory()
	f := newFixture(t, func(f *fixture) { f.clock, f.known, f.cfg.SaveDelay = newClock(), known, time.Millisecond })
	id := uuid.New()
	stamp := f.clock.Now()
	levels, cancel := watch(f.reader, []uuid.UUID{id})
	defer cancel()
	for _, step := range []struct {
		available int64
		stamp     time.Duration
	}{{50, 0}, {0, -3 * time.Second}, {20, -time.Hour}} {
		if _, err := f.sim.Stamp(id, step.available, stamp.Add(step.stamp)); err != nil {
			t.Fatal(err)
		}
		f.clock.Advance(time.Minute)
		got := f.read(id)[0]
		if got.Level.Available != step.available || got.Level.Source != Live || !got.Level.UpdatedAt.Equal(stamp.Add(step.stamp)) {
			t.Errorf("got %+v, want %d", got, step.available)
		}
		heard(t, levels, []uuid.UUID{id}, step.available)
		eventually(t, "durable", func() bool { saved, _ := known.get(id); return saved.Available == step.available })
	}
}

// answers404 makes the service answer 404 in one way for lists and for single variants.
type answers404 struct {
	contentType, body string
}

// TestA404ThatIsNoAnswerSaysNothing: only a 404 of the service itself, for a variant alone, says that
// there is no record. Any other leaves what is known as it is, and the variant unknown where nothing is.
func TestA404ThatIsNoAnswerSaysNothing(t *testing.T) {
	for name, says := range map[string]answers404{
		"a gateway's page": {"text/html", "<html>404 page not found</html>"},
		"plain text":       {"text/plain; charset=utf-8", "404 page not found\n"},
		"nothing":          {"", ""},
		"no JSON":          {"application/json", "<html>"},
	} {
		for _, n := range []int{1, 2, 40} {
			t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, func(f *fixture) { f.clock = newClock() })
				ids := f.stock(n)
				f.read(ids...)
				var status atomic.Int64
				status.Store(http.StatusNotFound)
				f.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", says.contentType)
					w.WriteHeader(int(status.Load()))
					_, _ = w.Write([]byte(says.body))
				})
				stranger := uuid.New()
				for round := range 6 {
					f.clock.Advance(time.Minute)
					for i, got := range f.read(append(ids, stranger)...) {
						if i == n && got.Outcome != Unavailable {
							t.Errorf("round %d: a variant never known is %+v", round, got)
						}
						if i < n && (got.Outcome != Known || !got.Stale || got.Level.Available != 100 || got.Level.Source != StaleFallback) {
							t.Errorf("round %d: %+v", round, got)
						}
					}
					if round == 3 {
						status.Store(http.StatusServiceUnavailable)
					}
				}
			})
		}
	}
}

// TestAnAbsenceIsConfirmed: a level is let go only when the service says twice, some seconds apart, that
// it has no record. In between it is shown as stale, and the service is asked no more than for any
// absence. What was never known is absent at once.
func TestAnAbsenceIsConfirmed(t *testing.T) {
	for _, n := range []int{1, 2} { // 404 of the one, and missing in a list
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			f := newFixture(t, func(f *fixture) { f.clock = newClock() })
			ids := f.stock(n)
			f.read(ids...)
			f.fault(simulator.Fault{Mode: simulator.Absent, Variants: ids[:1]})
			f.clock.Advance(time.Minute)
			before := f.calls()
			for range 5 {
				if got := f.read(ids...)[0]; got.Outcome != Known || !got.Stale || got.Level.Available != 100 || got.Level.Source != StaleFallback {
					t.Fatalf("an absence said once: %+v", got)
				}
			}
			if got := f.reader.level(t.Context(), ids[0], 10*time.Second); got.Outcome != Absent {
				t.Errorf("to who doesn't take a level as old: %+v", got)
			}
			if calls := f.calls() - before; calls > 2 {
				t.Errorf("%d calls", calls)
			}
			f.clock.Advance(f.cfg.AbsentFor)
			if got := f.read(ids[0])[0]; got.Outcome != Absent || got.Err != nil {
				t.Errorf("an absence said twice: %+v", got)
			}
			if got := f.read(uuid.New())[0]; got.Outcome != Absent {
				t.Errorf("a variant never known: %+v", got)
			}
			f.fault(simulator.Fault{Mode: simulator.None})
			f.clock.Advance(f.cfg.AbsentFor)
			if got := f.read(ids[0])[0]; got.Outcome != Known || got.Level.Source != Live {
				t.Errorf("there again: %+v", got)
			}
		})
	}
}

// TestAnAbsenceTakenBack: a record that was missing once is there again, and what was known all along
// goes on.
func TestAnAbsenceTakenBack(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.clock = newClock() })
	ids := f.stock(2)
	f.read(ids...)
	f.fault(simulator.Fault{Mode: simulator.Absent, Variants: ids[:1]})
	f.clock.Advance(time.Minute)
	f.read(ids...)
	f.fault(simulator.Fault{Mode: simulator.None})
	f.clock.Advance(f.cfg.AbsentFor)
	if got := f.read(ids...)[0]; !live(got) || got.Stale {
		t.Errorf("got %+v", got)
	}
}

// TestAnAbsenceAfterARestart: a level that only the durable store knows is not let go for one absence
// either.
func TestAnAbsenceAfterARestart(t *testing.T) {
	known := newMemory()
	f := newFixture(t, func(f *fixture) { f.clock, f.known, f.cfg.SaveDelay = newClock(), known, time.Millisecond })
	ids := f.stock(2)
	f.read(ids...)
	f.close()
	f.fault(simulator.Fault{Mode: simulator.Absent})
	f.open()
	stranger := uuid.New()
	f.clock.Advance(time.Minute)
	got := f.reader.Levels(context.Background(), append(ids, stranger), 0)
	for _, r := range got[:2] {
		if r.Outcome != Known || !r.Stale || r.Level.Available != 100 {
			t.Errorf("got %+v", r)
		}
	}
	if got[2].Outcome != Absent {
		t.Errorf("a variant never known: %+v", got[2])
	}
	f.clock.Advance(f.cfg.AbsentFor)
	loads := known.loadCount()
	for _, r := range f.read(append(ids, stranger)...) {
		if r.Outcome != Absent {
			t.Errorf("said twice: %+v", r)
		}
	}
	if known.loadCount() != loads {
		t.Error("looked up again what was looked up")
	}
}
