package read

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"product-service/product"
	"product-service/projection"
	"product-service/projection/projectiontest"
	"product-service/projection/store"
	"product-service/projection/view"
)

func exportedDays(t rapid.TB, r *Reader, where DayFilter, after DayID, at func(n int)) []Day {
	days := []Day{}
	if err := r.ExportDays(context.Background(), where, after, func(d *Day) error {
		days = append(days, *d)
		at(len(days))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return days
}

// wantedDays are the days of products as their timelines have them, without names.
func wantedDays(t rapid.TB, l *projectiontest.Log, r *Reader, products int, where DayFilter) []Day {
	days := []Day{}
	for n := range products {
		id := projectiontest.ID(0xaa, n)
		movements := wantedMovements(l, MovementFilter{ProductID: id})
		if len(movements) == 0 || (where.ProductID != uuid.Nil && where.ProductID != id) {
			continue
		}
		from, to := movements[len(movements)-1].OccurredAt.Truncate(24*time.Hour), r.now()
		if where.ProductID == uuid.Nil {
			_, watermark, err := r.projected(context.Background(), currentGeneration(t, r))
			if err != nil {
				t.Fatal(err)
			}
			if last := view.TimeOf(watermark).Truncate(24 * time.Hour).Add(24 * time.Hour); last.Before(to) {
				to = last
			}
		}
		if where.From != nil && where.From.After(from) {
			from = *where.From
		}
		if where.To != nil && where.To.Before(to) {
			to = *where.To
		}
		if !to.After(from) {
			continue
		}
		buckets, err := r.Timeline(context.Background(), id, from, to, Daily)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range buckets {
			days = append(days, Day{Bucket: b, ProductID: id})
		}
	}
	return days
}

func currentGeneration(t rapid.TB, r *Reader) store.Generation {
	g, err := r.store.Generation(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func withoutNames(t rapid.TB, days []Day) []Day {
	for i := range days {
		if days[i].Name == "" {
			t.Fatalf("a day has no name: %+v", days[i])
		}
		days[i].Name = ""
	}
	return days
}

// Ensure that the days of any history are its timelines, of a product or of all, in any span, and
// that an export of them goes on after any of them, also of one it hasn't.
func TestAnExportOfDaysIsTheTimelines(t *testing.T) {
	s := projectiontest.Open(t)
	rapid.Check(t, func(t *rapid.T) {
		l, r := projected(t, s, 3, rapid.IntRange(1, 60).Draw(t, "commands"))
		now := r.now()
		r.now = func() time.Time { return now }
		var where DayFilter
		if rapid.Bool().Draw(t, "one product") {
			where.ProductID = projectiontest.ID(0xaa, rapid.IntRange(0, 2).Draw(t, "which"))
		}
		if rapid.Bool().Draw(t, "from") {
			where.From = new(moment(t, l))
		}
		if rapid.Bool().Draw(t, "to") {
			where.To = new(moment(t, l).Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "days")) * 24 * time.Hour))
		}
		if where.From != nil && where.To != nil && !where.To.After(*where.From) {
			where.To = nil
		}
		want := wantedDays(t, l, r, 3, where)
		got := withoutNames(t, exportedDays(t, r, where, DayID{}, func(int) {}))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("days of %+v (-want +got):\n%.4000s", where, diff)
		}
		if len(want) == 0 {
			return
		}
		n := rapid.IntRange(0, len(want)-1).Draw(t, "after")
		rest := withoutNames(t, exportedDays(t, r, where, DayID{want[n].ProductID, want[n].Start}, func(int) {}))
		if diff := cmp.Diff(append([]Day{}, want[n+1:]...), rest); diff != "" {
			t.Fatalf("after row %d (-want +got):\n%.4000s", n, diff)
		}
	})
}

// Ensure that an export of days goes on, without a gap and without a repetition, when a rebuild
// drops the generation that it began in.
func TestAnExportOfDaysOutlivesItsGeneration(t *testing.T) {
	s := projectiontest.Open(t)
	s.Config.ReadTimeout = 300 * time.Millisecond // rebuilds wait for readers
	l := projectiontest.NewLog()
	for n := range productPage + 20 {
		l.Do(projectiontest.ID(0xaa, n), time.Second, product.Create{Name: "P", InitialStock: 3})
	}
	for n := range 40 {
		l.Do(projectiontest.ID(0xaa, n), 5*time.Hour, product.AdjustStock{Delta: 1, Reason: "x"})
	}
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	projectiontest.Settle(t, s, l)
	r := NewReader(s, nil)
	now := r.now()
	r.now = func() time.Time { return now }
	where := DayFilter{From: new(l.Clock.Add(-20 * 24 * time.Hour))}
	want := exportedDays(t, r, where, DayID{}, func(int) {})
	if len(want) < 3*productPage {
		t.Fatalf("%d days", len(want))
	}
	got := exportedDays(t, r, where, DayID{}, func(n int) {
		if n != 17 {
			return
		}
		if err := projection.Rebuild(t.Context(), s, l, projectiontest.Quiet, projection.RebuildOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		m, err := s.LoadMeta(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		projectiontest.SettleIn(t, s, l, m.Generation)
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%d rows of %d; (-want +got):\n%.2000s", len(got), len(want), diff)
	}
}

// Ensure that a day is listed wherever in it the span begins or ends, that a span without length
// has none, and that only a day of the list can be gone on after.
func TestTheEdgesOfAnExportOfDays(t *testing.T) {
	s := projectiontest.Open(t)
	l, id := projectiontest.NewLog(), projectiontest.ID(0xaa, 1)
	midnight := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	l.Clock = midnight.Add(30 * time.Hour)
	l.Do(id, 0, product.Create{Name: "Before", InitialStock: 100})
	l.Do(id, 10*24*time.Hour, product.AdjustStock{Delta: 1, Reason: "x"})
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	projectiontest.Settle(t, s, l)
	r, day := NewReader(s, nil), 24*time.Hour
	for _, c := range []struct {
		from, to time.Duration
		days     int
	}{
		{0, day, 0}, {0, 2 * day, 1}, {0, 2*day + time.Microsecond, 2}, {3 * day, 4 * day, 1}, {4*day - time.Microsecond, 4*day + time.Microsecond, 2},
		{3 * day, 3 * day, 0}, {3*day + time.Hour, 3*day + time.Hour, 0}, {5 * day, 3 * day, 0}, {-100 * 365 * day, 3 * day, 2},
	} {
		where := DayFilter{ProductID: id, From: new(midnight.Add(c.from)), To: new(midnight.Add(c.to))}
		if got := exportedDays(t, r, where, DayID{}, func(int) {}); len(got) != c.days {
			t.Errorf("from %s to %s there are %d days: %+v", c.from, c.to, len(got), got)
		}
	}
	err := r.ExportDays(t.Context(), DayFilter{ProductID: id}, DayID{projectiontest.ID(0xaa, 2), midnight}, func(*Day) error { return nil })
	if !errors.Is(err, ErrBadRange) {
		t.Errorf("after another product's day: %v", err)
	}
}
