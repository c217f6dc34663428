package product

import (
	"cmp"
	"time"

	"github.com/google/uuid"
)

// State is all that a decision depends on.
type State struct {
	Product     Product
	Reservation Reservation // the one the command names, if it names one
	Now         time.Time
}

// Decision is what a command comes to: events to append, or a refusal, or neither where there is
// nothing to do.
type Decision struct {
	Events  []Event
	Refusal *Refusal
}

// Decide applies the rules. It is a pure function: the same state and command give the same decision.
func Decide(s State, c Command) Decision { return c.decide(s) }

func events(e ...Event) Decision { return Decision{Events: e} }

// decide looks for the reasons to refuse in their fixed order. An expiry counts to the microsecond,
// which is how exactly states are kept: otherwise the same request, sent again, would look like a
// renewal.
func (c Reserve) decide(s State) Decision {
	p, r := s.Product, s.Reservation
	c.ExpiresAt = c.ExpiresAt.Truncate(time.Microsecond)
	switch {
	case c.Quantity < 1 || c.Quantity > MaxStock || c.ReservationID == uuid.Nil:
		return c.fail(p, InvalidCommand)
	case r.Exists() && r.State != StateActive:
		return c.fail(p, AlreadyReleased)
	case r.Exists():
		return c.repeat(p, r)
	case !p.Exists():
		return c.fail(p, UnknownProduct)
	case !c.ExpiresAt.IsZero() && !c.ExpiresAt.After(s.Now):
		return c.fail(p, Expired)
	case c.Quantity > p.Available():
		return c.fail(p, InsufficientStock)
	}
	return events(Reserved{ReservationID: c.ReservationID, SagaID: c.SagaID, Quantity: c.Quantity, ExpiresAt: ref(c.ExpiresAt),
		StockTotal: p.StockTotal, Reserved: p.Reserved + c.Quantity})
}

// repeat answers a request for a reservation that is held: the same units are held once, and the
// newer expiry counts. The answer names the saga that asks, if it names itself. A reservation that
// no saga was named for becomes that saga's with a renewal, which is an event that says so: who
// decides how long units are held is who holds them, and another saga's release frees nothing from
// then on. A mere confirmation changes nothing, this neither.
func (c Reserve) repeat(p Product, r Reservation) Decision {
	saga := cmp.Or(c.SagaID, r.SagaID)
	switch {
	case c.Quantity != r.Quantity || r.Held != r.Quantity || differ(c.SagaID, r.SagaID):
		return c.fail(p, ReservationConflict)
	case c.ExpiresAt.Equal(r.ExpiresAt):
		return events(ReservationConfirmed{ReservationID: r.ID, SagaID: saga, Quantity: r.Quantity,
			StockTotal: p.StockTotal, Reserved: p.Reserved, StreamVersion: p.Version})
	}
	return events(ReservationRenewed{ReservationID: r.ID, SagaID: saga, Quantity: r.Quantity, ExpiresAt: ref(c.ExpiresAt),
		StockTotal: p.StockTotal, Reserved: p.Reserved})
}

func (c Reserve) fail(p Product, why Reason) Decision {
	return events(ReservationFailed{ReservationID: c.ReservationID, SagaID: c.SagaID, Quantity: c.Quantity, Reason: why, Available: visible(p)})
}

func (c Refuse) decide(s State) Decision {
	return events(ReservationFailed{ReservationID: c.ReservationID, SagaID: c.SagaID, Quantity: c.Quantity, Reason: InvalidCommand,
		Available: visible(s.Product), Fingerprint: c.Fingerprint})
}

func (c Release) decide(s State) Decision {
	p, r := s.Product, s.Reservation
	if !r.Exists() {
		return events(ReservationCancelled{ReservationID: c.ReservationID, SagaID: c.SagaID, Reason: c.Reason})
	}
	if r.State != StateActive || differ(c.SagaID, r.SagaID) || c.Quantity < 0 {
		return events(ReleaseIgnored{ReservationID: c.ReservationID, SagaID: c.SagaID, Quantity: c.Quantity, Reason: c.Reason})
	}
	freed := r.Held
	if c.Quantity > 0 {
		freed = min(c.Quantity, r.Held)
	}
	return events(release(p, r, freed, c.Reason, false))
}

func (c Expire) decide(s State) Decision {
	r := s.Reservation
	if r.State != StateActive || r.ExpiresAt.IsZero() || r.ExpiresAt.After(s.Now) {
		return Decision{} // released or renewed since it was nominated
	}
	return events(release(s.Product, r, r.Held, string(Expired), true))
}

func release(p Product, r Reservation, freed int64, reason string, expired bool) Released {
	return Released{ReservationID: r.ID, SagaID: r.SagaID, Quantity: freed, Held: r.Held - freed, Reason: reason, Expired: expired,
		StockTotal: p.StockTotal, Reserved: p.Reserved - freed}
}

func (c NoteInventoryRecord) decide(s State) Decision {
	if s.Product.Status == StatusPending && c.Last {
		return events(InventoryRecordCreated{VariantID: c.VariantID}, Confirmed{})
	}
	return events(InventoryRecordCreated{VariantID: c.VariantID})
}

func (c NoteInventoryChange) decide(State) Decision {
	return events(InventoryChanged{VariantID: c.VariantID, Type: c.Type, Timestamp: c.Timestamp, AvailableQuantity: c.AvailableQuantity})
}

// visible is what a refusal tells of the stock: nothing of a product that isn't shown.
func visible(p Product) int64 {
	if !p.Exists() {
		return 0
	}
	return p.Available()
}

// differ says that two sagas are both named and aren't the same.
func differ(a, b string) bool { return a != "" && b != "" && a != b }

func ref(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
