package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"product-service/command"
)

// naiveSchema is what a textbook service has: a row a product, an inbox, the events, an outbox for
// a relay to poll.
const naiveSchema = `
create table naive_product (id uuid primary key, version bigint not null, total bigint not null, reserved bigint not null check (reserved <= total));
create table naive_inbox (command_id uuid primary key, at timestamptz not null default now());
create table naive_event (product_id uuid, version bigint, type text not null, data jsonb not null, at timestamptz not null default now(), primary key (product_id, version));
create table naive_outbox (id bigserial primary key, topic text not null, key text not null, body jsonb not null, sent_at timestamptz);
`

// naiveConsumer handles one message in one transaction, and marks it then. Nothing relays its
// outbox: that isn't counted against it.
type naiveConsumer struct {
	pool     *pgxpool.Pool
	done     atomic.Int64
	wanted   int64
	finish   context.CancelCauseFunc
	assigned sync.Once
	reading  chan struct{} // closed when partitions are assigned
}

var errNaiveDone = errors.New("all messages are handled")

// Setup implements sarama.ConsumerGroupHandler.
func (n *naiveConsumer) Setup(sarama.ConsumerGroupSession) error {
	n.assigned.Do(func() { close(n.reading) })
	return nil
}

// Cleanup implements sarama.ConsumerGroupHandler.
func (n *naiveConsumer) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim implements sarama.ConsumerGroupHandler.
func (n *naiveConsumer) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		if err := pgx.BeginFunc(session.Context(), n.pool, func(tx pgx.Tx) error { return handleNaively(session.Context(), tx, message.Value) }); err != nil {
			n.finish(err)
			return err
		}
		session.MarkMessage(message, "")
		if n.done.Add(1) == n.wanted {
			n.finish(errNaiveDone)
		}
	}
	return nil
}

// consume joins again after each rebalance, and while the brokers don't all know the new topic yet.
func (n *naiveConsumer) consume(ctx context.Context, group sarama.ConsumerGroup, topic string) error {
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{topic}, n); err != nil && !errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	return context.Cause(ctx)
}

func handleNaively(ctx context.Context, tx pgx.Tx, body []byte) error {
	var m struct {
		CommandID, ProductID, ReservationID uuid.UUID
		SagaID                              string
		Quantity                            int64
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, "insert into naive_inbox (command_id) values ($1) on conflict do nothing", m.CommandID)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	var version, total, reserved int64
	if err := tx.QueryRow(ctx, "select version, total, reserved from naive_product where id = $1 for update", m.ProductID).Scan(&version, &total, &reserved); err != nil {
		return err
	}
	version, reserved = version+1, reserved+m.Quantity
	if _, err := tx.Exec(ctx, "update naive_product set version = $2, reserved = $3 where id = $1", m.ProductID, version, reserved); err != nil {
		return err
	}
	event, err := json.Marshal(map[string]any{"type": "ProductReserved", "productId": m.ProductID, "reservationId": m.ReservationID, "sagaId": m.SagaID,
		"quantity": m.Quantity, "stockTotal": total, "reserved": reserved, "streamVersion": version, "commandId": m.CommandID})
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "insert into naive_event (product_id, version, type, data) values ($1, $2, 'ProductReserved', $3)", m.ProductID, version, event); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "insert into naive_outbox (topic, key, body) values ('product.reserved', $1, $2)", m.ProductID.String(), event)
	return err
}

// measureNaive runs the consumer that a team writes first on the same servers.
func measureNaive(ctx context.Context, b *bench) error {
	for _, s := range []struct {
		name, key string
		products  int
	}{{"hot product", "naive hot", 1}, {"1,000 products", "naive spread", 1000}} {
		name := "a transaction a message, " + s.name
		b.out.step("%s", name)
		rate, err := naive(ctx, b, name, s.products)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		b.out.say("  %s: %s (load %s)", name, round(rate), loadAverage())
		b.report.known[s.key] = rate
		b.report.add(name, rate, "/s", target{}, "sarama group on 8 partitions, inbox, event and outbox in each transaction, no relay")
	}
	return nil
}

func naive(ctx context.Context, b *bench, name string, products int) (rate float64, err error) {
	ctx, cancelAll := context.WithTimeout(ctx, 2*time.Minute)
	defer cancelAll()
	w, err := b.newWorld(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	pool, err := pgxpool.New(ctx, w.postgres)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, naiveSchema); err != nil {
		return 0, err
	}
	ids := make([]uuid.UUID, products)
	for i := range ids {
		ids[i] = uuid.New()
		if _, err := pool.Exec(ctx, "insert into naive_product values ($1, 1, 1000000000, 0)", ids[i]); err != nil {
			return 0, err
		}
	}
	if err := command.CreateTopics(ctx, command.Config{Brokers: b.servers.brokers, TopicPrefix: w.name + ".", Partitions: 8, Retention: command.Duration(time.Hour)}); err != nil {
		return 0, err
	}
	return consumeNaively(ctx, w, pool, name, ids)
}

func consumeNaively(ctx context.Context, w *world, pool *pgxpool.Pool, name string, ids []uuid.UUID) (float64, error) {
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	group, err := sarama.NewConsumerGroup(w.b.servers.brokers, w.name, config)
	if err != nil {
		return 0, err
	}
	defer func() { _ = group.Close() }()
	c, err := newClient(ctx, w)
	if err != nil {
		return 0, err
	}
	defer c.close()
	ctx, finish := context.WithCancelCause(ctx)
	defer finish(nil)
	n := &naiveConsumer{pool: pool, wanted: int64(w.b.naive), finish: finish, reading: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- n.consume(ctx, group, w.topic(command.TopicRequestStock)) }()
	select {
	case <-n.reading:
	case err := <-ended:
		return 0, err
	}
	records := c.requests(ids, w.b.naive)
	began := time.Now()
	for _, r := range records {
		c.producer.Produce(ctx, r, nil)
	}
	for {
		select {
		case <-ctx.Done():
			took := time.Since(began)
			if cause := context.Cause(ctx); !errors.Is(cause, errNaiveDone) {
				return 0, fmt.Errorf("%d of %d messages were handled: %w", n.done.Load(), n.wanted, cause)
			}
			<-ended
			return rateOf(w.b.naive, took), nil
		case <-time.After(100 * time.Millisecond):
			w.b.out.progress(name, int(n.done.Load()), w.b.naive)
		}
	}
}
