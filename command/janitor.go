package command

import (
	"context"
	"log/slog"
	"time"

	"product-service/eventstore"
	"product-service/product"
	"product-service/wait"
)

// JanitorRole is the lease that one instance prunes under. It only saves work: pruning twice is harmless.
const JanitorRole = "janitor"

// Janitor forgets what nothing needs any more: commands older than the retention, and the facts
// about them. What was refused for want of stock it sums up by the hour, because histories show it.
// Events are never forgotten.
type Janitor struct {
	store     *eventstore.Store
	leases    LeaseHolder
	retention time.Duration
	cursors   func(context.Context) ([]eventstore.Cursor, error)
	log       *slog.Logger
}

// forgettable are the facts that say no more than that a command came and nothing changed.
var forgettable = []string{
	product.TypeOf(product.ReservationFailed{}), product.TypeOf(product.ReservationConfirmed{}), product.TypeOf(product.ReleaseIgnored{}),
	product.TypeOf(product.OutcomeResent{}), product.TypeOf(product.StockConfirmed{}),
}

// refusals keeps of forgotten requests what analysts ask for: how many units were refused in an hour.
var refusals = eventstore.Condensing{
	From: product.TypeOf(product.ReservationFailed{}), To: product.TypeOf(product.RequestsRefused{}),
	Sum: func(facts []eventstore.Record) ([]byte, error) {
		var sum product.RequestsRefused
		for _, r := range facts {
			e, err := product.Decode(r.Type, r.Data)
			if err != nil {
				return nil, err
			}
			sum = sum.Add(e)
		}
		if sum.Refusals == 0 {
			return nil, nil
		}
		return product.Encode(sum, product.Origin{})
	},
}

const (
	// Ids are kept this much longer than messages can be executed: the clocks of hosts differ, and
	// whatever a resend names stays until the relay has read it.
	forgetLater = time.Hour

	pruneEvery = time.Minute
	pruneBite  = 5000
)

// NewJanitor prepares a janitor; Run starts it. cursors returns, for each reader of the log but the
// relay, how far it has read each shard.
func NewJanitor(s *eventstore.Store, l LeaseHolder, retention time.Duration, cursors func(context.Context) ([]eventstore.Cursor, error), log *slog.Logger) *Janitor {
	return &Janitor{store: s, leases: l, retention: retention, cursors: cursors, log: log}
}

// Run prunes until the context ends, in small bites.
func (j *Janitor) Run(ctx context.Context) error {
	for rest := time.Duration(0); wait.For(ctx, rest); {
		rest = pruneEvery
		if len(j.leases.Held(JanitorRole)) == 0 {
			continue
		}
		n, err := j.prune(ctx)
		if err != nil && ctx.Err() == nil {
			j.log.WarnContext(ctx, "old commands could not be forgotten; it is tried again", "error", err)
		}
		if n > 0 {
			rest = time.Second / 10 // there may be more
		}
	}
	return nil
}

func (j *Janitor) prune(ctx context.Context) (int64, error) {
	read, err := j.cursors(ctx)
	if err != nil {
		return 0, err
	}
	sent, err := j.store.Checkpoints(ctx, RelayRole)
	if err != nil {
		return 0, err
	}
	relayed := map[int16]int64{}
	for _, c := range sent {
		relayed[c.Shard] = c.Pos
	}
	for i, c := range read {
		read[i].Pos = min(c.Pos, relayed[c.Shard])
	}
	return j.store.Prune(ctx, j.retention+forgetLater, forgettable, read, pruneBite, refusals)
}
