package product

import (
	"github.com/google/uuid"

	"product-service/ijson"
)

// The events of [Encode] that are written by hand are also read by hand: each is read twice, by the
// relay and by the projector.

// Take implements [ijson.Taker].
func (e *Reserved) Take(name string, m ijson.Member) bool {
	switch name {
	case "reservationId":
		return takeID(&e.ReservationID, m)
	case "sagaId":
		return m.Text(&e.SagaID)
	case "quantity":
		return m.Number(&e.Quantity)
	case "expiresAt":
		return m.Time(&e.ExpiresAt)
	case "stockTotal":
		return m.Number(&e.StockTotal)
	case "reserved":
		return m.Number(&e.Reserved)
	}
	return e.takeOrigin(name, m)
}

// Take implements [ijson.Taker].
func (e *Released) Take(name string, m ijson.Member) bool {
	switch name {
	case "reservationId":
		return takeID(&e.ReservationID, m)
	case "sagaId":
		return m.Text(&e.SagaID)
	case "quantity":
		return m.Number(&e.Quantity)
	case "held":
		return m.Number(&e.Held)
	case "reason":
		return m.Text(&e.Reason)
	case "expired":
		return m.Bool(&e.Expired)
	case "stockTotal":
		return m.Number(&e.StockTotal)
	case "reserved":
		return m.Number(&e.Reserved)
	}
	return e.takeOrigin(name, m)
}

// Take implements [ijson.Taker].
func (e *ReservationFailed) Take(name string, m ijson.Member) bool {
	switch name {
	case "reservationId":
		return takeID(&e.ReservationID, m)
	case "sagaId":
		return m.Text(&e.SagaID)
	case "quantity":
		return m.Number(&e.Quantity)
	case "reason":
		return m.Text((*string)(&e.Reason))
	case "available":
		return m.Number(&e.Available)
	case "fingerprint":
		return m.Text(&e.Fingerprint)
	}
	return e.takeOrigin(name, m)
}

func (o *Origin) takeOrigin(name string, m ijson.Member) bool {
	switch name {
	case "correlationId":
		return m.Text(&o.CorrelationID)
	case "traceparent":
		return m.Text(&o.Traceparent)
	case "actor":
		return m.Text(&o.Actor)
	}
	return false
}

// takeID takes a UUID in its canonical form, in which events are written.
func takeID(into *uuid.UUID, m ijson.Member) bool {
	var text string
	if !m.Text(&text) || len(text) != 36 {
		return false
	}
	id, err := uuid.Parse(text)
	*into = id
	return err == nil
}
