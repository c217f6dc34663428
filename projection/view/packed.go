package view

import (
	"encoding/binary"
	"fmt"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Up to shape 4 of the documents, movements and hours were packed into binary data. This file reads
// them, so that histories can be read while an upgrade builds the documents anew. Nothing is packed
// any more. A packed movement was
//
//	in the journal, its product: 16 bytes
//	the place of its type in packedTypes, with bit 7 set where it names a reservation
//	version, pos, at, quantity, delta, total, reserved, held, expiresAt, as variable-length integers
//	its command, and its reservation if it names one: 16 bytes each
//	saga, reason, correlation: each a length times two and the text, or 1 and the 16 bytes of a UUID

var packedTypes = []MovementType{Initial, Adjusted, Reserved, Released, Expired, Renewed, Cancelled, Other}

const withReservation = 0x80

// rowsOfPacked turns packed movements into plain ones.
func rowsOfPacked(value bson.RawValue, ofSeveral bool) (rows Rows, err error) {
	_, packed, ok := value.BinaryOK()
	if !ok {
		return nil, ErrDamaged
	}
	for len(packed) > 0 {
		var m Movement
		if ofSeveral {
			packed, err = unpackID(packed, &m.Product)
		}
		if err == nil {
			packed, err = m.unpack(packed)
		}
		if err != nil {
			return nil, fmt.Errorf("packed movements: %w", err)
		}
		rows = rows.Append(&m, ofSeveral)
	}
	return rows, nil
}

// unpack reads one movement and returns what follows it.
func (m *Movement) unpack(b []byte) (rest []byte, err error) {
	if len(b) == 0 || int(b[0]&^withReservation) >= len(packedTypes) {
		return nil, ErrDamaged
	}
	m.Type = packedTypes[b[0]&^withReservation]
	named := b[0]&withReservation != 0
	b, err = unpackNumbers(b[1:], &m.Version, &m.Pos, &m.At, &m.Quantity, &m.Delta, &m.Total, &m.Reserved, &m.Held, &m.ExpiresAt)
	if err == nil {
		b, err = unpackID(b, &m.Command)
	}
	if err == nil && named {
		b, err = unpackID(b, &m.Reservation)
	}
	for _, text := range []*string{&m.Saga, &m.Reason, &m.Correlation} {
		if err == nil {
			b, err = unpackText(b, text)
		}
	}
	return b, err
}

func unpackNumbers(b []byte, to ...*int64) (rest []byte, err error) {
	for _, n := range to {
		value, size := binary.Varint(b)
		if size <= 0 {
			return nil, ErrDamaged
		}
		*n, b = value, b[size:]
	}
	return b, nil
}

func unpackID(b []byte, id *uuid.UUID) (rest []byte, err error) {
	if len(b) < len(id) {
		return nil, ErrDamaged
	}
	copy(id[:], b)
	return b[len(id):], nil
}

func unpackText(b []byte, s *string) (rest []byte, err error) {
	length, size := binary.Uvarint(b)
	if size <= 0 {
		return nil, ErrDamaged
	}
	b = b[size:]
	if length == 1 {
		var id uuid.UUID
		b, err = unpackID(b, &id)
		*s = id.String()
		return b, err
	}
	if length&1 == 1 || length>>1 > uint64(len(b)) {
		return nil, ErrDamaged
	}
	*s = string(b[:length>>1])
	return b[length>>1:], nil
}

// hourOfPacked reads an hour. What was not counted then is 0.
func hourOfPacked(value bson.RawValue) (h Hour, err error) {
	_, packed, ok := value.BinaryOK()
	if !ok {
		return h, ErrDamaged
	}
	_, err = unpackNumbers(packed, &h.Number, &h.Opening, &h.Closing, &h.Min, &h.Max, &h.Reserved, &h.Released, &h.Adjusted, &h.Movements)
	return h, err
}
