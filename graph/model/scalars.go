// Package model holds the Go side of the GraphQL schema: the types gqlgen generates from it, and
// the few written by hand.
package model

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"

	"product-service/ijson"
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
		_, _ = w.Write(AppendInt(digits[:0], i))
	})
}

// AppendInt appends an Int.
func AppendInt(text []byte, i int64) []byte { return strconv.AppendInt(text, i, 10) }

// AppendBoolean appends a Boolean.
func AppendBoolean(text []byte, b bool) []byte { return strconv.AppendBool(text, b) }

// AppendString appends a String as JSON, with the escapes that gqlgen uses.
func AppendString(text []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	text = append(text, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '\\' && c != '"' {
			continue
		}
		text = append(text, s[start:i]...)
		start = i + 1
		switch c {
		case '\t':
			text = append(text, `\t`...)
		case '\r':
			text = append(text, `\r`...)
		case '\n':
			text = append(text, `\n`...)
		case '\\', '"':
			text = append(text, '\\', c)
		default:
			text = append(text, '\\', 'u', '0', '0', digits[c>>4], digits[c&0xf])
		}
	}
	return append(append(text, s[start:]...), '"')
}

// AppendID appends a UUID as an ID.
func AppendID(text []byte, id uuid.UUID) []byte {
	var digits [36]byte
	hex.Encode(digits[:8], id[:4])
	hex.Encode(digits[9:13], id[4:6])
	hex.Encode(digits[14:18], id[6:8])
	hex.Encode(digits[19:23], id[8:10])
	hex.Encode(digits[24:], id[10:])
	digits[8], digits[13], digits[18], digits[23] = '-', '-', '-', '-'
	return append(append(append(text, '"'), digits[:]...), '"')
}

// MovementID is the id of a movement as a node.
func MovementID(productID uuid.UUID, version int64) string {
	return fmt.Sprintf("%s.%d", productID, version)
}

// ReservationID is the id of a reservation as a node.
func ReservationID(productID, reservationID uuid.UUID) string {
	return productID.String() + "." + reservationID.String()
}

// UnmarshalInt reads an Int.
func UnmarshalInt(v any) (int64, error) { return numbers["Int"].read(v) }

// MarshalLong writes a Long.
func MarshalLong(i int64) graphql.Marshaler { return MarshalInt(i) }

// UnmarshalLong reads a Long.
func UnmarshalLong(v any) (int64, error) { return numbers["Long"].read(v) }

// number is a scalar of whole numbers.
type number struct {
	name        string
	least, most int64
}

// An Int has 32 bits with a sign (GraphQL specification, section 3.5.1). A Long is what every
// reader of JSON takes for the same number (RFC 8259, section 6).
var numbers = map[string]number{
	"Int":  {"an Int", math.MinInt32, math.MaxInt32},
	"Long": {"a Long", -(1<<53 - 1), 1<<53 - 1},
}

// Unwritable is the error of a value that is stored, and that its scalar can't hold. Its text is
// meant for clients.
type Unwritable struct{ Message string }

// Error implements error.
func (e *Unwritable) Error() string { return e.Message }

// CheckNumber returns what says whether a scalar, by its name, holds a number that is about to be
// written as one: an [Unwritable], or nil. A scalar of other values holds any.
func CheckNumber(scalar string) func(int64) error {
	n, ok := numbers[scalar]
	return func(i int64) error {
		if ok && !n.holds(i) {
			return &Unwritable{n.excess(i)}
		}
		return nil
	}
}

func (n number) holds(i int64) bool { return i >= n.least && i <= n.most }

func (n number) excess(i int64) string {
	return fmt.Sprintf("%d is not %s: it must be from %d to %d", i, n.name, n.least, n.most)
}

func (n number) read(v any) (int64, error) {
	var i int64
	switch v := v.(type) {
	case int64:
		i = v
	case int:
		i = int64(v)
	case json.Number:
		var whole ijson.Integer // 2.0 and 2e0 too
		if err := ijson.Unmarshal([]byte(v), &whole); err != nil || whole.Wrong != "" {
			return 0, &InvalidValue{fmt.Sprintf("%s is not %s: it must be a whole number from %d to %d", Abbreviate(v.String()), n.name, n.least, n.most)}
		}
		i = whole.Value
	default:
		return 0, &InvalidValue{fmt.Sprintf("%s must be a whole number, not a %T", n.name, v)}
	}
	if !n.holds(i) {
		return i, &InvalidValue{n.excess(i)}
	}
	return i, nil
}

// MarshalDateTime writes an instant as RFC 3339 in UTC.
func MarshalDateTime(t time.Time) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) {
		_, _ = w.Write(AppendDateTime(make([]byte, 0, len(time.RFC3339Nano)+2), t))
	})
}

// AppendDateTime appends an instant as RFC 3339 in UTC.
func AppendDateTime(text []byte, t time.Time) []byte {
	return append(t.UTC().AppendFormat(append(text, '"'), time.RFC3339Nano), '"')
}

// UnmarshalDateTime reads an instant: RFC 3339, with its offset, in the years 1 to 9999 of UTC,
// which is what RFC 3339 can write.
func UnmarshalDateTime(v any) (time.Time, error) {
	text, ok := v.(string)
	if !ok {
		return time.Time{}, &InvalidValue{fmt.Sprintf("a DateTime must be a string, not a %T", v)}
	}
	t, err := time.Parse(time.RFC3339, text)
	if lax := strings.Contains(text, ",") || len(text) < 14 || text[13] != ':'; err != nil || lax { // package time takes 1:00:00 and 00:00:00,5 too
		return time.Time{}, &InvalidValue{fmt.Sprintf("%q is not a DateTime: it must be RFC 3339 with an offset, such as 2026-02-28T14:05:00Z", Abbreviate(text))}
	}
	if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, &InvalidValue{fmt.Sprintf("%q is not a DateTime: in UTC it must be in the years 0001 to 9999", Abbreviate(text))}
	}
	return t, nil
}

// Abbreviate shortens what a client sent for use in a message.
func Abbreviate(s string) string { return AbbreviateTo(s, 64) }

// AbbreviateTo returns the text where it has at most so many bytes, or else its beginning, and that
// there was more.
func AbbreviateTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}
