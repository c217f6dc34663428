package inventory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"product-service/correlation"
	"product-service/ijson"
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

// ParseEvent reads an event. headerType is the type that the message's headers name (ce_type), or ""; it
// counts where the body has no type. All faults of the body are named at once, wrapped in ErrEvent.
func ParseEvent(body []byte, headerType string) (Event, error) {
	var raw struct {
		ID        ijson.String  `json:"eventId"`
		Type      ijson.String  `json:"type"`
		At        ijson.String  `json:"timestamp"`
		VariantID ijson.String  `json:"productVariantId"`
		Available ijson.Integer `json:"availableQuantity"`
	}
	if err := ijson.Unmarshal(body, &raw); err != nil {
		return Event{}, fmt.Errorf("%w: not the JSON of one event: %w; it must be an object with eventId and productVariantId (UUIDs), type, "+
			"timestamp (an ISO 8601 time with its offset) and, where it is known, availableQuantity (a whole number)", ErrEvent, err)
	}
	var faults []error
	fault := func(name string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%s %w", name, err))
		}
	}
	var e Event
	var err error
	e.ID, err = idOf(raw.ID)
	fault("eventId", err)
	e.VariantID, err = idOf(raw.VariantID)
	fault("productVariantId", err)
	e.At, err = timeOf(raw.At)
	fault("timestamp", err)
	e.Type, err = eventType(raw.Type, headerType)
	fault("type", err)
	if raw.Available.Given {
		n, err := quantityOf(raw.Available)
		if e.Available = &n; err == nil && e.Type == OutOfStockEvent && n > 0 {
			err = fmt.Errorf("is %d in an event that says out of stock: allowed is 0, or none", n)
		}
		fault("availableQuantity", err)
	}
	if len(faults) > 0 {
		return Event{}, fmt.Errorf("%w: %w", ErrEvent, errors.Join(faults...))
	}
	return e, nil
}

func eventType(inBody ijson.String, inHeader string) (EventType, error) {
	named := inBody.Text
	if !inBody.Given || (inBody.Wrong == "" && named == "") {
		named = inHeader
	}
	switch t := EventType(named); t {
	case OutOfStockEvent, LowStockEvent, BackInStockEvent:
		return t, nil
	}
	if inBody.Wrong != "" {
		named = inBody.Wrong
	}
	return "", fmt.Errorf("is %.60q: allowed, in the body or as header ce_type, are %s, %s and %s", named, OutOfStockEvent, LowStockEvent, BackInStockEvent)
}

// Level is the level that the event states, and whether it states one: only out-of-stock means 0, another
// event without a quantity (or back-in-stock with none left) says no more than "ask again".
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

// Apply takes an event about one of our variants into what is known and makes it durable: newer
// timestamps win, whatever their source. An event that states no level makes the held level be asked for
// again; if the variant is watched that happens in the background, as soon as the service answers. Applying
// an event twice changes nothing.
func (r *Reader) Apply(ctx context.Context, e Event) { r.apply(ctx, e, true) }

// ApplyHeld takes an event as Apply does, but only into levels that this instance holds or watches, and
// makes nothing durable. It is for the events that another instance applies.
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
	at, after, _ := r.learn(e.VariantID, durable || r.watchers.wanted(e.VariantID), func(cur *entry) *entry { return mergeEvent(cur, level) })
	switch {
	case at == nil:
		outcome = "nothing_held"
	case !after.known || !after.level.sameStock(level):
		outcome = "older"
	case durable:
		r.save(at, after.level, true) // even where this instance held it already
	}
	r.metrics.events.WithLabelValues(outcome).Inc()
}

// askAgain notes that a level has changed to an unknown value, and has it asked for again.
func (r *Reader) askAgain(ctx context.Context, e Event, now time.Time) {
	_, before, after := r.store.change(e.VariantID, false, func(cur *entry) *entry { return mergeChanged(cur, e.At, now) })
	switch {
	case after == nil:
		r.metrics.events.WithLabelValues("nothing_held").Inc()
	case after == before:
		r.metrics.events.WithLabelValues("older").Inc()
		return
	default:
		r.metrics.events.WithLabelValues("ask_again").Inc()
	}
	if r.watchers.wanted(e.VariantID) {
		r.refreshes.add(ctx, true, e.VariantID)
	}
}
