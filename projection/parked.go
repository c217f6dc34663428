package projection

import (
	"context"
	"maps"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/projection/store"
)

// park sets a product aside: its rows are skipped until it is folded anew, while those of others go on.
func (f *builder) park(ctx context.Context, r eventstore.Record, why error) error {
	p := store.Parked{Product: r.ProductID, Shard: r.Shard, Pos: r.Pos, Version: r.Version, Type: r.Type, Error: why.Error(), At: f.now()}
	if err := f.store.Park(ctx, f.into.Name, p); err != nil {
		return err
	}
	f.parked[r.ProductID] = r.Pos
	f.metrics.parked.Set(float64(len(f.parked)))
	f.logger.ErrorContext(ctx, "a product is parked: this row can't be folded into its document, and its later rows are skipped until it is replayed",
		"product", r.ProductID, "shard", r.Shard, "pos", r.Pos, "version", r.Version, "type", r.Type, "error", why)
	return nil
}

// loadParked reads which products are set aside, and returns those that were and aren't any more: others have folded them anew.
func (f *builder) loadParked(ctx context.Context) (released []uuid.UUID, err error) {
	products, err := f.store.Parked(ctx, f.into.Name)
	if err != nil {
		return nil, err
	}
	found := make(map[uuid.UUID]int64, len(products))
	for _, p := range products {
		found[p.Product] = p.Pos
	}
	for id, pos := range f.parked {
		if found[id] == 0 {
			released, found[id] = append(released, id), pos
		}
	}
	f.parked = found
	f.metrics.parked.Set(float64(len(f.parked)))
	return released, nil
}

func (f *builder) unpark(ctx context.Context, id uuid.UUID) error {
	if err := f.store.Unpark(ctx, f.into.Name, id); err != nil {
		return err
	}
	delete(f.parked, id)
	f.metrics.parked.Set(float64(len(f.parked)))
	return nil
}

// retryParked tries the parked products of gained shards again: this program may know what another didn't.
func (f *subscription) retryParked(ctx context.Context, gained map[int16]*shard) error {
	for id := range maps.Clone(f.parked) {
		if s := gained[eventstore.ShardOf(id)]; s != nil && s.folds() {
			if err := f.repairProduct(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}
