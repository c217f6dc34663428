package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/IBM/sarama"
	"github.com/google/uuid"

	"product-service/correlation"
	"product-service/product"
)

// The limits of a message.
const (
	maxBody   = 64 << 10 // bytes
	maxSagaID = 200      // characters
)

// CommandNamespace is the namespace of the UUIDv5 that identifies a command without a commandId: of its ce_source, a NUL, and its ce_id.
var CommandNamespace = uuid.MustParse("3f1d2c4e-8a57-5b90-9c36-0d5f7e1b6a42")

// fault says that a message can't be read as a command, and why.
type fault struct {
	reason  string // of the dead letter
	message string
}

// Error implements error.
func (f *fault) Error() string { return f.message }

// body has the fields of both commands, as a request is read. Fields it doesn't know are ignored; null is as good as absent.
type body struct {
	CommandID     *string `json:"commandId"`
	Type          *string `json:"type"`
	ProductID     string  `json:"productId"`
	ReservationID string  `json:"reservationId"`
	SagaID        string  `json:"sagaId"`
	Quantity      *int64  `json:"quantity"`
	ExpiresAt     *string `json:"expiresAt"` // of a request
	Reason        string  `json:"-"`         // of a release
}

// releaseBody is a body as a release is read: what isn't a field of the command can't be a fault of it.
type releaseBody struct {
	CommandID     *string `json:"commandId"`
	Type          *string `json:"type"`
	ProductID     string  `json:"productId"`
	ReservationID string  `json:"reservationId"`
	SagaID        string  `json:"sagaId"`
	Quantity      *int64  `json:"quantity"`
	ExpiresAt     *string `json:"-"`
	Reason        string  `json:"reason"`
}

// take sets a member of a simple body of either command; it refuses what encoding/json shall judge.
func (b *body) take(name, value string, quoted bool) bool {
	if !quoted {
		n, ok := product.Integer(value)
		b.Quantity = &n
		return ok && name == "quantity"
	}
	switch name {
	case "commandId":
		b.CommandID = &value
	case "type":
		b.Type = &value
	case "productId":
		b.ProductID = value
	case "reservationId":
		b.ReservationID = value
	case "sagaId":
		b.SagaID = value
	case "expiresAt":
		b.ExpiresAt = &value
	case "reason":
		b.Reason = value
	default:
		return false
	}
	return true
}

// decoder reads one message, and keeps every fault it finds: a producer shall be told all of them at once.
type decoder struct {
	message *sarama.ConsumerMessage
	release bool
	body    body
	faults  []string

	productID, reservationID uuid.UUID
}

// decodeCommand turns a message of a command topic into a request without a Settle. The error is a *fault. A request for stock that
// is faulty but names a product and a reservation comes with both: the fault, and the Refuse that answers its saga.
func decodeCommand(m *sarama.ConsumerMessage, release bool) (*Request, error) {
	d := decoder{message: m, release: release}
	if err := d.parse(); err != nil {
		return nil, err
	}
	d.productID = d.id("productId", d.body.ProductID)
	d.reservationID = d.id("reservationId", d.body.ReservationID)
	r := &Request{ID: d.identity(), ProductID: d.productID, Command: d.command()}
	if len(d.faults) == 0 {
		r.From = originOf(m, d.body.SagaID, r.ID)
		return r, nil
	}
	f := &fault{reason: ReasonInvalidCommand, message: strings.Join(d.faults, "; ")}
	switch {
	case d.productID == uuid.Nil || d.reservationID == uuid.Nil:
		f.reason = ReasonUnreadable
		return nil, f
	case release:
		return nil, f // a release is never answered
	}
	if r.ID == uuid.Nil {
		r.ID = placeID(m)
	}
	refuse := product.Refuse{ReservationID: d.reservationID, Quantity: d.validQuantity()}
	if textFault(d.body.SagaID, maxSagaID) == "" {
		refuse.SagaID = d.body.SagaID
	}
	r.Command, r.From = refuse, originOf(m, refuse.SagaID, r.ID)
	return r, f
}

func (d *decoder) fault(format string, args ...any) {
	d.faults = append(d.faults, fmt.Sprintf(format, args...))
}

// parse fails where the body is no JSON object. A field of a wrong type is a fault like others: the remaining fields are read.
func (d *decoder) parse() error {
	value := bytes.TrimLeft(d.message.Value, " \t\r\n")
	if len(value) == 0 || value[0] != '{' {
		return &fault{ReasonUnreadable, "the body is no JSON object; it must be one with productId and reservationId"}
	}
	var err error
	if !product.Members(string(value), d.body.take) { // most messages are as simple as that, and read in a fifth of the time
		d.body = body{}
		if d.release {
			err = json.Unmarshal(value, (*releaseBody)(&d.body))
		} else {
			err = json.Unmarshal(value, &d.body)
		}
	}
	if wrongType := new(json.UnmarshalTypeError); errors.As(err, &wrongType) {
		d.fault("%s is a JSON %s; it must be %s", wrongType.Field, wrongType.Value, allowed(wrongType.Field))
	} else if err != nil {
		return &fault{ReasonUnreadable, fmt.Sprintf("the body is not valid JSON (%v); it must be a JSON object with productId and reservationId", err)}
	}
	if len(d.message.Value) > maxBody {
		d.fault("the body has %d bytes; it may have %d", len(d.message.Value), maxBody)
	}
	if !utf8.Valid(value) {
		d.fault("the body is not valid UTF-8, as JSON must be (RFC 8259, section 8.1)")
	}
	return nil
}

func allowed(field string) string {
	if field == "quantity" {
		return fmt.Sprintf("an integer from 1 to %d", int64(product.MaxStock))
	}
	return "a string"
}

// id reads a UUID in its canonical form, in either case.
func (d *decoder) id(field, text string) uuid.UUID {
	id, ok := parseUUID(text)
	switch {
	case text == "":
		d.fault("%s is missing; it must be a UUID", field)
	case !ok:
		d.fault("%s is %s; it must be a UUID other than the nil UUID", field, quote(text))
	}
	return id
}

func parseUUID(text string) (uuid.UUID, bool) {
	if len(text) != 36 {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, false
	}
	return id, id != uuid.Nil
}

// identity is what tells the command from others: the commandId, or what CloudEvents identifies the message by.
func (d *decoder) identity() uuid.UUID {
	if d.body.CommandID != nil {
		return d.id("commandId", *d.body.CommandID)
	}
	id, ok := cloudEventID(d.message)
	if !ok {
		d.fault("commandId is missing, and so are the headers that could stand for it; it must be a UUID, or ce_id must be one, or ce_source and ce_id must both be set")
	}
	return id
}

func cloudEventID(m *sarama.ConsumerMessage) (uuid.UUID, bool) {
	ceID := header(m, "ce_id")
	if id, ok := parseUUID(ceID); ok {
		return id, true
	}
	source := header(m, "ce_source")
	if ceID == "" || source == "" {
		return uuid.Nil, false
	}
	return uuid.NewSHA1(CommandNamespace, []byte(source+"\x00"+ceID)), true
}

// placeID identifies a message by where it stands, so that it is the same command each time it is delivered.
func placeID(m *sarama.ConsumerMessage) uuid.UUID {
	return uuid.NewSHA1(CommandNamespace, fmt.Appendf(nil, "%s/%d/%d", m.Topic, m.Partition, m.Offset))
}

func (d *decoder) command() product.Command {
	b := d.body
	if b.SagaID != "" {
		d.text("sagaId", b.SagaID, maxSagaID)
	}
	if d.release {
		d.typed("ReleaseProduct")
		d.quantity(false)
		return product.Release{ReservationID: d.reservationID, SagaID: b.SagaID, Quantity: d.validQuantity(), Reason: words(b.Reason, product.MaxReason)}
	}
	d.typed("ReserveProduct")
	d.quantity(true)
	return product.Reserve{ReservationID: d.reservationID, SagaID: b.SagaID, Quantity: d.validQuantity(), ExpiresAt: d.expiry()}
}

func (d *decoder) typed(name string) {
	if t := d.body.Type; t != nil && *t != name {
		d.fault("type is %s; on this topic it must be %q or absent", quote(*t), name)
	}
}

func (d *decoder) text(field, text string, most int) {
	if what := textFault(text, most); what != "" {
		d.fault("%s %s", field, what)
	}
}

// textFault says what is wrong with a text. U+FFFD is what the JSON decoder makes of bytes and escapes that are no text.
func textFault(text string, most int) string {
	switch n := utf8.RuneCountInString(text); {
	case n > most:
		return fmt.Sprintf("has %d characters; it may have %d", n, most)
	case strings.ContainsRune(text, utf8.RuneError):
		return "is not valid UTF-8; it must be"
	case strings.ContainsRune(text, 0):
		return "has a NUL character; it must not"
	}
	return ""
}

// words makes a text that is for people storable: it is cut rather than refused, and what is no text in it is replaced. An id is neither,
// since two that are cut can become one.
func words(text string, most int) string {
	text = strings.ReplaceAll(text, "\x00", "\uFFFD")
	if len(text) <= most {
		return text
	}
	for i := range text { // where each character begins
		if most--; most < 0 {
			return text[:i]
		}
	}
	return text
}

func (d *decoder) quantity(required bool) {
	switch q := d.body.Quantity; {
	case d.faulted("quantity"): // told already
	case q == nil && required:
		d.fault("quantity is missing; it must be %s", allowed("quantity"))
	case q != nil && (*q < 1 || *q > product.MaxStock):
		d.fault("quantity is %d; it must be %s", *q, allowed("quantity"))
	}
}

// faulted says whether the field was found to be of a wrong type, and so was left out.
func (d *decoder) faulted(field string) bool {
	for _, f := range d.faults {
		if strings.HasPrefix(f, field+" ") {
			return true
		}
	}
	return false
}

// validQuantity is the quantity, or 0 where the message has none that counts.
func (d *decoder) validQuantity() int64 {
	if q := d.body.Quantity; q != nil && *q >= 1 && *q <= product.MaxStock {
		return *q
	}
	return 0
}

// expiry is the time in expiresAt, in the database's resolution; zero where there is none.
func (d *decoder) expiry() time.Time {
	if d.body.ExpiresAt == nil {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, *d.body.ExpiresAt)
	at = at.UTC().Truncate(time.Microsecond)
	if err != nil || at.Year() > 9999 { // which a zone can make of the last day of 9999
		d.fault("expiresAt is %s; it must be a time as in RFC 3339, such as 2026-01-31T12:00:00Z", quote(*d.body.ExpiresAt))
	}
	if at.Before(time.Unix(0, 0)) {
		return time.Unix(0, 0).UTC() // long past, but not the zero time, which would be never
	}
	return at
}

// quote shows a text of a message, cut to what a person reads.
func quote(text string) string {
	const most = 80
	if len(text) > most {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(text[:most], ""))
	}
	return fmt.Sprintf("%q", text)
}

// originOf is what a message says about where it comes from. Its correlation is its header's, else its saga's, else its own.
func originOf(m *sarama.ConsumerMessage, sagaID string, id uuid.UUID) product.Origin {
	from := product.Origin{CorrelationID: header(m, "correlation-id")}
	if !correlation.Valid(from.CorrelationID) {
		from.CorrelationID = sagaID
	}
	if !correlation.Valid(from.CorrelationID) {
		from.CorrelationID = id.String()
	}
	from.Traceparent = correlation.Traceparent(header(m, "traceparent"))
	return from
}

// header returns the value of the first header of that name.
func header(m *sarama.ConsumerMessage, name string) string {
	for _, h := range m.Headers {
		if string(h.Key) == name {
			return string(h.Value)
		}
	}
	return ""
}
