package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// Broadcast reads the inventory events in every instance: without a group, all partitions, from what is published after the start. It
// feeds what each instance has for itself, such as its cache and its subscribers.
type Broadcast struct {
	config    Config
	inventory Inventory
	metrics   *KafkaMetrics
	log       *slog.Logger

	every   time.Duration // how often new partitions are looked for
	reading func(partition int32)
}

// NewBroadcast prepares the reader; Run starts it.
func NewBroadcast(c Config, i Inventory, m *KafkaMetrics, log *slog.Logger) *Broadcast {
	return &Broadcast{config: c, inventory: i, metrics: m, log: log, every: 30 * time.Second, reading: func(int32) {}}
}

// Run reads until the context ends. It connects again for ever; what is published before the first connection is not read, what is
// published in a later outage is, unless Kafka has lost the place. It returns an error only if the configuration can't be used.
func (b *Broadcast) Run(ctx context.Context) error {
	config, err := b.config.readerConfig()
	if err != nil {
		return fmt.Errorf("configure the reader of inventory events: %w", err)
	}
	for attempt := 0; ; attempt++ {
		started := time.Now()
		lost := b.read(ctx, config)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // to be asked to stop is no error
		}
		if time.Since(started) > time.Minute {
			attempt = 0
		}
		b.metrics.reconnects.WithLabelValues("broadcast").Inc()
		b.log.WarnContext(ctx, "the reader of inventory events lost Kafka; it connects again", "attempt", attempt, "error", lost)
		pause(ctx, attempt)
	}
}

// read follows all partitions, and those that are added.
func (b *Broadcast) read(ctx context.Context, config *sarama.Config) error {
	client, err := sarama.NewClient(b.config.Brokers, config)
	if err != nil {
		return fmt.Errorf("connect to Kafka: %w", err)
	}
	defer func() { _ = client.Close() }() // after its consumers
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return fmt.Errorf("make a consumer: %w", err)
	}
	defer func() { _ = consumer.Close() }()

	var followers sync.WaitGroup
	defer followers.Wait()
	ctx, stop := context.WithCancel(ctx) // a follower that ends by itself ends all, and all begin anew
	defer stop()
	topic, from := b.config.topic(TopicInventoryEvents), sarama.OffsetNewest
	following := map[int32]bool{}
	tick := time.NewTicker(b.every)
	defer tick.Stop()
	for {
		partitions, err := client.Partitions(topic)
		if err != nil {
			return fmt.Errorf("list the partitions of %s: %w", topic, err)
		}
		for _, p := range partitions {
			if following[p] {
				continue
			}
			messages, err := consumer.ConsumePartition(topic, p, from)
			if err != nil {
				return fmt.Errorf("read %s/%d: %w", topic, p, err)
			}
			following[p] = true
			followers.Go(func() {
				defer stop()
				b.follow(ctx, messages)
			})
			b.reading(p)
		}
		from = sarama.OffsetOldest // of a partition that is added: all in it is newer than the start
		select {
		case <-ctx.Done():
			return errors.New("a partition could not be read on")
		case <-tick.C:
			if err := client.RefreshMetadata(topic); err != nil {
				b.log.WarnContext(ctx, "new partitions can't be looked for", "topic", topic, "error", err)
			}
		}
	}
}

// follow reads a partition until the context ends or the partition can't be read on.
func (b *Broadcast) follow(ctx context.Context, p sarama.PartitionConsumer) {
	defer func() { _ = p.Close() }()
	for {
		select {
		case m, open := <-p.Messages():
			if !open {
				return
			}
			if len(m.Value) > maxBody {
				continue
			}
			if e, err := b.inventory.Decode(m.Value, header(m, "ce_type")); err == nil { // the group makes dead letters of the others
				b.inventory.OnBroadcast(e)
			}
		case err := <-p.Errors():
			if err != nil {
				b.log.WarnContext(ctx, "the reader of inventory events had an error and goes on", "partition", err.Partition, "error", err.Err)
			}
		case <-ctx.Done():
			return
		}
	}
}
