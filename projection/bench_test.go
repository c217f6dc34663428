package projection

import (
	"context"
	"fmt"
	"testing"
	"time"

	"product-service/projection/projectiontest"
)

// BenchmarkProjector measures how fast a projector that is behind catches up: events a second of
// the whole path to MongoDB.
func BenchmarkProjector(b *testing.B) {
	for _, products := range []int{1, 1000, 10_000} {
		b.Run(fmt.Sprintf("products=%d", products), func(b *testing.B) {
			s := projectiontest.Open(b)
			l := projectiontest.Busy(b, products, max(b.N, 2*products))
			own := &projectiontest.Leases{Epoch: 1}
			b.ResetTimer()
			start := time.Now()
			if err := projectiontest.Drain(context.Background(), project(b, s, l, own)); err != nil {
				b.Fatal(err)
			}
			rows := 0
			for _, shard := range l.Shards {
				rows += len(shard)
			}
			b.ReportMetric(float64(rows)/time.Since(start).Seconds(), "events/s")
		})
	}
}

// BenchmarkRebuild measures how fast a generation is filled, indexed and changed over to.
func BenchmarkRebuild(b *testing.B) {
	s := projectiontest.Open(b)
	l := projectiontest.Busy(b, 1000, max(b.N, 2000))
	began, filled := time.Now(), time.Duration(0)
	if err := Rebuild(b.Context(), s, l, projectiontest.Quiet, RebuildOptions{}, func(at Progress) {
		if at.Phase == "switch" {
			filled = time.Since(began)
		}
	}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/filled.Seconds(), "events/s")
}
