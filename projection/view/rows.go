package view

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// ErrDamaged says that what should be a movement, or a list of them, can't be read.
var ErrDamaged = errors.New("stored movements are damaged")

// Rows are movements as documents hold them: an array of plain documents, whose fields are named as
// those of a StockMovement are where clients see them. What is empty or zero is left out, but for
// the numbers that people add up.
//
// In memory a Rows is those documents one after the other, so that a movement is added to it without
// writing the others again. They are written and read by hand: each movement is written twice and more, and
// the driver's reflection took a fifth of the projector's time.
type Rows []byte

// rowRoom is what a movement without long texts takes.
const rowRoom = 512

// Append adds a movement, with its product where the rows are of several.
func (rows Rows) Append(m *Movement, ofSeveral bool) Rows {
	start, b := bsoncore.ReserveLength(slices.Grow([]byte(rows), rowRoom))
	if ofSeveral {
		b = appendID(b, "productId", m.Product)
	}
	b = bsoncore.AppendStringElement(b, "type", string(m.Type))
	b = appendNumber(b, "version", m.Version)
	b = appendNumber(b, "pos", m.Pos)
	b = appendTime(b, "occurredAt", "occurredAtMicros", m.At)
	b = appendNumber(b, "quantity", m.Quantity)
	b = appendNumber(b, "delta", m.Delta)
	b = appendNumber(b, "totalAfter", m.Total)
	b = appendNumber(b, "reservedAfter", m.Reserved)
	if m.Reservation != uuid.Nil {
		b = appendID(b, "reservationId", m.Reservation)
		b = appendNumber(b, "held", m.Held)
	}
	if m.ExpiresAt != 0 {
		b = appendTime(b, "expiresAt", "expiresAtMicros", m.ExpiresAt)
	}
	b = appendText(b, "sagaId", m.Saga)
	b = appendText(b, "reason", m.Reason)
	b = appendText(b, "actor", m.Actor)
	b = appendID(b, "commandId", m.Command)
	b = appendText(b, "correlationId", m.Correlation)
	b, _ = bsoncore.AppendDocumentEnd(b, start) // it fails only for a start behind the end
	return b
}

// appendID writes a UUID as the text that it is everywhere else.
func appendID(b []byte, key string, id uuid.UUID) []byte {
	b = bsoncore.AppendHeader(b, bsoncore.TypeString, key)
	b = append(b, 37, 0, 0, 0) // the length of the text, with its NUL
	for i, part := range [...][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return append(b, 0)
}

func appendText(b []byte, key, value string) []byte {
	if value == "" {
		return b
	}
	return bsoncore.AppendStringElement(b, key, value)
}

func appendNumber(b []byte, key string, n int64) []byte {
	if n == int64(int32(n)) {
		return bsoncore.AppendInt32Element(b, key, int32(n))
	}
	return bsoncore.AppendInt64Element(b, key, n)
}

// appendTime writes a time as a date, which is exact to the millisecond, and the microseconds beyond it.
func appendTime(b []byte, key, microsKey string, micros int64) []byte {
	beyond := ((micros % 1000) + 1000) % 1000
	b = bsoncore.AppendDateTimeElement(b, key, (micros-beyond)/1000)
	if beyond == 0 {
		return b
	}
	return bsoncore.AppendInt32Element(b, microsKey, int32(beyond))
}

// Movements reads the rows. Those that don't name a product are of the one given.
func (rows Rows) Movements(product uuid.UUID) ([]Movement, error) {
	movements := make([]Movement, 0, len(rows)/256+1)
	err := rows.each(product, (*Movement).take, func(m *Movement) { movements = append(movements, *m) })
	return movements, err
}

// each reads the rows one after the other, of each the fields that take takes. What it hands on is
// overwritten by the next.
func (rows Rows) each(product uuid.UUID, take func(m *Movement, key []byte, v bsoncore.Value) bool, found func(*Movement)) error {
	var m Movement
	for rest := []byte(rows); len(rest) > 0; {
		document, after, ok := bsoncore.ReadDocument(rest)
		if !ok {
			return fmt.Errorf("movements of product %s: %w", product, ErrDamaged)
		}
		m, rest = Movement{Product: product}, after
		if err := m.read(document, take); err != nil {
			return err
		}
		found(&m)
	}
	return nil
}

// read takes the fields of a stored movement. Those it doesn't know it leaves alone.
func (m *Movement) read(document bsoncore.Document, take func(m *Movement, key []byte, v bsoncore.Value) bool) error {
	_, rest, _ := bsoncore.ReadLength(document)
	for len(rest) > 1 {
		e, after, ok := bsoncore.ReadElement(rest)
		if !ok {
			return fmt.Errorf("a movement of product %s: %w", m.Product, ErrDamaged)
		}
		key := e.KeyBytes()
		value, _ := e.ValueErr()
		if !take(m, key, value) {
			return fmt.Errorf("field %q of a movement of product %s: %w", key, m.Product, ErrDamaged)
		}
		rest = after
	}
	if m.Version == 0 && m.Type != Cancelled {
		return fmt.Errorf("a movement of product %s has no version: %w", m.Product, ErrDamaged)
	}
	return nil
}

// takeOutline takes what a block says of its movements.
func (m *Movement) takeOutline(key []byte, v bsoncore.Value) bool {
	switch string(key) {
	case "type", "version", "occurredAt", "occurredAtMicros", "reservationId":
		return m.take(key, v)
	}
	return true
}

func (m *Movement) take(key []byte, v bsoncore.Value) bool {
	switch string(key) {
	case "type":
		return takeType(&m.Type, v)
	case "version":
		return takeNumber(&m.Version, v)
	case "pos":
		return takeNumber(&m.Pos, v)
	case "quantity":
		return takeNumber(&m.Quantity, v)
	case "delta":
		return takeNumber(&m.Delta, v)
	case "totalAfter":
		return takeNumber(&m.Total, v)
	case "reservedAfter":
		return takeNumber(&m.Reserved, v)
	case "held":
		return takeNumber(&m.Held, v)
	case "occurredAt":
		return addMillis(&m.At, v)
	case "occurredAtMicros":
		return addMicros(&m.At, v)
	case "expiresAt":
		return addMillis(&m.ExpiresAt, v)
	case "expiresAtMicros":
		return addMicros(&m.ExpiresAt, v)
	case "productId":
		return takeID(&m.Product, v)
	case "reservationId":
		return takeID(&m.Reservation, v)
	case "commandId":
		return takeID(&m.Command, v)
	case "sagaId":
		return takeText(&m.Saga, v)
	case "reason":
		return takeText(&m.Reason, v)
	case "actor":
		return takeText(&m.Actor, v)
	case "correlationId":
		return takeText(&m.Correlation, v)
	}
	return true
}

func takeNumber(to *int64, v bsoncore.Value) (ok bool) {
	*to, ok = v.AsInt64OK()
	return ok
}

func takeText(to *string, v bsoncore.Value) (ok bool) {
	*to, ok = v.StringValueOK()
	return ok
}

// takeType takes the name of a type, of which there are few.
func takeType(to *MovementType, v bsoncore.Value) bool {
	text, ok := textOf(v)
	if *to = typeNamed[string(text)]; *to == "" {
		*to = MovementType(text)
	}
	return ok
}

func takeID(to *uuid.UUID, v bsoncore.Value) bool {
	text, ok := textOf(v)
	if !ok {
		return false
	}
	id, err := uuid.ParseBytes(text)
	*to = id
	return err == nil
}

// textOf is what a string holds, where it stands.
func textOf(v bsoncore.Value) ([]byte, bool) {
	if v.Type != bsoncore.TypeString || len(v.Data) < 5 {
		return nil, false
	}
	return v.Data[4 : len(v.Data)-1], true // between its length and its NUL
}

func addMillis(to *int64, v bsoncore.Value) bool {
	millis, ok := v.DateTimeOK()
	*to += millis * 1000
	return ok
}

func addMicros(to *int64, v bsoncore.Value) bool {
	micros, ok := v.AsInt64OK()
	*to += micros
	return ok
}

// MarshalBSONValue implements [bson.ValueMarshaler].
func (rows Rows) MarshalBSONValue() (byte, []byte, error) {
	b, err := rows.appendTo(make([]byte, 0, rows.size()))
	return byte(bson.TypeArray), b, err
}

// size is about how much the rows take as an array.
func (rows Rows) size() int { return len(rows) + len(rows)/32 + 16 }

// appendTo writes the rows as an array.
func (rows Rows) appendTo(b []byte) ([]byte, error) {
	start, b := bsoncore.AppendArrayStart(b)
	rest := []byte(rows)
	for i := 0; len(rest) > 0; i++ {
		document, after, ok := bsoncore.ReadDocument(rest)
		if !ok {
			return nil, ErrDamaged
		}
		b, rest = bsoncore.AppendDocumentElement(b, arrayKey(i), document), after
	}
	return bsoncore.AppendArrayEnd(b, start)
}

// UnmarshalBSONValue implements [bson.ValueUnmarshaler].
func (rows *Rows) UnmarshalBSONValue(kind byte, data []byte) (err error) {
	*rows, err = RowsOf(bson.RawValue{Type: bson.Type(kind), Value: data}, false)
	return err
}

// RowsOf returns the rows that a field holds, also as earlier versions stored them: see [rowsOfPacked].
func RowsOf(value bson.RawValue, ofSeveral bool) (Rows, error) {
	if value.Type == bson.TypeBinary {
		return rowsOfPacked(value, ofSeveral)
	}
	if value.Type != bson.TypeArray {
		return nil, ErrDamaged
	}
	_, rest, ok := bsoncore.ReadLength(value.Value)
	rows := make(Rows, 0, len(value.Value))
	for ok && len(rest) > 1 {
		var e bsoncore.Element
		if e, rest, ok = bsoncore.ReadElement(rest); !ok {
			break
		}
		document, isDocument := e.Value().DocumentOK()
		if ok = isDocument; ok {
			rows = append(rows, document...)
		}
	}
	if !ok {
		return nil, ErrDamaged
	}
	return rows, nil
}

// arrayKeys are the names of an array's elements.
var arrayKeys = func() (keys [SegmentRows]string) {
	for i := range keys {
		keys[i] = fmt.Sprint(i)
	}
	return keys
}()

func arrayKey(i int) string {
	if i < len(arrayKeys) {
		return arrayKeys[i]
	}
	return fmt.Sprint(i)
}
