package view

import (
	"encoding/binary"
	"slices"

	"github.com/google/uuid"
)

// Movements are stored packed, many in a document: a document of each one's own cost the database thirty times as much, for the document and
// its places in the indexes. A packed movement is
//
//	the place of its type in packedTypes, with bit 7 set where it names a reservation, and bit 6 where it names an actor
//	Version Pos At Quantity Delta Total Reserved Held ExpiresAt, as variable-length integers
//	its command, and its reservation if it names one: 16 bytes each
//	Saga Reason Correlation, and the actor if it names one: each a length times two and the text, or 1 and the 16 bytes of a UUID written as usual

// packedTypes must only grow: their places are stored.
var packedTypes = []MovementType{Initial, Adjusted, Reserved, Released, Expired, Renewed, Cancelled, Other}

const (
	withReservation = 0x80
	withActor       = 0x40
	packedType      = 0x3f
)

func (m *Movement) numbers() [9]*int64 {
	return [...]*int64{&m.Version, &m.Pos, &m.At, &m.Quantity, &m.Delta, &m.Total, &m.Reserved, &m.Held, &m.ExpiresAt}
}

// Pack appends the movement, all but its product.
func (m *Movement) Pack(b []byte) []byte {
	kind := byte(slices.Index(packedTypes, m.Type))
	if m.Reservation != uuid.Nil {
		kind |= withReservation
	}
	if m.Actor != "" {
		kind |= withActor
	}
	b = append(b, kind)
	for _, n := range m.numbers() {
		b = binary.AppendVarint(b, *n)
	}
	b = append(b, m.Command[:]...)
	if m.Reservation != uuid.Nil {
		b = append(b, m.Reservation[:]...)
	}
	b = packText(packText(packText(b, m.Saga), m.Reason), m.Correlation)
	if m.Actor != "" {
		b = packText(b, m.Actor)
	}
	return b
}

func packText(b []byte, s string) []byte {
	if len(s) == 36 {
		if id, err := uuid.Parse(s); err == nil && id.String() == s {
			return append(append(b, 1), id[:]...)
		}
	}
	return append(binary.AppendUvarint(b, uint64(len(s))<<1), s...)
}

// unpack reads one movement and returns what follows it.
func (m *Movement) unpack(b []byte) (rest []byte, err error) {
	if len(b) == 0 || int(b[0]&packedType) >= len(packedTypes) {
		return nil, ErrDamaged
	}
	kind := b[0]
	m.Type, m.Reservation, m.Actor = packedTypes[kind&packedType], uuid.Nil, ""
	b = b[1:]
	for _, n := range m.numbers() {
		value, size := binary.Varint(b)
		if size <= 0 {
			return nil, ErrDamaged
		}
		*n, b = value, b[size:]
	}
	if b, err = unpackID(b, &m.Command); err == nil && kind&withReservation != 0 {
		b, err = unpackID(b, &m.Reservation)
	}
	for _, text := range []*string{&m.Saga, &m.Reason, &m.Correlation} {
		if err == nil {
			b, err = unpackText(b, text)
		}
	}
	if err == nil && kind&withActor != 0 {
		b, err = unpackText(b, &m.Actor)
	}
	return b, err
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
