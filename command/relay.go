package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"product-service/eventstore"
)

// RelayRole is the role whose leases share the shards of the log among the relays; its checkpoints
// are kept with the leases.
const RelayRole = "relay"

const (
	relayPage  = 4000 // records
	shortPoll  = 5 * time.Millisecond
	longPoll   = 250 * time.Millisecond
	lagEvery   = 5 * time.Second
	saveEvery  = 50 * time.Millisecond // what was sent since is sent again after a crash
	relayGrace = 5 * time.Second       // for the page under way when the service goes down
)

// Outbox is the log as the relay reads it; eventstore.Store is one.
type Outbox interface {
	Tail(ctx context.Context, cursors []eventstore.Cursor, limit int) ([]eventstore.Record, error)
	At(ctx context.Context, places []eventstore.Cursor) ([]eventstore.Record, error)
	Checkpoint(ctx context.Context, role string, leases []eventstore.Lease) ([]int16, error)
	Positions(ctx context.Context) ([eventstore.Shards]int64, error)
}

// pageSender is what the relay needs of a sender.
type pageSender interface {
	send(context.Context, []*sarama.ProducerMessage) ([]bool, error)
	close()
}

// Relay sends the outcomes in the log to Kafka: at least once, and in the order of the log per
// product. It reads the shards it holds the lease of, and moves their checkpoints when Kafka has
// acknowledged. A page that fails is read again from the last contiguous acknowledgement of each
// shard.
type Relay struct {
	config  Config
	outbox  Outbox
	leases  LeaseHolder
	wake    <-chan struct{}
	metrics *KafkaMetrics
	log     *slog.Logger
	connect func() (pageSender, error)

	sender  pageSender
	shards  map[int16]*relayed
	first   int16 // the shard a page begins with
	saved   time.Time
	tipRead time.Time
}

// relayed is how far a shard is sent.
type relayed struct {
	epoch    int64
	pos      int64 // acknowledged
	saved    int64 // as the checkpoint says
	doubtful bool  // the checkpoint didn't move: the lease is lost, or it was there already
}

// NewRelay prepares a relay; Run starts it. wake is a hint that the log has grown, such as
// eventstore.Store.Committed gives.
func NewRelay(c Config, o Outbox, l LeaseHolder, wake <-chan struct{}, m *KafkaMetrics, log *slog.Logger) *Relay {
	return &Relay{config: c, outbox: o, leases: l, wake: wake, metrics: m, log: log, shards: map[int16]*relayed{},
		connect: func() (pageSender, error) { return connectSender(c) }}
}

// Run relays until the context ends, and finishes the page under way, for a few seconds at most. It
// tries again for ever.
func (r *Relay) Run(ctx context.Context) error {
	defer r.end(ctx)
	poll := shortPoll
	for attempt := 0; ctx.Err() == nil; {
		changed := r.leases.Changed()
		n, err := r.page(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			r.log.ErrorContext(ctx, "a step of the relay failed; it goes on after the last acknowledged outcome", "attempt", attempt, "error", err)
			pause(ctx, attempt)
			attempt++
			continue
		case n > 0:
			attempt, poll = 0, shortPoll
		default:
			attempt, poll = 0, min(2*poll, longPoll)
		}
		r.observe(ctx)
		if n == relayPage {
			continue // there is more
		}
		timer := time.NewTimer(poll)
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// end saves how far the relay came, so that the next one sends nothing again.
func (r *Relay) end(ctx context.Context) {
	ctx, cancel := withGrace(ctx)
	defer cancel()
	if err := r.checkpoint(ctx); err != nil {
		r.log.WarnContext(ctx, "the last checkpoints of the relay could not be saved; what was sent since the ones before is sent again", "error", err)
	}
	if r.sender != nil {
		r.sender.close()
	}
}

// page sends one page and returns how many records it read. Checkpoints are saved now and then
// while pages follow each other, and when none does.
func (r *Relay) page(ctx context.Context) (int, error) {
	cursors := r.cursors()
	if len(cursors) == 0 {
		r.metrics.relayAge.Set(0)
		return 0, nil
	}
	records, err := r.outbox.Tail(ctx, cursors, relayPage)
	if err != nil {
		return 0, fmt.Errorf("read outcomes: %w", err)
	}
	ctx, cancel := withGrace(ctx)
	defer cancel()
	messages, err := r.messages(ctx, records)
	if err != nil {
		return 0, fmt.Errorf("look up outcomes that are sent again: %w", err)
	}
	sendErr := r.send(ctx, records, messages)
	if len(records) == 0 || sendErr != nil || time.Since(r.saved) > saveEvery {
		if err := r.checkpoint(ctx); sendErr == nil {
			sendErr = err
		}
	}
	switch {
	case sendErr != nil && len(records) > 0:
		r.metrics.relayAge.Set(max(0, time.Since(records[0].At).Seconds()))
		return len(records), sendErr
	case sendErr != nil:
		return 0, sendErr
	case len(records) == relayPage:
		last := records[len(records)-1]
		r.first = last.Shard + 1 // so that a busy shard waits for the others
		r.metrics.relayAge.Set(max(0, time.Since(last.At).Seconds()))
	default:
		r.metrics.relayAge.Set(0)
	}
	return len(records), nil
}

// cursors takes over what has changed of the leases, and returns where each shard that is held stands.
func (r *Relay) cursors() []eventstore.Cursor {
	held := r.leases.Held(RelayRole)
	shards := make(map[int16]*relayed, len(held))
	var cursors []eventstore.Cursor
	for _, lease := range held {
		s := r.shards[lease.Shard]
		if s == nil || s.epoch != lease.Epoch {
			s = &relayed{epoch: lease.Epoch, pos: lease.Pos, saved: lease.Pos}
		}
		if s.doubtful && lease.Pos >= s.pos {
			s.doubtful, s.saved = false, s.pos
		}
		shards[lease.Shard] = s
		if !s.doubtful {
			cursors = append(cursors, eventstore.Cursor{Shard: lease.Shard, Pos: s.pos})
		}
	}
	r.shards = shards
	turn := func(c eventstore.Cursor) int { return (int(c.Shard-r.first) + eventstore.Shards) % eventstore.Shards }
	slices.SortFunc(cursors, func(a, b eventstore.Cursor) int { return cmp.Compare(turn(a), turn(b)) })
	return cursors
}

// send sends the messages and moves each shard to the record before the first that wasn't acknowledged.
func (r *Relay) send(ctx context.Context, records []eventstore.Record, messages []*sarama.ProducerMessage) error {
	toSend := make([]*sarama.ProducerMessage, 0, len(messages))
	for _, m := range messages {
		if m != nil {
			toSend = append(toSend, m)
		}
	}
	eventstore.CrashPoint("relaying")
	acked, err := r.sendAll(ctx, toSend)
	eventstore.CrashPoint("relayed")
	if err != nil {
		r.metrics.sendErrors.Inc()
		err = fmt.Errorf("send outcomes: %w", err)
	}
	stopped, next := map[int16]bool{}, 0
	for i, record := range records {
		ok := true
		if messages[i] != nil {
			ok = acked[next]
			next++
		}
		if ok && messages[i] != nil {
			r.metrics.relayed.WithLabelValues(messages[i].Topic).Inc()
		}
		if stopped[record.Shard] = stopped[record.Shard] || !ok; !stopped[record.Shard] {
			r.shards[record.Shard].pos = record.Pos
		}
	}
	return err
}

func (r *Relay) sendAll(ctx context.Context, messages []*sarama.ProducerMessage) ([]bool, error) {
	none := make([]bool, len(messages))
	if len(messages) == 0 {
		return none, nil
	}
	if r.sender == nil {
		s, err := r.connect()
		if err != nil {
			return none, err
		}
		r.sender = s
	}
	acked, err := r.sender.send(ctx, messages)
	if err != nil {
		r.sender.close()
		r.sender = nil
		r.metrics.reconnects.WithLabelValues("relay").Inc()
	}
	return acked, err
}

// checkpoint saves how far the shards are, fenced by the epochs of their leases.
func (r *Relay) checkpoint(ctx context.Context) error {
	var leases []eventstore.Lease
	for shard, s := range r.shards {
		if s.pos > s.saved && !s.doubtful {
			leases = append(leases, eventstore.Lease{Role: RelayRole, Shard: shard, Epoch: s.epoch, Pos: s.pos})
		}
	}
	r.saved = time.Now()
	if len(leases) == 0 {
		return nil
	}
	moved, err := r.outbox.Checkpoint(ctx, RelayRole, leases)
	if err != nil {
		return fmt.Errorf("save checkpoints: %w", err)
	}
	for _, l := range leases {
		s := r.shards[l.Shard]
		if slices.Contains(moved, l.Shard) {
			s.saved = l.Pos
			continue
		}
		s.doubtful = true // the next renewal of the leases tells
		r.log.InfoContext(ctx, "a checkpoint of the relay did not move; the shard waits for its lease", "shard", l.Shard, "epoch", l.Epoch, "pos", l.Pos)
	}
	return nil
}

// observe measures how far the relay is behind, now and then.
func (r *Relay) observe(ctx context.Context) {
	if time.Since(r.tipRead) < lagEvery {
		return
	}
	r.tipRead = time.Now()
	tips, err := r.outbox.Positions(ctx)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			r.log.WarnContext(ctx, "the lag of the relay can't be measured", "error", err)
		}
		return
	}
	var behind int64
	for shard, s := range r.shards {
		behind += max(0, tips[shard]-s.pos)
	}
	r.metrics.relayBehind.Set(float64(behind))
}
