package projection

import (
	"fmt"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

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

	renewed   MovementType = "RENEWED"
	cancelled MovementType = "CANCELLED"
	other     MovementType = "OTHER" // any other event of the stream: there is a row for each version
)

// visible says whether people see movements of the type.
func (t MovementType) visible() bool { return t != renewed && t != cancelled && t != other }

// movement is a row of a product's history as it is stored: one for each event of the stream, and for each cancelled reservation.
type movement struct {
	ID          string       `bson:"_id"`
	Order       string       `bson:"order,omitempty"`     // among all movements; absent on rows that aren't shown
	Rare        string       `bson:"rare,omitempty"`      // the ID again, for the rare types
	RareOrder   string       `bson:"rareOrder,omitempty"` // the order again, for the rare types
	Product     string       `bson:"product"`
	Version     int64        `bson:"version"`
	Type        MovementType `bson:"type"`
	At          int64        `bson:"at"`
	Quantity    int64        `bson:"quantity,omitempty"`
	Delta       int64        `bson:"delta,omitempty"` // of what is available
	Total       int64        `bson:"total"`
	Reserved    int64        `bson:"reserved"`
	Reservation string       `bson:"reservation,omitempty"`
	Saga        string       `bson:"saga,omitempty"`
	Held        int64        `bson:"held,omitempty"`      // what the reservation holds after it
	ExpiresAt   int64        `bson:"expiresAt,omitempty"` // 0: never
	Reason      string       `bson:"reason,omitempty"`
	Command     string       `bson:"command"`
	Correlation string       `bson:"correlation,omitempty"`
}

// movementID names the row of a version: versions have one width, so that a range of versions is a range of ids.
func movementID(product string, version int64) string {
	return fmt.Sprintf("%s.%012d", product, version)
}

// dayID names a product's day.
func dayID(product string, day int64) string {
	return product + "." + time.Unix(day*86400, 0).UTC().Format("20060102")
}

// order places a movement among all: by time, and within an instant as the log has them.
func order(r eventstore.Record) string {
	return fmt.Sprintf("%016d.%02d.%012d", r.At.UnixMicro(), r.Shard, r.Pos)
}

// move makes the row of an event; d is the document with the event folded in, or for a cancellation as it is.
func move(d *document, r eventstore.Record, e product.Event) movement {
	m := movement{ID: movementID(d.ID, r.Version), Product: d.ID, Version: r.Version, Type: other, At: r.At.UnixMicro(),
		Total: d.Total, Reserved: d.Reserved, Command: r.CommandID.String(), Correlation: e.From().CorrelationID}
	if stock, begins := initial(d, e); begins {
		m.Type, m.Quantity, m.Delta = Initial, stock, stock
	}
	switch e := e.(type) {
	case product.StockAdjusted:
		m.Type, m.Quantity, m.Delta, m.Reason = Adjusted, max(e.Delta, -e.Delta), e.Delta, e.Reason
	case product.Reserved:
		m.Type, m.Quantity, m.Delta, m.Held, m.ExpiresAt = Reserved, e.Quantity, -e.Quantity, e.Quantity, micros(e.ExpiresAt)
		m.Reservation, m.Saga = e.ReservationID.String(), e.SagaID
	case product.ReservationRenewed:
		m.Type, m.Quantity, m.Held, m.ExpiresAt = renewed, e.Quantity, e.Quantity, micros(e.ExpiresAt)
		m.Reservation, m.Saga = e.ReservationID.String(), e.SagaID
	case product.Released:
		m.Type, m.Quantity, m.Delta, m.Held, m.Reason = Released, e.Quantity, e.Quantity, e.Held, e.Reason
		if e.Expired {
			m.Type = Expired
		}
		m.Reservation, m.Saga = e.ReservationID.String(), e.SagaID
	case product.ReservationCancelled:
		m.ID, m.Type = fmt.Sprintf("%s/%012d", d.ID, r.Pos), cancelled
		m.Reservation, m.Saga, m.Reason = e.ReservationID.String(), e.SagaID, e.Reason
	}
	if m.Type.visible() {
		m.Order = order(r)
	}
	if m.Type.rare() {
		m.Rare, m.RareOrder = m.ID, m.Order
	}
	return m
}

func micros(t *time.Time) int64 {
	if t == nil {
		return 0
	}
	return t.UnixMicro()
}

// appendTo writes the row as BSON by hand: rows are most of what the projector writes, and reflection costs five times as much.
func (m *movement) appendTo(b []byte) []byte {
	text := func(b []byte, key, value string) []byte {
		if value == "" {
			return b
		}
		return bsoncore.AppendStringElement(b, key, value)
	}
	number := func(b []byte, key string, value int64) []byte {
		if value == 0 {
			return b
		}
		return bsoncore.AppendInt64Element(b, key, value)
	}
	start, b := bsoncore.AppendDocumentStart(b)
	b = bsoncore.AppendStringElement(b, "_id", m.ID)
	b = text(b, "order", m.Order)
	b = text(b, "rare", m.Rare)
	b = text(b, "rareOrder", m.RareOrder)
	b = bsoncore.AppendStringElement(b, "product", m.Product)
	b = bsoncore.AppendInt64Element(b, "version", m.Version)
	b = bsoncore.AppendStringElement(b, "type", string(m.Type))
	b = bsoncore.AppendInt64Element(b, "at", m.At)
	b = number(b, "quantity", m.Quantity)
	b = number(b, "delta", m.Delta)
	b = bsoncore.AppendInt64Element(b, "total", m.Total)
	b = bsoncore.AppendInt64Element(b, "reserved", m.Reserved)
	b = text(b, "reservation", m.Reservation)
	b = text(b, "saga", m.Saga)
	b = number(b, "held", m.Held)
	b = number(b, "expiresAt", m.ExpiresAt)
	b = text(b, "reason", m.Reason)
	b = bsoncore.AppendStringElement(b, "command", m.Command)
	b = text(b, "correlation", m.Correlation)
	b, _ = bsoncore.AppendDocumentEnd(b, start) // fails only for an index beyond b
	return b
}

func (m *movement) encode() bson.Raw { return m.appendTo(nil) }

// rows are movements to be inserted, encoded one behind the other.
type rows struct {
	bytes []byte
	ends  []int
}

func (r *rows) add(m *movement) {
	r.bytes = m.appendTo(r.bytes)
	r.ends = append(r.ends, len(r.bytes))
}

// chunks cuts them into arrays of at most n documents.
func (r *rows) chunks(n int) []bsoncore.Array {
	var arrays []bsoncore.Array
	for from := 0; from < len(r.ends); from += n {
		ends := r.ends[from:min(from+n, len(r.ends))]
		start := 0
		if from > 0 {
			start = r.ends[from-1]
		}
		b := make([]byte, 0, ends[len(ends)-1]-start+8*len(ends)+16)
		index, b := bsoncore.AppendArrayStart(b)
		for i, end := range ends {
			b = bsoncore.AppendDocumentElement(b, strconv.Itoa(i), r.bytes[start:end])
			start = end
		}
		b, _ = bsoncore.AppendArrayEnd(b, index)
		arrays = append(arrays, b)
	}
	return arrays
}
