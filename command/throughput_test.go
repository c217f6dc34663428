package command

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

// BenchmarkRelay measures outcomes a second from a log in memory to the broker of the tests.
func BenchmarkRelay(b *testing.B) {
	c := kafkaConfig(b)
	l := newFakeLog()
	ids := make([]uuid.UUID, 1000)
	for i := range ids {
		ids[i] = uuid.New()
	}
	const outcomes = 100_000
	for i := range outcomes {
		l.append(b, ids[i%len(ids)], uuid.New(), int64(i/len(ids)+1), product.Reserved{ReservationID: uuid.New(), SagaID: "saga-7", Quantity: 1, StockTotal: 1000, Reserved: 1}, product.Origin{CorrelationID: "saga-7"})
	}
	for b.Loop() {
		for shard := range int16(eventstore.Shards) {
			l.saved[shard] = 0
		}
		started := time.Now()
		_, stop := startRelay(b, c, l, nil)
		eventually(b, "every shard at its end", l.savedAll)
		b.ReportMetric(outcomes/time.Since(started).Seconds(), "outcomes/s")
		stop()
	}
}

// countingWriter settles at once.
type countingWriter struct{ n atomic.Int64 }

func (w *countingWriter) Submit(_ context.Context, r *Request) error {
	w.n.Add(1)
	r.Settle(Answer{})
	return nil
}

// BenchmarkConsumer measures messages a second from the broker of the tests to a writer that does nothing.
func BenchmarkConsumer(b *testing.B) {
	c := kafkaConfig(b)
	const messages = 100_000
	page := make([]*sarama.ProducerMessage, 0, 10_000)
	for i := range messages {
		p := uuid.NewString()
		page = append(page, send(c, TopicRequestStock, p, request("productId", `"`+p+`"`, "commandId", `"`+uuid.NewString()+`"`)))
		if len(page) == cap(page) || i == messages-1 {
			produce(b, c, page...)
			page = page[:0]
		}
	}
	group := 0
	for b.Loop() {
		group++
		c.Group = c.TopicPrefix + strconv.Itoa(group)
		w := &countingWriter{}
		started := time.Now()
		_, stop := startConsumer(b, c, w, nil, Inventory{})
		eventually(b, "all messages", func() bool { return w.n.Load() >= messages })
		b.ReportMetric(messages/time.Since(started).Seconds(), "messages/s")
		stop()
	}
}
