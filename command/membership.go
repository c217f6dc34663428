package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

// Ready says whether this instance is a member of its consumer group.
func (c *Consumer) Ready() bool { return c.session.Load() != nil }

// Run consumes until the context ends; then it waits a few seconds for what is under way, so the
// writer must still run. It connects again for ever, and returns an error only if the configuration
// can't be used.
func (c *Consumer) Run(ctx context.Context) error {
	config, err := c.config.groupConfig()
	if err != nil {
		return fmt.Errorf("configure the consumer: %w", err)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var workers sync.WaitGroup
	workers.Go(func() { c.letters.run(background) })
	workers.Go(func() { c.passOn(background) })
	defer func() {
		stop()
		workers.Wait()
	}()
	for attempt := 0; ctx.Err() == nil; attempt++ {
		started := time.Now()
		err := c.join(ctx, config)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, sarama.ErrFencedInstancedId) {
			c.log.ErrorContext(ctx, "another process is a member of the consumer group with the INSTANCE_ID of this one, and has taken its place; this one goes on as "+
				"a member without an id of its own. Give each instance another INSTANCE_ID", "group", c.config.Group)
			config.Consumer.Group.InstanceId = ""
			continue
		}
		if time.Since(started) > time.Minute {
			attempt = 0
		}
		c.metrics.reconnects.WithLabelValues("group").Inc()
		c.log.WarnContext(ctx, "the consumer lost Kafka; it connects again", "attempt", attempt, "error", err)
		pause(ctx, attempt)
	}
	return nil
}

// join is a member of the group until an error or the end of the context.
func (c *Consumer) join(ctx context.Context, config *sarama.Config) error {
	client, err := sarama.NewClient(c.config.Brokers, config)
	if err != nil {
		return fmt.Errorf("connect to Kafka: %w", err)
	}
	defer func() { _ = client.Close() }()
	group, err := sarama.NewConsumerGroupFromClient(c.config.Group, client)
	if err != nil {
		return fmt.Errorf("connect to Kafka: %w", err)
	}
	var fenced atomic.Bool
	var errs sync.WaitGroup
	errs.Go(func() {
		for err := range group.Errors() {
			if errors.Is(err, sarama.ErrFencedInstancedId) {
				fenced.Store(true)
				continue
			}
			c.log.WarnContext(ctx, "the consumer had an error and goes on", "error", err)
		}
	})
	defer func() {
		_ = group.Close() // its errors went through the channel
		errs.Wait()
		if ctx.Err() != nil && config.Consumer.Group.InstanceId != "" && c.member != "" {
			c.leave(client, config.Consumer.Group.InstanceId)
		}
	}()
	for short := 0; ctx.Err() == nil; {
		started := time.Now()
		if err := c.consume(ctx, client, group); err != nil {
			return fmt.Errorf("consume: %w", err)
		}
		if fenced.Load() {
			return sarama.ErrFencedInstancedId
		}
		if short++; time.Since(started) > time.Minute {
			short = 0
		}
		pause(ctx, short)
	}
	return nil
}

// consume is one session of the group.
func (c *Consumer) consume(ctx context.Context, client sarama.Client, group sarama.ConsumerGroup) error {
	ctx, end := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		c.watchPartitions(ctx, client)
		end()
	})
	defer watching.Wait()
	defer end()
	return group.Consume(ctx, c.config.inputs(), c)
}

// watchPartitions returns when the context ends, or when a topic has other partitions than the
// group shares, so that it is to be joined anew. The library looks for new partitions too, but only
// where it was told that this member leads the group, and who takes a static member's place is told
// so of none (KIP-814): so the leader has one round to act, and then every member joins anew, the
// leader among them.
func (c *Consumer) watchPartitions(ctx context.Context, client sarama.Client) {
	every := time.NewTicker(partitionsChecked)
	defer every.Stop()
	shared := c.partitions(client)
	var noticed *int32 // the group's generation when there were others first
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		session := c.session.Load()
		if session == nil || client.RefreshMetadata(c.config.inputs()...) != nil {
			continue
		}
		now, generation := c.partitions(client), (*session).GenerationID()
		switch {
		case maps.Equal(now, shared):
			noticed = nil
		case noticed == nil:
			noticed = &generation
		case *noticed != generation: // they were shared out
			shared, noticed = now, nil
		default:
			c.log.InfoContext(ctx, "a topic has new partitions; the group is joined anew to share them", "partitions", now)
			return
		}
	}
}

// partitions counts the partitions of each topic that is consumed, as the client knows them.
func (c *Consumer) partitions(client sarama.Client) map[string]int {
	counts := map[string]int{}
	for _, topic := range c.config.inputs() {
		if partitions, err := client.Partitions(topic); err == nil {
			counts[topic] = len(partitions)
		}
	}
	return counts
}

// leave gives a static member's place in the group up, which closing doesn't do: others need not
// wait until its session has run out. A process that was killed doesn't come here, and its
// successor takes its place.
func (c *Consumer) leave(client sarama.Client, instance string) {
	coordinator, err := client.Coordinator(c.config.Group)
	if err == nil {
		_, err = coordinator.LeaveGroup(&sarama.LeaveGroupRequest{Version: 4, GroupId: c.config.Group,
			Members: []sarama.MemberIdentity{{MemberId: c.member, GroupInstanceId: &instance}}})
	}
	if err != nil {
		c.log.Warn("the consumer group could not be left; its other members wait until the session has run out", "session", sessionTimeout, "error", err)
	}
}

// Setup implements sarama.ConsumerGroupHandler.
func (c *Consumer) Setup(s sarama.ConsumerGroupSession) error {
	c.session.Store(&s)
	c.metrics.session.Set(1)
	c.log.InfoContext(s.Context(), "joined the consumer group", "group", c.config.Group, "claims", s.Claims())
	return nil
}

// Cleanup implements sarama.ConsumerGroupHandler.
func (c *Consumer) Cleanup(s sarama.ConsumerGroupSession) error {
	c.member = s.MemberID()
	c.session.Store(nil)
	c.metrics.session.Set(0)
	return nil
}
