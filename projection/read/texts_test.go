package read

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/product"
	"product-service/projection/projectiontest"
)

// named are products with these names, in the order of their ids, projected.
func named(t *testing.T, names ...string) *Reader {
	t.Helper()
	s, l := projectiontest.Open(t), projectiontest.NewLog()
	for n, name := range names {
		l.Do(projectiontest.ID(0xaa, n), time.Second, product.Create{Name: name, InitialStock: 5,
			Variants: []product.Variant{{ID: projectiontest.ID(0xbb, n), SKU: fmt.Sprintf("É-%d", n), Name: "Größe L"}}})
	}
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	projectiontest.Settle(t, s, l)
	return NewReader(s, nil)
}

func namesOf(page Page[Product]) []string {
	names := []string{}
	for _, e := range page.Edges {
		names = append(names, e.Node.Name)
	}
	return names
}

func TestASearchFindsWordsHoweverTheyAreWritten(t *testing.T) {
	all := []string{"Ka\u0308se alt", "Käse", "Kase", "ΛΟΓΟΣ", "Weißbier", "मसाला चाय", "यह चम्मच", "น้ำชา", "IŞIK", "Lamp 💡", "👩\u200d🔬 coat", "ﬁne (50%) .*", "zero\u200bwidth", "שָׁלוֹם"}
	r := named(t, all...)
	for search, want := range map[string][]string{
		"käse": {"Ka\u0308se alt", "Käse", "Kase"}, "ka\u0308s": {"Ka\u0308se alt", "Käse", "Kase"}, "KASE": {"Ka\u0308se alt", "Käse", "Kase"}, "kase alt": {"Ka\u0308se alt"},
		"λογος": {"ΛΟΓΟΣ"}, "WEISSBIER": {"Weißbier"}, "weiß": {"Weißbier"}, "चाय": {"मसाला चाय"}, "चम्": {"यह चम्मच"}, "น้ำ": {"น้ำชา"}, "ชา": {}, "ışık": {"IŞIK"}, "isik": {"IŞIK"},
		"💡": {"Lamp 💡"}, "👩": {"👩\u200d🔬 coat"}, "fine": {"ﬁne (50%) .*"}, "zerow": {"zero\u200bwidth"}, "שלום": {"שָׁלוֹם"}, "groesse": {}, "grosse": all, "é-1": {"Käse", "👩\u200d🔬 coat", "ﬁne (50%) .*", "zero\u200bwidth", "שָׁלוֹם"},
		"E\u0301-3": {"ΛΟΓΟΣ"}, ".*": {}, "(": {}, "": all, " \t": all, "\u200b\u2060 ": all, "\u3000": all,
	} {
		got, err := r.Products(t.Context(), ProductFilter{Search: search}, ProductOrder{}, Range{First: MaxNodes, Count: true})
		if err != nil || !slices.Equal(namesOf(got), want) || got.Total != int64(len(want)) {
			t.Errorf("%q finds %q (%d), %v; want %q", search, namesOf(got), got.Total, err, want)
		}
	}
}

// By name a list is in the order of a dictionary, whichever way and however it is paged; what is
// equal is in the order of ids.
func TestNamesAreInTheOrderOfADictionary(t *testing.T) {
	want := []string{"10 pegs", "apple", "Apple", "Éclair", "E\u0301clair", "Ego", "Zebra", "zebra\u200b x", "Ωmega", "चाय", "ชา", "红茶"}
	given := []string{"Zebra", "红茶", "Éclair", "ชา", "Apple", "Ωmega", "E\u0301clair", "zebra\u200b x", "apple", "चाय", "10 pegs", "Ego"}
	r := named(t, given...)
	backwards := slices.Clone(want)
	slices.Reverse(backwards)
	for _, descending := range []bool{false, true} {
		for _, backward := range []bool{false, true} {
			var got []string
			for at := ""; ; {
				page := Range{First: 1, After: at}
				if backward {
					page = Range{Last: 1, Before: at}
				}
				p, err := r.Products(t.Context(), ProductFilter{}, ProductOrder{Field: ByName, Descending: descending}, page)
				if err != nil || len(p.Edges) != 1 {
					t.Fatalf("%v, %d products", err, len(p.Edges))
				}
				got = append(got, namesOf(p)...)
				if at = p.Edges[0].Cursor; !p.HasNext && !backward || !p.HasPrevious && backward {
					break
				}
			}
			expected := want
			if descending != backward {
				expected = backwards
			}
			if !slices.Equal(got, expected) {
				t.Errorf("descending %v, from the end %v:\n%q, want\n%q", descending, backward, got, expected)
			}
		}
	}
}

// The first instant of the calendar is a bound like others, and not the absence of one.
func TestTheZeroTimeIsATime(t *testing.T) {
	r := named(t, "A", "B")
	var zero time.Time
	for _, id := range []uuid.UUID{uuid.Nil, projectiontest.ID(0xaa, 0)} {
		until, err := r.Movements(t.Context(), MovementFilter{ProductID: id, To: &zero}, Range{First: 10, Count: true})
		if err != nil || len(until.Edges) > 0 || until.Total > 0 {
			t.Errorf("of %s there are %d movements before the year 1, %v", id, until.Total, err)
		}
		since, err := r.Movements(t.Context(), MovementFilter{ProductID: id, From: &zero}, Range{First: 10, Count: true})
		if err != nil || since.Total == 0 {
			t.Errorf("of %s there are %d movements since the year 1, %v", id, since.Total, err)
		}
		rows := 0
		if err := r.Export(t.Context(), MovementFilter{ProductID: id, To: &zero}, MovementID{}, func(*Movement) error { rows++; return nil }); err != nil || rows > 0 {
			t.Errorf("of %s %d movements are exported, %v", id, rows, err)
		}
	}
	if _, ok, err := r.StockAt(t.Context(), projectiontest.ID(0xaa, 0), zero); ok || err != nil {
		t.Errorf("there is a stock in the year 1: %v, %v", ok, err)
	}
	if p, err := r.Products(t.Context(), ProductFilter{UpdatedLTE: &zero}, ProductOrder{}, Range{First: 1, Count: true}); err != nil || p.Total > 0 {
		t.Errorf("%d products changed before the year 1, %v", p.Total, err)
	}
}

func TestATimelineKeepsToTheCalendar(t *testing.T) {
	r := named(t, "A")
	id := projectiontest.ID(0xaa, 0)
	last := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		from, to time.Time
		every    Interval
		fits     bool
	}{
		{last.AddDate(0, 0, -1), last, Daily, true},
		{last, last.Add(time.Hour), Daily, false},
		{last, last.Add(23 * time.Hour), Hourly, true},
		{last, last.Add(23*time.Hour + time.Microsecond), Hourly, false},
		{time.Time{}, time.Time{}.Add(time.Hour), Hourly, false},
	} {
		buckets, err := r.Timeline(t.Context(), id, test.from, test.to, test.every)
		if test.fits != (err == nil) || (err != nil && (!errors.Is(err, ErrBadRange) || !strings.Contains(err.Error(), "1970 to 9999"))) {
			t.Errorf("%s to %s by %s: %d buckets, %v", test.from, test.to, test.every, len(buckets), err)
		}
		if err == nil && buckets[len(buckets)-1].End.Year() > 9999 {
			t.Errorf("a bucket ends at %s", buckets[len(buckets)-1].End)
		}
	}
}
