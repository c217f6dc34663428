package view_test

import (
	"encoding/binary"
	"testing"

	"product-service/product"
	"product-service/projection/projectiontest"
	"product-service/projection/view"
)

// BenchmarkFold measures the part of it that is this process's own: decoding, folding and encoding.
func BenchmarkFold(b *testing.B) {
	l := projectiontest.Busy(b, 1, 1000)
	rows := l.Of(projectiontest.ID(0xaa, 0))
	b.ReportAllocs()
	for b.Loop() {
		e := view.NewEntry(projectiontest.ID(0xaa, 0))
		for _, r := range rows {
			event, err := product.Decode(r.Type, r.Data)
			if err != nil {
				b.Fatal(err)
			}
			if _, _, err := e.Fold(r, event); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(rows)), "ns/event")
}

// Ensure that ids which count up, or which begin with the same time, are told apart in the index of reservations.
func TestShortenedIDsTakeInAllOfThem(t *testing.T) {
	seen := map[int64]bool{}
	for n := range uint64(100) {
		low, high := projectiontest.ID(0xcc, 0), projectiontest.ID(0xcc, 0)
		binary.BigEndian.PutUint64(low[8:], n+1)
		binary.BigEndian.PutUint64(high[:8], n<<40)
		seen[view.Shortened(low)], seen[view.Shortened(high)] = true, true
	}
	if len(seen) != 200 {
		t.Errorf("200 ids have %d short forms", len(seen))
	}
}
