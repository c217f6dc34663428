// Package model holds the Go side of the GraphQL schema: the types gqlgen generates from it, and the few written by hand.
package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
)

// InvalidValue is the error of a value that its scalar doesn't allow. Its text is meant for clients.
type InvalidValue struct{ Message string }

// Error implements error.
func (e *InvalidValue) Error() string { return e.Message }

// Payload is what each mutation comes to. Its product is resolved only where it is selected.
type Payload struct {
	ProductID  uuid.UUID
	Version    *int64 // nil where the mutation was refused
	UserErrors []*UserError
}

// BulkRow is what a row of a bulk mutation comes to.
type BulkRow struct {
	Payload
	Index int64
	Read  func() (*Product, error) // nil where the mutation was refused, or its product isn't selected
}

// Product is the product as the row left it.
func (r *BulkRow) Product() (*Product, error) {
	if r.Read == nil {
		return nil, nil
	}
	return r.Read()
}

// MarshalInt writes an Int.
func MarshalInt(i int64) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) {
		var digits [20]byte
		_, _ = w.Write(strconv.AppendInt(digits[:0], i, 10))
	})
}

// UnmarshalInt reads an Int: 32 bits with a sign, as the GraphQL specification (section 3.5.1) has it.
func UnmarshalInt(v any) (int64, error) {
	var i int64
	switch v := v.(type) {
	case int64:
		i = v
	case int:
		i = int64(v)
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return 0, &InvalidValue{fmt.Sprintf("%s is not an Int: it must be a whole number from %d to %d", v, math.MinInt32, math.MaxInt32)}
		}
		i = n
	default:
		return 0, &InvalidValue{fmt.Sprintf("an Int must be a whole number, not a %T", v)}
	}
	if i < math.MinInt32 || i > math.MaxInt32 {
		return 0, &InvalidValue{fmt.Sprintf("%d is not an Int: it must be from %d to %d", i, math.MinInt32, math.MaxInt32)}
	}
	return i, nil
}

// MarshalDateTime writes an instant as RFC 3339 in UTC.
func MarshalDateTime(t time.Time) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) {
		_, _ = w.Write(appendDateTime(make([]byte, 0, len(time.RFC3339Nano)+2), t))
	})
}

func appendDateTime(text []byte, t time.Time) []byte {
	return append(t.UTC().AppendFormat(append(text, '"'), time.RFC3339Nano), '"')
}

// UnmarshalDateTime reads an instant: RFC 3339, with its offset.
func UnmarshalDateTime(v any) (time.Time, error) {
	text, ok := v.(string)
	if !ok {
		return time.Time{}, &InvalidValue{fmt.Sprintf("a DateTime must be a string, not a %T", v)}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, &InvalidValue{fmt.Sprintf("%q is not a DateTime: it must be RFC 3339 with an offset, such as 2026-02-28T14:05:00Z", Abbreviate(text))}
	}
	return t.UTC(), nil
}

// Abbreviate shortens what a client sent for use in a message.
func Abbreviate(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return string(bytes.ToValidUTF8([]byte(s[:most]), nil)) + "…"
}
