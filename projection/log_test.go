package projection

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"product-service/eventstore"
	"product-service/product"
)

// memoryLog is a log in memory, written by the real rules.
type memoryLog struct {
	mu       sync.Mutex
	shards   [eventstore.Shards][]eventstore.Record
	products map[uuid.UUID]product.Product
	held     map[eventstore.ReservationKey]product.Reservation
	clock    time.Time
	fail     func(call string) error // nil: nothing fails
	pruned   map[int64]bool          // positions that At doesn't find any more
	deciding map[int16]bool          // shards in which a batch is being decided
}

func newMemoryLog() *memoryLog {
	return &memoryLog{products: map[uuid.UUID]product.Product{}, held: map[eventstore.ReservationKey]product.Reservation{},
		clock: time.Date(2026, 3, 1, 22, 30, 0, 123_457_000, time.UTC)}
}

// do decides a command as of a later time and appends what it comes to.
func (l *memoryLog) do(id uuid.UUID, later time.Duration, c product.Command) []eventstore.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock = l.clock.Add(later)
	p := l.products[id]
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
	decision := product.Decide(product.State{Product: p, Reservation: l.held[key], Now: l.clock}, c)
	return l.append(id, decision.Events...)
}

func (l *memoryLog) append(id uuid.UUID, events ...product.Event) []eventstore.Record {
	var rows []eventstore.Record
	n := eventstore.ShardOf(id)
	command := uuid.New()
	for _, e := range events {
		p := l.products[id]
		p.ID = id
		p = p.Apply(e)
		l.products[id] = p
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
		r := eventstore.Record{Shard: n, Pos: int64(len(l.shards[n]) + 1), At: l.clock,
			Row: eventstore.Row{ProductID: id, Type: product.TypeOf(e), CommandID: command, Data: data}}
		if e.Versioned() {
			r.Version = p.Version
		}
		l.shards[n] = append(l.shards[n], r)
		rows = append(rows, r)
	}
	return rows
}

func (l *memoryLog) hold(id, reservation uuid.UUID, e product.Event) {
	key := eventstore.ReservationKey{ProductID: id, ReservationID: reservation}
	l.held[key] = l.held[key].Apply(e)
}

func (l *memoryLog) failing(call string) error {
	if l.fail == nil {
		return nil
	}
	return l.fail(call)
}

func (l *memoryLog) Tail(_ context.Context, cursors []eventstore.Cursor, limit int) ([]eventstore.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.failing("tail"); err != nil {
		return nil, err
	}
	var rows []eventstore.Record
	for _, c := range cursors {
		for _, r := range l.shards[c.Shard][min(int(c.Pos), len(l.shards[c.Shard])):] {
			if len(rows) == limit {
				return rows, nil
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func (l *memoryLog) At(_ context.Context, places []eventstore.Cursor) ([]eventstore.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var rows []eventstore.Record
	for _, p := range places {
		if !l.pruned[p.Pos] && p.Pos >= 1 && int(p.Pos) <= len(l.shards[p.Shard]) {
			rows = append(rows, l.shards[p.Shard][p.Pos-1])
		}
	}
	return rows, nil
}

func (l *memoryLog) ProductRecords(_ context.Context, id uuid.UUID) iter.Seq2[eventstore.Record, error] {
	l.mu.Lock()
	rows := l.of(id)
	l.mu.Unlock()
	return func(yield func(eventstore.Record, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (l *memoryLog) of(id uuid.UUID) []eventstore.Record {
	var rows []eventstore.Record
	for _, r := range l.shards[eventstore.ShardOf(id)] {
		if r.ProductID == id {
			rows = append(rows, r)
		}
	}
	return rows
}

func (l *memoryLog) Stream(_ context.Context, id uuid.UUID, after int64, limit int) ([]eventstore.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var rows []eventstore.Record
	for _, r := range l.of(id) {
		if r.Version > after && len(rows) < limit {
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func (l *memoryLog) Facts(_ context.Context, id uuid.UUID, after int64, limit int) ([]eventstore.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var rows []eventstore.Record
	for _, r := range l.of(id) {
		if r.Version == 0 && r.Pos > after && len(rows) < limit {
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func (l *memoryLog) Heads(_ context.Context, ids []uuid.UUID) ([]eventstore.Head, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var heads []eventstore.Head
	for _, id := range ids {
		if p := l.products[id]; p.Version > 0 {
			heads = append(heads, eventstore.Head{ProductID: id, Version: p.Version, Status: int16(p.Status), StockTotal: p.StockTotal,
				Reserved: p.Reserved, LowStockThreshold: p.LowStockThreshold, Variants: int32(p.Variants)})
		}
	}
	return heads, nil
}

func (l *memoryLog) Reservations(_ context.Context, id, after uuid.UUID, limit int) ([]eventstore.Reservation, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var kept []eventstore.Reservation
	for key, r := range l.held {
		if key.ProductID == id && r.Exists() && bytes.Compare(key.ReservationID[:], after[:]) > 0 {
			kept = append(kept, eventstore.Reservation{ReservationKey: key, SagaID: r.SagaID, Quantity: r.Quantity, Held: r.Held, State: string(r.State), ExpiresAt: r.ExpiresAt})
		}
	}
	slices.SortFunc(kept, func(a, b eventstore.Reservation) int { return bytes.Compare(a.ReservationID[:], b.ReservationID[:]) })
	return kept[:min(limit, len(kept))], nil
}

func (l *memoryLog) Kept(_ context.Context, after uuid.UUID, limit int) ([]uuid.UUID, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var kept []uuid.UUID
	for id, p := range l.products {
		if p.Version > 0 {
			kept = append(kept, id)
		}
	}
	for key, r := range l.held {
		if r.Exists() {
			kept = append(kept, key.ProductID)
		}
	}
	kept = slices.DeleteFunc(kept, func(id uuid.UUID) bool { return bytes.Compare(id[:], after[:]) <= 0 })
	slices.SortFunc(kept, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	kept = slices.Compact(kept)
	return kept[:min(limit, len(kept))], nil
}

func (l *memoryLog) Unlogged(_ context.Context, ids []uuid.UUID) ([]uuid.UUID, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(ids), func(id uuid.UUID) bool { return len(l.of(id)) > 0 }), nil
}

func (l *memoryLog) Positions(context.Context) (last [eventstore.Shards]int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range l.shards {
		last[n] = int64(len(l.shards[n]))
	}
	return last, nil
}

func (l *memoryLog) Settled(_ context.Context, shards []int16) (map[int16]time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.failing("settled"); err != nil {
		return nil, err
	}
	l.clock = l.clock.Add(time.Microsecond) // it goes on while nothing happens
	settled := make(map[int16]time.Time, len(shards))
	for _, n := range shards {
		if !l.deciding[n] {
			settled[n] = l.clock
		}
	}
	return settled, nil
}

func (l *memoryLog) Committed() <-chan struct{} { return make(chan struct{}) }

// leases are those of an only instance.
type leases struct {
	mu    sync.Mutex
	epoch int64
	of    []int16 // nil: all
}

func (l *leases) Held(role string) []eventstore.Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	var held []eventstore.Lease
	if l.of == nil {
		for n := range int16(eventstore.Shards) {
			held = append(held, eventstore.Lease{Role: role, Shard: n, Epoch: l.epoch})
		}
	}
	for _, n := range l.of {
		held = append(held, eventstore.Lease{Role: role, Shard: n, Epoch: l.epoch})
	}
	return held
}

func testID(kind byte, n int) uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("%02x000000-0000-4000-8000-%012x", kind, n))
}

var errInjected = errors.New("injected")

// history writes random commands about a few products: everything a product can go through.
func history(t *rapid.T, l *memoryLog, products, commands int) {
	for range commands {
		n := rapid.IntRange(0, products-1).Draw(t, "product")
		id := testID(0xaa, n)
		later := time.Duration(rapid.SampledFrom([]int64{0, 0, 0, 1, 700, 1e6, 17e6, 3600e6, 40 * 3600e6}).Draw(t, "later")) * time.Microsecond
		l.do(id, later, command(t, l, n))
	}
}

func command(t *rapid.T, l *memoryLog, n int) product.Command {
	variant := testID(0xbb, n*10+rapid.IntRange(0, 2).Draw(t, "variant"))
	reservation := testID(0xcc, rapid.IntRange(0, 6).Draw(t, "reservation"))
	quantity := rapid.Int64Range(1, 9).Draw(t, "quantity")
	switch rapid.IntRange(0, 19).Draw(t, "command") {
	case 0, 1:
		return product.Create{Name: fmt.Sprintf("Product %d", n), Description: "x", InitialStock: quantity * 5, LowStockThreshold: 7,
			Unconfirmed: rapid.Bool().Draw(t, "unconfirmed"), Variants: []product.Variant{{ID: variant, SKU: "sku-" + variant.String(), Name: "V"}}}
	case 2:
		name := rapid.StringMatching(`[A-Z][a-zé]{1,8} [A-Z][a-z]{2,5}`).Draw(t, "name")
		return product.Update{Name: &name}
	case 3:
		return product.AddVariant{Unconfirmed: rapid.Bool().Draw(t, "unconfirmed"), Variant: product.Variant{ID: testID(0xbb, n*10+3), SKU: "extra", Name: "W",
			Attributes: []product.Attribute{{Name: "size", Value: "L"}}}}
	case 4, 5:
		return product.AdjustStock{Delta: rapid.Int64Range(-10, 30).Draw(t, "delta"), Reason: "count"}
	case 6:
		return product.NoteInventoryRecord{VariantID: variant, Last: true}
	case 7:
		return product.Discard{Reason: "no record"}
	case 8:
		return product.NoteInventoryRecord{VariantID: variant}
	case 9:
		at := l.clock.Add(time.Duration(rapid.IntRange(-5, 5).Draw(t, "skew")) * time.Second)
		kind := rapid.SampledFrom([]string{"InventoryOutOfStockEvent", "InventoryLowStockEvent", "InventoryBackInStockEvent"}).Draw(t, "event")
		return product.NoteInventoryChange{VariantID: variant, Type: kind, Timestamp: at, AvailableQuantity: &quantity}
	case 10:
		return product.Expire{ReservationID: reservation}
	case 11, 12, 13, 14:
		return product.Release{ReservationID: reservation, Quantity: rapid.Int64Range(0, 3).Draw(t, "part")}
	default:
		c := product.Reserve{ReservationID: reservation, SagaID: "saga", Quantity: quantity}
		if rapid.Bool().Draw(t, "expires") {
			c.ExpiresAt = l.clock.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "life")) * time.Minute)
		}
		return c
	}
}
