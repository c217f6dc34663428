package command

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

// Sweeper releases expired reservations, and withdraws what an instance that died left unconfirmed.
type Sweeper struct {
	Service *Service
	Leases  *eventstore.Leases
	Every   time.Duration
	Log     *slog.Logger
}

// SweeperRole is the lease that one instance sweeps under. It only saves work: sweeping twice is harmless.
const SweeperRole = "sweeper"

const sweepLimit = 1000

// Run sweeps until the context ends.
func (s *Sweeper) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		more := false
		if len(s.Leases.Held(SweeperRole)) > 0 {
			swept, err := s.sweep(ctx)
			if err != nil && ctx.Err() == nil && !errors.Is(err, ErrStopped) {
				s.Log.WarnContext(ctx, "expired reservations could not be released; they are tried again", "error", err)
			}
			more = err == nil && swept == sweepLimit
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(s.Every):
		}
	}
	return nil
}

// sweep nominates; the writer decides on each reservation as it then is.
func (s *Sweeper) sweep(ctx context.Context) (int, error) {
	due, err := s.Service.Store.Expiring(ctx, sweepLimit)
	if err != nil {
		return 0, err
	}
	settled := make(chan Answer, len(due))
	for _, key := range due {
		r := &Request{ProductID: key.ProductID, Command: product.Expire{ReservationID: key.ReservationID}, Settle: func(a Answer) { settled <- a }}
		if err := s.Service.Writer.Submit(ctx, r); err != nil {
			return 0, err
		}
	}
	for range due {
		select {
		case a := <-settled:
			err = errors.Join(err, a.Err)
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	if err != nil || !s.Service.Rollback {
		return len(due), err
	}
	left, err := s.Service.Store.Unconfirmed(ctx, 2*s.Service.RollbackAfter, sweepLimit)
	if err != nil {
		return 0, err
	}
	for _, v := range left {
		if err := s.Service.Withdraw(ctx, v.ProductID, []uuid.UUID{v.VariantID}, product.Origin{}); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}
