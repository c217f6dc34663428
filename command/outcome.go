package command

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

// The CloudEvents attributes of outcomes (binary mode of the Kafka protocol binding, CloudEvents 1.0.2).
const (
	outcomeSource = "/product-service"
	typeReserved  = "ProductReserved"
	typeFailed    = "ProductReservationFailed"
)

// outcome is what a saga is told.
type outcome struct {
	reserved      bool
	reservationID uuid.UUID
	sagaID        string
	quantity      int64
	stockTotal    int64 // of a success
	inUse         int64
	version       int64
	reason        product.Reason // of a failure
	available     int64
	fingerprint   string
	from          product.Origin
}

// outcomeTypes are the types of records that are outcomes by themselves.
var outcomeTypes = map[string]bool{
	product.TypeOf(product.Reserved{}):             true,
	product.TypeOf(product.ReservationRenewed{}):   true,
	product.TypeOf(product.ReservationConfirmed{}): true,
	product.TypeOf(product.ReservationFailed{}):    true,
}

var resentType = product.TypeOf(product.OutcomeResent{})

// outcomeOf reads a record that is an outcome; ok is false for the others.
func outcomeOf(r eventstore.Record) (o outcome, ok bool, err error) {
	if !outcomeTypes[r.Type] {
		return outcome{}, false, nil
	}
	event, err := product.Decode(r.Type, r.Data)
	if err != nil {
		return outcome{}, false, err
	}
	switch e := event.(type) {
	case product.Reserved:
		return outcome{reserved: true, reservationID: e.ReservationID, sagaID: e.SagaID, quantity: e.Quantity, stockTotal: e.StockTotal,
			inUse: e.Reserved, version: r.Version, from: e.From()}, true, nil
	case product.ReservationRenewed:
		return outcome{reserved: true, reservationID: e.ReservationID, sagaID: e.SagaID, quantity: e.Quantity, stockTotal: e.StockTotal,
			inUse: e.Reserved, version: r.Version, from: e.From()}, true, nil
	case product.ReservationConfirmed:
		return outcome{reserved: true, reservationID: e.ReservationID, sagaID: e.SagaID, quantity: e.Quantity, stockTotal: e.StockTotal,
			inUse: e.Reserved, version: e.StreamVersion, from: e.From()}, true, nil
	case product.ReservationFailed:
		return outcome{reservationID: e.ReservationID, sagaID: e.SagaID, quantity: e.Quantity, reason: e.Reason, available: e.Available,
			fingerprint: e.Fingerprint, from: e.From()}, true, nil
	}
	return outcome{}, false, fmt.Errorf("%s is not an outcome", r.Type)
}

// eventID is derived from the command, so it is the same each time the outcome is sent. A command
// whose id was spent on another content has a name of its own beside the recorded outcome.
func (o outcome) eventID(commandID uuid.UUID) uuid.UUID {
	name := "outcome"
	if o.fingerprint != "" {
		name = o.fingerprint
	}
	return uuid.NewSHA1(commandID, []byte(name))
}

// message is the outcome as it is sent. Its body is written by hand: a relay writes one for each
// command there is.
func (o outcome) message(c Config, r eventstore.Record) *sarama.ProducerMessage {
	name, topic := typeFailed, c.topic(TopicReservationFailed)
	if o.reserved {
		name, topic = typeReserved, c.topic(TopicReserved)
	}
	eventID, productID, commandID := o.eventID(r.CommandID).String(), r.ProductID.String(), r.CommandID.String()
	at := r.At.UTC().Format(time.RFC3339Nano)
	b := make([]byte, 0, 480+len(o.sagaID))
	b = appendText(b, `{"eventId":"`, eventID)
	b = appendText(b, `","type":"`, name)
	b = appendText(b, `","productId":"`, productID)
	b = appendText(b, `","reservationId":"`, o.reservationID.String())
	b = append(b, `","sagaId":`...)
	b = appendSaga(b, o.sagaID)
	b = appendNumber(b, `,"quantity":`, o.quantity)
	if o.reserved {
		b = appendNumber(b, `,"stockTotal":`, o.stockTotal)
		b = appendNumber(b, `,"reserved":`, o.inUse)
		b = appendNumber(b, `,"available":`, o.stockTotal-o.inUse)
		b = appendNumber(b, `,"streamVersion":`, o.version)
		b = append(b, ',')
	} else {
		b = appendText(b, `,"reason":"`, string(o.reason))
		b = appendNumber(b, `","available":`, o.available)
		b = append(b, ',')
	}
	b = appendText(b, `"commandId":"`, commandID)
	b = appendText(b, `","occurredAt":"`, at)
	b = append(b, `"}`...)
	return &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(productID), Value: sarama.ByteEncoder(b),
		Headers: outcomeHeaders(eventID, name, productID, commandID, at, o.from)}
}

var outcomeHeaderKeys = [...][]byte{[]byte("ce_id"), []byte("ce_type"), []byte("ce_source"), []byte("ce_specversion"), []byte("ce_time"),
	[]byte("ce_subject"), []byte("content-type"), []byte("correlation-id"), []byte("causation-id"), []byte("traceparent")}

// outcomeHeaders puts all values into one piece of memory: there are ten of them a message.
func outcomeHeaders(eventID, name, productID, commandID, at string, from product.Origin) []sarama.RecordHeader {
	correlation := from.CorrelationID
	if correlation == "" {
		correlation = commandID
	}
	values := [len(outcomeHeaderKeys)]string{eventID, name, outcomeSource, "1.0", at, productID, "application/json", correlation, commandID, from.Traceparent}
	memory := make([]byte, 0, 256+len(correlation)+len(from.Traceparent))
	headers := make([]sarama.RecordHeader, 0, len(values))
	for i, v := range values {
		if v != "" {
			begin := len(memory)
			memory = append(memory, v...)
			headers = append(headers, sarama.RecordHeader{Key: outcomeHeaderKeys[i], Value: memory[begin:len(memory):len(memory)]})
		}
	}
	return headers
}

func appendText(b []byte, before, text string) []byte { return append(append(b, before...), text...) }

func appendNumber(b []byte, before string, n int64) []byte {
	return strconv.AppendInt(append(b, before...), n, 10)
}

// appendSaga writes the one text that others chose; null where the command named no saga.
func appendSaga(b []byte, sagaID string) []byte {
	if sagaID == "" {
		return append(b, "null"...)
	}
	text, err := json.Marshal(sagaID)
	if err != nil {
		return append(b, "null"...) // a string always marshals
	}
	return append(b, text...)
}
