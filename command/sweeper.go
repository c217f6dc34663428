package command

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"product-service/product"
	"product-service/wait"
)

// Sweeper releases expired reservations, and withdraws what an instance that died left unconfirmed.
type Sweeper struct {
	service *Service
	leases  LeaseHolder
	every   time.Duration
	log     *slog.Logger
}

// SweeperRole is the lease that one instance sweeps under. It only saves work: sweeping twice is harmless.
const SweeperRole = "sweeper"

const sweepLimit = 1000

// NewSweeper prepares a sweeper; Run starts it. It looks for what is due every so often.
func NewSweeper(s *Service, l LeaseHolder, every time.Duration, log *slog.Logger) *Sweeper {
	return &Sweeper{service: s, leases: l, every: every, log: log}
}

// Run sweeps until the context ends.
func (s *Sweeper) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		more := false
		if len(s.leases.Held(SweeperRole)) > 0 {
			swept, err := s.sweep(ctx)
			if err != nil && ctx.Err() == nil && !errors.Is(err, ErrStopped) {
				s.log.WarnContext(ctx, "expired reservations could not be released; they are tried again", "error", err)
			}
			more = err == nil && swept == sweepLimit
		}
		if more {
			continue
		}
		wait.For(ctx, s.every)
	}
	return nil
}

// sweep nominates; the writer decides on each reservation as it then is.
func (s *Sweeper) sweep(ctx context.Context) (int, error) {
	due, err := s.service.Store.Expiring(ctx, sweepLimit)
	if err != nil {
		return 0, err
	}
	settled := make(chan Answer, len(due))
	for _, key := range due {
		r := &Request{ProductID: key.ProductID, Command: product.Expire{ReservationID: key.ReservationID}, Settle: func(a Answer) { settled <- a }}
		if err := s.service.Writer.Submit(ctx, r); err != nil {
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
	if err != nil || !s.service.Rollback {
		return len(due), err
	}
	left, err := s.service.Store.Unconfirmed(ctx, 2*s.service.RollbackAfter, sweepLimit)
	if err != nil {
		return 0, err
	}
	for _, v := range left {
		if err := s.service.Withdraw(ctx, v.ProductID, []uuid.UUID{v.VariantID}, product.Origin{}); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}
