package read

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/integration/inventory"
	"product-service/projection/projectiontest"
)

// Ensure that of two levels the one stays that supersedes the other, whichever is saved last: an answer
// over an answer that was fetched earlier, whatever their stamps, and by its stamp against an event.
func TestLevels(t *testing.T) {
	s := projectiontest.Open(t)
	levels := NewLevels(s)
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var all []inventory.Level
	for _, source := range []inventory.Source{inventory.Live, inventory.FromEvent} {
		for updated := range 3 {
			for fetched := range 3 {
				all = append(all, inventory.Level{Available: int64(len(all)), Status: inventory.InStock, Source: source,
					UpdatedAt: noon.Add(time.Duration(updated) * time.Second), FetchedAt: noon.Add(time.Duration(fetched) * time.Second)})
			}
		}
	}
	var held, saved []inventory.Level
	want := map[uuid.UUID]inventory.Level{}
	for _, a := range all {
		for _, b := range all {
			a.VariantID, b.VariantID = projectiontest.ID(0xbb, len(held)), projectiontest.ID(0xbb, len(held))
			held, saved = append(held, a), append(saved, b)
			if want[a.VariantID] = a; b.Supersedes(a) {
				want[a.VariantID] = b
			}
		}
	}
	ids := slices.Collect(maps.Keys(want))
	for range 2 { // the second time changes nothing
		for _, batch := range [][]inventory.Level{held, saved} {
			if err := levels.Save(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
		got, err := levels.Load(t.Context(), append(ids, projectiontest.ID(0xcc, 1)))
		if err != nil || len(got) != len(want) {
			t.Fatalf("%d levels of %d: %v", len(got), len(want), err)
		}
		for _, l := range got {
			if l != want[l.VariantID] {
				t.Errorf("kept %+v, want %+v", l, want[l.VariantID])
			}
		}
	}
}

// Ensure that an answer replaces an earlier one in the durable levels although the service stamped it
// earlier.
func TestADurableLevelIsWhatTheServiceSaidLast(t *testing.T) {
	s := projectiontest.Open(t)
	levels, id := NewLevels(s), projectiontest.ID(0xbb, 1)
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	at := func(updated, fetched int, available int64, source inventory.Source) inventory.Level {
		return inventory.Level{VariantID: id, Available: available, Status: inventory.InStock, Source: source,
			UpdatedAt: noon.Add(time.Duration(updated) * time.Second), FetchedAt: noon.Add(time.Duration(fetched) * time.Second)}
	}
	for i, step := range []struct {
		save []inventory.Level
		want int64
	}{
		{[]inventory.Level{at(10, 10, 50, inventory.Live)}, 50},
		{[]inventory.Level{at(7, 20, 0, inventory.Live)}, 0},
		{[]inventory.Level{at(-3600, 30, 20, inventory.Live), at(9, 25, 3, inventory.Live)}, 20},
		{[]inventory.Level{at(10, 10, 50, inventory.Live)}, 20},
		{[]inventory.Level{at(40, 40, 4, inventory.FromEvent)}, 4},
		{[]inventory.Level{at(-3600, 50, 20, inventory.Live)}, 4},
		{[]inventory.Level{at(41, 60, 19, inventory.Live)}, 19},
	} {
		if err := levels.Save(t.Context(), step.save); err != nil {
			t.Fatal(err)
		}
		got, err := levels.Load(t.Context(), []uuid.UUID{id})
		if err != nil || len(got) != 1 || got[0].Available != step.want {
			t.Errorf("step %d: got %+v (%v), want %d", i, got, err, step.want)
		}
	}
}
