package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"product-service/command"
)

// client sends commands to a world and takes its outcomes.
type client struct {
	w        *world
	producer *kgo.Client
	consumer *kgo.Client
	sent     int // commands in this world, over all rounds
}

// newClient connects; the world's topics must be there. What it costs is in the report, as the
// client's CPU.
func newClient(ctx context.Context, w *world) (*client, error) {
	brokers := kgo.SeedBrokers(w.b.servers.brokers...)
	producer, err := kgo.NewClient(brokers, kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(0), kgo.ProducerBatchMaxBytes(512<<10))
	if err != nil {
		return nil, err
	}
	consumer, err := kgo.NewClient(brokers, kgo.ConsumeTopics(w.topic(command.TopicReserved), w.topic(command.TopicReservationFailed)),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		producer.Close()
		return nil, err
	}
	c := &client{w: w, producer: producer, consumer: consumer}
	if err := producer.Ping(ctx); err != nil {
		c.close()
		return nil, fmt.Errorf("connect to Kafka: %w", err)
	}
	return c, nil
}

func (c *client) close() {
	c.producer.Close()
	c.consumer.Close()
}

// requests encodes n requests for one unit each, spread over the products at random. Their ids are
// random as those of sagas are, but for the end of the command id: that counts.
func (c *client) requests(products []uuid.UUID, n int) []*kgo.Record {
	topic := c.w.topic(command.TopicRequestStock)
	keys := make([][]byte, len(products))
	for i, id := range products {
		keys[i] = []byte(id.String())
	}
	records, structs := make([]*kgo.Record, n), make([]kgo.Record, n)
	for i := range records {
		key := keys[rand.IntN(len(keys))]
		saga := uuid.New()
		structs[i] = kgo.Record{Topic: topic, Key: key, Value: fmt.Appendf(nil,
			`{"commandId":"%s","type":"ReserveProduct","productId":"%s","reservationId":"%s","sagaId":"%s","quantity":1}`, countingID(i), key, uuid.New(), saga)}
		records[i] = &structs[i]
	}
	return records
}

// countingID is a random UUID that ends in a number below 2^32.
func countingID(i int) uuid.UUID {
	id := uuid.New()
	binary.BigEndian.PutUint32(id[12:], uint32(i))
	return id
}

// countOf reads the number back from an outcome's header.
func countOf(r *kgo.Record) (int, error) {
	for _, h := range r.Headers {
		if h.Key != "causation-id" {
			continue
		}
		id, err := uuid.ParseBytes(h.Value)
		return int(binary.BigEndian.Uint32(id[12:])), err
	}
	return 0, fmt.Errorf("an outcome at %s/%d/%d has no causation-id", r.Topic, r.Partition, r.Offset)
}

// flood sends all commands as fast as the broker takes them, and returns the time from the first to
// the last outcome.
func (c *client) flood(ctx context.Context, name string, records []*kgo.Record) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var failed atomic.Pointer[error]
	began := time.Now()
	go func() {
		for _, r := range records {
			c.producer.Produce(ctx, r, func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Store(&err)
					cancel()
				}
			})
		}
	}()
	for got := 0; got < len(records); {
		fetches := c.consumer.PollFetches(ctx)
		if err := failed.Load(); err != nil {
			return 0, fmt.Errorf("produce: %w", *err)
		}
		if err := fetches.Err(); err != nil {
			return 0, fmt.Errorf("%d of %d outcomes had come: %w", got, len(records), err)
		}
		got += fetches.NumRecords()
		c.w.b.out.progress(name, got, len(records))
	}
	took := time.Since(began)
	c.sent += len(records)
	return took, nil
}

// pace sends commands at a constant rate, whatever becomes of them, and calls outcome with the time
// each was due and its record. Latency counted from when it was due includes the wait of what could
// not be sent in time (no coordinated omission).
func (c *client) pace(ctx context.Context, name string, records []*kgo.Record, rate int, outcome func(i int, due time.Time, r *kgo.Record)) error {
	length := time.Duration(len(records)) * time.Second / time.Duration(rate)
	ctx, cancel := context.WithTimeout(ctx, length+time.Minute)
	defer cancel()
	var failed atomic.Pointer[error]
	began := time.Now().Add(10 * time.Millisecond)
	due := func(i int) time.Time { return began.Add(time.Duration(i) * time.Second / time.Duration(rate)) }
	go func() {
		for i, r := range records {
			if wait := time.Until(due(i)); wait > 0 {
				time.Sleep(wait)
			}
			c.producer.Produce(ctx, r, func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Store(&err)
					cancel()
				}
			})
			if ctx.Err() != nil {
				return
			}
		}
	}()
	seen := make([]bool, len(records))
	for got := 0; got < len(records); {
		fetches := c.consumer.PollFetches(ctx)
		if err := failed.Load(); err != nil {
			return fmt.Errorf("produce: %w", *err)
		}
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("%d of %d outcomes had come: %w", got, len(records), err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			i, err := countOf(r)
			if err != nil {
				return err
			}
			if i >= len(seen) || seen[i] {
				continue // a repeat
			}
			seen[i] = true
			got++
			outcome(i, due(i), r)
		}
		c.w.b.out.progress(name, got, len(records))
	}
	c.sent += len(records)
	return nil
}
