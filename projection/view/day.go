package view

import (
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// Lengths of time in microseconds, and in seconds.
const (
	MicrosPerHour  = SecondsPerHour * 1_000_000
	MicrosPerDay   = SecondsPerDay * 1_000_000
	SecondsPerHour = 3600
	SecondsPerDay  = 24 * SecondsPerHour
)

// Bucket sums up what happened to a product's stock in a span of time. Levels are of what is available; the
// lowest and the highest count the opening one too.
type Bucket struct {
	Opening, Closing int64
	Min, Max         int64
	Reserved         int64 // units
	Released         int64 // units, expired ones too
	Expired          int64 // units
	Adjusted         int64 // units, net, the initial stock too
	Refused          int64 // units asked for in requests that were refused for want of stock
	Refusals         int64 // how many such requests there were
	OutOfStock       int64 // seconds in which nothing was available
	Movements        int64
}

func (b *Bucket) add(m *Movement) {
	level := m.Total - m.Reserved
	b.Closing, b.Min, b.Max = level, min(b.Min, level), max(b.Max, level)
	b.Movements++
	switch m.Type {
	case Reserved:
		b.Reserved += m.Quantity
	case Released:
		b.Released += m.Quantity
	case Expired:
		b.Released += m.Quantity
		b.Expired += m.Quantity
	default:
		b.Adjusted += m.Delta
	}
}

// Span is a bucket that is still being filled. Its seconds out of stock are counted up to a moment,
// and from there on by its closing level: see [Span.OutOfStockUntil]. Seconds are those of the
// clock, so that the spans of an hour add up to it however an instant falls between two seconds.
type Span struct {
	Bucket

	Start   int64 // seconds since 1970; 0: there is none
	Counted int64 // the second up to which OutOfStock is counted
}

// OutOfStockUntil is how many seconds of the span up to a second nothing was available in.
func (s *Span) OutOfStockUntil(second int64) int64 {
	if s.Closing != 0 || second <= s.Counted {
		return s.OutOfStock
	}
	return s.OutOfStock + second - s.Counted
}

// begin begins a span that a second is in, where there is none.
func (s *Span) begin(second, width, level int64, born bool) {
	if s.Start == 0 {
		s.Start = second - second%width
		s.Bucket = Bucket{Opening: level, Closing: level, Min: level, Max: level}
		if s.Counted = s.Start; born {
			s.Counted = second
		}
	}
	s.count(second)
}

func (s *Span) count(second int64) {
	s.OutOfStock, s.Counted = s.OutOfStockUntil(second), max(second, s.Counted)
}

// Hour is an hour of a product in which something happened.
type Hour struct {
	Bucket

	Number int64 // since 1970
}

// Key names the hour in its day.
func (h Hour) Key() string { return hourKey(h.Number) }

func hourKey(number int64) string { return fmt.Sprintf("%02d", number%24) }

// Day is a day (UTC) of a product in which something happened, and its hours in which something
// did: a year by the hour is 365 documents. An hour is written when a later one begins, the day's
// own sums when a later day begins; until then they are in the product. Whoever writes them has
// folded all of them, so they are always the same and need no guard.
type Day struct {
	ID      string          `bson:"_id"`
	Product string          `bson:"product"`
	Date    time.Time       `bson:"day"`   // midnight, UTC
	Hours   map[string]Hour `bson:"hours"` // "00" to "23"

	// These are there once the day has ended.
	Sums *Bucket `bson:"sums,omitempty"`
	Name string  `bson:"name,omitempty"` // of the product, as it was when the day was over
	Idle int64   `bson:"idleDaysBefore"` // how many days passed before this one without anything happening: all had its opening level
}

// DayID names a product's day.
func DayID(product string, day int64) string { return product + "." + DayName(day) }

// DayName is a day as a year, a month and a day of it.
func DayName(day int64) string { return Midnight(day).Format("20060102") }

// Midnight is when a day begins.
func Midnight(day int64) time.Time { return time.Unix(day*SecondsPerDay, 0).UTC() }

// Fields are what is known of the day beside its id, by the names that an update sets them under:
// an hour is written without the others.
func (d *Day) Fields() bson.D {
	fields := bson.D{{Key: "product", Value: d.Product}, {Key: "day", Value: d.Date}}
	for key, h := range d.Hours {
		fields = append(fields, bson.E{Key: "hours." + key, Value: h})
	}
	if d.Sums != nil {
		fields = append(fields, bson.E{Key: "sums", Value: d.Sums}, bson.E{Key: "name", Value: d.Name},
			bson.E{Key: "idleDaysBefore", Value: d.Idle})
	}
	return fields
}

// numbers are a bucket's fields under the names that they have in documents: those of a StockBucket.
func (b *Bucket) numbers() [12]struct {
	name string
	n    *int64
} {
	return [...]struct {
		name string
		n    *int64
	}{
		{"opening", &b.Opening},
		{"closing", &b.Closing},
		{"minAvailable", &b.Min},
		{"maxAvailable", &b.Max},
		{"reservedQuantity", &b.Reserved},
		{"releasedQuantity", &b.Released},
		{"expiredQuantity", &b.Expired},
		{"adjustedQuantity", &b.Adjusted},
		{"refusedQuantity", &b.Refused},
		{"refusals", &b.Refusals},
		{"outOfStockSeconds", &b.OutOfStock},
		{"movements", &b.Movements},
	}
}

// BucketFields are the names that a bucket's numbers have in documents. The first [Levels] of them
// are levels: they are written also where they are 0.
var BucketFields = func() (names []string) {
	for _, f := range new(Bucket).numbers() {
		names = append(names, f.name)
	}
	return names
}()

// Number is the number that documents have under a name; 0 where there is none of that name.
func (b *Bucket) Number(name string) int64 {
	for _, f := range b.numbers() {
		if f.name == name {
			return *f.n
		}
	}
	return 0
}

// Levels is how many of a bucket's numbers are levels.
const Levels = 4

func (b *Bucket) appendTo(to []byte) []byte {
	for i, f := range b.numbers() {
		if *f.n != 0 || i < Levels {
			to = appendNumber(to, f.name, *f.n)
		}
	}
	return to
}

func (b *Bucket) take(key []byte, v bsoncore.Value) bool {
	for _, f := range b.numbers() {
		if string(key) == f.name {
			return takeNumber(f.n, v)
		}
	}
	return true
}

// document writes a document of some fields and a bucket's.
func document(fields func([]byte) []byte, b *Bucket) (byte, []byte, error) {
	start, to := bsoncore.AppendDocumentStart(make([]byte, 0, 256))
	to, err := bsoncore.AppendDocumentEnd(b.appendTo(fields(to)), start)
	return byte(bson.TypeEmbeddedDocument), to, err
}

// eachField hands on the fields of a document, until one can't be taken.
func eachField(kind byte, data []byte, take func(key []byte, v bsoncore.Value) bool) error {
	if bson.Type(kind) != bson.TypeEmbeddedDocument {
		return fmt.Errorf("a span of time is of type %s: %w", bson.Type(kind), ErrDamaged)
	}
	_, rest, ok := bsoncore.ReadLength(data)
	for ok && len(rest) > 1 {
		var e bsoncore.Element
		if e, rest, ok = bsoncore.ReadElement(rest); !ok {
			break
		}
		key := e.KeyBytes()
		ok = take(key, e.Value())
	}
	if !ok {
		return fmt.Errorf("a span of time: %w", ErrDamaged)
	}
	return nil
}

// MarshalBSONValue implements [bson.ValueMarshaler].
func (b Bucket) MarshalBSONValue() (byte, []byte, error) {
	return document(func(to []byte) []byte { return to }, &b)
}

// UnmarshalBSONValue implements [bson.ValueUnmarshaler].
func (b *Bucket) UnmarshalBSONValue(kind byte, data []byte) error {
	*b = Bucket{}
	return eachField(kind, data, b.take)
}

// MarshalBSONValue implements [bson.ValueMarshaler].
func (h Hour) MarshalBSONValue() (byte, []byte, error) {
	return document(func(to []byte) []byte {
		return bsoncore.AppendDateTimeElement(to, "start", h.Number*SecondsPerHour*1000)
	}, &h.Bucket)
}

// UnmarshalBSONValue implements [bson.ValueUnmarshaler].
func (h *Hour) UnmarshalBSONValue(kind byte, data []byte) (err error) {
	if bson.Type(kind) == bson.TypeBinary {
		*h, err = hourOfPacked(bson.RawValue{Type: bson.TypeBinary, Value: data})
		return err
	}
	*h = Hour{}
	return eachField(kind, data, func(key []byte, v bsoncore.Value) bool {
		if string(key) == "start" {
			return takeSeconds(&h.Number, v, SecondsPerHour)
		}
		return h.take(key, v)
	})
}

// MarshalBSONValue implements [bson.ValueMarshaler]. A span that there is none of is null.
func (s Span) MarshalBSONValue() (byte, []byte, error) {
	if s.Start == 0 {
		return byte(bson.TypeNull), nil, nil
	}
	return document(func(to []byte) []byte {
		to = bsoncore.AppendDateTimeElement(to, "start", s.Start*1000)
		return bsoncore.AppendDateTimeElement(to, "countedUntil", s.Counted*1000)
	}, &s.Bucket)
}

// UnmarshalBSONValue implements [bson.ValueUnmarshaler]. An hour of an earlier shape counts as
// counted to its end.
func (s *Span) UnmarshalBSONValue(kind byte, data []byte) error {
	*s = Span{}
	switch bson.Type(kind) {
	case bson.TypeNull:
		return nil
	case bson.TypeBinary:
		h, err := hourOfPacked(bson.RawValue{Type: bson.TypeBinary, Value: data})
		if h.Movements > 0 {
			*s = Span{Bucket: h.Bucket, Start: h.Number * SecondsPerHour, Counted: (h.Number + 1) * SecondsPerHour}
		}
		return err
	}
	return eachField(kind, data, func(key []byte, v bsoncore.Value) bool {
		switch string(key) {
		case "start":
			return takeSeconds(&s.Start, v, 1)
		case "countedUntil":
			return takeSeconds(&s.Counted, v, 1)
		}
		return s.take(key, v)
	})
}

func takeSeconds(to *int64, v bsoncore.Value, width int64) bool {
	millis, ok := v.DateTimeOK()
	*to = millis / 1000 / width
	return ok
}
