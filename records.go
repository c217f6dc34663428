package main

import (
	"context"
	"time"

	"github.com/google/uuid"

	"product-service/command"
	"product-service/eventstore"
	"product-service/integration/inventory"
)

// records is the queue of inventory records to make: the variants table, as the Initializer wants to see it.
type records struct {
	store   *eventstore.Store
	service *command.Service
}

// Due implements inventory.Queue.
func (q records) Due(ctx context.Context, limit int, lease time.Duration) ([]inventory.Job, error) {
	variants, err := q.store.DueVariants(ctx, limit, lease)
	if err != nil {
		return nil, err
	}
	jobs := make([]inventory.Job, len(variants))
	for i, v := range variants {
		jobs[i] = inventory.Job{
			Record: inventory.Record{VariantID: v.VariantID, InitialQuantity: v.InitialQuantity, LowStockThreshold: v.LowStockThreshold},
			Tries:  int(v.Attempts), CorrelationID: v.CorrelationID, Traceparent: v.Traceparent,
		}
	}
	return jobs, nil
}

// Backlog implements inventory.Queue.
func (q records) Backlog(ctx context.Context) (inventory.Backlog, error) {
	b, err := q.store.VariantBacklog(ctx)
	return inventory.Backlog{Depth: int(b.Pending), Oldest: b.Oldest, Next: b.Next}, err
}

// Done implements inventory.Queue: the variant becomes orderable by a fact in the log.
func (q records) Done(ctx context.Context, id uuid.UUID) error {
	variants, err := q.store.VariantsByID(ctx, []uuid.UUID{id})
	if err != nil || len(variants) == 0 {
		return err // or it was discarded meanwhile
	}
	return q.service.Confirm(ctx, variants[0])
}

// Failed implements inventory.Queue.
func (q records) Failed(ctx context.Context, f inventory.Failure) error {
	return q.store.PostponeVariant(ctx, f.VariantID, max(0, time.Until(f.Next)), f.Stopped, f.Reason)
}

// GiveBack implements inventory.Queue.
func (q records) GiveBack(ctx context.Context, id uuid.UUID) error {
	return q.store.GiveBackVariant(ctx, id)
}
