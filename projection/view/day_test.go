package view_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"product-service/eventstore"
	"product-service/product"
	"product-service/projection/projectiontest"
	"product-service/projection/view"
)

// sums are what the log says of a span that the movements don't.
type sums struct{ outOfStock, refusals, refused int64 }

// recount goes through a product's part of the log second by second, up to the last row that its
// sums know of.
func recount(t *rapid.T, l *projectiontest.Log, id uuid.UUID, width int64) map[int64]sums {
	counted := map[int64]sums{}
	e := view.NewEntry(id)
	empty, since := false, int64(0)
	for _, r := range l.Of(id) {
		event, err := product.Decode(r.Type, r.Data)
		if err != nil {
			t.Fatal(err)
		}
		m, ok, err := e.Fold(r, event)
		if err != nil {
			t.Fatal(err)
		}
		failed, isRefusal := event.(product.ReservationFailed)
		isRefusal = isRefusal && failed.Reason == product.InsufficientStock && e.Doc.Since > 0
		moved := ok && m.Type.Visible()
		_, renamed := event.(product.Updated)
		renamed = renamed && since > 0 && r.At.Unix()/view.SecondsPerDay > since/view.SecondsPerDay // it ends a day
		if !moved && !isRefusal && !renamed {
			continue
		}
		for ; empty && since < r.At.Unix(); since++ {
			sum := counted[since/width]
			sum.outOfStock++
			counted[since/width] = sum
		}
		if since = r.At.Unix(); moved {
			empty = m.Total == m.Reserved
			continue
		}
		if renamed {
			continue
		}
		sum := counted[since/width]
		sum.refusals, sum.refused = sum.refusals+1, sum.refused+failed.Quantity
		counted[since/width] = sum
	}
	return counted
}

// Ensure that hours and days say for how long nothing was available, and what was refused, as a
// count of every second does.
func TestSpansCountWhatIsOutOfStockAndRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := projectiontest.NewLog()
		projectiontest.History(t, l, 2, 60)
		for n := range 2 {
			id := projectiontest.ID(0xaa, n)
			e := view.NewEntry(id)
			for _, r := range l.Of(id) {
				event, err := product.Decode(r.Type, r.Data)
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := e.Fold(r, event); err != nil {
					t.Fatal(err)
				}
			}
			hours, days := map[int64]sums{}, map[int64]sums{}
			note := func(in map[int64]sums, number int64, b view.Bucket) {
				if sum := (sums{b.OutOfStock, b.Refusals, b.Refused}); sum != (sums{}) {
					in[number] = sum
				}
			}
			note(hours, e.Doc.Hour.Start/view.SecondsPerHour, e.Doc.Hour.Bucket)
			note(days, e.Doc.Today.Start/view.SecondsPerDay, e.Doc.Today.Bucket)
			for _, d := range e.Days {
				for _, h := range d.Hours {
					note(hours, h.Number, h.Bucket)
				}
				if d.Sums != nil {
					note(days, d.Date.Unix()/view.SecondsPerDay, *d.Sums)
				}
			}
			for what, c := range map[string]struct {
				width int64
				got   map[int64]sums
				there func(int64) bool
			}{
				"hours": {view.SecondsPerHour, hours, func(n int64) bool { return hasHour(e, n) }},
				"days":  {view.SecondsPerDay, days, func(n int64) bool { return hasDay(e, n) }},
			} {
				want := recount(t, l, id, c.width)
				for number := range want {
					if !c.there(number) {
						delete(want, number) // nothing happened in it: it has no sums of its own, see idle
					}
				}
				if diff := cmp.Diff(want, c.got, cmp.AllowUnexported(sums{})); diff != "" {
					t.Fatalf("%s of %s (-counted +folded):\n%s", what, id, diff)
				}
			}
			checkIdle(t, e)
		}
	})
}

func hasHour(e *view.Entry, number int64) bool {
	return slices.ContainsFunc(hoursOf(e), func(h view.Hour) bool { return h.Number == number })
}

func hasDay(e *view.Entry, number int64) bool {
	if e.Doc.Today.Start == number*view.SecondsPerDay {
		return true
	}
	for _, d := range e.Days {
		if d.Date.Unix() == number*view.SecondsPerDay {
			return true
		}
	}
	return false
}

// checkIdle checks that each day says how many days passed before it, and opens with what they had.
func checkIdle(t *rapid.T, e *view.Entry) {
	var last *view.Day
	check := func(date time.Time, opening, idle int64) {
		want := int64(0)
		if last != nil {
			want = (date.Unix()-last.Date.Unix())/view.SecondsPerDay - 1
			if opening != last.Sums.Closing {
				t.Fatalf("%s opens with %d, %s closed with %d", date, opening, last.ID, last.Sums.Closing)
			}
		}
		if idle != want {
			t.Fatalf("%d idle days before %s, there were %d", idle, date, want)
		}
	}
	for i := range e.Days {
		if d := &e.Days[i]; d.Sums != nil {
			check(d.Date, d.Sums.Opening, d.Idle)
			last = d
		}
	}
	if today := e.Doc.Today; today.Start != 0 {
		check(time.Unix(today.Start, 0).UTC(), today.Opening, e.Doc.IdleDays)
	}
}

// Ensure that a fold of a log whose refusals were summed up by the hour comes to the same as one of
// all of them.
func TestCondensedRefusalsFoldToTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows, _ := history(t)
		if len(rows) == 0 {
			return
		}
		old := rapid.IntRange(0, len(rows)).Draw(t, "forgotten")
		left := append(condensed(t, rows[:old]), rows[old:]...)
		if len(left) == 0 {
			return
		}
		want, _ := folded(t, rows)
		got, _ := folded(t, left)
		if diff := cmp.Diff(want.Doc, got.Doc); diff != "" {
			t.Fatalf("(-all +condensed)\n%s", diff)
		}
		if diff := cmp.Diff(want.Days, got.Days); diff != "" {
			t.Fatalf("(-all +condensed)\n%s", diff)
		}
	})
}

// Ensure that a day keeps the name that the product had when it was over, whatever was forgotten of
// the refusals around a change of the name.
func TestADayHasTheNameOfItsEnd(t *testing.T) {
	l, id := projectiontest.NewLog(), projectiontest.ID(0xaa, 0)
	before, after := "Before", "After"
	l.Do(id, time.Second, product.Create{Name: before, InitialStock: 1})
	const tooMany = 2
	l.Do(id, 25*time.Hour, product.Reserve{ReservationID: projectiontest.ID(0xcc, 1), Quantity: tooMany})
	l.Do(id, time.Second, product.Update{Name: &after})
	l.Do(id, time.Second, product.Reserve{ReservationID: projectiontest.ID(0xcc, 2), Quantity: tooMany})
	l.Do(id, 24*time.Hour, product.AdjustStock{Delta: 1, Reason: "counted"})
	for name, rows := range map[string][]eventstore.Record{"all": l.Of(id), "condensed": condensed(t, l.Of(id))} {
		e, _ := folded(t, rows)
		var names []string
		for _, d := range e.Days {
			if d.Sums != nil {
				names = append(names, d.Name)
			}
		}
		if !slices.Equal(names, []string{before, after}) {
			t.Errorf("%s: the days are named %q", name, names)
		}
	}
}

// condensed is a part of the log whose refusals have been forgotten: of those of an hour there is
// one row, in the place of the last.
func condensed(t rapid.TB, rows []eventstore.Record) (left []eventstore.Record) {
	sums, last := map[int64]product.RequestsRefused{}, map[int64]int64{}
	for _, r := range rows {
		if event, err := product.Decode(r.Type, r.Data); err != nil {
			t.Fatal(err)
		} else if failed, ok := event.(product.ReservationFailed); ok && failed.Reason == product.InsufficientStock {
			hour := r.At.Unix() / view.SecondsPerHour
			sums[hour], last[hour] = sums[hour].Add(event), r.Pos
		}
	}
	for _, r := range rows {
		if r.Type == product.TypeOf(product.ReservationFailed{}) {
			hour := r.At.Unix() / view.SecondsPerHour
			if last[hour] != r.Pos {
				continue
			}
			data, err := product.Encode(sums[hour], product.Origin{})
			if err != nil {
				t.Fatal(err)
			}
			r.Type, r.Data = product.TypeOf(product.RequestsRefused{}), data
		}
		left = append(left, r)
	}
	return left
}
