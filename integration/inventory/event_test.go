package inventory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestParseEvent(t *testing.T) {
	id, variant := uuid.New(), uuid.New()
	body := func(middle string) string {
		return fmt.Sprintf(`{"eventId":%q,%s"timestamp":"2026-03-01T13:00:00+01:00","productVariantId":%q}`, id, middle, variant)
	}
	good := []struct {
		name, body, header string
		kind               EventType
		available          int64 // -1: none
	}{
		{"the specification's example, typed by its header", body(""), "InventoryOutOfStockEvent", OutOfStockEvent, -1},
		{"typed by itself", body(`"type":"InventoryLowStockEvent","availableQuantity":3,`), "", LowStockEvent, 3},
		{"body before header", body(`"type":"InventoryBackInStockEvent",`), "InventoryLowStockEvent", BackInStockEvent, -1},
		{"fields we don't know", body(`"type":"InventoryLowStockEvent","warehouse":7,`), "", LowStockEvent, -1},
		{"a number with a fraction of zeros", body(`"type":"InventoryLowStockEvent","availableQuantity":3.0,`), "", LowStockEvent, 3},
		{"a byte order mark", "\ufeff" + body(`"type":"InventoryLowStockEvent",`), "", LowStockEvent, -1},
		{"a name in another case beside the right one", body(`"type":"InventoryLowStockEvent","AvailableQuantity":9,`), "", LowStockEvent, -1},
		{"nothing left", body(`"type":"InventoryOutOfStockEvent","availableQuantity":0,`), "", OutOfStockEvent, 0},
	}
	for _, c := range good {
		e, err := ParseEvent([]byte(c.body), c.header)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if e.ID != id || e.VariantID != variant || e.Type != c.kind || !e.At.Equal(noon) || (e.Available == nil) != (c.available < 0) {
			t.Errorf("%s: got %+v", c.name, e)
		}
	}
	bad := []struct{ name, body, header, says string }{
		{"no JSON", "<x/>", "", "not the JSON"},
		{"a list", "[]", "", "not the JSON"},
		{"no type anywhere", body(""), "", "ce_type"},
		{"unknown type", body(`"type":"InventoryGoneEvent",`), "", "InventoryOutOfStockEvent"},
		{"negative", body(`"type":"InventoryLowStockEvent","availableQuantity":-1,`), "", "from 0"},
		{"out of stock with stock", body(`"type":"InventoryOutOfStockEvent","availableQuantity":2,`), "", "allowed is 0"},
		{"fraction", body(`"type":"InventoryLowStockEvent","availableQuantity":1.5,`), "", "availableQuantity"},
		{"nothing", "{}", "", "eventId"},
		{"nothing, again", "{}", "", "timestamp"},
		{"no UUID", `{"eventId":"7"}`, "", "eventId is \"7\""},
		{"a name in another case", strings.Replace(body(`"type":"InventoryLowStockEvent",`), "eventId", "EventId", 1), "", "eventId is missing"},
		{"a time without an offset", strings.Replace(body(`"type":"InventoryLowStockEvent",`), "+01:00", "", 1), "", "without an offset"},
		{"more than can be shown", body(`"type":"InventoryLowStockEvent","availableQuantity":2147483648,`), "", "to 2147483647"},
		{"a quantity twice", body(`"type":"InventoryLowStockEvent","availableQuantity":1,"availableQuantity":2,`), "", "twice"},
	}
	for _, c := range bad {
		_, err := ParseEvent([]byte(c.body), c.header)
		if !errors.Is(err, ErrEvent) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v doesn't say %q", c.name, err, c.says)
		}
	}
}

func TestEventsChangeLevels(t *testing.T) {
	cases := []struct {
		name      string
		kind      EventType
		available *int64
		after     time.Duration // the event's time, from the level's
		status    Status
		want      int64
		source    Source
		asked     bool
	}{
		{"out of stock", OutOfStockEvent, nil, time.Second, OutOfStock, 0, FromEvent, false},
		{"low with a quantity", LowStockEvent, new(int64(4)), time.Second, LowStock, 4, FromEvent, false},
		{"back with a quantity", BackInStockEvent, new(int64(40)), time.Second, InStock, 40, FromEvent, false},
		{"low with nothing left", LowStockEvent, new(int64(0)), time.Second, OutOfStock, 0, FromEvent, false},
		{"low without a quantity", LowStockEvent, nil, time.Second, InStock, 100, Live, true},
		{"back without a quantity", BackInStockEvent, nil, time.Second, InStock, 100, Live, true},
		{"back with none", BackInStockEvent, new(int64(0)), time.Second, InStock, 100, Live, true},
		{"older out of stock", OutOfStockEvent, nil, -time.Second, InStock, 100, Cache, false},
		{"older without a quantity", LowStockEvent, nil, -time.Second, InStock, 100, Cache, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, func(f *fixture) { f.clock = newClock() })
			id := f.stock(1)[0]
			f.clock.Advance(2 * time.Second)
			updated := f.read(id)[0].Level.UpdatedAt
			before := f.calls()
			e := Event{ID: uuid.New(), Type: c.kind, VariantID: id, At: updated.Add(c.after), Available: c.available}
			for range 2 { // a repetition changes nothing
				f.reader.Apply(context.Background(), e)
			}
			got := f.read(id)[0]
			if got.Outcome != Known || got.Level.Available != c.want || got.Level.Status != c.status || got.Level.Source != c.source {
				t.Errorf("got %+v", got)
			}
			if asked := f.calls() > before; asked != c.asked {
				t.Errorf("asked: %v, want %v", asked, c.asked)
			}
		})
	}
}

// TestEventWinsOverAnOlderAnswer: the service still answers with what it had before its own event.
func TestEventWinsOverAnOlderAnswer(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.clock = newClock() })
	id := f.stock(1)[0]
	f.clock.Advance(time.Hour)
	f.reader.Apply(context.Background(), Event{ID: uuid.New(), Type: OutOfStockEvent, VariantID: id, At: f.clock.Now()})
	f.clock.Advance(time.Minute)
	got := f.read(id)[0]
	if got.Outcome != Known || got.Level.Available != 0 || got.Level.Source != FromEvent || got.Stale {
		t.Fatalf("older answer won: %+v", got)
	}
	if age := got.Level.Age(f.clock.Now()); age != 0 {
		t.Fatalf("the service was asked now and has nothing newer, yet the age is %s", age)
	}
	f.set(id, 50) // now newer than the event
	f.clock.Advance(time.Minute)
	if got := f.read(id)[0]; got.Level.Available != 50 || got.Level.Source != Live {
		t.Fatalf("newer answer lost: %+v", got)
	}
}

func TestQuantitylessEventNeverMeansZero(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.clock, f.cfg.BreakerOpen = newClock(), time.Hour })
	id := f.stock(1)[0]
	f.read(id)
	f.client.reads.state.Store(2) // open: nobody may be asked
	f.clock.Advance(time.Second)
	f.reader.Apply(context.Background(), Event{ID: uuid.New(), Type: LowStockEvent, VariantID: id, At: f.clock.Now()})
	if got := f.read(id)[0]; got.Level.Available != 100 || !got.Stale || got.Level.Source != StaleFallback {
		t.Fatalf("got %+v", got)
	}
}

// TestEventsOfOthersLeaveNoTrace: an event that another instance applies changes what this one
// holds, and makes nothing durable.
func TestEventsOfOthersLeaveNoTrace(t *testing.T) {
	known := newMemory()
	f := newFixture(t, func(f *fixture) { f.known, f.cfg.CacheSize, f.cfg.SaveDelay = known, 3200, time.Millisecond })
	ids := f.stock(100)
	f.read(ids...)
	for range 2000 {
		f.reader.ApplyHeld(context.Background(), Event{ID: uuid.New(), Type: OutOfStockEvent, At: time.Now(), VariantID: uuid.New()})
		f.reader.ApplyHeld(context.Background(), changed(uuid.New(), time.Now()))
	}
	if n := f.reader.store.len(); n != len(ids) {
		t.Errorf("%d variants are held, %d of them were read", n, len(ids))
	}
	watched, ours := uuid.New(), uuid.New()
	levels, cancel := watch(f.reader, []uuid.UUID{watched})
	defer cancel()
	soldOut := func(id uuid.UUID) Event {
		return Event{ID: uuid.New(), Type: OutOfStockEvent, At: time.Now().Add(time.Second), VariantID: id}
	}
	f.reader.ApplyHeld(context.Background(), soldOut(watched))
	heard(t, levels, []uuid.UUID{watched}, 0)
	f.reader.ApplyHeld(context.Background(), soldOut(ids[0]))
	if got := f.read(ids[0])[0].Level; got.Status != OutOfStock || got.Source != FromEvent {
		t.Errorf("what is held was not changed: %+v", got)
	}
	f.reader.Apply(context.Background(), soldOut(ours)) // not held, but known to be ours
	e := soldOut(ids[1])
	f.reader.ApplyHeld(context.Background(), e)
	f.reader.Apply(context.Background(), e) // the second to come saves all the same
	f.close()
	for _, id := range []uuid.UUID{ours, ids[1]} {
		if saved, _ := known.get(id); saved.Status != OutOfStock {
			t.Errorf("an event of ours is not durable: %+v", saved)
		}
	}
	if saved, _ := known.get(ids[0]); saved.Status != InStock {
		t.Errorf("what is only held is durable: %+v", saved)
	}
	if n := len(known.levels); n != len(ids)+1 {
		t.Errorf("%d levels are durable", n)
	}
}

// TestClockAheadIsNoChange: answers of a service whose clock runs ahead say the same each time.
func TestClockAheadIsNoChange(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.clock = newClock() })
	id := uuid.New()
	f.clock.Advance(time.Hour)
	f.set(id, 5)
	f.clock.Advance(-time.Hour)
	first := f.read(id)[0].Level
	levels, cancel := watch(f.reader, []uuid.UUID{id})
	defer cancel()
	for range 5 {
		f.clock.Advance(time.Minute)
		if got := f.read(id)[0].Level; !got.UpdatedAt.Equal(first.UpdatedAt) || !got.FetchedAt.Equal(f.clock.Now()) {
			t.Fatalf("got %+v, first %+v", got, first)
		}
	}
	f.set(id, 6) // by now later than the clamped time, and another number
	f.clock.Advance(time.Minute)
	f.read(id)
	if next := <-levels; next.Available != 6 {
		t.Errorf("told %+v", next)
	}
}

func TestFutureTimesDoNotWinForEver(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.clock = newClock() })
	id := f.stock(1)[0]
	f.reader.Apply(context.Background(), Event{ID: uuid.New(), Type: OutOfStockEvent, VariantID: id, At: f.clock.Now().AddDate(50, 0, 0)})
	f.clock.Advance(time.Hour)
	f.set(id, 9)
	if got := f.read(id)[0]; got.Level.Available != 9 {
		t.Fatalf("got %+v", got)
	}
}

// TestEventsMergeInAnyOrder merges the levels of the same events in two orders: the same level must
// be known at the end, the newest.
func TestEventsMergeInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := uuid.New()
		levels := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) Level {
			updated := rapid.IntRange(0, 20).Draw(t, "updated")
			at := noon.Add(time.Duration(updated) * time.Second)
			return Level{VariantID: id, Available: int64(updated), Status: InStock, UpdatedAt: at, FetchedAt: at, Source: FromEvent}
		}), 1, 6, func(l Level) int64 { return l.Available }).Draw(t, "levels")
		newest := levels[0]
		for _, level := range levels {
			if level.UpdatedAt.After(newest.UpdatedAt) {
				newest = level
			}
		}
		for _, order := range [][]Level{levels, rapid.Permutation(levels).Draw(t, "order")} {
			var e *entry
			for _, level := range order {
				e = mergeEvent(e, level)
			}
			if e.level != newest {
				t.Fatalf("got %+v, newest is %+v", e.level, newest)
			}
		}
	})
}

// TestWhatTheServiceSaysNowCounts holds the rules of merging against each other: each case is what
// is learnt one after the other.
func TestWhatTheServiceSaysNowCounts(t *testing.T) {
	at := func(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
	answered := func(n int64, stamp, asked int) func(*entry) *entry {
		return func(e *entry) *entry {
			return mergeAnswer(e, Level{Available: n, Status: InStock, UpdatedAt: at(stamp), FetchedAt: at(asked + 1), Source: Live}, at(asked))
		}
	}
	said := func(n int64, stamp int) func(*entry) *entry {
		return func(e *entry) *entry {
			return mergeEvent(e, Level{Available: n, Status: InStock, UpdatedAt: at(stamp), FetchedAt: at(stamp), Source: FromEvent})
		}
	}
	absent := func(asked int) func(*entry) *entry {
		return func(e *entry) *entry { return mergeAbsence(e, uuid.Nil, at(asked), 3*time.Second) }
	}
	const none = -1
	cases := []struct {
		name  string
		steps []func(*entry) *entry
		want  int64
		doubt bool
	}{
		{"an answer with an older stamp", []func(*entry) *entry{answered(50, 0, 1), answered(0, -3, 5)}, 0, false},
		{"and one older still", []func(*entry) *entry{answered(50, 0, 1), answered(0, -3, 5), answered(20, -3600, 9)}, 20, false},
		{"an answer that was asked for earlier and comes later", []func(*entry) *entry{answered(50, 0, 5), answered(7, 9, 1)}, 50, false},
		{"an event that is newer than the answer", []func(*entry) *entry{answered(50, 0, 1), said(3, 2)}, 3, false},
		{"an event that is older than the answer", []func(*entry) *entry{answered(50, 0, 1), said(3, -2)}, 50, false},
		{"an event that is older than an earlier answer", []func(*entry) *entry{answered(50, 0, 1), answered(20, -3600, 5), said(3, -60)}, 20, false},
		{"an answer from before the event", []func(*entry) *entry{said(3, 2), answered(50, 0, 9)}, 3, false},
		{"an answer from after the event", []func(*entry) *entry{said(3, 2), answered(50, 4, 9)}, 50, false},
		{"answers go on once one has agreed with the event", []func(*entry) *entry{said(3, 2), answered(3, 0, 9), answered(8, 1, 12)}, 8, false},
		{"an absence", []func(*entry) *entry{answered(50, 0, 1), absent(5)}, 50, true},
		{"an absence asked for again at once", []func(*entry) *entry{answered(50, 0, 1), absent(5), absent(7)}, 50, true},
		{"an absence confirmed", []func(*entry) *entry{answered(50, 0, 1), absent(5), absent(8)}, none, false},
		{"an absence taken back", []func(*entry) *entry{answered(50, 0, 1), absent(5), answered(40, 0, 6), absent(9)}, 40, true},
		{"an absence asked for before the answer", []func(*entry) *entry{answered(50, 0, 5), absent(1)}, 50, false},
		{"an absence of what was never known", []func(*entry) *entry{absent(1)}, none, false},
		{"an event from before an absence", []func(*entry) *entry{absent(1), absent(9), said(3, 5)}, none, false},
		{"an event from after an absence", []func(*entry) *entry{absent(1), absent(9), said(3, 10)}, 3, false},
	}
	for _, c := range cases {
		var e *entry
		for _, step := range c.steps {
			e = step(e)
		}
		got := int64(none)
		if e.known {
			got = e.level.Available
		}
		if got != c.want || e.doubtful() != c.doubt {
			t.Errorf("%s: got %d, in doubt %v; want %d, %v", c.name, got, e.doubtful(), c.want, c.doubt)
		}
	}
}

func TestWatch(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.clock = newClock() })
	ids := f.stock(3)
	f.read(ids...)
	levels, stop := watch(f.reader, ids[:2])
	f.clock.Advance(time.Second)
	apply := func(id uuid.UUID, n int64) {
		f.clock.Advance(time.Millisecond)
		f.reader.Apply(context.Background(), Event{ID: uuid.New(), Type: BackInStockEvent, VariantID: id, At: f.clock.Now(), Available: &n})
	}
	apply(ids[0], 1)
	apply(ids[2], 1) // not watched
	if next := <-levels; next.VariantID != ids[0] || next.Available != 1 {
		t.Fatalf("got %+v", next)
	}
	// An event that says only "changed" fetches the new level for those who watch.
	f.set(ids[1], 5)
	f.clock.Advance(time.Second)
	f.reader.Apply(context.Background(), Event{ID: uuid.New(), Type: LowStockEvent, VariantID: ids[1], At: f.clock.Now()})
	if next := <-levels; next.VariantID != ids[1] || next.Available != 5 {
		t.Fatalf("got %+v", next)
	}
	// Asking again with the same answer is no change.
	f.clock.Advance(time.Minute)
	f.read(ids[1])
	apply(ids[0], 7)
	if next := <-levels; next.VariantID != ids[0] || next.Available != 7 {
		t.Fatalf("got %+v", next)
	}
	stop()
	stop()
	if f.reader.watchers.wanted(ids[0]) {
		t.Error("the watch is still known after its end")
	}
	apply(ids[0], 8)
	select {
	case next := <-levels:
		t.Errorf("told %+v after the end of the watch", next)
	default:
	}
}

// What a watcher is told shows in Levels already.
func TestWatchersAreToldOfWhatLevelsShow(t *testing.T) {
	f := newFixture(t, nil)
	id := f.stock(1)[0]
	f.read(id)
	shown := make(chan Level, 1)
	defer f.reader.Watch(id, func(Level) { shown <- f.reader.level(context.Background(), id, 0).Level })()
	n := int64(3)
	f.reader.Apply(context.Background(), Event{ID: uuid.New(), Type: LowStockEvent, VariantID: id, At: time.Now().Add(time.Second), Available: &n})
	if got := <-shown; got.Available != n {
		t.Errorf("Levels shows %+v", got)
	}
}

func TestStoreIsBounded(t *testing.T) {
	levels, err := newStore(320)
	if err != nil {
		t.Fatal(err)
	}
	defer levels.close()
	hot := uuid.New()
	put := func(id uuid.UUID) {
		levels.change(id, true, func(*entry) *entry { return &entry{known: true, level: Level{VariantID: id}} })
	}
	put(hot)
	for range 10_000 {
		put(uuid.New())
		if levels.find(&hot).known() == nil {
			t.Fatal("a variant in use was evicted")
		}
	}
	if n := levels.len(); n > 320 {
		t.Fatalf("%d variants held, allowed are 320", n)
	}
}
