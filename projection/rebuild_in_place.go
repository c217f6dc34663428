package projection

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/projection/view"
)

// inPlace repairs single products, and the journal of their shard.
func (r *rebuild) inPlace(ctx context.Context, o RebuildOptions) error {
	g, err := r.store.FedGeneration(ctx)
	if err != nil {
		return err
	}
	if g.Schema != view.Schema {
		return ErrShape
	}
	repair, err := NewRepairer(ctx, r.store, g, r.log, r.logger)
	if err != nil {
		return err
	}
	ids := []uuid.UUID{o.Product}
	if o.Shard != nil {
		if ids, err = r.productsOf(ctx, *o.Shard); err != nil {
			return err
		}
	}
	for i, id := range ids {
		if err := repair.Product(ctx, id); err != nil {
			return err
		}
		r.report(r.rated(Progress{Phase: "fold", Done: int64(i + 1), Total: int64(len(ids))}))
	}
	shard := eventstore.ShardOf(o.Product)
	if o.Shard != nil {
		shard = *o.Shard
	}
	c, err := repair.CheckJournal(ctx, shard, func([]eventstore.Record) {})
	if err == nil {
		err = repair.Journal(ctx, c)
	}
	if err != nil {
		return err
	}
	return r.store.StillCurrent(ctx, g)
}

// productsOf finds every product that the log of a shard names.
func (r *rebuild) productsOf(ctx context.Context, shard int16) ([]uuid.UUID, error) {
	if shard < 0 || shard >= eventstore.Shards {
		return nil, fmt.Errorf("there is no shard %d: they are 0 to %d", shard, eventstore.Shards-1)
	}
	var ids []uuid.UUID
	known := map[uuid.UUID]bool{}
	for at := (eventstore.Cursor{Shard: shard}); ; {
		records, err := r.log.Tail(ctx, []eventstore.Cursor{at}, r.store.Config.MaxPage)
		if err != nil || len(records) == 0 {
			return ids, err
		}
		for _, record := range records {
			if at.Pos = record.Pos; !known[record.ProductID] {
				known[record.ProductID], ids = true, append(ids, record.ProductID)
			}
		}
	}
}
