package read

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/integration/inventory"
	"product-service/projection/projectiontest"
)

// Ensure that of two levels the newer one stays, whichever is saved last.
func TestLevels(t *testing.T) {
	s := projectiontest.Open(t)
	levels := NewLevels(s)
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	id := projectiontest.ID(0xbb, 1)
	at := func(updated, fetched int, available int64) inventory.Level {
		return inventory.Level{VariantID: id, Available: available, Status: inventory.InStock, Source: inventory.Live,
			UpdatedAt: noon.Add(time.Duration(updated) * time.Second), FetchedAt: noon.Add(time.Duration(fetched) * time.Second)}
	}
	for i, step := range []struct {
		save []inventory.Level
		want inventory.Level
	}{
		{[]inventory.Level{at(10, 10, 1)}, at(10, 10, 1)},
		{[]inventory.Level{at(9, 20, 2)}, at(10, 10, 1)},
		{[]inventory.Level{at(10, 9, 3)}, at(10, 10, 1)},
		{[]inventory.Level{at(10, 12, 4)}, at(10, 12, 4)},
		{[]inventory.Level{at(14, 14, 6), at(13, 13, 5)}, at(14, 14, 6)},
		{nil, at(14, 14, 6)},
	} {
		if err := levels.Save(t.Context(), step.save); err != nil {
			t.Fatal(err)
		}
		got, err := levels.Load(t.Context(), []uuid.UUID{projectiontest.ID(0xbb, 2), id})
		if err != nil || len(got) != 1 || got[0] != step.want {
			t.Errorf("step %d: got %+v (%v), want %+v", i, got, err, step.want)
		}
	}
}
