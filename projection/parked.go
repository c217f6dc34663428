package projection

import (
	"context"
	"maps"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/projection/store"
)

// park sets a product aside: its rows are skipped until it is repaired.
func (b *builder) park(ctx context.Context, r eventstore.Record, why error) error {
	p := store.Parked{Product: r.ProductID, Shard: r.Shard, Pos: r.Pos, Version: r.Version, Type: r.Type,
		Error: why.Error(), At: b.now()}
	if err := b.store.Park(ctx, b.into.Name, p); err != nil {
		return err
	}
	b.parked[r.ProductID] = r.Pos
	b.metrics.parked.Set(float64(len(b.parked)))
	b.logger.ErrorContext(ctx, "a product is parked: this row can't be folded into its document, "+
		"and its later rows are skipped until it is replayed",
		"product_id", r.ProductID, "shard", r.Shard, "pos", r.Pos, "version", r.Version, "type", r.Type, "error", why)
	return nil
}

// loadParked reads which products are parked, and returns those that another process has repaired
// since that was last read.
func (b *builder) loadParked(ctx context.Context) (released []uuid.UUID, err error) {
	products, err := b.store.Parked(ctx, b.into.Name)
	if err != nil {
		return nil, err
	}
	found := make(map[uuid.UUID]int64, len(products))
	for _, p := range products {
		found[p.Product] = p.Pos
	}
	for id, pos := range b.parked {
		if found[id] == 0 {
			released, found[id] = append(released, id), pos
		}
	}
	b.parked = found
	b.metrics.parked.Set(float64(len(b.parked)))
	return released, nil
}

func (b *builder) unpark(ctx context.Context, id uuid.UUID) error {
	if err := b.store.Unpark(ctx, b.into.Name, id); err != nil {
		return err
	}
	delete(b.parked, id)
	b.metrics.parked.Set(float64(len(b.parked)))
	return nil
}

// retryParked tries the parked products of gained shards again: this program may know what another
// didn't.
func (sub *subscription) retryParked(ctx context.Context, gained map[int16]*shard) error {
	for id := range maps.Clone(sub.parked) {
		if s := gained[eventstore.ShardOf(id)]; s != nil && s.folds() {
			if err := sub.repairProduct(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}
