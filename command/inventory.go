package command

import (
	"context"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

// InventoryEvent is what the Inventory Service says about a variant.
type InventoryEvent struct {
	ID        uuid.UUID
	VariantID uuid.UUID
	Type      string // as the Inventory Service names it
	Timestamp time.Time
	Available *int64 // nil where it doesn't say
}

// Inventory is what the rest of the service makes of inventory events.
type Inventory struct {
	// Decode reads an event; ceType is the header ce_type, for bodies without a type. An error says
	// what is wrong in words for a person.
	Decode func(body []byte, ceType string) (InventoryEvent, error)

	// OnEvent gets each event about a known variant after it was committed to the log: once in the
	// whole group, again after a crash, in order per partition. It may take its time: no command
	// waits for it.
	OnEvent func(context.Context, InventoryEvent)
}

// VariantFinder finds the products of variants; eventstore.Store does.
type VariantFinder interface {
	VariantsByID(ctx context.Context, ids []uuid.UUID) ([]eventstore.Variant, error)
}

type variantID = uuid.UUID

// home is a variant's product, as read at a time: a variant that was taken back may be given to
// another product.
type home struct {
	product uuid.UUID
	at      time.Time
}

const (
	cachedVariants = 1 << 16
	cachedFor      = time.Minute
	notedQueued    = 10_000
)

// notedEvent is an event that is committed, on its way to OnEvent.
type notedEvent struct {
	event  InventoryEvent
	settle func()
}

func (c *Consumer) takeInventoryEvent(ctx context.Context, m *sarama.ConsumerMessage, settle func()) error {
	e, err := c.readInventoryEvent(m)
	if err != nil {
		c.bury(m, ReasonUnreadable, err.Error(), settle)
		return nil
	}
	productID, known, err := c.homeOf(ctx, e.VariantID)
	if err != nil {
		return err
	}
	if !known {
		c.metrics.unknown.Inc()
		settle()
		return nil
	}
	if err := c.noted.admit(ctx); err != nil {
		return err
	}
	r := &Request{ID: e.ID, ProductID: productID, From: originOf(m, "", e.ID), Command: product.NoteInventoryChange{
		VariantID: e.VariantID, Type: e.Type, Timestamp: e.Timestamp, AvailableQuantity: e.Available}}
	return c.submit(ctx, m, r, func(a Answer) {
		if a.Refusal == conflicting {
			c.bury(m, ReasonConflict, fmt.Sprintf("eventId %s came before with another content; nothing was changed by this one", e.ID), settle)
			return
		}
		c.noted.put(notedEvent{e, settle})
	}, settle)
}

func (c *Consumer) readInventoryEvent(m *sarama.ConsumerMessage) (InventoryEvent, error) {
	if len(m.Value) > maxBody {
		return InventoryEvent{}, fmt.Errorf("the body has %d bytes; it may have %d", len(m.Value), maxBody)
	}
	e, err := c.inventory.Decode(m.Value, header(m, "ce_type"))
	if err == nil && e.ID == uuid.Nil {
		var ok bool
		if e.ID, ok = cloudEventID(m); !ok {
			err = fmt.Errorf("eventId is missing, and so are the headers that could stand for it; it must be a UUID, or ce_id must be one")
		}
	}
	return e, err
}

// homeOf asks until it is answered or the context ends.
func (c *Consumer) homeOf(ctx context.Context, variant uuid.UUID) (productID uuid.UUID, known bool, err error) {
	if h, ok := c.homes.Get(variant); ok && c.now().Sub(h.at) < cachedFor {
		return h.product, true, nil
	}
	for attempt := 0; ; attempt++ {
		found, err := c.variants.VariantsByID(ctx, []uuid.UUID{variant})
		if err == nil {
			if len(found) == 0 {
				return uuid.Nil, false, nil
			}
			c.homes.Add(variant, home{found[0].ProductID, c.now()})
			return found[0].ProductID, true, nil
		}
		if ctx.Err() != nil {
			return uuid.Nil, false, context.Cause(ctx)
		}
		c.log.WarnContext(ctx, "the product of a variant can't be looked up; inventory events wait", "attempt", attempt, "error", err)
		pause(ctx, attempt)
	}
}

// passOn calls OnEvent until the context ends.
func (c *Consumer) passOn(ctx context.Context) {
	for {
		events := c.noted.take(ctx, 1)
		if events == nil {
			return
		}
		c.inventory.OnEvent(ctx, events[0].event)
		c.noted.done(1)
		if ctx.Err() == nil { // else it may not have come to its end
			events[0].settle()
		}
	}
}
