// Package command takes commands in, from Kafka and from people, decides them, and sends their
// outcomes out.
//
// Everything that changes a product goes one way: a [Request] is handed to the [Writer], which
// gathers requests into batches and decides each batch in one transaction of the event store. What
// came of it leaves by the [Relay], which reads the log.
package command

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"product-service/product"
)

// Request is one command on its way to its decision.
type Request struct {
	ID        uuid.UUID // of the command; uuid.Nil for one that need not be remembered, because deciding it twice is harmless
	ProductID uuid.UUID
	Command   product.Command
	From      product.Origin
	AgeFrom   time.Time // of a message: the id is remembered for a retention from then on, if that is later than now

	// Settle is told what came of it, once, after it is durable. It must not block.
	Settle func(Answer)

	fingerprint int64
}

// Answer is what came of a request.
type Answer struct {
	Version  int64            // of the product's stream after it; 0 where the command didn't touch the stream
	Refusal  *product.Refusal // why a command of people was refused
	Repeated bool             // the id was known: this is the answer to the command that it came with first
	Err      error            // why it could not be decided: the command itself is at fault, and trying again doesn't help
}

// fingerprint tells whether two commands with one id have the same content. It is stored, so what
// goes into it for the commands of sagas never changes.
func fingerprint(productID uuid.UUID, c product.Command) (int64, error) {
	text := make([]byte, 0, 256)
	switch create := c.(type) { // how this service is configured isn't content
	case product.Create:
		create.Unconfirmed = false
		c = create
	case product.AddVariant:
		create.Unconfirmed = false
		c = create
	}
	switch c := c.(type) {
	case product.Reserve:
		text = appendIDs(text, "reserve ", productID, c.ReservationID)
		text = append(strconv.AppendQuote(text, c.SagaID), ' ')
		text = append(strconv.AppendInt(text, c.Quantity, 10), ' ')
		if !c.ExpiresAt.IsZero() {
			text = c.ExpiresAt.UTC().AppendFormat(text, time.RFC3339Nano)
		}
	case product.Release:
		text = appendIDs(text, "release ", productID, c.ReservationID)
		text = append(strconv.AppendQuote(text, c.SagaID), ' ')
		text = append(strconv.AppendInt(text, c.Quantity, 10), ' ')
		text = strconv.AppendQuote(text, c.Reason)
	default:
		content, err := json.Marshal(c)
		if err != nil {
			return 0, fmt.Errorf("fingerprint a command: %w", err)
		}
		text = append(fmt.Appendf(text, "%T %s ", c, productID), content...)
	}
	sum := sha256.Sum256(text)
	return int64(binary.BigEndian.Uint64(sum[:8])), nil
}

func appendIDs(text []byte, before string, a, b uuid.UUID) []byte {
	text = append(append(append(text, before...), a.String()...), ' ')
	return append(append(text, b.String()...), ' ')
}
