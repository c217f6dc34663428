package command

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

// fakeLog is a log in memory with the leases of its shards.
type fakeLog struct {
	mu      sync.Mutex
	shards  map[int16][]eventstore.Record
	held    map[int16]eventstore.Lease // as the instance believes
	epochs  map[int16]int64            // as the database says
	saved   map[int16]int64
	changed chan struct{}
	wake    chan struct{}
	errs    []error // of the next checkpoints
	fenced  int     // checkpoints that didn't move
}

func newFakeLog() *fakeLog {
	l := &fakeLog{shards: map[int16][]eventstore.Record{}, held: map[int16]eventstore.Lease{}, epochs: map[int16]int64{}, saved: map[int16]int64{},
		changed: make(chan struct{}), wake: make(chan struct{}, 1)}
	for shard := range int16(eventstore.Shards) {
		l.held[shard] = eventstore.Lease{Role: RelayRole, Shard: shard, Epoch: 1}
		l.epochs[shard] = 1
	}
	return l
}

func (l *fakeLog) append(t testing.TB, productID, commandID uuid.UUID, version int64, e product.Event, from product.Origin) eventstore.Record {
	t.Helper()
	data, err := product.Encode(e, from)
	if err != nil {
		t.Fatal(err)
	}
	return l.appendRow(eventstore.Row{ProductID: productID, CommandID: commandID, Version: version, Type: product.TypeOf(e), Data: data})
}

func (l *fakeLog) appendRow(row eventstore.Row) eventstore.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	shard := eventstore.ShardOf(row.ProductID)
	r := eventstore.Record{Shard: shard, Pos: int64(len(l.shards[shard]) + 1), Row: row, At: time.Date(2026, 11, 23, 12, 0, 0, 5000, time.UTC)}
	l.shards[shard] = append(l.shards[shard], r)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return r
}

func (l *fakeLog) Tail(_ context.Context, cursors []eventstore.Cursor, limit int) (page []eventstore.Record, _ error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range cursors {
		rows := l.shards[c.Shard][min(c.Pos, int64(len(l.shards[c.Shard]))):]
		page = append(page, rows[:min(len(rows), limit-len(page))]...)
	}
	return page, nil
}

func (l *fakeLog) At(_ context.Context, places []eventstore.Cursor) (found []eventstore.Record, _ error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range places {
		if rows := l.shards[p.Shard]; p.Pos <= int64(len(rows)) {
			found = append(found, rows[p.Pos-1])
		}
	}
	return found, nil
}

func (l *fakeLog) Checkpoint(_ context.Context, _ string, leases []eventstore.Lease) (moved []int16, _ error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lease := range leases {
		if l.epochs[lease.Shard] == lease.Epoch && l.saved[lease.Shard] < lease.Pos {
			l.saved[lease.Shard] = lease.Pos
			moved = append(moved, lease.Shard)
		} else {
			l.fenced++
		}
	}
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return nil, err
	}
	return moved, nil
}

// fencedOff says whether a checkpoint was refused: whoever saved it knows that the lease is lost.
func (l *fakeLog) fencedOff() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fenced > 0
}

func (l *fakeLog) Positions(context.Context) (tips [eventstore.Shards]int64, _ error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for shard, rows := range l.shards {
		tips[shard] = int64(len(rows))
	}
	return tips, nil
}

func (l *fakeLog) Held(string) (leases []eventstore.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lease := range l.held {
		leases = append(leases, lease)
	}
	return leases
}

func (l *fakeLog) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// beat renews the leases: the instance learns the database's epochs and positions.
func (l *fakeLog) beat() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for shard, lease := range l.held {
		lease.Epoch, lease.Pos = l.epochs[shard], l.saved[shard]
		l.held[shard] = lease
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *fakeLog) savedAll() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for shard, rows := range l.shards {
		if l.saved[shard] != int64(len(rows)) {
			return false
		}
	}
	return true
}

func startRelay(t testing.TB, c Config, l *fakeLog, connect func() (pageSender, error)) (*KafkaMetrics, func()) {
	t.Helper()
	m := testMetrics()
	r := NewRelay(c, l, l, l.wake, m, quiet)
	if connect != nil {
		r.connect = connect
	}
	return m, run(t, r.Run)
}

// memorySender remembers what it took. fail says which message of a page is the first that isn't
// taken; -1: none.
type memorySender struct {
	mu   sync.Mutex
	sent []*sarama.ProducerMessage
	fail func(page []*sarama.ProducerMessage) int
}

func (s *memorySender) close() {}

func (s *memorySender) send(_ context.Context, page []*sarama.ProducerMessage) ([]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	acked, stop := make([]bool, len(page)), -1
	if s.fail != nil {
		stop = s.fail(page)
	}
	for i, m := range page {
		if i == stop {
			return acked, errors.New("not taken")
		}
		acked[i] = true
		s.sent = append(s.sent, m)
	}
	return acked, nil
}

func (s *memorySender) bodies(t testing.TB) (all []map[string]any) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.sent {
		all = append(all, bodyOf(t, m))
	}
	return all
}

func bodyOf(t testing.TB, m *sarama.ProducerMessage) map[string]any {
	t.Helper()
	raw, err := m.Value.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var body map[string]any
	if err := json.Unmarshal(raw, &body); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return body
}
