package command

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"

	"product-service/product"
)

const (
	productX     = "0b5e8f3a-6d1c-4f7e-9a2b-1c3d5e7f9a0b"
	reservationX = "1c6f9a4b-7e2d-4a8f-8b3c-2d4e6f8a0b1c"
	commandX     = "2d7a0b5c-8f3e-4b9a-9c4d-3e5f7a9b1c2d"
)

// request builds a body from fields that replace or (by an empty value) take out those of a good request.
func request(change ...string) string {
	return object([]string{"commandId", `"` + commandX + `"`, "type", `"ReserveProduct"`, "productId", `"` + productX + `"`,
		"reservationId", `"` + reservationX + `"`, "sagaId", `"saga-7"`, "quantity", "3", "expiresAt", `"2026-11-23T13:00:00.1234567+01:00"`}, change)
}

func releaseOf(change ...string) string {
	return object([]string{"commandId", `"` + commandX + `"`, "type", `"ReleaseProduct"`, "productId", `"` + productX + `"`,
		"reservationId", `"` + reservationX + `"`, "sagaId", `"saga-7"`, "quantity", "2", "reason", `"payment failed"`}, change)
}

func object(fields, change []string) string {
	fields = append([]string(nil), fields...)
	for i := 0; i < len(change); i += 2 {
		at := -1
		for j := 0; j < len(fields); j += 2 {
			if fields[j] == change[i] {
				at = j
			}
		}
		if at < 0 {
			fields = append(fields, change[i], change[i+1])
		} else {
			fields[at+1] = change[i+1]
		}
	}
	var parts []string
	for i := 0; i < len(fields); i += 2 {
		if fields[i+1] != "" {
			parts = append(parts, `"`+fields[i]+`":`+fields[i+1])
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func consumed(body string, headers ...string) *sarama.ConsumerMessage {
	m := &sarama.ConsumerMessage{Topic: TopicRequestStock, Partition: 3, Offset: 42, Value: []byte(body)}
	for i := 0; i < len(headers); i += 2 {
		m.Headers = append(m.Headers, &sarama.RecordHeader{Key: []byte(headers[i]), Value: []byte(headers[i+1])})
	}
	return m
}

var id = uuid.MustParse

func TestAReadableMessageBecomesItsCommand(t *testing.T) {
	expires := time.Date(2026, 11, 23, 12, 0, 0, 123456000, time.UTC)
	whole := product.Reserve{ReservationID: id(reservationX), SagaID: "saga-7", Quantity: 3, ExpiresAt: expires}
	bare := product.Reserve{ReservationID: id(reservationX), Quantity: 3}
	released := product.Release{ReservationID: id(reservationX), SagaID: "saga-7", Quantity: 2, Reason: "payment failed"}
	because := func(reason string) product.Release {
		r := released
		r.Reason = reason
		return r
	}
	for _, c := range []struct {
		name    string
		message *sarama.ConsumerMessage
		release bool
		want    product.Command
		id      uuid.UUID
	}{
		{"WholeRequest", consumed(request()), false, whole, id(commandX)},
		{"UpperCaseIDs", consumed(request("productId", `"`+strings.ToUpper(productX)+`"`, "reservationId", `"`+strings.ToUpper(reservationX)+`"`,
			"commandId", `"`+strings.ToUpper(commandX)+`"`)), false, whole, id(commandX)},
		{"OnlyWhatIsNeeded", consumed(request("type", "", "sagaId", "", "expiresAt", "")), false, bare, id(commandX)},
		{"NullIsAbsent", consumed(request("type", "null", "sagaId", "null", "expiresAt", "null")), false, bare, id(commandX)},
		{"UnknownFieldsAreIgnored", consumed(request("traces", `[{"a":1}]`, "productName", `"x"`)), false, whole, id(commandX)},
		{"SpaceAround", consumed(" \n" + request() + "\n "), false, whole, id(commandX)},
		{"LargestQuantity", consumed(request("quantity", "2147483647")), false,
			product.Reserve{ReservationID: id(reservationX), SagaID: "saga-7", Quantity: 2147483647, ExpiresAt: expires}, id(commandX)},
		{"LongestSaga", consumed(request("sagaId", `"`+strings.Repeat("é", 200)+`"`, "expiresAt", "")), false,
			product.Reserve{ReservationID: id(reservationX), SagaID: strings.Repeat("é", 200), Quantity: 3}, id(commandX)},
		{"LongAgoIsNotNever", consumed(request("expiresAt", `"0001-01-01T00:00:00Z"`)), false,
			product.Reserve{ReservationID: id(reservationX), SagaID: "saga-7", Quantity: 3, ExpiresAt: time.Unix(0, 0).UTC()}, id(commandX)},
		{"IDFromCloudEventUUID", consumed(request("commandId", ""), "ce_id", strings.ToUpper(commandX), "ce_source", "/orders"), false, whole, id(commandX)},
		{"IDFromCloudEvent", consumed(request("commandId", ""), "ce_id", "41", "ce_source", "/orders"), false, whole,
			uuid.NewSHA1(CommandNamespace, []byte("/orders\x0041"))},
		{"BodyBeforeHeaders", consumed(request(), "ce_id", productX, "ce_source", "/orders"), false, whole, id(commandX)},
		{"WholeRelease", consumed(releaseOf()), true, released, id(commandX)},
		{"ReleaseOfAll", consumed(releaseOf("quantity", "", "reason", "", "sagaId", "")), true, product.Release{ReservationID: id(reservationX)}, id(commandX)},
		{"ReleaseWithLongReason", consumed(releaseOf("reason", `"`+strings.Repeat("é", 501)+`"`)), true, because(strings.Repeat("é", 500)), id(commandX)},
		{"ReleaseWithLongestReason", consumed(releaseOf("reason", `"`+strings.Repeat("é", 500)+`"`)), true, because(strings.Repeat("é", 500)), id(commandX)},
		{"ReleaseWithNUL", consumed(releaseOf("reason", `"a\u0000b"`)), true, because("a\uFFFDb"), id(commandX)},
		{"NamesCountAsWritten", consumed(request("QUANTITY", "9", "Type", `"Acme.Order"`, "SagaID", "4711", "ProductId", `"x"`, "commandid", "{}")), false, whole, id(commandX)},
		{"NamesCountAsWrittenInARelease", consumed(releaseOf("Quantity", "5", "TYPE", "1", "SagaID", "4711")), true, released, id(commandX)},
		{"OtherFieldsHoldAnything", consumed(request("a", "1e400", "b", `{"quantity":9,"commandId":[]}`, "c", `"\u0000"`, "d", strings.Repeat("9", 400), "", "-0.0e-400")), false, whole, id(commandX)},
		{"IntegerWithAFraction", consumed(request("quantity", "3.0")), false, whole, id(commandX)},
		{"IntegerWithAnExponent", consumed(request("quantity", "0.3e+1")), false, whole, id(commandX)},
		{"IntegerOfARelease", consumed(releaseOf("quantity", "20E-1")), true, released, id(commandX)},
		{"ByteOrderMark", consumed("\ufeff" + request()), false, whole, id(commandX)},
		{"ByteOrderMarkBeforeARelease", consumed("\ufeff \n" + releaseOf()), true, released, id(commandX)},
		{"ReplacementCharacter", consumed(request("sagaId", `"a\ufffdb"`, "expiresAt", "")), false, product.Reserve{ReservationID: id(reservationX), SagaID: "a\ufffdb", Quantity: 3}, id(commandX)},
		{"ReplacementCharacterAsItIs", consumed(request("sagaId", "\"a\ufffdb\"", "expiresAt", "")), false, product.Reserve{ReservationID: id(reservationX), SagaID: "a\ufffdb", Quantity: 3}, id(commandX)},
		{"EscapedNames", consumed(strings.ReplaceAll(request(), `"quantity"`, `"qu\u0061ntity"`)), false, whole, id(commandX)},
		{"ReleaseWithAFieldOfRequests", consumed(releaseOf("expiresAt", "1736899200", "ExpiresAt", "{}")), true, released, id(commandX)},
		{"ReleaseWithATimeThatIsNone", consumed(releaseOf("expiresAt", `"tomorrow"`)), true, released, id(commandX)},
		{"RequestWithAFieldOfReleases", consumed(request("reason", `{"code":5}`, "Reason", "5")), false, whole, id(commandX)},
		{"RequestWithALongReason", consumed(request("reason", `"`+strings.Repeat("r", 501)+`"`)), false, whole, id(commandX)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := decodeCommand(c.message, c.release)
			if err != nil {
				t.Fatal(err)
			}
			if got.Command != c.want || got.ID != c.id || got.ProductID != id(productX) {
				t.Errorf("got %s %+v for %s\nwant %s %+v for %s", got.ID, got.Command, got.ProductID, c.id, c.want, productX)
			}
		})
	}
}

func TestAFaultSaysWhatIsWrongAndWhatIsAllowed(t *testing.T) {
	const quantities = "an integer from 1 to 2147483647"
	big := `"` + strings.Repeat("x", 70_000) + `"`
	for _, c := range []struct {
		name    string
		body    string
		release bool
		reason  string
		message string // a part of it
	}{
		{"Empty", "", false, ReasonUnreadable, "it is empty; it must be a JSON object with productId and reservationId"},
		{"OnlyAByteOrderMark", "\ufeff", false, ReasonUnreadable, "it is empty"},
		{"TwoByteOrderMarks", "\ufeff\ufeff" + request(), false, ReasonUnreadable, "not valid JSON"},
		{"UTF16", "\xff\xfe{\x00}\x00", false, ReasonUnreadable, "not valid UTF-8"},
		{"NotJSON", "hello", false, ReasonUnreadable, "not valid JSON"},
		{"Null", " null", false, ReasonUnreadable, "it is null"},
		{"Array", "[" + request() + "]", false, ReasonUnreadable, "it is a JSON array"},
		{"Text", `"` + productX + `"`, false, ReasonUnreadable, "it is a JSON string"},
		{"CutOff", request()[:100], false, ReasonUnreadable, "not valid JSON"},
		{"Trailing", request() + "x", false, ReasonUnreadable, "not valid JSON"},
		{"NoProduct", request("productId", ""), false, ReasonUnreadable, "productId is missing; it must be a UUID"},
		{"NoReservation", request("reservationId", "null"), false, ReasonUnreadable, "reservationId is missing; it must be a UUID"},
		{"ProductIsNoUUID", request("productId", `"p-1"`), false, ReasonUnreadable, `productId is "p-1"; it must be a UUID`},
		{"ProductIsANumber", request("productId", "5"), false, ReasonUnreadable, "productId is a JSON number; it must be a string"},
		{"UUIDWithoutHyphens", request("reservationId", `"`+strings.ReplaceAll(reservationX, "-", "")+`"`), false, ReasonUnreadable, "reservationId is"},
		{"NilUUID", request("reservationId", `"00000000-0000-0000-0000-000000000000"`), false, ReasonUnreadable, "other than the nil UUID"},
		{"NoIdentity", request("commandId", ""), false, ReasonInvalidCommand, "commandId is missing"},
		{"CommandIsNoUUID", request("commandId", `"7"`), false, ReasonInvalidCommand, `commandId is "7"; it must be a UUID`},
		{"EmptyCommandID", request("commandId", `""`), false, ReasonInvalidCommand, "commandId is missing; it must be a UUID"},
		{"NilCommandID", request("commandId", `"00000000-0000-0000-0000-000000000000"`), false, ReasonInvalidCommand, "other than the nil UUID"},
		{"OtherType", request("type", `"ReleaseProduct"`), false, ReasonInvalidCommand, `type is "ReleaseProduct"; on this topic it must be "ReserveProduct" or absent`},
		{"NoQuantity", request("quantity", ""), false, ReasonInvalidCommand, "quantity is missing; it must be " + quantities},
		{"Zero", request("quantity", "0"), false, ReasonInvalidCommand, "quantity is 0; it must be " + quantities},
		{"Negative", request("quantity", "-4"), false, ReasonInvalidCommand, "quantity is -4; it must be " + quantities},
		{"TooMany", request("quantity", "2147483648"), false, ReasonInvalidCommand, "quantity is 2147483648; it must be " + quantities},
		{"Fraction", request("quantity", "1.5"), false, ReasonInvalidCommand, "quantity is a JSON number 1.5; it must be " + quantities},
		{"BeyondInt64", request("quantity", "99999999999999999999"), false, ReasonInvalidCommand, "it must be " + quantities},
		{"QuantityAsText", request("quantity", `"3"`), false, ReasonInvalidCommand, "quantity is a JSON string; it must be " + quantities},
		{"LongSaga", request("sagaId", `"`+strings.Repeat("s", 201)+`"`), false, ReasonInvalidCommand, "sagaId has 201 characters; it may have 200"},
		{"NULInSaga", request("sagaId", `"a\u0000b"`), false, ReasonInvalidCommand, "sagaId has a NUL character"},
		{"LoneSurrogate", request("sagaId", `"a\ud800b"`), false, ReasonInvalidCommand, "invalid surrogate pair"},
		{"LoneSurrogateInAnotherField", request("note", `"\ud83d"`), false, ReasonInvalidCommand, "invalid surrogate pair"},
		{"LoneSurrogateInARelease", releaseOf("reason", `"\ude00"`), true, ReasonInvalidCommand, "invalid surrogate pair"},
		{"NotUTF8", request("sagaId", "\"a\xffb\""), false, ReasonInvalidCommand, "the body can't be read: it is not valid UTF-8"},
		{"NotUTF8InAnotherField", request("note", "\"caf\xe9\""), false, ReasonInvalidCommand, "it is not valid UTF-8"},
		{"SameNameTwice", request()[:len(request())-1] + `,"quantity":9}`, false, ReasonInvalidCommand, `it has the name "quantity" twice`},
		{"SameNameTwiceWithin", request("note", `{"a":1,"a":1}`), false, ReasonInvalidCommand, `it has the name "a" twice`},
		{"SameNameTwiceInARelease", releaseOf()[:len(releaseOf())-1] + `,"quantity":2}`, true, ReasonInvalidCommand, `it has the name "quantity" twice`},
		{"HugeExponent", request("quantity", "1e400"), false, ReasonInvalidCommand, "quantity is a JSON number 1e400; it must be " + quantities},
		{"ExponentBeyondAll", request("quantity", "1e99999999999999999999"), false, ReasonInvalidCommand, "it must be " + quantities},
		{"TinyExponent", request("quantity", "1e-400"), false, ReasonInvalidCommand, "quantity is a JSON number 1e-400; it must be " + quantities},
		{"ZeroWithAnExponent", request("quantity", "0e400"), false, ReasonInvalidCommand, "quantity is 0; it must be " + quantities},
		{"LongQuantity", request("quantity", strings.Repeat("9", 5000)), false, ReasonInvalidCommand, "quantity is a JSON number 9999999999"},
		{"ExpiryIsNoTime", request("expiresAt", `"tomorrow"`), false, ReasonInvalidCommand, `expiresAt is "tomorrow"; it must be a time as in RFC 3339`},
		{"ExpiryWithoutZone", request("expiresAt", `"2026-11-23T13:00:00"`), false, ReasonInvalidCommand, "RFC 3339"},
		{"ExpiryBeyondTheYears", request("expiresAt", `"9999-12-31T23:59:59-23:59"`), false, ReasonInvalidCommand, "RFC 3339"},
		{"ExpiryIsEmpty", request("expiresAt", `""`), false, ReasonInvalidCommand, "RFC 3339"},
		{"ExpiryIsANumber", request("expiresAt", "1795433000"), false, ReasonInvalidCommand, "expiresAt is a JSON number; it must be a string"},
		{"TooLong", request("filler", big), false, ReasonInvalidCommand, "it may have 65536"},
		{"ReleaseOfZero", releaseOf("quantity", "0"), true, ReasonInvalidCommand, "quantity is 0; it must be " + quantities},
		{"ReleaseWithLongSaga", releaseOf("sagaId", `"`+strings.Repeat("s", 201)+`"`), true, ReasonInvalidCommand, "sagaId has 201 characters; it may have 200"},
		{"ReleaseWithReasonOfNoText", releaseOf("reason", "5"), true, ReasonInvalidCommand, "reason is a JSON number; it must be a string"},
		{"ReleaseOfOtherType", releaseOf("type", `"ReserveProduct"`), true, ReasonInvalidCommand, `it must be "ReleaseProduct" or absent`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := decodeCommand(consumed(c.body), c.release)
			f := new(fault)
			if !errors.As(err, &f) {
				t.Fatalf("got %v and %+v, want a fault", err, r)
			}
			if len(f.message) > 500 {
				t.Errorf("a fault is told in %d bytes", len(f.message))
			}
			if f.reason != c.reason || !strings.Contains(f.message, c.message) {
				t.Errorf("got %s: %s\nwant %s: … %s …", f.reason, f.message, c.reason, c.message)
			}
			if answered := r != nil; answered != (c.reason == ReasonInvalidCommand && !c.release) {
				t.Fatalf("answered: %v", answered)
			} else if !answered {
				return
			}
			refuse, ok := r.Command.(product.Refuse)
			if !ok || refuse.ReservationID != id(reservationX) || r.ProductID != id(productX) || r.ID == uuid.Nil || textFault(refuse.SagaID, maxSagaID) != "" {
				t.Errorf("refused by %+v %+v", r, r.Command)
			}
		})
	}
}

func TestAllFaultsAreToldAtOnce(t *testing.T) {
	_, err := decodeCommand(consumed(request("quantity", "-1", "expiresAt", `"x"`, "type", `"y"`)), false)
	for _, field := range []string{"quantity is", "expiresAt is", "type is"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v doesn't tell that %s …", err, field)
		}
	}
}

func TestAFaultOfTheQuantityIsToldOnce(t *testing.T) {
	for _, quantity := range []string{"1.5", `"3"`, "0", ""} {
		_, err := decodeCommand(consumed(request("quantity", quantity)), false)
		if err == nil || strings.Count(err.Error(), "quantity is") != 1 {
			t.Errorf("a quantity of %s is told as %v", quantity, err)
		}
	}
}

func TestARefusedMessageIsTheSameCommandEachTime(t *testing.T) {
	first, err := decodeCommand(consumed(request("commandId", "", "quantity", "7")), false)
	second, _ := decodeCommand(consumed(request("commandId", "", "quantity", "7")), false)
	if err == nil || first.ID != second.ID || first.ID != uuid.NewSHA1(CommandNamespace, []byte("saga.request_stock/3/42")) {
		t.Errorf("%v: %s and %s", err, first.ID, second.ID)
	}
	if refuse := first.Command.(product.Refuse); refuse.SagaID != "saga-7" || refuse.Quantity != 7 {
		t.Errorf("the saga would be told %+v", refuse)
	}
	kept, _ := decodeCommand(consumed(request("quantity", "0")), false)
	if kept.ID != id(commandX) {
		t.Errorf("the command id was %s and became %s", commandX, kept.ID)
	}
}

func TestOriginOfAMessage(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	long := strings.Repeat("c", 129)
	for _, c := range []struct {
		name    string
		saga    string
		headers []string
		want    product.Origin
	}{
		{"Header", `"saga-7"`, []string{"correlation-id", "Order:7_a.b-c"}, product.Origin{CorrelationID: "Order:7_a.b-c"}},
		{"SagaWhereTheHeaderIsTooLong", `"saga-7"`, []string{"correlation-id", long}, product.Origin{CorrelationID: "saga-7"}},
		{"SagaWhereTheHeaderIsOdd", `"saga-7"`, []string{"correlation-id", "a b\n"}, product.Origin{CorrelationID: "saga-7"}},
		{"CommandWhereTheSagaDoesNotFit", `"saga 7"`, nil, product.Origin{CorrelationID: commandX}},
		{"CommandWhereThereIsNoSaga", "", nil, product.Origin{CorrelationID: commandX}},
		{"Trace", `"s"`, []string{"traceparent", parent}, product.Origin{CorrelationID: "s", Traceparent: parent}},
		{"TraceInUpperCase", `"s"`, []string{"traceparent", strings.ToUpper(parent)}, product.Origin{CorrelationID: "s"}},
		{"TraceOfZeros", `"s"`, []string{"traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"}, product.Origin{CorrelationID: "s"}},
		{"TraceCutOff", `"s"`, []string{"traceparent", parent[:54]}, product.Origin{CorrelationID: "s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := decodeCommand(consumed(request("sagaId", c.saga), c.headers...), false)
			if err != nil {
				t.Fatal(err)
			}
			if r.From != c.want {
				t.Errorf("got %+v, want %+v", r.From, c.want)
			}
		})
	}
}

func BenchmarkDecodeCommand(b *testing.B) {
	m := consumed(request(), "correlation-id", "order-7", "ce_id", commandX, "ce_source", "/orders", "traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeCommand(m, false); err != nil {
			b.Fatal(err)
		}
	}
}
