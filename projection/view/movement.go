package view

import (
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

// MovementType says what moved stock.
type MovementType string

// The movements people see, and the rows that only a reservation or the search for a point in time reads.
const (
	Initial  MovementType = "INITIAL"
	Adjusted MovementType = "ADJUSTED"
	Reserved MovementType = "RESERVED"
	Released MovementType = "RELEASED"
	Expired  MovementType = "EXPIRED"

	Renewed   MovementType = "RENEWED"
	Cancelled MovementType = "CANCELLED"
	Other     MovementType = "OTHER" // any other event of the stream: there is a row for each version
)

// Visible says whether people see movements of the type.
func (t MovementType) Visible() bool { return t != Renewed && t != Cancelled && t != Other }

// MovementTypes are those people see; rareTypes are the ones that an index of their own finds among
// millions of others.
var (
	MovementTypes = []MovementType{Initial, Adjusted, Reserved, Released, Expired}
	rareTypes     = []MovementType{Initial, Adjusted, Expired}
)

// typeNamed are all types, by what they are stored as.
var typeNamed = map[string]MovementType{
	"INITIAL": Initial, "ADJUSTED": Adjusted, "RESERVED": Reserved, "RELEASED": Released, "EXPIRED": Expired,
	"RENEWED": Renewed, "CANCELLED": Cancelled, "OTHER": Other,
}

func (t MovementType) rare() bool { return slices.Contains(rareTypes, t) }

// Common says that movements of a type are most of all, so that no index of their own finds them.
func Common(t MovementType) bool { return !t.rare() }

// Movement is a row of a product's history: one for each event of the stream, and for each
// cancelled reservation. Times are microseconds since 1970.
type Movement struct {
	Product     uuid.UUID
	Version     int64
	Pos         int64 // of its row in the log
	Type        MovementType
	At          int64
	Quantity    int64
	Delta       int64 // of what is available
	Total       int64
	Reserved    int64
	Reservation uuid.UUID
	Saga        string
	Held        int64 // what the reservation holds after it
	ExpiresAt   int64 // 0: never
	Reason      string
	Command     uuid.UUID
	Correlation string
	Actor       string // who asked for it; empty for a saga and for the service itself
}

// MovementID names the movement of a version: versions have one width, so that a range of versions
// is a range of ids.
func MovementID(product string, version int64) string {
	b := make([]byte, 0, 64)
	b = append(append(b, product...), '.')
	return string(appendPadded(b, version, 12))
}

// ID names the movement among those of its product.
func (m *Movement) ID() string { return MovementID(m.Product.String(), m.Version) }

// Order places the movement among all: by time, and within an instant as the log has them.
func (m *Movement) Order() string {
	b := make([]byte, 0, 32)
	b = append(appendPadded(b, m.At, 16), '.')
	b = append(appendPadded(b, int64(eventstore.ShardOf(m.Product)), 2), '.')
	return string(appendPadded(b, m.Pos, 12))
}

// appendPadded writes a number with zeros before it, up to a width that no number of the kind is beyond.
func appendPadded(b []byte, n int64, width int) []byte {
	var digits [20]byte
	text := strconv.AppendInt(digits[:0], n, 10)
	for range width - len(text) {
		b = append(b, '0')
	}
	return append(b, text...)
}

// NewMovement makes the movement of an event; d is the document with the event folded in, or for a
// cancellation as it is.
func NewMovement(d *Document, r eventstore.Record, e product.Event) Movement {
	m := Movement{Product: r.ProductID, Version: r.Version, Pos: r.Pos, Type: Other, At: r.At.UnixMicro(),
		Total: d.Total, Reserved: d.Reserved, Command: r.CommandID, Correlation: e.From().CorrelationID, Actor: e.From().Actor}
	if stock, begins := initial(d, e); begins {
		m.Type, m.Quantity, m.Delta = Initial, stock, stock
	}
	switch e := e.(type) {
	case product.StockAdjusted:
		m.Type, m.Quantity, m.Delta, m.Reason = Adjusted, max(e.Delta, -e.Delta), e.Delta, e.Reason
	case product.Reserved:
		m.Type, m.Quantity, m.Delta, m.Held, m.ExpiresAt = Reserved, e.Quantity, -e.Quantity, e.Quantity, micros(e.ExpiresAt)
		m.Reservation, m.Saga = e.ReservationID, e.SagaID
	case product.ReservationRenewed:
		m.Type, m.Quantity, m.Held, m.ExpiresAt = Renewed, e.Quantity, e.Quantity, micros(e.ExpiresAt)
		m.Reservation, m.Saga = e.ReservationID, e.SagaID
	case product.Released:
		m.Type, m.Quantity, m.Delta, m.Held, m.Reason = Released, e.Quantity, e.Quantity, e.Held, e.Reason
		if e.Expired {
			m.Type = Expired
		}
		m.Reservation, m.Saga = e.ReservationID, e.SagaID
	case product.ReservationCancelled:
		m.Type = Cancelled
		m.Reservation, m.Saga, m.Reason = e.ReservationID, e.SagaID, e.Reason
	}
	return m
}

func micros(t *time.Time) int64 {
	if t == nil {
		return 0
	}
	return t.UnixMicro()
}
