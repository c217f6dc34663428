package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"product-service/correlation"

	"github.com/google/uuid"
)

// EventType is the name of one of the service's events.
type EventType string

// The events of the Inventory Service.
const (
	OutOfStockEvent  EventType = "InventoryOutOfStockEvent"
	LowStockEvent    EventType = "InventoryLowStockEvent"
	BackInStockEvent EventType = "InventoryBackInStockEvent"
)

// Event is what the Inventory Service says of its own accord about one variant.
type Event struct {
	ID        uuid.UUID `json:"eventId"`
	Type      EventType `json:"type"`
	At        time.Time `json:"timestamp"`
	VariantID uuid.UUID `json:"productVariantId"`
	Available *int64    `json:"availableQuantity,omitempty"` // nil: the event doesn't say
}

// ErrEvent marks a message that is no inventory event; the error says what is wrong and what is allowed.
var ErrEvent = errors.New("unreadable inventory event")

// ParseEvent reads an event. headerType is the type that the message's headers name (ce_type), or ""; it counts where
// the body has no type. All faults of the body are named at once, wrapped in ErrEvent.
func ParseEvent(body []byte, headerType string) (Event, error) {
	var raw struct {
		ID        *uuid.UUID `json:"eventId"`
		Type      EventType  `json:"type"`
		At        *time.Time `json:"timestamp"`
		VariantID *uuid.UUID `json:"productVariantId"`
		Available *int64     `json:"availableQuantity"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return Event{}, fmt.Errorf("%w: not the JSON of one event: %w; it must be an object with eventId and productVariantId (UUIDs), type, "+
			"timestamp (an RFC 3339 time) and, where it is known, availableQuantity (a whole number)", ErrEvent, err)
	}
	if raw.Type == "" {
		raw.Type = EventType(headerType)
	}
	e := Event{ID: idOf(raw.ID), Type: raw.Type, VariantID: idOf(raw.VariantID), Available: raw.Available}
	if raw.At != nil {
		e.At = raw.At.UTC()
	}
	if err := e.check(); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrEvent, err)
	}
	return e, nil
}

func (e Event) check() error {
	var faults []error
	if e.ID == uuid.Nil {
		faults = append(faults, errors.New("eventId is missing: allowed is a UUID"))
	}
	if e.VariantID == uuid.Nil {
		faults = append(faults, errors.New("productVariantId is missing: allowed is a UUID"))
	}
	if e.At.IsZero() {
		faults = append(faults, errors.New("timestamp is missing: allowed is an RFC 3339 time"))
	}
	switch e.Type {
	case OutOfStockEvent, LowStockEvent, BackInStockEvent:
	default:
		faults = append(faults, fmt.Errorf("type is %.60q: allowed, in the body or as header ce_type, are %s, %s and %s",
			string(e.Type), OutOfStockEvent, LowStockEvent, BackInStockEvent))
	}
	if e.Available != nil && *e.Available < 0 {
		faults = append(faults, fmt.Errorf("availableQuantity is %d: allowed is a whole number from 0, or none", *e.Available))
	}
	if e.Type == OutOfStockEvent && e.Available != nil && *e.Available > 0 {
		faults = append(faults, fmt.Errorf("availableQuantity is %d in an event that says out of stock: allowed is 0, or none", *e.Available))
	}
	return errors.Join(faults...)
}

// Level is the level that the event states, and whether it states one: only out-of-stock means 0, another event
// without a quantity (or back-in-stock with none left) says no more than "ask again".
func (e Event) Level(now time.Time) (Level, bool) {
	level := Level{VariantID: e.VariantID, UpdatedAt: e.At, FetchedAt: e.At, Source: FromEvent}
	if now.Before(e.At) {
		level.FetchedAt = now
	}
	switch {
	case e.Type == OutOfStockEvent:
		level.Status = OutOfStock
	case e.Available == nil, e.Type == BackInStockEvent && *e.Available == 0:
		return Level{}, false
	case *e.Available == 0:
		level.Status = OutOfStock
	case e.Type == LowStockEvent:
		level.Available, level.Status = *e.Available, LowStock
	default:
		level.Available, level.Status = *e.Available, InStock
	}
	return level, true
}

// Apply takes an event about one of our variants into what is known and makes it durable: newer timestamps win, whatever
// their source. An event that states no level makes the held one be asked for again: if somebody watches the
// variant, behind and as soon as the service answers. Applying an event twice changes nothing.
func (r *Reader) Apply(ctx context.Context, e Event) { r.apply(ctx, e, true) }

// ApplyHeld takes an event as Apply does, but only into levels that this instance holds or that somebody watches,
// and makes nothing durable. It is for the events that another instance applies.
func (r *Reader) ApplyHeld(ctx context.Context, e Event) { r.apply(ctx, e, false) }

func (r *Reader) apply(ctx context.Context, e Event, durable bool) {
	r.open.RLock()
	defer r.open.RUnlock()
	if r.closed {
		return
	}
	if correlation.ID(ctx) == "" {
		ctx = correlation.WithID(ctx, e.ID.String())
	}
	now := r.now()
	if e.At.After(now.Add(clockSkew)) {
		e.At = now // as for levels
	}
	level, states := e.Level(now)
	if !states {
		r.askAgain(ctx, e, now)
		return
	}
	outcome := "applied"
	switch at, after, _ := r.takeIn(entry{level: level}, time.Time{}, durable || r.watchers.wanted(e.VariantID)); {
	case at == nil:
		outcome = "nothing_held"
	case after.absent || !after.level.sameStock(level):
		outcome = "older"
	case durable:
		r.save(at, after.level, true) // even where this instance held it already
	}
	r.metrics.events.WithLabelValues(outcome).Inc()
}

// askAgain takes in that a level has changed, nobody says to what.
func (r *Reader) askAgain(ctx context.Context, e Event, now time.Time) {
	marked, held := false, false
	r.store.change(e.VariantID, false, func(cur *entry) *entry {
		held = cur != nil
		if !held || !e.At.After(later(cur.since(), cur.changed)) {
			return nil
		}
		next := *cur
		next.changed, next.askSince = e.At, now
		marked = true
		return &next
	})
	switch {
	case marked:
		r.metrics.events.WithLabelValues("ask_again").Inc()
	case held:
		r.metrics.events.WithLabelValues("older").Inc()
		return
	default:
		r.metrics.events.WithLabelValues("nothing_held").Inc()
	}
	if r.watchers.wanted(e.VariantID) {
		r.behind.add(ctx, true, e.VariantID)
	}
}
