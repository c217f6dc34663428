package model

import (
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/99designs/gqlgen/graphql"
)

// StockBucket is an hour or a day of a timeline. It writes itself, what Shown says: a year by the hour is 8,784 of them, and the generated code takes
// a context, several objects and a microsecond for each field of each.
type StockBucket struct {
	Start, End       time.Time
	Opening          int64
	Closing          int64
	MinAvailable     int64
	MaxAvailable     int64
	ReservedQuantity int64
	ReleasedQuantity int64
	AdjustedQuantity int64
	Movements        int64

	Shown []BucketField // by all buckets of a list
}

// BucketField is a field that is selected.
type BucketField struct{ name, key string }

// BucketFields are the fields that are selected of each bucket, in order.
func BucketFields(selected []graphql.CollectedField) []BucketField {
	fields := make([]BucketField, len(selected))
	for i, f := range selected {
		fields[i] = BucketField{f.Name, strconv.Quote(f.Alias) + ":"}
	}
	return fields
}

// MarshalGQL implements [graphql.Marshaler].
func (b StockBucket) MarshalGQL(w io.Writer) {
	text := append(make([]byte, 0, 320), '{')
	for i, f := range b.Shown {
		if i > 0 {
			text = append(text, ',')
		}
		text = b.append(append(text, f.key...), f.name)
	}
	_, _ = w.Write(append(text, '}'))
}

func (b *StockBucket) append(text []byte, field string) []byte {
	n := int64(0)
	switch field {
	case "__typename":
		return append(text, `"StockBucket"`...)
	case "start":
		return appendDateTime(text, b.Start)
	case "end":
		return appendDateTime(text, b.End)
	case "opening":
		n = b.Opening
	case "closing":
		n = b.Closing
	case "minAvailable":
		n = b.MinAvailable
	case "maxAvailable":
		n = b.MaxAvailable
	case "reservedQuantity":
		n = b.ReservedQuantity
	case "releasedQuantity":
		n = b.ReleasedQuantity
	case "adjustedQuantity":
		n = b.AdjustedQuantity
	case "movements":
		n = b.Movements
	}
	return strconv.AppendInt(text, n, 10)
}

// UnmarshalGQL is there because a type that writes itself must have one.
func (b *StockBucket) UnmarshalGQL(any) error { return errors.New("a StockBucket is no input") }
