package command

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/IBM/sarama"
	"github.com/google/uuid"

	"product-service/correlation"
	"product-service/ijson"
	"product-service/product"
)

// The limits of a message.
const (
	maxBody   = 64 << 10 // bytes
	maxSagaID = 200      // characters
)

// CommandNamespace is the namespace of the UUIDv5 that identifies a command without a commandId: of
// its ce_source, a NUL, and its ce_id.
var CommandNamespace = uuid.MustParse("3f1d2c4e-8a57-5b90-9c36-0d5f7e1b6a42")

// fault says that a message can't be read as a command, and why.
type fault struct {
	reason  string // of the dead letter
	message string
}

// Error implements error.
func (f *fault) Error() string { return f.message }

// body has the fields of both commands. Other fields are ignored, and so are those of the other command.
type body struct {
	CommandID     ijson.String  `json:"commandId"`
	Type          ijson.String  `json:"type"`
	ProductID     ijson.String  `json:"productId"`
	ReservationID ijson.String  `json:"reservationId"`
	SagaID        ijson.String  `json:"sagaId"`
	Quantity      ijson.Integer `json:"quantity"`
	ExpiresAt     ijson.String  `json:"expiresAt"` // of a request
	Reason        ijson.String  `json:"reason"`    // of a release
}

// Take implements [ijson.Taker].
func (b *body) Take(name string, m ijson.Member) bool {
	switch name {
	case "commandId":
		return m.String(&b.CommandID)
	case "type":
		return m.String(&b.Type)
	case "productId":
		return m.String(&b.ProductID)
	case "reservationId":
		return m.String(&b.ReservationID)
	case "sagaId":
		return m.String(&b.SagaID)
	case "quantity":
		return m.Integer(&b.Quantity)
	case "expiresAt":
		return m.String(&b.ExpiresAt)
	case "reason":
		return m.String(&b.Reason)
	}
	return false
}

// decoder reads one message, and keeps every fault it finds: a producer shall be told all of them at once.
type decoder struct {
	message *sarama.ConsumerMessage
	release bool
	body    body
	faults  []string

	salvaged                 bool // the body's text is at fault, and what it says was made out as far as it could be
	productID, reservationID uuid.UUID
}

// decodeCommand turns a message of a command topic into a request without a Settle. The error is a
// *fault. A request for stock that is faulty but names a product and a reservation comes with both:
// the fault, and the Refuse that answers its saga.
func decodeCommand(m *sarama.ConsumerMessage, release bool) (*Request, error) {
	d := decoder{message: m, release: release}
	if err := d.parse(); err != nil {
		return nil, err
	}
	d.productID = d.id("productId", d.body.ProductID)
	d.reservationID = d.id("reservationId", d.body.ReservationID)
	r := &Request{ID: d.identity(), ProductID: d.productID, Command: d.command()}
	if len(d.faults) == 0 {
		r.From = originOf(m, d.body.SagaID.Text, r.ID)
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
	if saga := d.body.SagaID.Text; textFault(saga, maxSagaID) == "" && !(d.salvaged && strings.ContainsRune(saga, utf8.RuneError)) {
		refuse.SagaID = saga
	}
	r.Command, r.From = refuse, originOf(m, refuse.SagaID, r.ID)
	return r, f
}

func (d *decoder) fault(format string, args ...any) {
	d.faults = append(d.faults, fmt.Sprintf(format, args...))
}

// parse fails where the body is no JSON object. One whose text is at fault is looked through for
// whom to tell.
func (d *decoder) parse() error {
	if err := ijson.Unmarshal(d.message.Value, &d.body); err != nil {
		d.body, d.salvaged = body{}, true
		if !ijson.Salvage(d.message.Value, &d.body) {
			return &fault{ReasonUnreadable, fmt.Sprintf("the body can't be read: %v; it must be a JSON object with productId and reservationId", err)}
		}
		d.fault("the body can't be read: %v", err)
	}
	if len(d.message.Value) > maxBody {
		d.fault("the body has %d bytes; it may have %d", len(d.message.Value), maxBody)
	}
	return nil
}

// text is what a member says that is to be a string, or "".
func (d *decoder) text(field string, member ijson.String) string {
	if member.Wrong != "" {
		d.fault("%s is %s; it must be a string", field, member.Wrong)
	}
	return member.Text
}

// id reads a UUID in its canonical form, in either case.
func (d *decoder) id(field string, member ijson.String) uuid.UUID {
	text := d.text(field, member)
	id, ok := parseUUID(text)
	switch {
	case ok, member.Wrong != "":
	case text == "":
		d.fault("%s is missing; it must be a UUID", field)
	default:
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

// identity is what tells the command from others: the commandId, or what CloudEvents identifies the
// message by.
func (d *decoder) identity() uuid.UUID {
	if d.body.CommandID.Given {
		return d.id("commandId", d.body.CommandID)
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

// placeID identifies a message by where it stands, so that it is the same command each time it is
// delivered.
func placeID(m *sarama.ConsumerMessage) uuid.UUID {
	return uuid.NewSHA1(CommandNamespace, fmt.Appendf(nil, "%s/%d/%d", m.Topic, m.Partition, m.Offset))
}

func (d *decoder) command() product.Command {
	d.typed()
	saga := d.text("sagaId", d.body.SagaID)
	if what := textFault(saga, maxSagaID); what != "" {
		d.fault("sagaId %s", what)
	}
	d.quantity()
	if d.release {
		reason := words(d.text("reason", d.body.Reason), product.MaxReason)
		return product.Release{ReservationID: d.reservationID, SagaID: saga, Quantity: d.validQuantity(), Reason: reason}
	}
	return product.Reserve{ReservationID: d.reservationID, SagaID: saga, Quantity: d.validQuantity(), ExpiresAt: d.expiry()}
}

func (d *decoder) typed() {
	want := "ReserveProduct"
	if d.release {
		want = "ReleaseProduct"
	}
	t := d.text("type", d.body.Type)
	if member := d.body.Type; member.Given && member.Wrong == "" && t != want {
		d.fault("type is %s; on this topic it must be %q or absent", quote(t), want)
	}
}

// textFault says what is wrong with a text.
func textFault(text string, most int) string {
	switch n := utf8.RuneCountInString(text); {
	case n > most:
		return fmt.Sprintf("has %d characters; it may have %d", n, most)
	case strings.ContainsRune(text, 0):
		return "has a NUL character; it must not"
	}
	return ""
}

// words makes a text that is for people storable: it is cut rather than refused, and what is no
// text in it is replaced. An id is neither, since two that are cut can become one.
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

// quantity checks the quantity, which a request must have.
func (d *decoder) quantity() {
	allowed := fmt.Sprintf("it must be an integer from 1 to %d", int64(product.MaxStock))
	switch q := d.body.Quantity; {
	case q.Wrong != "":
		d.fault("quantity is %s; %s", q.Wrong, allowed)
	case !q.Given && !d.release:
		d.fault("quantity is missing; %s", allowed)
	case q.Given && d.validQuantity() == 0:
		d.fault("quantity is %d; %s", q.Value, allowed)
	}
}

// validQuantity is the quantity, or 0 where the message has none that counts.
func (d *decoder) validQuantity() int64 {
	if q := d.body.Quantity.Value; q >= 1 && q <= product.MaxStock {
		return q
	}
	return 0
}

// expiry is the time in expiresAt, in the database's resolution; zero where there is none.
func (d *decoder) expiry() time.Time {
	text := d.text("expiresAt", d.body.ExpiresAt)
	if member := d.body.ExpiresAt; !member.Given || member.Wrong != "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, text)
	at = at.UTC().Truncate(time.Microsecond)
	if err != nil || at.Year() > 9999 { // which a zone can make of the last day of 9999
		d.fault("expiresAt is %s; it must be a time as in RFC 3339, such as 2026-01-31T12:00:00Z", quote(text))
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

// originOf is what a message says about where it comes from. Its correlation is its header's, else
// its saga's, else its own.
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
