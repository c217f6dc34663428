package view

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// Lengths of time in microseconds.
const (
	MicrosPerHour = 3600 * 1_000_000
	MicrosPerDay  = 24 * MicrosPerHour
)

// Day holds what happened to a product on one day (UTC), by the hour: a year by hour is 365 documents. An hour is written when a later one
// begins; until then it is in the product. Whoever writes it has folded all of it, so it is always the same and needs no guard.
type Day struct {
	ID      string          `bson:"_id"`
	Product string          `bson:"product"`
	Day     int64           `bson:"day"`   // since 1970
	Hours   map[string]Hour `bson:"hours"` // "00" to "23", those in which something moved
}

// Hour sums up the movements of one hour. Levels are of what is available; the lowest and highest count the opening one too. It is stored as
// binary data, its numbers in this order as variable-length integers: a year of them as documents is a megabyte.
type Hour struct {
	Number    int64 // since 1970
	Opening   int64
	Closing   int64
	Min       int64
	Max       int64
	Reserved  int64
	Released  int64 // expired ones too
	Adjusted  int64 // net, the initial stock too
	Movements int64
}

func (h *Hour) numbers() [9]*int64 {
	return [...]*int64{&h.Number, &h.Opening, &h.Closing, &h.Min, &h.Max, &h.Reserved, &h.Released, &h.Adjusted, &h.Movements}
}

// MarshalBSONValue implements [bson.ValueMarshaler].
func (h Hour) MarshalBSONValue() (byte, []byte, error) {
	packed := make([]byte, 0, 48)
	for _, n := range h.numbers() {
		packed = binary.AppendVarint(packed, *n)
	}
	return byte(bson.TypeBinary), bsoncore.AppendBinary(nil, bson.TypeBinaryGeneric, packed), nil
}

// UnmarshalBSONValue implements [bson.ValueUnmarshaler]. An hour of another shape is empty until it has been rebuilt.
func (h *Hour) UnmarshalBSONValue(kind byte, data []byte) error {
	*h = Hour{}
	if bson.Type(kind) != bson.TypeBinary {
		return nil
	}
	_, packed, _, ok := bsoncore.ReadBinary(data)
	for _, n := range h.numbers() {
		value, size := binary.Varint(packed)
		if !ok || size <= 0 {
			return errors.New("an hour is cut short")
		}
		*n, packed = value, packed[size:]
	}
	return nil
}

// Add returns the hour with one more movement of it. The first begins it.
func (h Hour) Add(m *Movement) Hour {
	level := m.Total - m.Reserved
	if h.Movements == 0 {
		opening := level - m.Delta
		h = Hour{Number: m.At / MicrosPerHour, Opening: opening, Min: opening, Max: opening}
	}
	h.Closing, h.Min, h.Max = level, min(h.Min, level), max(h.Max, level)
	h.Movements++
	switch m.Type {
	case Reserved:
		h.Reserved += m.Quantity
	case Released, Expired:
		h.Released += m.Quantity
	default:
		h.Adjusted += m.Delta
	}
	return h
}

// Key names the hour in its day.
func (h Hour) Key() string { return hourKey(h.Number) }

func hourKey(number int64) string { return fmt.Sprintf("%02d", number%24) }

// DayID names a product's day.
func DayID(product string, day int64) string {
	return product + "." + time.Unix(day*86400, 0).UTC().Format("20060102")
}
