package projection

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/product"
)

// busy is a log of reservations and releases over some products.
func busy(b *testing.B, products, events int) *memoryLog {
	b.Helper()
	l := newMemoryLog()
	for n := range products {
		l.append(testID(0xaa, n), product.Created{Name: fmt.Sprintf("Product %d", n), InitialStock: 1_000_000, LowStockThreshold: 10},
			product.VariantAdded{Variant: product.Variant{ID: testID(0xbb, n), SKU: fmt.Sprintf("SKU-%d", n), Name: "Standard"}})
	}
	reservations := make([]uuid.UUID, products)
	for i := range events {
		n := i % products
		id := testID(0xaa, n)
		p := l.products[id]
		if i%2000 == 0 {
			l.clock = l.clock.Add(30 * time.Millisecond)
		}
		if (i/products)%2 == 0 {
			reservations[n] = uuid.New()
			l.append(id, product.Reserved{ReservationID: reservations[n], SagaID: "3f0c1c5e-7f3a-4d84-9a55-0d7f3f6f5f10", Quantity: 1, StockTotal: p.StockTotal, Reserved: p.Reserved + 1})
			continue
		}
		l.append(id, product.Released{ReservationID: reservations[n], SagaID: "3f0c1c5e-7f3a-4d84-9a55-0d7f3f6f5f10", Quantity: 1, StockTotal: p.StockTotal, Reserved: p.Reserved - 1})
	}
	return l
}

// BenchmarkProjector measures how fast a projector that is behind catches up: events a second of the whole path to MongoDB.
func BenchmarkProjector(b *testing.B) {
	for _, products := range []int{1, 1000, 10_000} {
		b.Run(fmt.Sprintf("products=%d", products), func(b *testing.B) {
			s := open(b)
			l := busy(b, products, max(b.N, 2*products))
			own := &leases{epoch: 1}
			b.ResetTimer()
			start := time.Now()
			if err := drain(context.Background(), project(b, s, l, own)); err != nil {
				b.Fatal(err)
			}
			rows := 0
			for _, shard := range l.shards {
				rows += len(shard)
			}
			b.ReportMetric(float64(rows)/time.Since(start).Seconds(), "events/s")
		})
	}
}

// BenchmarkFold measures the part of it that is this process's own: decoding, folding and encoding.
func BenchmarkFold(b *testing.B) {
	l := busy(b, 1, 1000)
	rows := l.of(testID(0xaa, 0))
	b.ReportAllocs()
	for b.Loop() {
		e := newEntry(testID(0xaa, 0))
		for _, r := range rows {
			event, err := product.Decode(r.Type, r.Data)
			if err != nil {
				b.Fatal(err)
			}
			if _, _, err := e.fold(item{Record: r, event: event}); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(rows)), "ns/event")
}
