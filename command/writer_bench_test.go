package command

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/product"
)

// BenchmarkWriter decides reserve commands as fast as they can be submitted: the write side without Kafka.
func BenchmarkWriter(b *testing.B) {
	for _, bench := range []struct {
		name     string
		products int
	}{{"1 product", 1}, {"1000 products", 1000}, {"10000 products", 10_000}} {
		b.Run(bench.name, func(b *testing.B) {
			store := openStore(b)
			w := startWriter(b, store, WriterConfig{Lanes: 2, Batch: 4000, Linger: 2 * time.Millisecond})
			ids := make([]uuid.UUID, bench.products)
			var wg sync.WaitGroup
			settle := func(a Answer) {
				if a.Err != nil || a.Refusal != nil {
					b.Errorf("%+v", a)
				}
				wg.Done()
			}
			submit := func(id uuid.UUID, c product.Command) {
				wg.Add(1)
				if err := w.Submit(b.Context(), &Request{ID: uuid.New(), ProductID: id, Command: c, Settle: settle}); err != nil {
					b.Fatal(err)
				}
			}
			for i := range ids {
				ids[i] = uuid.New()
				submit(ids[i], product.Create{Name: "p", InitialStock: product.MaxStock})
			}
			wg.Wait()
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				submit(ids[i%len(ids)], product.Reserve{ReservationID: uuid.New(), SagaID: "saga", Quantity: 1})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
		})
	}
}
