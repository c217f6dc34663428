package product

import (
	"encoding/hex"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// The events that a flood of commands makes are written by hand, because encoding/json takes
// several times as long. What these functions don't handle they leave to encoding/json, whose
// results theirs are.

// writable is an event that can write its own JSON, in the order of its fields.
type writable interface {
	appendTo(*jsonObject)
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
	o.optionalText("actor", from.Actor)
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

func (e ReservationFailed) appendTo(o *jsonObject) {
	o.id("reservationId", e.ReservationID)
	o.optionalText("sagaId", e.SagaID)
	o.number("quantity", e.Quantity)
	o.text("reason", string(e.Reason))
	o.number("available", e.Available)
	o.optionalText("fingerprint", e.Fingerprint)
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
