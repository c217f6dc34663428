package product

import (
	"time"

	"github.com/google/uuid"
)

// Event is something that happened to a product. The set is closed: every type is in this file, and
// has its stored name and its golden file in codec.go.
type Event interface {
	// Versioned tells the events of the stream, which get versions 1, 2, 3 …, from facts: things
	// worth remembering that leave the product as it was, such as a refusal.
	Versioned() bool

	// From is where the command that caused the event came from: empty on an event just decided, as
	// stored on a decoded one.
	From() Origin
}

// Origin is what an event carries of the message or request that caused it.
type Origin struct {
	CorrelationID string `json:"correlationId,omitempty"`
	Traceparent   string `json:"traceparent,omitempty"` // W3C Trace Context
	Actor         string `json:"actor,omitempty"`       // who asked for it, as their token names them; empty for a saga, and without a token
}

type (
	versioned struct{ Origin }
	fact      struct{ Origin }
)

func (versioned) Versioned() bool { return true }
func (fact) Versioned() bool      { return false }

// From implements Event.
func (o Origin) From() Origin { return o }

// The events of a product's stream. Quantities are units; StockTotal and Reserved are the totals
// after the event, so that a reader needs no earlier event to tell the level.
type (
	// Created begins a stream, or begins it anew after a Discarded.
	Created struct {
		versioned
		Name              string `json:"name"`
		Description       string `json:"description"`
		InitialStock      int64  `json:"initialStock"`
		LowStockThreshold int64  `json:"lowStockThreshold"`
		Unconfirmed       bool   `json:"unconfirmed,omitempty"` // invisible until Confirmed
	}

	// Updated changes what is shown; nil fields stay as they were.
	Updated struct {
		versioned
		Name              *string `json:"name,omitempty"`
		Description       *string `json:"description,omitempty"`
		LowStockThreshold *int64  `json:"lowStockThreshold,omitempty"`
	}

	// VariantAdded adds a variant. It is not orderable before its InventoryRecordCreated; an
	// unconfirmed one isn't shown either.
	VariantAdded struct {
		versioned
		Variant
		Unconfirmed bool `json:"unconfirmed,omitempty"`
	}

	// VariantDiscarded takes back an unconfirmed variant whose inventory record could not be made in time.
	VariantDiscarded struct {
		versioned
		VariantID uuid.UUID `json:"variantId"`
	}

	// Confirmed makes an unconfirmed product visible.
	Confirmed struct{ versioned }

	// Discarded ends an unconfirmed product whose inventory records could not be made in time.
	Discarded struct {
		versioned
		Reason string `json:"reason"`
	}

	// StockAdjusted changes the total by Delta.
	StockAdjusted struct {
		versioned
		Delta      int64  `json:"delta"`
		Reason     string `json:"reason"`
		StockTotal int64  `json:"stockTotal"`
		Reserved   int64  `json:"reserved"`
	}

	// Reserved holds units for a reservation.
	Reserved struct {
		versioned
		ReservationID uuid.UUID  `json:"reservationId"`
		SagaID        string     `json:"sagaId,omitempty"`
		Quantity      int64      `json:"quantity"`
		ExpiresAt     *time.Time `json:"expiresAt,omitempty"`
		StockTotal    int64      `json:"stockTotal"`
		Reserved      int64      `json:"reserved"`
	}

	// ReservationRenewed replaces when a hold expires; nil means never. The hold is its saga's from
	// then on.
	ReservationRenewed struct {
		versioned
		ReservationID uuid.UUID  `json:"reservationId"`
		SagaID        string     `json:"sagaId,omitempty"`
		Quantity      int64      `json:"quantity"`
		ExpiresAt     *time.Time `json:"expiresAt,omitempty"`
		StockTotal    int64      `json:"stockTotal"`
		Reserved      int64      `json:"reserved"`
	}

	// Released frees units of a hold: by its saga, or by the service once it expired.
	Released struct {
		versioned
		ReservationID uuid.UUID `json:"reservationId"`
		SagaID        string    `json:"sagaId,omitempty"`
		Quantity      int64     `json:"quantity"`
		Held          int64     `json:"held"` // what the reservation still holds
		Reason        string    `json:"reason,omitempty"`
		Expired       bool      `json:"expired,omitempty"`
		StockTotal    int64     `json:"stockTotal"`
		Reserved      int64     `json:"reserved"`
	}
)

// The facts: rows of the log that leave the stream as it was.
type (
	// ReservationConfirmed answers a request for units its reservation holds already, with the same expiry.
	ReservationConfirmed struct {
		fact
		ReservationID uuid.UUID `json:"reservationId"`
		SagaID        string    `json:"sagaId,omitempty"`
		Quantity      int64     `json:"quantity"`
		StockTotal    int64     `json:"stockTotal"`
		Reserved      int64     `json:"reserved"`
		StreamVersion int64     `json:"streamVersion"`
	}

	// StockConfirmed answers a count that found as many units as there were. StreamVersion is the
	// stream's, which it leaves as it was.
	StockConfirmed struct {
		fact
		StockTotal    int64  `json:"stockTotal"`
		Reason        string `json:"reason"`
		StreamVersion int64  `json:"streamVersion"`
	}

	// ReservationFailed is a refused request. Fingerprint is set where the refused command's id was
	// already spent on another content.
	ReservationFailed struct {
		fact
		ReservationID uuid.UUID `json:"reservationId"`
		SagaID        string    `json:"sagaId,omitempty"`
		Quantity      int64     `json:"quantity"`
		Reason        Reason    `json:"reason"`
		Available     int64     `json:"available"`
		Fingerprint   string    `json:"fingerprint,omitempty"`
	}

	// RequestsRefused is what is left of the requests that were refused for want of stock within an
	// hour, once they themselves were forgotten: how many they were, and how many units they asked
	// for.
	RequestsRefused struct {
		fact
		Refusals int64 `json:"refusals"`
		Quantity int64 `json:"quantity"`
	}

	// ReservationCancelled is a release that came before its request: the request will be refused.
	ReservationCancelled struct {
		fact
		ReservationID uuid.UUID `json:"reservationId"`
		SagaID        string    `json:"sagaId,omitempty"`
		Reason        string    `json:"reason,omitempty"`
	}

	// ReleaseIgnored is a release, or an expiry, that had nothing to free.
	ReleaseIgnored struct {
		fact
		ReservationID uuid.UUID `json:"reservationId"`
		SagaID        string    `json:"sagaId,omitempty"`
		Quantity      int64     `json:"quantity,omitempty"`
		Reason        string    `json:"reason,omitempty"`
	}

	// OutcomeResent sends the outcome at position Of of the same shard again, because its command
	// came again.
	OutcomeResent struct {
		fact
		Of int64 `json:"of"`
	}

	// InventoryRecordCreated says that the Inventory Service has a record of the variant.
	InventoryRecordCreated struct {
		fact
		VariantID uuid.UUID `json:"variantId"`
	}

	// InventoryChanged is an event of the Inventory Service, taken in.
	InventoryChanged struct {
		fact
		VariantID         uuid.UUID `json:"variantId"`
		Type              string    `json:"type"` // as the Inventory Service names it
		Timestamp         time.Time `json:"timestamp"`
		AvailableQuantity *int64    `json:"availableQuantity,omitempty"`
	}
)

// Add adds a refusal for want of stock, or a sum of such. Other events add nothing.
func (e RequestsRefused) Add(event Event) RequestsRefused {
	switch event := event.(type) {
	case ReservationFailed:
		if event.Reason == InsufficientStock {
			e.Refusals, e.Quantity = e.Refusals+1, e.Quantity+event.Quantity
		}
	case RequestsRefused:
		e.Refusals, e.Quantity = e.Refusals+event.Refusals, e.Quantity+event.Quantity
	}
	return e
}

// Reason is why a reservation was refused.
type Reason string

// The reasons, in the order in which they are looked for: the first that applies is the answer.
const (
	InvalidCommand      Reason = "INVALID_COMMAND"
	AlreadyReleased     Reason = "ALREADY_RELEASED"
	ReservationConflict Reason = "RESERVATION_CONFLICT"
	UnknownProduct      Reason = "UNKNOWN_PRODUCT"
	Expired             Reason = "EXPIRED"
	InsufficientStock   Reason = "INSUFFICIENT_STOCK"
)
