package product

import (
	"encoding/hex"
	"strconv"
	"strings"
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
	take(name, value string, quoted bool) bool
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

func (e *Reserved) take(name, value string, quoted bool) bool {
	switch name {
	case "reservationId":
		return quoted && takeID(&e.ReservationID, value)
	case "sagaId":
		return takeText(&e.SagaID, value, quoted)
	case "quantity":
		return takeNumber(&e.Quantity, value, quoted)
	case "expiresAt":
		e.ExpiresAt = new(time.Time)
		return quoted && e.ExpiresAt.UnmarshalText([]byte(value)) == nil
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

func (e *Released) take(name, value string, quoted bool) bool {
	switch name {
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
		return !quoted && value == "true"
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

func (e *ReservationFailed) take(name, value string, quoted bool) bool {
	switch name {
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

func (o *Origin) take(name, value string, quoted bool) bool {
	switch name {
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

// Members reads a flat JSON object whose texts are printable ASCII without escapes, and hands each member to take: texts without their
// quotes, all else as it stands, unchecked. It returns false where the object isn't as simple as that, or take says so: some members may
// have been taken then, and encoding/json can tell what there is. An object that it reads is one that encoding/json reads alike, if take
// checks what isn't quoted, and refuses names it doesn't know: encoding/json ignores their case.
func Members(object string, take func(name, value string, quoted bool) bool) bool {
	rest, ok := strings.CutPrefix(object, "{")
	if !ok {
		return false
	}
	for more := true; more; {
		var name, value string
		if name, rest, ok = plainText(skipSpace(rest)); !ok {
			return false
		}
		if rest, ok = strings.CutPrefix(skipSpace(rest), ":"); !ok {
			return false
		}
		rest = skipSpace(rest)
		quoted := strings.HasPrefix(rest, `"`)
		if quoted {
			value, rest, ok = plainText(rest)
		} else {
			value, rest = bare(rest)
		}
		if !ok || !take(name, value, quoted) {
			return false
		}
		rest, more = strings.CutPrefix(skipSpace(rest), ",")
	}
	rest, ended := strings.CutPrefix(rest, "}")
	return ended && skipSpace(rest) == ""
}

func skipSpace(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\n' || s[0] == '\t' || s[0] == '\r') {
		s = s[1:]
	}
	return s
}

// plainText reads a quoted text without escapes, all of it printable ASCII.
func plainText(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	end := strings.IndexByte(s[1:], '"') + 1
	if end == 0 {
		return "", "", false
	}
	for _, c := range []byte(s[1:end]) {
		if c < 0x20 || c > 0x7e || c == '\\' {
			return "", "", false
		}
	}
	return s[1:end], s[end+1:], true
}

// bare reads what isn't quoted: up to what can't be part of it.
func bare(s string) (value, rest string) {
	for i := range len(s) {
		switch s[i] {
		case ',', '}', ' ', '\n', '\t', '\r':
			return s[:i], s[i:]
		}
	}
	return s, ""
}

func takeText(into *string, value string, quoted bool) bool {
	*into = value
	return quoted
}

func takeID(into *uuid.UUID, value string) bool {
	id, err := uuid.Parse(value)
	*into = id
	return err == nil
}

func takeNumber(into *int64, value string, quoted bool) bool {
	n, ok := Integer(value)
	*into = n
	return ok && !quoted
}

// Integer reads an integer as JSON writes it, of up to 18 digits.
func Integer(text string) (n int64, ok bool) {
	digits, negative := strings.CutPrefix(text, "-")
	if digits == "" || len(digits) > 18 || (digits[0] == '0' && len(digits) > 1) {
		return 0, false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(digits[i]-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}
