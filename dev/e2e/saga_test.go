package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

const (
	requests = "saga.request_stock"
	releases = "saga.release_stock"
	reserved = "product.reserved"
	failed   = "product.reservation_failed"
)

// message is a saga's command as it goes over the wire.
type message struct {
	Topic         string `json:"-"`
	CommandID     string `json:"commandId,omitempty"`
	Type          string `json:"type,omitempty"`
	ProductID     string `json:"productId"`
	ReservationID string `json:"reservationId"`
	SagaID        string `json:"sagaId,omitempty"`
	Quantity      int64  `json:"quantity,omitempty"`
	ExpiresAt     string `json:"expiresAt,omitempty"`
	Reason        string `json:"reason,omitempty"`
}

func reserve(product, reservation string, quantity int64) message {
	return message{
		Topic: requests, CommandID: uuid.NewString(), Type: "ReserveProduct",
		ProductID: product, ReservationID: reservation, SagaID: "saga-" + reservation, Quantity: quantity,
	}
}

// release frees all that is held where the quantity is 0.
func release(product, reservation string, quantity int64) message {
	return message{
		Topic: releases, CommandID: uuid.NewString(), Type: "ReleaseProduct",
		ProductID: product, ReservationID: reservation, SagaID: "saga-" + reservation, Quantity: quantity,
	}
}

// outcome is a message on one of the topics that answer.
type outcome struct {
	Topic     string
	Partition int32
	Offset    int64
	Key       string
	Body      string
	Headers   map[string]string

	EventID, Type, ProductID, ReservationID, CommandID, Reason string
	Quantity, StockTotal, Reserved, Available, StreamVersion   int64
}

// saga is a client of the broker: it sends commands and keeps every outcome that it sees.
type saga struct {
	t        testing.TB
	prefix   string
	client   sarama.Client
	admin    sarama.ClusterAdmin
	producer sarama.SyncProducer
	heard    []sarama.PartitionConsumer

	mu       sync.Mutex
	outcomes []outcome
	next     map[string]int64 // by topic/partition
	unread   error
}

// sagas is the test's client, which listens from now on. The topics must be there.
func (w *world) sagas() *saga {
	w.t.Helper()
	if w.saga != nil {
		return w.saga
	}
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewMurmur2Partitioner
	config.Producer.Idempotent, config.Net.MaxOpenRequests = true, 1
	config.Producer.Retry.Max, config.Producer.Retry.Backoff = 600, 100*time.Millisecond
	config.Metadata.Retry.Max, config.Metadata.Retry.Backoff = 600, 100*time.Millisecond // wait for a broker, in order, rather than fail
	config.Consumer.Retry.Backoff = 200 * time.Millisecond
	client, err := sarama.NewClient(w.brokers, config)
	if err != nil {
		w.t.Fatal(err)
	}
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		w.t.Fatal(err)
	}
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		w.t.Fatal(err)
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		w.t.Fatal(err)
	}
	s := &saga{t: w.t, prefix: w.prefix, client: client, admin: admin, producer: producer, next: map[string]int64{}}
	w.t.Cleanup(func() {
		for _, from := range s.heard {
			_ = from.Close()
		}
		_ = errors.Join(producer.Close(), consumer.Close(), client.Close())
	})
	for _, topic := range []string{reserved, failed} {
		s.listen(consumer, topic)
	}
	w.saga = s
	return s
}

func (s *saga) listen(consumer sarama.Consumer, topic string) {
	partitions, err := consumer.Partitions(s.prefix + topic)
	if err != nil {
		s.t.Fatalf("partitions of %s: %v", topic, err)
	}
	for _, p := range partitions {
		from, err := s.consume(consumer, topic, p)
		if err != nil {
			s.t.Fatalf("consume %s: %v", topic, err)
		}
		s.heard = append(s.heard, from)
		go func() {
			for m := range from.Messages() {
				s.take(topic, m)
			}
		}()
	}
}

// consume reads a partition from its start. A topic that was made a moment ago isn't known to every
// broker yet.
func (s *saga) consume(consumer sarama.Consumer, topic string, partition int32) (from sarama.PartitionConsumer, err error) {
	err = passes(20*time.Second, func() (err error) {
		if from, err = consumer.ConsumePartition(s.prefix+topic, partition, sarama.OffsetOldest); err != nil {
			err = errors.Join(err, s.client.RefreshMetadata(s.prefix+topic))
		}
		return err
	})
	return from, err
}

func (s *saga) take(topic string, m *sarama.ConsumerMessage) {
	o := outcome{Topic: topic, Partition: m.Partition, Offset: m.Offset, Key: string(m.Key), Body: string(m.Value), Headers: map[string]string{}}
	for _, h := range m.Headers {
		o.Headers[string(h.Key)] = string(h.Value)
	}
	err := json.Unmarshal(m.Value, &o)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.unread = fmt.Errorf("an outcome can't be read: %w: %s", err, m.Value)
	}
	s.outcomes = append(s.outcomes, o)
	s.next[place(topic, m.Partition)] = m.Offset + 1
}

func place(topic string, partition int32) string { return fmt.Sprintf("%s/%d", topic, partition) }

// send puts commands into their topics, in order, and returns when the broker has them all.
func (s *saga) send(messages ...message) {
	s.t.Helper()
	records := make([]*sarama.ProducerMessage, len(messages))
	for i, m := range messages {
		body, err := json.Marshal(m)
		if err != nil {
			s.t.Fatal(err)
		}
		records[i] = &sarama.ProducerMessage{
			Topic: s.prefix + m.Topic, Key: sarama.StringEncoder(m.ProductID), Value: sarama.ByteEncoder(body),
			Headers: []sarama.RecordHeader{{Key: []byte("correlation-id"), Value: []byte("c-" + m.ReservationID)}},
		}
	}
	s.sendRecords(records...)
}

func (s *saga) sendRecords(records ...*sarama.ProducerMessage) {
	s.t.Helper()
	const atOnce = 2000
	for len(records) > 0 {
		n := min(atOnce, len(records))
		if err := s.producer.SendMessages(records[:n]); err != nil {
			if each, ok := errors.AsType[sarama.ProducerErrors](err); ok {
				err = fmt.Errorf("%d messages: %w", len(each), each[0].Err)
			}
			s.t.Errorf("produce: %v", err)
			return
		}
		records = records[n:]
	}
}

// seen are the outcomes so far.
func (s *saga) seen() []outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unread != nil {
		s.t.Fatal(s.unread)
	}
	return slices.Clip(s.outcomes)
}

// answered is how many commands have an outcome.
func (s *saga) answered() int {
	ids := map[string]bool{}
	for _, o := range s.seen() {
		ids[o.CommandID] = true
	}
	return len(ids)
}

// of are the outcomes of a command, in the order they came.
func (s *saga) of(command string) (all []outcome) {
	for _, o := range s.seen() {
		if o.CommandID == command {
			all = append(all, o)
		}
	}
	return all
}

// await waits for the first outcome of a command.
func (s *saga) await(command string, limit time.Duration) outcome {
	s.t.Helper()
	within(s.t, limit, "the command is answered", func() error {
		if len(s.of(command)) == 0 {
			return errors.New("no outcome")
		}
		return nil
	})
	return s.of(command)[0]
}

// newest are the offsets behind the last message of each partition of the topics.
func (s *saga) newest(topics ...string) (map[string]map[int32]int64, error) {
	all := map[string]map[int32]int64{}
	var mu sync.Mutex
	var group errgroup.Group
	for _, topic := range topics {
		partitions, err := s.client.Partitions(s.prefix + topic)
		if err != nil {
			return nil, err
		}
		all[topic] = map[int32]int64{}
		for _, p := range partitions {
			group.Go(func() error {
				offset, err := s.client.GetOffset(s.prefix+topic, p, sarama.OffsetNewest)
				mu.Lock()
				defer mu.Unlock()
				all[topic][p] = offset
				return err
			})
		}
	}
	return all, group.Wait()
}

// caughtUp is nil once everything in the outcome topics has been seen.
func (s *saga) caughtUp() error {
	newest, err := s.newest(reserved, failed)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, partitions := range newest {
		for p, offset := range partitions {
			if next := s.next[place(topic, p)]; next < offset {
				return fmt.Errorf("%s is read up to %d of %d", place(topic, p), next, offset)
			}
		}
	}
	return nil
}

// read returns everything that is in a topic now.
func (s *saga) read(topic string) (all []*sarama.ConsumerMessage) {
	s.t.Helper()
	consumer, err := sarama.NewConsumerFromClient(s.client)
	if err != nil {
		s.t.Fatal(err)
	}
	defer consumer.Close()
	partitions, err := s.client.Partitions(s.prefix + topic)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range partitions {
		newest, err := s.client.GetOffset(s.prefix+topic, p, sarama.OffsetNewest)
		if err != nil {
			s.t.Fatal(err)
		}
		if newest == 0 {
			continue
		}
		from, err := s.consume(consumer, topic, p)
		if err != nil {
			s.t.Fatal(err)
		}
		limit := time.After(time.Minute)
		for at := int64(0); at < newest; {
			select {
			case m := <-from.Messages():
				all = append(all, m)
				at = m.Offset + 1
			case <-limit:
				s.t.Fatalf("%s could not be read: %d of %d", place(topic, p), at, newest)
			}
		}
		if err := from.Close(); err != nil {
			s.t.Fatal(err)
		}
	}
	return all
}

// resend puts everything that a topic holds into it once more, as it is.
func (s *saga) resend(topic string) int {
	s.t.Helper()
	var records []*sarama.ProducerMessage
	for _, m := range s.read(topic) {
		r := &sarama.ProducerMessage{Topic: m.Topic, Key: sarama.ByteEncoder(m.Key), Value: sarama.ByteEncoder(m.Value)}
		for _, h := range m.Headers {
			r.Headers = append(r.Headers, *h)
		}
		records = append(records, r)
	}
	s.sendRecords(records...)
	return len(records)
}

// inventoryEvent sends what the Inventory Service says of a variant.
func (s *saga) inventoryEvent(variant, kind string, at time.Time) {
	s.t.Helper()
	body := fmt.Sprintf(`{"eventId":%q,"type":%q,"timestamp":%q,"productVariantId":%q}`, uuid.NewString(), kind, at.Format(time.RFC3339Nano), variant)
	s.sendRecords(&sarama.ProducerMessage{
		Topic: s.prefix + "inventory.events", Key: sarama.StringEncoder(variant), Value: sarama.StringEncoder(body),
	})
}
