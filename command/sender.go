package command

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"product-service/wait"
)

// sender sends pages of messages in the order of their keys, idempotently and with all replicas'
// acknowledgement. It has one batch of a partition under way and no other behind it, so that
// nothing follows a batch that Kafka didn't take: a producer with a queue sends the next batch of
// the partition before anyone learns of the error, and what is sent again then comes out of order.
//
// After an error a sender is used up. The next one has another producer id, and so may repeat what
// was taken without its knowing.
type sender struct {
	client      sarama.Client
	partitioner sarama.Partitioner
	producerID  int64
	epoch       int16
	sequences   map[partitionOf]int32 // of the next record
}

type partitionOf struct {
	topic     string
	partition int32
}

// batch is what is sent to a partition at once.
type batch struct {
	partitionOf
	records *sarama.RecordBatch
	pages   []int // the places of its messages in the page
	bytes   int
}

const (
	batchBytes    = 512 << 10 // half of what a topic takes by default
	sendAttempts  = 8         // over about 6 s: then the page is read again
	recordCost    = 64        // bytes of a record besides its content, at most
	sendTimeout   = 10 * time.Second
	produceFormat = 8 // of the request: Kafka 2.4
)

// connectSender makes a sender with a client of its own: one shared with a consumer would send
// behind its long polls.
func connectSender(c Config) (*sender, error) {
	s, err := c.base()
	if err != nil {
		return nil, fmt.Errorf("configure the relay's client: %w", err)
	}
	client, err := sarama.NewClient(c.Brokers, s)
	if err != nil {
		return nil, fmt.Errorf("connect to Kafka: %w", err)
	}
	producer, err := client.InitProducerID()
	if err == nil && producer.Err != sarama.ErrNoError {
		err = producer.Err
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("get a producer id: %w", err), client.Close())
	}
	return &sender{client: client, partitioner: sarama.NewMurmur2Partitioner(""), producerID: producer.ProducerID, epoch: producer.ProducerEpoch,
		sequences: map[partitionOf]int32{}}, nil
}

func (s *sender) close() { _ = s.client.Close() } // nothing is under way

// send returns which of the messages were acknowledged: all of them, or some and the first error.
// The end of the context is an error.
func (s *sender) send(ctx context.Context, messages []*sarama.ProducerMessage) ([]bool, error) {
	acked := make([]bool, len(messages))
	rounds, err := s.batches(messages)
	if err != nil {
		return acked, err
	}
	stop := context.AfterFunc(ctx, s.close) // ends a request under way
	defer stop()
	for _, round := range rounds {
		if err := s.round(ctx, round, acked); err != nil {
			return acked, err
		}
	}
	return acked, nil
}

// batches sorts the messages by partition. A round has at most one batch of each.
func (s *sender) batches(messages []*sarama.ProducerMessage) (rounds [][]*batch, err error) {
	partitions := map[string]int32{}
	last, turn := map[partitionOf]*batch{}, map[partitionOf]int{}
	now := time.Now().Truncate(time.Millisecond)
	for i, m := range messages {
		n, ok := partitions[m.Topic]
		if !ok {
			all, err := s.client.Partitions(m.Topic)
			if err != nil {
				return nil, fmt.Errorf("list the partitions of %s: %w", m.Topic, err)
			}
			n = int32(len(all))
			partitions[m.Topic] = n
		}
		partition, err := s.partitioner.Partition(m, n)
		if err != nil {
			return nil, fmt.Errorf("find the partition of a message to %s: %w", m.Topic, err)
		}
		record, size, err := recordOf(m)
		if err != nil {
			return nil, err
		}
		to := partitionOf{m.Topic, partition}
		b := last[to]
		if b == nil || b.bytes+size > batchBytes {
			b = &batch{partitionOf: to, records: &sarama.RecordBatch{Version: 2, FirstTimestamp: now, MaxTimestamp: now, ProducerID: s.producerID,
				ProducerEpoch: s.epoch, FirstSequence: s.sequences[to]}}
			last[to] = b
			if turn[to] == len(rounds) {
				rounds = append(rounds, nil)
			}
			rounds[turn[to]] = append(rounds[turn[to]], b)
			turn[to]++
		}
		b.add(record, size, i)
		s.sequences[to]++ // 2^31 records a partition: then Kafka answers that the number is out of order, and a new sender begins anew
	}
	return rounds, nil
}

func (b *batch) add(r *sarama.Record, size, place int) {
	r.OffsetDelta = int64(len(b.pages))
	b.records.LastOffsetDelta = int32(len(b.pages))
	b.records.Records = append(b.records.Records, r)
	b.pages = append(b.pages, place)
	b.bytes += size
}

func recordOf(m *sarama.ProducerMessage) (r *sarama.Record, size int, err error) {
	r = &sarama.Record{Headers: make([]*sarama.RecordHeader, len(m.Headers))}
	if r.Key, err = m.Key.Encode(); err != nil {
		return nil, 0, fmt.Errorf("encode a key: %w", err)
	}
	if r.Value, err = m.Value.Encode(); err != nil {
		return nil, 0, fmt.Errorf("encode a value: %w", err)
	}
	size = recordCost + len(r.Key) + len(r.Value)
	for i := range m.Headers {
		r.Headers[i] = &m.Headers[i]
		size += 4 + len(m.Headers[i].Key) + len(m.Headers[i].Value)
	}
	return r, size, nil
}

// round sends the batches until each is taken, one is refused for good, or the attempts are spent.
// A batch that is sent again has the sequence numbers it had, by which Kafka knows one that it took
// before.
func (s *sender) round(ctx context.Context, batches []*batch, acked []bool) error {
	for attempt := 0; ; attempt++ {
		left, err := s.attempt(batches, acked)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			return nil
		case !passing(err) || attempt == sendAttempts-1:
			return err
		}
		batches = left
		if !wait.For(ctx, wait.Backoff(20*time.Millisecond, time.Second, attempt)) {
			return context.Cause(ctx)
		}
		_ = s.client.RefreshMetadata(topicsOf(batches)...) // if it fails, so does the next attempt
	}
}

// refused is the answer of a broker about a batch.
type refused struct {
	batch *batch
	err   error
}

// attempt sends each broker the batches of which it is the leader, all at once, and returns those
// that weren't taken with the error that is least likely to pass.
func (s *sender) attempt(batches []*batch, acked []bool) (left []*batch, err error) {
	leaders := map[*sarama.Broker][]*batch{}
	var failures []refused
	for _, b := range batches {
		leader, err := s.client.Leader(b.topic, b.partition)
		if err != nil {
			failures = append(failures, refused{b, fmt.Errorf("find the leader of %s/%d: %w", b.topic, b.partition, passingError{err})})
			continue
		}
		leaders[leader] = append(leaders[leader], b)
	}
	var mu sync.Mutex
	var requests sync.WaitGroup
	for leader, batches := range leaders {
		requests.Go(func() {
			failed := produceTo(leader, batches)
			mu.Lock()
			defer mu.Unlock()
			failures = append(failures, failed...)
		})
	}
	requests.Wait()
	failed := map[*batch]bool{}
	for _, f := range failures {
		failed[f.batch] = true
		if left = append(left, f.batch); err == nil || !passing(f.err) {
			err = f.err
		}
	}
	for _, b := range batches {
		for _, place := range b.pages {
			acked[place] = !failed[b]
		}
	}
	return left, err
}

// produceTo sends one request and returns the batches that weren't taken.
func produceTo(leader *sarama.Broker, batches []*batch) (failed []refused) {
	request := &sarama.ProduceRequest{Version: produceFormat, RequiredAcks: sarama.WaitForAll, Timeout: int32(sendTimeout.Milliseconds())}
	for _, b := range batches {
		request.AddBatch(b.topic, b.partition, b.records)
	}
	response, err := leader.Produce(request)
	if err != nil {
		_ = leader.Close() // asking the client for the leader opens it again
	}
	for _, b := range batches {
		switch {
		case err != nil:
			failed = append(failed, refused{b, fmt.Errorf("send to %s/%d: %w", b.topic, b.partition, passingError{err})})
		default:
			block := response.GetBlock(b.topic, b.partition)
			if block == nil {
				failed = append(failed, refused{b, fmt.Errorf("send to %s/%d: %w", b.topic, b.partition, sarama.ErrIncompleteResponse)})
			} else if block.Err != sarama.ErrNoError && block.Err != sarama.ErrDuplicateSequenceNumber {
				failed = append(failed, refused{b, fmt.Errorf("send to %s/%d: %w", b.topic, b.partition, block.Err)})
			}
		}
	}
	return failed
}

// passingError is an error of the connection.
type passingError struct{ error }

func (e passingError) Unwrap() error { return e.error }

// passing says whether the same batch may be taken when it is sent again.
func passing(err error) bool {
	if code, ok := errors.AsType[sarama.KError](err); ok {
		switch code {
		case sarama.ErrInvalidMessage, sarama.ErrUnknownTopicOrPartition, sarama.ErrLeaderNotAvailable, sarama.ErrNotLeaderForPartition,
			sarama.ErrRequestTimedOut, sarama.ErrNetworkException, sarama.ErrNotEnoughReplicas, sarama.ErrNotEnoughReplicasAfterAppend, sarama.ErrKafkaStorageError:
			return true
		}
		return false
	}
	return errors.As(err, new(passingError)) && !errors.Is(err, sarama.ErrClosedClient)
}

func topicsOf(batches []*batch) (topics []string) {
	seen := map[string]bool{}
	for _, b := range batches {
		if !seen[b.topic] {
			seen[b.topic] = true
			topics = append(topics, b.topic)
		}
	}
	return topics
}
