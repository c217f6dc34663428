package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"product-service/command"
	"product-service/eventstore"
	"product-service/integration/inventory"
	"product-service/projection/read"
	"product-service/projection/store"
)

// neighbour is the Inventory Service as this program sees it: the client that calls it, and the
// reader of its levels.
type neighbour struct {
	client *inventory.Client
	reader *inventory.Reader
}

// inventory builds the client and the reader, and has the lifecycle close them.
func (s *server) inventory(life *lifecycle, documents *store.Store) (n neighbour, err error) {
	if n.client, err = inventory.NewClient(s.Inventory, s.log, s.metrics); err != nil {
		return n, err
	}
	life.closing("inventory client", func(context.Context) error { n.client.Close(); return nil })
	if n.reader, err = inventory.NewReader(n.client, read.NewLevels(documents), s.metrics); err != nil {
		return n, err
	}
	life.closing("inventory reader", func(context.Context) error { n.reader.Close(); return nil })
	return n, nil
}

// announce sends each inventory event to the webhook, where one is set.
func (s *server) announce(life *lifecycle, events *eventstore.Store, leases *eventstore.Leases) error {
	if s.Inventory.WebhookURL == "" {
		return nil
	}
	webhook, err := inventory.NewWebhook(s.Inventory, s.log, s.metrics)
	if err != nil {
		return err
	}
	life.closing("webhook", func(context.Context) error { webhook.Close(); return nil })
	deliver := func(ctx context.Context, e command.InventoryEvent) error {
		return webhook.Deliver(ctx, inventoryEvent(e))
	}
	life.start("announcer", command.NewAnnouncer(events, leases, events.Committed(), deliver, s.log).Run)
	return nil
}

// events are the functions by which the consumer reads inventory events and applies them to the levels.
func (n neighbour) events() command.Inventory {
	return command.Inventory{
		Decode: func(body []byte, ceType string) (command.InventoryEvent, error) {
			e, err := inventory.ParseEvent(body, ceType)
			return command.InventoryEvent{
				ID: e.ID, VariantID: e.VariantID, Type: string(e.Type), Timestamp: e.At, Available: e.Available,
			}, err
		},
		OnEvent: func(ctx context.Context, e command.InventoryEvent) { n.reader.Apply(ctx, inventoryEvent(e)) },
	}
}

// follow applies the events that any instance wrote into the log to the levels that this instance
// holds in memory. The context gives the calls its values, not its end.
func (n neighbour) follow(ctx context.Context) func(command.InventoryEvent) {
	ctx = context.WithoutCancel(ctx)
	return func(e command.InventoryEvent) { n.reader.ApplyHeld(ctx, inventoryEvent(e)) }
}

func inventoryEvent(e command.InventoryEvent) inventory.Event {
	return inventory.Event{
		ID: e.ID, VariantID: e.VariantID, Type: inventory.EventType(e.Type), At: e.Timestamp, Available: e.Available,
	}
}

// absent asks the Inventory Service which variants it has no record of. A variant without an answer
// is an error, so that no audit passes over it in silence.
func absent(levels *inventory.Reader) func(context.Context, []uuid.UUID) ([]uuid.UUID, error) {
	return func(ctx context.Context, variants []uuid.UUID) (missing []uuid.UUID, err error) {
		for i, result := range levels.Levels(ctx, variants, time.Nanosecond) {
			switch result.Outcome {
			case inventory.Absent:
				missing = append(missing, variants[i])
			case inventory.Unavailable:
				return nil, fmt.Errorf("ask the Inventory Service for variant %s: %w", variants[i], result.Err)
			case inventory.Known:
			}
		}
		return missing, nil
	}
}

// records is the queue of inventory records to create, which the initializer works off: the
// variants table of the event store.
type records struct {
	events  *eventstore.Store
	service *command.Service
}

// Due implements inventory.Queue.
func (q records) Due(ctx context.Context, limit int, lease time.Duration) ([]inventory.Job, error) {
	variants, err := q.events.DueVariants(ctx, limit, lease)
	if err != nil {
		return nil, err
	}
	jobs := make([]inventory.Job, len(variants))
	for i, v := range variants {
		jobs[i] = inventory.Job{
			Record: inventory.Record{
				VariantID: v.VariantID, InitialQuantity: v.InitialQuantity, LowStockThreshold: v.LowStockThreshold,
			},
			Tries: int(v.Attempts), CorrelationID: v.CorrelationID, Traceparent: v.Traceparent,
		}
	}
	return jobs, nil
}

// Backlog implements inventory.Queue.
func (q records) Backlog(ctx context.Context) (inventory.Backlog, error) {
	b, err := q.events.VariantBacklog(ctx)
	return inventory.Backlog{Depth: int(b.Pending), Oldest: b.Oldest, Next: b.Next}, err
}

// Done implements inventory.Queue: the variant becomes orderable by a fact in the log.
func (q records) Done(ctx context.Context, id uuid.UUID) error {
	variants, err := q.events.VariantsByID(ctx, []uuid.UUID{id})
	if err != nil || len(variants) == 0 {
		return err // or it was discarded meanwhile
	}
	return q.service.Confirm(ctx, variants[0])
}

// Failed implements inventory.Queue.
func (q records) Failed(ctx context.Context, f inventory.Failure) error {
	return q.events.PostponeVariant(ctx, f.VariantID, max(0, time.Until(f.Next)), f.Stopped, f.Reason)
}

// GiveBack implements inventory.Queue.
func (q records) GiveBack(ctx context.Context, id uuid.UUID) error {
	return q.events.GiveBackVariant(ctx, id)
}
