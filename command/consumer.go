package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	lru "github.com/hashicorp/golang-lru/v2"
)

// Consumer takes commands and inventory events from Kafka, as a member of the consumer group, and
// hands them to the writer. An offset is committed only when everything before it is settled:
// decided and committed, or kept as a dead letter. So a message is taken at least once, and decided
// once by its id.
type Consumer struct {
	config    Config
	writer    Submitter
	variants  VariantFinder
	inventory Inventory
	metrics   *KafkaMetrics
	log       *slog.Logger
	now       func() time.Time

	letters *deadLetters
	noted   *queue[notedEvent]
	homes   *lru.Cache[variantID, home]
	drain   time.Duration
	session atomic.Pointer[sarama.ConsumerGroupSession] // nil while this instance isn't a member of the group
	member  string                                      // its id in the group, as of the last session that ended
}

// trackedMessages is how far the messages of a partition can run ahead of its oldest unsettled one.
const trackedMessages = 1 << 16

// NewConsumer prepares a consumer; Run starts it.
func NewConsumer(c Config, w Submitter, v VariantFinder, i Inventory, m *KafkaMetrics, log *slog.Logger) (*Consumer, error) {
	homes, err := lru.New[variantID, home](cachedVariants)
	if err != nil {
		return nil, fmt.Errorf("make the cache of variants: %w", err)
	}
	consumer := &Consumer{config: c, writer: w, variants: v, inventory: i, metrics: m, log: log, now: time.Now, homes: homes, drain: drainTimeout,
		letters: newDeadLetters(c, m, log, time.Now), noted: newQueue[notedEvent](notedQueued)}
	m.watch("product_service_kafka_dead_letters_waiting", "Dead letters not written yet; their partitions don't advance.", consumer.letters.queue.waiting)
	m.watch("product_service_kafka_inventory_events_waiting", "Inventory events committed and not yet passed on inside the service.", consumer.noted.waiting)
	return consumer, nil
}

// ConsumeClaim implements sarama.ConsumerGroupHandler. A claim of one partition that returned by
// itself would end the session for all of them, so it ends only with the session, or when the
// partition is revoked: that shows in nothing but the closing of its channel.
func (c *Consumer) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	ctx := s.Context()
	t := newTracker(trackedMessages, func(next int64) { s.MarkOffset(claim.Topic(), claim.Partition(), next, "") })
	defer c.finish(ctx, t, claim)
	consumed := c.metrics.consumed.WithLabelValues(claim.Topic())
	lag := c.metrics.lag.WithLabelValues(claim.Topic(), fmt.Sprint(claim.Partition()))
	for {
		select {
		case m, open := <-claim.Messages():
			if !open {
				return nil
			}
			if err := c.take(ctx, t, m); err != nil {
				if ctx.Err() == nil {
					c.log.WarnContext(ctx, "a partition is given up", "topic", m.Topic, "partition", m.Partition, "offset", m.Offset, "error", err)
				}
				return nil
			}
			consumed.Inc()
			lag.Set(float64(max(0, claim.HighWaterMarkOffset()-m.Offset-1)))
		case <-ctx.Done():
			return nil
		}
	}
}

// finish waits for the commands under way, so that their offsets are committed with the partition.
func (c *Consumer) finish(ctx context.Context, t *tracker, claim sarama.ConsumerGroupClaim) {
	timeout := c.drain
	if ctx.Err() != nil {
		timeout = min(timeout, 5*time.Second) // going down: what isn't settled now is delivered again, and known by its id
	}
	waiting, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	if left := t.drained(waiting); left > 0 {
		c.log.WarnContext(ctx, "a partition is left before its commands are settled; they will be delivered again", "topic", claim.Topic(),
			"partition", claim.Partition(), "unsettled", left)
	}
	c.metrics.lag.DeleteLabelValues(claim.Topic(), fmt.Sprint(claim.Partition()))
}

// take sees to it that the message is settled in the end. It fails only when the session ends or
// the writer has.
func (c *Consumer) take(ctx context.Context, t *tracker, m *sarama.ConsumerMessage) error {
	if err := c.letters.queue.admit(ctx); err != nil {
		return err
	}
	number, err := t.add(ctx, m.Offset)
	if err != nil {
		return err
	}
	if err := c.route(ctx, m, func() { t.settle(number) }); err != nil {
		t.undo(number)
		return err
	}
	return nil
}

func (c *Consumer) route(ctx context.Context, m *sarama.ConsumerMessage, settle func()) error {
	if c.now().Sub(ageFrom(m)) > time.Duration(c.config.Retention) {
		c.bury(m, ReasonTooOld, fmt.Sprintf("the message is from %s, and ids are remembered for %s: it may have been executed before",
			m.Timestamp.UTC().Format(time.RFC3339), c.config.Retention), settle)
		return nil
	}
	switch m.Topic {
	case c.config.topic(TopicInventoryEvents):
		return c.takeInventoryEvent(ctx, m, settle)
	default:
		return c.takeCommand(ctx, m, m.Topic == c.config.topic(TopicReleaseStock), settle)
	}
}

func (c *Consumer) takeCommand(ctx context.Context, m *sarama.ConsumerMessage, release bool, settle func()) error {
	r, err := decodeCommand(m, release)
	if err == nil {
		return c.submit(ctx, m, r, func(Answer) { settle() }, settle)
	}
	why := new(fault)
	if !errors.As(err, &why) {
		why = &fault{ReasonUnreadable, err.Error()}
	}
	bury := func() { c.bury(m, why.reason, why.message, settle) }
	if r == nil {
		bury()
		return nil
	}
	return c.submit(ctx, m, r, func(Answer) { bury() }, settle) // the saga first: a letter that says it was told must be true
}

// submit hands the request over. Once it is decided and committed, committed is called; a failure
// of ours becomes a letter instead.
func (c *Consumer) submit(ctx context.Context, m *sarama.ConsumerMessage, r *Request, committed func(Answer), settle func()) error {
	r.AgeFrom = ageFrom(m)
	if r.AgeFrom.After(c.now().Add(time.Hour)) {
		c.metrics.oddStamps.WithLabelValues(m.Topic).Inc()
	}
	r.Settle = func(a Answer) {
		if a.Err != nil {
			c.bury(m, ReasonFailed, whyFailed(a.Err), settle)
			return
		}
		committed(a)
	}
	err := c.writer.Submit(ctx, r)
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrStopped) {
		return err
	}
	c.bury(m, ReasonFailed, whyFailed(err), settle) // it can't even be taken: the partition goes on
	return nil
}

// bury makes the message a dead letter, and settles it when the letter is in its topic.
func (c *Consumer) bury(m *sarama.ConsumerMessage, reason, why string, settle func()) {
	c.metrics.faults.WithLabelValues(reason).Inc()
	c.letters.queue.put(letter{message: m, reason: reason, why: why, settle: settle})
}
