package read

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"product-service/integration/inventory"
	"product-service/projection/store"
	"product-service/projection/view"
)

// levelsName is the collection of the last known levels of the Inventory Service.
const levelsName = "levels"

// Levels keeps the last known levels of the Inventory Service. No rebuild touches them: the log doesn't hold them.
// It implements [inventory.LastKnown].
type Levels struct{ store *store.Store }

// NewLevels returns the levels kept in a store.
func NewLevels(s *store.Store) *Levels { return &Levels{store: s} }

// level is a level as it is stored; times are microseconds.
type level struct {
	ID        string `bson:"_id"`
	Available int64  `bson:"available"`
	Status    string `bson:"status"`
	UpdatedAt int64  `bson:"updatedAt"`
	FetchedAt int64  `bson:"fetchedAt"`
	Source    string `bson:"source"`
}

// Load returns what it has of ids, in any order; what it hasn't is left out.
func (l *Levels) Load(ctx context.Context, ids []uuid.UUID) ([]inventory.Level, error) {
	found := make([]inventory.Level, 0, len(ids))
	err := store.Find(ctx, l.store, l.store.Database().Collection(levelsName), distinct(ids), store.AllFields, func(d level) {
		id, err := uuid.Parse(d.ID)
		if err != nil {
			return // not written by Save
		}
		found = append(found, inventory.Level{VariantID: id, Available: d.Available, Status: inventory.Status(d.Status),
			UpdatedAt: view.TimeOf(d.UpdatedAt), FetchedAt: view.TimeOf(d.FetchedAt), Source: inventory.Source(d.Source)})
	})
	if err != nil {
		return nil, fmt.Errorf("load the last known levels: %w", err)
	}
	return found, nil
}

// Save keeps each level unless it has one with a later UpdatedAt, or the same and a later FetchedAt.
func (l *Levels) Save(ctx context.Context, levels []inventory.Level) error {
	models := make([]mongo.WriteModel, 0, len(levels))
	for _, known := range newest(levels) {
		updated, fetched := known.UpdatedAt.UnixMicro(), known.FetchedAt.UnixMicro()
		older := bson.D{{Key: "_id", Value: known.VariantID.String()}, {Key: "$or", Value: bson.A{
			bson.D{{Key: "updatedAt", Value: bson.D{{Key: "$lt", Value: updated}}}},
			bson.D{{Key: "updatedAt", Value: updated}, {Key: "fetchedAt", Value: bson.D{{Key: "$lte", Value: fetched}}}},
		}}}
		fields := bson.D{{Key: "available", Value: known.Available}, {Key: "status", Value: string(known.Status)},
			{Key: "updatedAt", Value: updated}, {Key: "fetchedAt", Value: fetched}, {Key: "source", Value: string(known.Source)}}
		models = append(models, mongo.NewUpdateOneModel().SetFilter(older).SetUpdate(store.Set(fields)).SetUpsert(true))
	}
	// A level that is newer doesn't match, and so is to be made, which its id forbids.
	if _, err := l.store.BulkWrite(ctx, l.store.Database().Collection(levelsName), models); err != nil && !store.OnlyDuplicates(err) {
		return fmt.Errorf("save the last known levels: %w", err)
	}
	return nil
}

// newest keeps one level a variant: a command must not write the same document twice.
func newest(levels []inventory.Level) map[uuid.UUID]inventory.Level {
	byVariant := make(map[uuid.UUID]inventory.Level, len(levels))
	for _, l := range levels {
		known, twice := byVariant[l.VariantID]
		if c := l.UpdatedAt.Compare(known.UpdatedAt); !twice || c > 0 || (c == 0 && !l.FetchedAt.Before(known.FetchedAt)) {
			byVariant[l.VariantID] = l
		}
	}
	return byVariant
}
