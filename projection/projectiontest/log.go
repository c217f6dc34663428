// Package projectiontest helps to test the projection: a log in memory, histories for it, stores on
// databases of a test's own, and a comparison of all documents with the fold of the log.
package projectiontest

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

// Log is a log in memory, written by the real rules.
type Log struct {
	Mu       sync.Mutex
	Shards   [eventstore.Shards][]eventstore.Record
	Products map[uuid.UUID]product.Product
	Held     map[eventstore.ReservationKey]product.Reservation
	Clock    time.Time
	Fail     func(call string) error // nil: nothing fails
	Pruned   map[int64]bool          // positions that At doesn't find any more
	Deciding map[int16]bool          // shards in which a batch is being decided
}

// NewLog returns an empty log, whose clock stands at an evening.
func NewLog() *Log {
	return &Log{Products: map[uuid.UUID]product.Product{}, Held: map[eventstore.ReservationKey]product.Reservation{},
		Clock: time.Date(2026, 3, 1, 22, 30, 0, 123_457_000, time.UTC)}
}

// Do decides a command as of a later time and appends what it comes to.
func (l *Log) Do(id uuid.UUID, later time.Duration, c product.Command) []eventstore.Record {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	l.Clock = l.Clock.Add(later)
	p := l.Products[id]
	p.ID = id
	var key eventstore.ReservationKey
	switch c := c.(type) {
	case product.Reserve:
		key = eventstore.ReservationKey{ProductID: id, ReservationID: c.ReservationID}
	case product.Release:
		key = eventstore.ReservationKey{ProductID: id, ReservationID: c.ReservationID}
	case product.Expire:
		key = eventstore.ReservationKey{ProductID: id, ReservationID: c.ReservationID}
	}
	decision := product.Decide(product.State{Product: p, Reservation: l.Held[key], Now: l.Clock}, c)
	return l.Append(id, decision.Events...)
}

// Append appends events as one command's, as of now.
func (l *Log) Append(id uuid.UUID, events ...product.Event) []eventstore.Record {
	var rows []eventstore.Record
	n := eventstore.ShardOf(id)
	command := uuid.New()
	for _, e := range events {
		p := l.Products[id]
		p.ID = id
		p = p.Apply(e)
		l.Products[id] = p
		switch e := e.(type) {
		case product.Reserved:
			l.hold(id, e.ReservationID, e)
		case product.ReservationRenewed:
			l.hold(id, e.ReservationID, e)
		case product.Released:
			l.hold(id, e.ReservationID, e)
		case product.ReservationCancelled:
			l.hold(id, e.ReservationID, e)
		}
		data, err := product.Encode(e, product.Origin{CorrelationID: "c-" + command.String()[:8]})
		if err != nil {
			panic(err)
		}
		r := eventstore.Record{Shard: n, Pos: int64(len(l.Shards[n]) + 1), At: l.Clock,
			Row: eventstore.Row{ProductID: id, Type: product.TypeOf(e), CommandID: command, Data: data}}
		if e.Versioned() {
			r.Version = p.Version
		}
		l.Shards[n] = append(l.Shards[n], r)
		rows = append(rows, r)
	}
	return rows
}

func (l *Log) hold(id, reservation uuid.UUID, e product.Event) {
	key := eventstore.ReservationKey{ProductID: id, ReservationID: reservation}
	l.Held[key] = l.Held[key].Apply(e)
}

func (l *Log) failing(call string) error {
	if l.Fail == nil {
		return nil
	}
	return l.Fail(call)
}

// Tail implements [eventstore.Store.Tail].
func (l *Log) Tail(_ context.Context, cursors []eventstore.Cursor, limit int) ([]eventstore.Record, error) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	if err := l.failing("tail"); err != nil {
		return nil, err
	}
	var rows []eventstore.Record
	for _, c := range cursors {
		for _, r := range l.Shards[c.Shard][min(int(c.Pos), len(l.Shards[c.Shard])):] {
			if len(rows) == limit {
				return rows, nil
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// At implements [eventstore.Store.At], but for what is pruned.
func (l *Log) At(_ context.Context, places []eventstore.Cursor) ([]eventstore.Record, error) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	var rows []eventstore.Record
	for _, p := range places {
		if !l.Pruned[p.Pos] && p.Pos >= 1 && int(p.Pos) <= len(l.Shards[p.Shard]) {
			rows = append(rows, l.Shards[p.Shard][p.Pos-1])
		}
	}
	return rows, nil
}

// ProductRecords implements [eventstore.Store.ProductRecords].
func (l *Log) ProductRecords(_ context.Context, id uuid.UUID) iter.Seq2[eventstore.Record, error] {
	l.Mu.Lock()
	rows := l.Of(id)
	l.Mu.Unlock()
	return func(yield func(eventstore.Record, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Of are the rows of a product.
func (l *Log) Of(id uuid.UUID) []eventstore.Record {
	var rows []eventstore.Record
	for _, r := range l.Shards[eventstore.ShardOf(id)] {
		if r.ProductID == id {
			rows = append(rows, r)
		}
	}
	return rows
}

// Stream implements [eventstore.Store.Stream].
func (l *Log) Stream(_ context.Context, id uuid.UUID, after int64, limit int) ([]eventstore.Record, error) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	var rows []eventstore.Record
	for _, r := range l.Of(id) {
		if r.Version > after && len(rows) < limit {
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// Facts implements [eventstore.Store.Facts].
func (l *Log) Facts(_ context.Context, id uuid.UUID, after int64, limit int) ([]eventstore.Record, error) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	var rows []eventstore.Record
	for _, r := range l.Of(id) {
		if r.Version == 0 && r.Pos > after && len(rows) < limit {
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// Heads implements [eventstore.Store.Heads].
func (l *Log) Heads(_ context.Context, ids []uuid.UUID) ([]eventstore.Head, error) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	var heads []eventstore.Head
	for _, id := range ids {
		if p := l.Products[id]; p.Version > 0 {
			heads = append(heads, eventstore.Head{ProductID: id, Version: p.Version, Status: int16(p.Status), StockTotal: p.StockTotal,
				Reserved: p.Reserved, LowStockThreshold: p.LowStockThreshold, Variants: int32(p.Variants)})
		}
	}
	return heads, nil
}

// Reservations implements [eventstore.Store.Reservations].
func (l *Log) Reservations(_ context.Context, id, after uuid.UUID, limit int) ([]eventstore.Reservation, error) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	var kept []eventstore.Reservation
	for key, r := range l.Held {
		if key.ProductID == id && r.Exists() && bytes.Compare(key.ReservationID[:], after[:]) > 0 {
			kept = append(kept, eventstore.Reservation{ReservationKey: key, SagaID: r.SagaID, Quantity: r.Quantity, Held: r.Held, State: string(r.State), ExpiresAt: r.ExpiresAt})
		}
	}
	slices.SortFunc(kept, func(a, b eventstore.Reservation) int { return bytes.Compare(a.ReservationID[:], b.ReservationID[:]) })
	return kept[:min(limit, len(kept))], nil
}

// WithState implements [eventstore.Store.WithState].
func (l *Log) WithState(_ context.Context, after uuid.UUID, limit int) ([]uuid.UUID, error) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	var kept []uuid.UUID
	for id, p := range l.Products {
		if p.Version > 0 {
			kept = append(kept, id)
		}
	}
	for key, r := range l.Held {
		if r.Exists() {
			kept = append(kept, key.ProductID)
		}
	}
	kept = slices.DeleteFunc(kept, func(id uuid.UUID) bool { return bytes.Compare(id[:], after[:]) <= 0 })
	slices.SortFunc(kept, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	kept = slices.Compact(kept)
	return kept[:min(limit, len(kept))], nil
}

// NotInLog implements [eventstore.Store.NotInLog].
func (l *Log) NotInLog(_ context.Context, ids []uuid.UUID) ([]uuid.UUID, error) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	return slices.DeleteFunc(slices.Clone(ids), func(id uuid.UUID) bool { return len(l.Of(id)) > 0 }), nil
}

// Positions implements [eventstore.Store.Positions].
func (l *Log) Positions(context.Context) (last [eventstore.Shards]int64, err error) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	for n := range l.Shards {
		last[n] = int64(len(l.Shards[n]))
	}
	return last, nil
}

// Settled implements [eventstore.Store.Settled]: shards in which a batch is being decided aren't.
func (l *Log) Settled(_ context.Context, shards []int16) (map[int16]time.Time, error) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	if err := l.failing("settled"); err != nil {
		return nil, err
	}
	l.Clock = l.Clock.Add(time.Microsecond) // it goes on while nothing happens
	settled := make(map[int16]time.Time, len(shards))
	for _, n := range shards {
		if !l.Deciding[n] {
			settled[n] = l.Clock
		}
	}
	return settled, nil
}

// Committed implements [eventstore.Store.Committed]: no hint ever comes.
func (l *Log) Committed() <-chan struct{} { return make(chan struct{}) }

// Leases are those of an only instance.
type Leases struct {
	mu    sync.Mutex
	Epoch int64
	Of    []int16 // nil: all
}

// Held implements [eventstore.Leases.Held].
func (l *Leases) Held(role string) []eventstore.Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	var held []eventstore.Lease
	if l.Of == nil {
		for n := range int16(eventstore.Shards) {
			held = append(held, eventstore.Lease{Role: role, Shard: n, Epoch: l.Epoch})
		}
	}
	for _, n := range l.Of {
		held = append(held, eventstore.Lease{Role: role, Shard: n, Epoch: l.Epoch})
	}
	return held
}

// Lose has another instance take a shard.
func (l *Leases) Lose(shard int16) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Of = []int16{}
	for n := range int16(eventstore.Shards) {
		if n != shard {
			l.Of = append(l.Of, n)
		}
	}
}

// Take makes this instance the owner of all shards, under a new epoch.
func (l *Leases) Take(epoch int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Epoch, l.Of = epoch, nil
}
