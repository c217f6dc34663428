package product

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// texts are mostly plain, but have everything that JSON escapes.
func texts() *rapid.Generator[string] {
	return rapid.OneOf(rapid.StringMatching(`[A-Za-z0-9:._-]{0,20}`), rapid.String(), rapid.SampledFrom([]string{"", `a"b`, `a\b`, "<&>", "é", "\u2028", "\x7f"}))
}

func quickEvents() *rapid.Generator[Event] {
	return rapid.Custom(func(t *rapid.T) Event {
		id, saga, n := uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")), texts().Draw(t, "saga"), rapid.Int64()
		switch rapid.IntRange(0, 2).Draw(t, "type") {
		case 0:
			e := Reserved{ReservationID: id, SagaID: saga, Quantity: n.Draw(t, "quantity"), StockTotal: n.Draw(t, "total"), Reserved: n.Draw(t, "reserved")}
			if rapid.Bool().Draw(t, "expires") {
				at := time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "at")).UTC()
				e.ExpiresAt = &at
			}
			return e
		case 1:
			return Released{ReservationID: id, SagaID: saga, Quantity: n.Draw(t, "quantity"), Held: n.Draw(t, "held"), Reason: texts().Draw(t, "reason"),
				Expired: rapid.Bool().Draw(t, "expired"), StockTotal: n.Draw(t, "total"), Reserved: n.Draw(t, "reserved")}
		default:
			return ReservationFailed{ReservationID: id, SagaID: saga, Quantity: n.Draw(t, "quantity"), Reason: Reason(texts().Draw(t, "reason")),
				Available: n.Draw(t, "available"), Fingerprint: texts().Draw(t, "fingerprint")}
		}
	})
}

// withOrigin is the event as it is decoded.
func withOrigin(e Event, from Origin) Event {
	switch e := e.(type) {
	case Reserved:
		e.Origin = from
		return e
	case Released:
		e.Origin = from
		return e
	case ReservationFailed:
		e.Origin = from
		return e
	}
	return e
}

func TestEventsWrittenByHandAreWhatJSONWouldWrite(t *testing.T) {
	quick := 0
	rapid.Check(t, func(t *rapid.T) {
		e := quickEvents().Draw(t, "event")
		from := Origin{CorrelationID: texts().Draw(t, "correlation"), Traceparent: texts().Draw(t, "trace"), Actor: texts().Draw(t, "actor")}
		want, err := json.Marshal(withOrigin(e, from))
		if err != nil {
			t.Fatal(err)
		}
		var wantFields, gotFields map[string]any
		if got, ok := quickEncode(e, from); ok {
			quick++
			if err := json.Unmarshal(got, &gotFields); err != nil {
				t.Fatalf("%s: %v", got, err)
			}
			if err := json.Unmarshal(want, &wantFields); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(gotFields, wantFields) {
				t.Fatalf("wrote %s; want %s", got, want)
			}
		}
		data, err := Encode(e, from)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(TypeOf(e), data)
		if err != nil {
			t.Fatal(err)
		}
		slow := reflect.New(reflect.TypeOf(e))
		if err := json.Unmarshal(data, slow.Interface()); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, slow.Elem().Interface()) {
			t.Fatalf("read %+v from %s; want %+v", got, data, slow.Elem().Interface())
		}
	})
	if quick == 0 {
		t.Error("no event was written by hand")
	}
}

func BenchmarkReserved(b *testing.B) {
	e := Reserved{ReservationID: uuid.New(), SagaID: uuid.NewString(), Quantity: 1, StockTotal: MaxStock, Reserved: 77}
	from := Origin{CorrelationID: e.SagaID}
	data, err := Encode(e, from)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Encode(e, from); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Decode("ProductReservedEvent", data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
