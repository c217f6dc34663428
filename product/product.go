// Package product holds the rules of stock: what a product is, which commands it takes, which
// events it answers with.
//
// It does no input or output, reads no clock and knows no database. [Decide] turns a state and a
// command into events; [Product.Apply] and [Reservation.Apply] turn a state and an event into the
// next state. Everything else in the service carries commands to these functions and events away
// from them.
package product

import (
	"time"

	"github.com/google/uuid"
)

// MaxStock is the largest number of units a product can have, and so the largest quantity of any
// command: what a GraphQL Int holds.
const MaxStock = 1<<31 - 1

// MaxVariants is how many variants a product can have.
const MaxVariants = 100

// Status is where a product is in its life.
type Status uint8

// A stream that doesn't exist yet is absent. Pending is a product whose inventory records aren't
// confirmed yet under the rollback policy: nobody sees it, and it takes no commands but Discard and
// what the Inventory Service did. A discarded stream can be created again.
const (
	StatusAbsent Status = iota
	StatusPending
	StatusActive
	StatusDiscarded
)

// Product is the state its stream's events add up to. The zero value, with an ID, is a product that
// doesn't exist.
type Product struct {
	ID                uuid.UUID
	Version           int64 // of the last event of the stream; 0 where there is none
	Status            Status
	StockTotal        int64
	Reserved          int64
	LowStockThreshold int64
	Variants          int
}

// Available is what can still be reserved.
func (p Product) Available() int64 { return p.StockTotal - p.Reserved }

// Exists says whether the product takes commands and is shown.
func (p Product) Exists() bool { return p.Status == StatusActive }

// StockStatus sorts an available quantity for display. It never enters a decision.
type StockStatus string

// The three statuses, from plenty to none.
const (
	InStock    StockStatus = "IN_STOCK"
	LowStock   StockStatus = "LOW_STOCK"
	OutOfStock StockStatus = "OUT_OF_STOCK"
)

// StatusOf is the one formula for a stock status: nothing available is out of stock, up to the
// threshold is low.
func StatusOf(available, lowStockThreshold int64) StockStatus {
	switch {
	case available <= 0:
		return OutOfStock
	case available <= lowStockThreshold:
		return LowStock
	default:
		return InStock
	}
}

// Variant is one purchasable form of a product.
type Variant struct {
	ID                uuid.UUID   `json:"variantId"`
	SKU               string      `json:"sku"`
	Name              string      `json:"name"`
	Attributes        []Attribute `json:"attributes,omitempty"`
	InitialQuantity   int64       `json:"initialQuantity"`
	LowStockThreshold int64       `json:"lowStockThreshold"`
}

// Attribute is a named property of a variant, such as size or colour.
type Attribute struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ReservationState is where a reservation is in its life.
type ReservationState string

// A reservation id is spent for ever once a reservation left StateActive, or was cancelled by a
// release that came before its request.
const (
	StateActive    ReservationState = "ACTIVE"
	StateReleased  ReservationState = "RELEASED"
	StateExpired   ReservationState = "EXPIRED"
	StateCancelled ReservationState = "CANCELLED"
)

// Reservation is a hold on units of one product. The zero value is one nobody has asked for.
type Reservation struct {
	ID        uuid.UUID
	SagaID    string
	Quantity  int64 // as requested
	Held      int64 // what is left of it after partial releases
	State     ReservationState
	ExpiresAt time.Time // zero: never
}

// Exists says whether the reservation id has been used.
func (r Reservation) Exists() bool { return r.State != "" }

// Apply returns the product after the event: facts leave it as it was, all others raise its version by one.
func (p Product) Apply(e Event) Product {
	switch e := e.(type) {
	case Created:
		p = Product{ID: p.ID, Version: p.Version, Status: StatusActive, StockTotal: e.InitialStock, LowStockThreshold: e.LowStockThreshold}
		if e.Unconfirmed {
			p.Status = StatusPending
		}
	case Updated:
		if e.LowStockThreshold != nil {
			p.LowStockThreshold = *e.LowStockThreshold
		}
	case VariantAdded:
		p.Variants++
	case VariantDiscarded:
		p.Variants--
	case Confirmed:
		p.Status = StatusActive
	case Discarded:
		p.Status, p.Variants = StatusDiscarded, 0
	case StockAdjusted:
		p.StockTotal, p.Reserved = e.StockTotal, e.Reserved
	case Reserved:
		p.StockTotal, p.Reserved = e.StockTotal, e.Reserved
	case Released:
		p.StockTotal, p.Reserved = e.StockTotal, e.Reserved
	}
	if e.Versioned() {
		p.Version++
	}
	return p
}

// Apply returns the reservation after the event, which must be about this reservation or about none.
func (r Reservation) Apply(e Event) Reservation {
	switch e := e.(type) {
	case Reserved:
		return Reservation{ID: e.ReservationID, SagaID: e.SagaID, Quantity: e.Quantity, Held: e.Quantity, State: StateActive, ExpiresAt: deref(e.ExpiresAt)}
	case ReservationRenewed:
		r.SagaID, r.ExpiresAt = e.SagaID, deref(e.ExpiresAt)
	case Released:
		r.Held = e.Held
		if r.Held == 0 {
			r.State = StateReleased
			if e.Expired {
				r.State = StateExpired
			}
		}
	case ReservationCancelled:
		return Reservation{ID: e.ReservationID, SagaID: e.SagaID, State: StateCancelled}
	}
	return r
}

func deref(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
