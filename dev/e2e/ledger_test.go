package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// row is a record of the log.
type row struct {
	Shard, Pos    int64
	Product       string
	Version       int64 // 0 where it has none
	Type, Command string
	At            time.Time
	fields
}

// fields are those of all events' data that matter here.
type fields struct {
	ReservationID, Reason, Fingerprint string
	Quantity, Held                     int64
	StockTotal, Reserved               int64
	InitialStock, Delta                int64
	Expired, Unconfirmed               bool
}

// level is a product's stock, folded from its rows.
type level struct{ Version, Total, Reserved int64 }

func (l level) shown() *stock {
	return &stock{Total: l.Total, Reserved: l.Reserved, Available: l.Total - l.Reserved, Version: l.Version}
}

// ledger is what the log adds up to, by a fold that is none of the service's.
type ledger struct {
	rows     []row
	levels   map[string]level
	holds    map[[2]string]hold
	decided  map[string]int // by command: how many rows decide it
	moved    map[string][]movement
	repeats  int // rows that send an outcome again
	versions int // rows of streams
}

const readLog = `select shard, pos, product_id::text, coalesce(version, 0), type, command_id::text, at, data from log order by shard, pos`

// read folds the log. The error says where it isn't what it must be.
func (w *world) read() (*ledger, error) {
	rows, err := w.sql().Query(context.Background(), readLog)
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, func(from pgx.CollectableRow) (r row, err error) {
		var data []byte
		if err := from.Scan(&r.Shard, &r.Pos, &r.Product, &r.Version, &r.Type, &r.Command, &r.At, &data); err != nil {
			return r, err
		}
		return r, json.Unmarshal(data, &r.fields)
	})
	if err != nil {
		return nil, err
	}
	l := &ledger{rows: all, levels: map[string]level{}, holds: map[[2]string]hold{}, decided: map[string]int{}, moved: map[string][]movement{}}
	var previous row
	for _, r := range all {
		if r.Shard != previous.Shard {
			previous = row{Shard: r.Shard}
		}
		if r.Pos != previous.Pos+1 || r.At.Before(previous.At) {
			return nil, fmt.Errorf("shard %d: position %d at %v follows %d at %v", r.Shard, r.Pos, r.At, previous.Pos, previous.At)
		}
		if err := l.fold(r); err != nil {
			return nil, fmt.Errorf("shard %d, position %d, product %s, %s: %w", r.Shard, r.Pos, r.Product, r.Type, err)
		}
		previous = r
	}
	return l, nil
}

// The stored names of the events that matter here.
const (
	created      = "ProductCreatedEvent"
	confirmed    = "ProductConfirmedEvent"
	adjusted     = "ProductStockAdjustedEvent"
	reservedRow  = "ProductReservedEvent"
	renewedRow   = "ProductReservationRenewedEvent"
	releasedRow  = "ProductReleasedEvent"
	failedRow    = "ReservationFailed"
	cancelledRow = "ReservationCancelled"
	resentRow    = "OutcomeResent"
)

func (l *ledger) fold(r row) error {
	before := l.levels[r.Product]
	after := before
	key := [2]string{r.Product, r.ReservationID}
	held := l.holds[key]
	kind := ""
	switch r.Type {
	case created:
		after.Total = r.InitialStock
		if !r.Unconfirmed {
			before.Total, kind, r.Quantity = 0, "INITIAL", r.InitialStock
		}
	case confirmed: // its visible history begins
		before.Total, kind, r.Quantity = 0, "INITIAL", after.Total
	case adjusted:
		after.Total += r.Delta
		kind, r.Quantity = "ADJUSTED", max(r.Delta, -r.Delta)
	case reservedRow:
		if held.State != "" {
			return fmt.Errorf("reservation %s is reserved again: %+v", r.ReservationID, held)
		}
		after.Reserved += r.Quantity
		kind, held = "RESERVED", hold{ReservationID: r.ReservationID, State: "ACTIVE", Quantity: r.Quantity, Held: r.Quantity}
	case releasedRow:
		if held.State != "ACTIVE" || r.Quantity > held.Held || r.Held != held.Held-r.Quantity {
			return fmt.Errorf("%d of reservation %s are released, %d left, but it was %+v", r.Quantity, r.ReservationID, r.Held, held)
		}
		after.Reserved -= r.Quantity
		held.Held -= r.Quantity
		kind = "RELEASED"
		if r.Expired {
			kind = "EXPIRED"
		}
		if held.Held == 0 {
			held.State = kind
		}
	case renewedRow:
		if held.State != "ACTIVE" || held.Held != r.Quantity {
			return fmt.Errorf("reservation %s is renewed with %d, but it was %+v", r.ReservationID, r.Quantity, held)
		}
	case cancelledRow:
		if held.State != "" {
			return fmt.Errorf("reservation %s is cancelled, but it was %+v", r.ReservationID, held)
		}
		held = hold{ReservationID: r.ReservationID, State: "CANCELLED"}
	case failedRow:
		if r.Reason == "INSUFFICIENT_STOCK" && r.Quantity <= before.Total-before.Reserved {
			return fmt.Errorf("%d are refused while %d of %d are reserved", r.Quantity, before.Reserved, before.Total)
		}
	case resentRow:
		l.repeats++
	}
	if held.State != "" {
		l.holds[key] = held
	}
	if r.ReservationID != "" && r.Fingerprint == "" {
		l.decided[r.Command]++
	}
	if after.Reserved < 0 || after.Reserved > after.Total {
		return fmt.Errorf("%d of %d would be reserved", after.Reserved, after.Total)
	}
	if r.Version == 0 {
		return nil
	}
	l.versions++
	if r.Version != before.Version+1 {
		return fmt.Errorf("version %d follows %d", r.Version, before.Version)
	}
	after.Version = r.Version
	l.levels[r.Product] = after
	if kind == "" {
		return nil
	}
	if kind != "INITIAL" && (r.StockTotal != after.Total || r.Reserved != after.Reserved) {
		return fmt.Errorf("it says %d of %d are reserved, but they add up to %+v", r.Reserved, r.StockTotal, after)
	}
	l.moved[r.Product] = append(l.moved[r.Product], movement{
		Type: kind, Quantity: r.Quantity, Delta: after.shown().Available - before.shown().Available, Version: r.Version,
		TotalAfter: after.Total, ReservedAfter: after.Reserved, AvailableAfter: after.Total - after.Reserved,
		ReservationID: r.ReservationID, CommandID: r.Command, OccurredAt: r.At,
	})
	return nil
}

// sameHeads compares the fold with the snapshots that decisions start from.
func (w *world) sameHeads(l *ledger) error {
	heads := map[string]level{}
	rows, err := w.sql().Query(context.Background(), `select product_id::text, version, stock_total, reserved from product_head`)
	if err != nil {
		return err
	}
	var id string
	var head level
	_, err = pgx.ForEachRow(rows, []any{&id, &head.Version, &head.Total, &head.Reserved}, func() error { heads[id] = head; return nil })
	if err != nil {
		return err
	}
	if len(heads) != len(l.levels) {
		return fmt.Errorf("there are %d heads and %d streams", len(heads), len(l.levels))
	}
	for id, folded := range l.levels {
		if heads[id] != folded {
			return fmt.Errorf("product %s: its head is %+v, its events add up to %+v", id, heads[id], folded)
		}
	}
	return w.sameHolds(l)
}

// sameHolds compares the fold with the reservations, and those with their products' totals.
func (w *world) sameHolds(l *ledger) error {
	rows, err := w.sql().Query(context.Background(), `select product_id::text, reservation_id::text, quantity, held, state from reservation`)
	if err != nil {
		return err
	}
	sum, seen := map[string]int64{}, 0
	var product string
	var h hold
	_, err = pgx.ForEachRow(rows, []any{&product, &h.ReservationID, &h.Quantity, &h.Held, &h.State}, func() error {
		folded, ok := l.holds[[2]string{product, h.ReservationID}]
		if folded.State == "CANCELLED" {
			folded.Quantity = h.Quantity // never held anything: what was asked for doesn't matter
		}
		if !ok || folded != h {
			return fmt.Errorf("reservation %s of %s is %+v, its events add up to %+v", h.ReservationID, product, h, folded)
		}
		sum[product] += h.Held
		seen++
		return nil
	})
	if err != nil {
		return err
	}
	if seen != len(l.holds) {
		return fmt.Errorf("there are %d reservations, and %d in the log", seen, len(l.holds))
	}
	for id, folded := range l.levels {
		if sum[id] != folded.Reserved {
			return fmt.Errorf("product %s: its reservations hold %d, its events say %d", id, sum[id], folded.Reserved)
		}
	}
	return nil
}

// projected is nil once every product is shown as the log's events add up to.
func (w *world) projected(l *ledger) error {
	for id, folded := range l.levels {
		shown, err := w.latest.stock(id)
		if err != nil {
			return err
		}
		if want := folded.shown(); shown == nil || *shown != *want {
			return fmt.Errorf("product %s is shown with %+v, its events add up to %+v", id, shown, want)
		}
	}
	return nil
}

// sameReadModel compares the fold with what GraphQL says: every product, every movement, and so
// many reservations.
func (w *world) sameReadModel(l *ledger, most int) error {
	if err := w.projected(l); err != nil {
		return err
	}
	for id := range l.levels {
		movements, err := w.latest.movements(id)
		if err != nil {
			return err
		}
		if len(movements) != len(l.moved[id]) {
			return fmt.Errorf("product %s is shown with %d movements, it has %d", id, len(movements), len(l.moved[id]))
		}
		for i, want := range l.moved[id] {
			got := movements[len(movements)-1-i]
			if want.OccurredAt.Sub(got.OccurredAt).Abs() < time.Millisecond { // what MongoDB keeps
				got.OccurredAt = want.OccurredAt
			}
			if got != want {
				return fmt.Errorf("product %s: a movement is shown as %+v, it is %+v", id, got, want)
			}
		}
	}
	return w.sameShownHolds(l, most)
}

func (w *world) sameShownHolds(l *ledger, most int) error {
	const atOnce = 100
	var ids []string
	var want []hold
	for key, h := range l.holds {
		if len(ids) == most {
			break
		}
		ids, want = append(ids, key[0]+"."+key[1]), append(want, h)
	}
	for len(ids) > 0 {
		n := min(atOnce, len(ids))
		shown, err := w.latest.holds(ids[:n])
		if err != nil {
			return err
		}
		for i, h := range shown {
			if h == nil || h.State != want[i].State || h.Held != want[i].Held || h.State != "CANCELLED" && h.Quantity != want[i].Quantity {
				return fmt.Errorf("reservation %s is shown as %+v, it is %+v", ids[i], h, want[i])
			}
		}
		ids, want = ids[n:], want[n:]
	}
	return nil
}

// relayed is nil once every row of the log has been relayed.
func (w *world) relayed() error {
	behind, err := w.value(`select count(*) from (select shard, max(pos) as pos from log group by shard) l
		left join lease on lease.role = 'relay' and lease.shard = l.shard where coalesce(lease.pos, 0) < l.pos`)
	if err == nil && behind > 0 {
		err = fmt.Errorf("%d shards aren't relayed to their end", behind)
	}
	return err
}

// settled waits until everything that was sent is decided, answered and seen.
func (w *world) settled(limit time.Duration) {
	w.t.Helper()
	within(w.t, limit, "everything is decided and answered", func() error {
		return errors.Join(w.consumed(), w.relayed(), w.sagas().caughtUp())
	})
}

// checked waits until the read model shows what the log adds up to, and compares all there is to
// compare. It returns the fold.
func (w *world) checked(limit time.Duration) *ledger {
	w.t.Helper()
	l, err := w.read()
	if err == nil {
		err = w.sameHeads(l)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	within(w.t, limit, "the read model has caught up", func() error { return w.projected(l) })
	within(w.t, limit, "the read model is the fold of the log", func() error { return w.sameReadModel(l, counts(300, 1<<30)) })
	return l
}
