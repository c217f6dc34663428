package model

import (
	"errors"
	"io"
	"strconv"

	"github.com/99designs/gqlgen/graphql"

	"product-service/projection/read"
)

// StockBucket is a bucket of a timeline, and in the same element of the list those that follow it:
// what is written between two of them is what gqlgen writes between elements. They write
// themselves, what Shown says. A year by the hour is 8,784 of them, and the generated code takes a
// goroutine, several contexts and objects for each, and a microsecond for each of its fields.
type StockBucket struct {
	read.Bucket
	Following []read.Bucket
	Shown     []BucketField
}

// Check says whether a selected number is one that its field can't hold: in which of the buckets,
// and under which key.
func (s *StockBucket) Check() (place int, key string, err error) {
	for _, f := range s.Shown {
		for i := -1; i < len(s.Following); i++ {
			b := &s.Bucket
			if i >= 0 {
				b = &s.Following[i]
			}
			scalar, n := numberIn(f.name, b)
			if err := CheckNumber(scalar)(n); err != nil {
				return i + 1, f.alias, err
			}
		}
	}
	return 0, "", nil
}

// BucketField is a field that is selected.
type BucketField struct{ name, alias, key string }

// BucketFields are the fields that are selected of each bucket, in order.
func BucketFields(selected []graphql.CollectedField) []BucketField {
	fields := make([]BucketField, len(selected))
	for i, f := range selected {
		fields[i] = BucketField{f.Name, f.Alias, strconv.Quote(f.Alias) + ":"}
	}
	return fields
}

// MarshalGQL implements [graphql.Marshaler].
func (s *StockBucket) MarshalGQL(w io.Writer) {
	text := s.append(make([]byte, 0, 320), &s.Bucket)
	_, _ = w.Write(text)
	for i := range s.Following {
		_, _ = w.Write(s.append(append(text[:0], ','), &s.Following[i]))
	}
}

func (s *StockBucket) append(text []byte, b *read.Bucket) []byte {
	text = append(text, '{')
	for i, f := range s.Shown {
		if i > 0 {
			text = append(text, ',')
		}
		text = appendField(append(text, f.key...), f.name, b)
	}
	return append(text, '}')
}

func appendField(text []byte, field string, b *read.Bucket) []byte {
	switch field {
	case "__typename":
		return append(text, `"StockBucket"`...)
	case "start":
		return AppendDateTime(text, b.Start)
	case "end":
		return AppendDateTime(text, b.End)
	}
	_, n := numberIn(field, b)
	return AppendInt(text, n)
}

// numberIn is a field that is a number, and its type.
func numberIn(field string, b *read.Bucket) (scalar string, n int64) {
	switch field {
	case "opening":
		return "Int", b.Opening
	case "closing":
		return "Int", b.Closing
	case "minAvailable":
		return "Int", b.Min
	case "maxAvailable":
		return "Int", b.Max
	case "reservedQuantity":
		return "Long", b.ReservedQuantity
	case "releasedQuantity":
		return "Long", b.ReleasedQuantity
	case "expiredQuantity":
		return "Long", b.ExpiredQuantity
	case "refusedQuantity":
		return "Long", b.RefusedQuantity
	case "refusals":
		return "Int", b.Refusals
	case "outOfStockSeconds":
		return "Int", b.OutOfStockSeconds
	case "adjustedQuantity":
		return "Long", b.AdjustedQuantity
	case "movements":
		return "Int", b.Movements
	}
	return "", 0
}

// UnmarshalGQL is there because a type that writes itself must have one.
func (s *StockBucket) UnmarshalGQL(any) error { return errors.New("a StockBucket is no input") }
