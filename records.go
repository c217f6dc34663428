package main

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"product-service/command"
	"product-service/eventstore"
	"product-service/integration/inventory"
)

// records is the queue of inventory records to make: the variants table, as the Initializer wants to see it.
type records struct {
	store   *eventstore.Store
	service *command.Service
}

// taken is how long an instance has for the records it takes before another may.
const taken = 10 * time.Second

// Due implements inventory.Queue.
func (q records) Due(ctx context.Context, limit int) (inventory.Backlog, error) {
	variants, err := q.store.DueVariants(ctx, limit, taken)
	if err != nil {
		return inventory.Backlog{}, err
	}
	backlog, err := q.store.VariantBacklog(ctx)
	if err != nil {
		return inventory.Backlog{}, err
	}
	due := inventory.Backlog{Depth: int(backlog.Pending), Oldest: backlog.Oldest, Next: backlog.Next}
	for _, v := range variants {
		due.Jobs = append(due.Jobs, inventory.Job{
			Record: inventory.Record{VariantID: v.VariantID, InitialQuantity: v.InitialQuantity, LowStockThreshold: v.LowStockThreshold},
			Tries:  int(v.Attempts), QueuedAt: v.CreatedAt, CorrelationID: v.CorrelationID,
		})
	}
	return due, nil
}

// Done implements inventory.Queue: each variant becomes orderable by a fact in the log.
func (q records) Done(ctx context.Context, ids []uuid.UUID) error {
	variants, err := q.store.VariantsByID(ctx, ids)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, v := range variants {
		group.Go(func() error { return q.service.Confirm(ctx, v) }) // side by side, so that they share transactions
	}
	return group.Wait()
}

// Failed implements inventory.Queue.
func (q records) Failed(ctx context.Context, failures []inventory.Failure) error {
	var faults []error
	for _, f := range failures {
		faults = append(faults, q.store.PostponeVariant(ctx, f.VariantID, max(0, time.Until(f.Next)), f.Stopped, f.Reason))
	}
	return errors.Join(faults...)
}
