package audit

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

// Tables are what the write side keeps beside its log: [eventstore.Store] implements it.
type Tables interface {
	Heads(ctx context.Context, productIDs []uuid.UUID) ([]eventstore.Head, error)
	Reservations(ctx context.Context, productID, after uuid.UUID, limit int) ([]eventstore.Reservation, error)
	// WithState are the products it keeps anything of.
	WithState(ctx context.Context, after uuid.UUID, limit int) ([]uuid.UUID, error)
	// NotInLog are those of the products that the log has nothing of.
	NotInLog(ctx context.Context, productIDs []uuid.UUID) ([]uuid.UUID, error)
}

// auditPart is about how many reservations are held in memory.
const auditPart = 100_000

// inPart says whether a reservation is one of the part that is compared.
func (c *comparison) inPart(id uuid.UUID) bool { return int64(id[15])%c.parts == c.part }

// reservationOf is the reservation an event is about.
func reservationOf(e product.Event) uuid.UUID {
	switch e := e.(type) {
	case product.Reserved:
		return e.ReservationID
	case product.ReservationRenewed:
		return e.ReservationID
	case product.Released:
		return e.ReservationID
	case product.ReservationCancelled:
		return e.ReservationID
	}
	return uuid.Nil
}

func (c *comparison) compareHead() {
	f := c.folded
	want := eventstore.Head{ProductID: c.id, Version: f.Version, Status: int16(f.Status), StockTotal: f.StockTotal, Reserved: f.Reserved,
		LowStockThreshold: f.LowStockThreshold, Variants: int32(f.Variants)}
	if c.head.Version == 0 {
		c.head = eventstore.Head{ProductID: c.id}
	}
	switch {
	case c.last == 0 && c.head.Version > 0:
		c.differ("head", "there is a head, but the log has no such product")
	case want != c.head && (want.Version > 0 || c.head.Version > 0):
		c.differ("head", "the log comes to %+v, the head says %+v", want, c.head)
	}
}

// compareReservations walks those that are kept, and then looks at what is left of the log's. It
// leaves out those that changed while they were read.
func (a *audit) compareReservations(ctx context.Context, c *comparison) error {
	const page = 1000
	for after := uuid.Nil; ; {
		rows, err := a.tables.Reservations(ctx, c.id, after, page)
		if err != nil {
			return err
		}
		differing := map[uuid.UUID]string{}
		for _, r := range rows {
			if after = r.ReservationID; !c.inPart(after) {
				continue
			}
			if what := c.compareReservation(r); what != "" {
				differing[after] = what
			}
			delete(c.held, after)
		}
		if len(differing) > 0 {
			if err := a.touch(ctx, c); err != nil {
				return err
			}
		}
		for id, what := range differing {
			if !c.touched[id] {
				c.differ("reservation", "%s: %s", id, what)
			}
		}
		if len(rows) < page {
			break
		}
	}
	for id, want := range c.held { // none is ever deleted
		c.differ("reservation", "%s: the log comes to %+v, there is none", id, want)
	}
	return nil
}

// compareReservation says in words how a reservation differs; "" where it doesn't.
func (c *comparison) compareReservation(r eventstore.Reservation) string {
	want, logged := c.held[r.ReservationID]
	got := product.Reservation{ID: r.ReservationID, SagaID: r.SagaID, Quantity: r.Quantity, Held: r.Held,
		State: product.ReservationState(r.State), ExpiresAt: r.ExpiresAt}
	same := want.Held == got.Held && want.State == got.State && want.Quantity == got.Quantity &&
		want.SagaID == got.SagaID && want.ExpiresAt.Equal(got.ExpiresAt)
	switch {
	case !logged:
		return fmt.Sprintf("the log has no such reservation, kept is %+v", got)
	case !same:
		return fmt.Sprintf("the log comes to %+v, kept is %+v", want, got)
	}
	return ""
}

// touch notes the reservations that have changed since the head and the log were read.
func (a *audit) touch(ctx context.Context, c *comparison) error {
	const page = 1000
	events := func() ([]eventstore.Record, error) {
		return a.log.Stream(ctx, c.id, max(c.head.Version, c.last), page)
	}
	facts := func() ([]eventstore.Record, error) { return a.log.Facts(ctx, c.id, c.pos, page) }
	for _, read := range []func() ([]eventstore.Record, error){events, facts} {
		for more := true; more; {
			later, err := read()
			if err != nil {
				return err
			}
			for _, r := range later {
				if r.Version > 0 {
					c.last = r.Version
				} else {
					c.pos = r.Pos // facts behind it, whatever events there are
				}
				if e, err := product.Decode(r.Type, r.Data); err == nil {
					c.touched[reservationOf(e)] = true
				}
			}
			more = len(later) == page
		}
	}
	return nil
}
