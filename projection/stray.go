package projection

import (
	"context"
	"maps"
	"slices"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"product-service/eventstore"
	"product-service/product"
	"product-service/projection/store"
	"product-service/projection/view"
)

// stray returns the names of blocks that a product of this version doesn't have. It looks for
// cancellations in the log as it is now, because a block is written after its row.
func (b *builder) stray(ctx context.Context, id uuid.UUID, version int64, names []string) ([]string, error) {
	var stray []string
	var places []eventstore.Cursor
	cancellations := map[int64]string{}
	for _, name := range names {
		switch last, pos := view.BlockNamed(id.String(), name); {
		case pos > 0:
			places = append(places, eventstore.Cursor{Shard: eventstore.ShardOf(id), Pos: pos})
			cancellations[pos] = name
		case last == 0 || last > version:
			stray = append(stray, name)
		}
	}
	if len(places) == 0 {
		return stray, nil
	}
	rows, err := b.log.At(ctx, places)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if r := &rows[i]; r.ProductID == id && r.Type == product.TypeOf(product.ReservationCancelled{}) {
			delete(cancellations, r.Pos)
		}
	}
	return append(stray, slices.Sorted(maps.Values(cancellations))...), nil
}

// deleteStray deletes blocks, days and months that the log doesn't come to. No guard protects the blocks of
// cancellations: so it asks the log again, which has those that another process wrote meanwhile.
func (b *builder) deleteStray(ctx context.Context, id uuid.UUID, e *view.Entry) error {
	for names, err := range store.IDPages(ctx, b.into.Movements, e.Doc.ID+".", e.Doc.ID+"0") {
		if err != nil {
			return err
		}
		stray, err := b.stray(ctx, id, e.Doc.Version, names)
		if err == nil {
			err = deleteAll(ctx, b.into.Movements, stray)
		}
		if err != nil {
			return err
		}
	}
	keep := map[string]bool{}
	for _, d := range e.Days {
		keep[d.ID] = true
	}
	for _, m := range view.MonthsOf(e.Days) {
		keep[m.ID] = true
	}
	for _, in := range []*mongo.Collection{b.into.Days, b.into.Months} {
		for names, err := range store.IDPages(ctx, in, e.Doc.ID+".", e.Doc.ID+"0") {
			if err == nil {
				err = deleteAll(ctx, in, slices.DeleteFunc(names, func(name string) bool { return keep[name] }))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
