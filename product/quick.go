package product

import (
	"encoding/hex"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// The events that a flood of commands makes are written and read by hand: each is encoded once and decoded by every reader of the log,
// and encoding/json takes ten times as long. What these functions don't handle they leave to encoding/json, whose results theirs are.

// writable is an event that can write its own JSON, in the order of its fields.
type writable interface {
	appendTo(*jsonObject)
}

// readable is an event that can take the members of its own JSON. It returns false for one that it does not know, or not in this form.
type readable interface {
	take(name, value []byte, quoted bool) bool
}

// quickEncode writes an event and its origin, if both are simple enough.
func quickEncode(e Event, from Origin) ([]byte, bool) {
	w, ok := e.(writable)
	if !ok || e.From() != (Origin{}) {
		return nil, false
	}
	o := jsonObject{b: append(make([]byte, 0, 320), '{'), ok: true}
	w.appendTo(&o)
	o.optionalText("correlationId", from.CorrelationID)
	o.optionalText("traceparent", from.Traceparent)
	return append(o.b, '}'), o.ok
}

func (e Reserved) appendTo(o *jsonObject) {
	o.id("reservationId", e.ReservationID)
	o.optionalText("sagaId", e.SagaID)
	o.number("quantity", e.Quantity)
	if e.ExpiresAt != nil {
		o.time("expiresAt", *e.ExpiresAt)
	}
	o.number("stockTotal", e.StockTotal)
	o.number("reserved", e.Reserved)
}

func (e *Reserved) take(name, value []byte, quoted bool) bool {
	switch string(name) {
	case "reservationId":
		return quoted && takeID(&e.ReservationID, value)
	case "sagaId":
		return takeText(&e.SagaID, value, quoted)
	case "quantity":
		return takeNumber(&e.Quantity, value, quoted)
	case "expiresAt":
		e.ExpiresAt = new(time.Time)
		return quoted && e.ExpiresAt.UnmarshalText(value) == nil
	case "stockTotal":
		return takeNumber(&e.StockTotal, value, quoted)
	case "reserved":
		return takeNumber(&e.Reserved, value, quoted)
	}
	return e.Origin.take(name, value, quoted)
}

func (e Released) appendTo(o *jsonObject) {
	o.id("reservationId", e.ReservationID)
	o.optionalText("sagaId", e.SagaID)
	o.number("quantity", e.Quantity)
	o.number("held", e.Held)
	o.optionalText("reason", e.Reason)
	if e.Expired {
		o.raw("expired", "true")
	}
	o.number("stockTotal", e.StockTotal)
	o.number("reserved", e.Reserved)
}

func (e *Released) take(name, value []byte, quoted bool) bool {
	switch string(name) {
	case "reservationId":
		return quoted && takeID(&e.ReservationID, value)
	case "sagaId":
		return takeText(&e.SagaID, value, quoted)
	case "quantity":
		return takeNumber(&e.Quantity, value, quoted)
	case "held":
		return takeNumber(&e.Held, value, quoted)
	case "reason":
		return takeText(&e.Reason, value, quoted)
	case "expired":
		e.Expired = true
		return !quoted && string(value) == "true"
	case "stockTotal":
		return takeNumber(&e.StockTotal, value, quoted)
	case "reserved":
		return takeNumber(&e.Reserved, value, quoted)
	}
	return e.Origin.take(name, value, quoted)
}

func (e ReservationFailed) appendTo(o *jsonObject) {
	o.id("reservationId", e.ReservationID)
	o.optionalText("sagaId", e.SagaID)
	o.number("quantity", e.Quantity)
	o.text("reason", string(e.Reason))
	o.number("available", e.Available)
	o.optionalText("fingerprint", e.Fingerprint)
}

func (e *ReservationFailed) take(name, value []byte, quoted bool) bool {
	switch string(name) {
	case "reservationId":
		return quoted && takeID(&e.ReservationID, value)
	case "sagaId":
		return takeText(&e.SagaID, value, quoted)
	case "quantity":
		return takeNumber(&e.Quantity, value, quoted)
	case "reason":
		return takeText((*string)(&e.Reason), value, quoted)
	case "available":
		return takeNumber(&e.Available, value, quoted)
	case "fingerprint":
		return takeText(&e.Fingerprint, value, quoted)
	}
	return e.Origin.take(name, value, quoted)
}

func (o *Origin) take(name, value []byte, quoted bool) bool {
	switch string(name) {
	case "correlationId":
		return takeText(&o.CorrelationID, value, quoted)
	case "traceparent":
		return takeText(&o.Traceparent, value, quoted)
	}
	return false
}

// jsonObject is an object being written; ok is false once it can't be.
type jsonObject struct {
	b  []byte
	ok bool
}

func (o *jsonObject) name(name string) {
	if len(o.b) > 1 {
		o.b = append(o.b, ',')
	}
	o.b = append(append(append(o.b, '"'), name...), '"', ':')
}

func (o *jsonObject) raw(name, value string) {
	o.name(name)
	o.b = append(o.b, value...)
}

func (o *jsonObject) number(name string, n int64) {
	o.name(name)
	o.b = strconv.AppendInt(o.b, n, 10)
}

func (o *jsonObject) text(name, text string) {
	for i := range len(text) {
		switch c := text[i]; {
		case c < 0x20, c > 0x7e, c == '"', c == '\\', c == '<', c == '>', c == '&':
			o.ok = false
		}
	}
	o.name(name)
	o.b = append(append(append(o.b, '"'), text...), '"')
}

func (o *jsonObject) optionalText(name, text string) {
	if text != "" {
		o.text(name, text)
	}
}

func (o *jsonObject) id(name string, id uuid.UUID) {
	o.name(name)
	o.b = append(o.b, '"')
	for i, part := range [][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			o.b = append(o.b, '-')
		}
		o.b = hex.AppendEncode(o.b, part)
	}
	o.b = append(o.b, '"')
}

func (o *jsonObject) time(name string, t time.Time) {
	text, err := t.MarshalText()
	o.ok = o.ok && err == nil
	o.text(name, string(text))
}

// quickDecode hands each member of a flat JSON object to the event: texts without their quotes. It returns false at the first thing that
// Encode would not have written this way, such as a space or an escape.
func quickDecode(data []byte, into readable) bool {
	if len(data) < 2 || data[0] != '{' || data[len(data)-1] != '}' {
		return false
	}
	for rest := data[1 : len(data)-1]; ; {
		name, after, ok := plainText(rest)
		if !ok || len(after) < 2 || after[0] != ':' {
			return false
		}
		value, quoted := []byte(nil), after[1] == '"'
		if quoted {
			value, rest, ok = plainText(after[1:])
		} else {
			value, rest = until(after[1:], ',')
		}
		if !ok || !into.take(name, value, quoted) {
			return false
		}
		if len(rest) == 0 {
			return true
		}
		if rest[0] != ',' {
			return false
		}
		rest = rest[1:]
	}
}

// plainText reads a quoted text without escapes, all of it printable ASCII.
func plainText(b []byte) (text, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return b[1:i], b[i+1:], true
		case c < 0x20, c > 0x7e, c == '\\':
			return nil, nil, false
		}
	}
	return nil, nil, false
}

func until(b []byte, end byte) (value, rest []byte) {
	for i, c := range b {
		if c == end {
			return b[:i], b[i:]
		}
	}
	return b, nil
}

func takeText(into *string, value []byte, quoted bool) bool {
	*into = string(value)
	return quoted
}

func takeID(into *uuid.UUID, value []byte) bool { return into.UnmarshalText(value) == nil }

// takeNumber reads an integer as JSON has it: no leading zeros, no plus. Those of more than 18 digits it leaves to others.
func takeNumber(into *int64, value []byte, quoted bool) bool {
	digits, sign := value, int64(1)
	if len(digits) > 1 && digits[0] == '-' {
		digits, sign = digits[1:], -1
	}
	if quoted || len(digits) == 0 || len(digits) > 18 || (digits[0] == '0' && len(digits) > 1) {
		return false
	}
	n := int64(0)
	for _, d := range digits {
		if d < '0' || d > '9' {
			return false
		}
		n = n*10 + int64(d-'0')
	}
	*into = n * sign
	return true
}
