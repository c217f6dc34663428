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

// Levels keeps the last known levels of the Inventory Service. No rebuild touches them: the log doesn't
// hold them. It implements [inventory.LastKnown].
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

// Save keeps each level unless what it has is later, as [inventory.Level.Supersedes] says.
//
// Where some documents were not replaced those that are missing are made, and then it tries again:
// between the two another instance may have made one of an older level. It doesn't upsert by the guarded
// filter: the duplicate key of a document that stays would be an error, at which FerretDB leaves out the
// operations behind it.
func (l *Levels) Save(ctx context.Context, levels []inventory.Level) error {
	var replace, create []mongo.WriteModel
	for _, known := range newest(levels) {
		id := bson.E{Key: "_id", Value: known.VariantID.String()}
		fields := bson.D{{Key: "available", Value: known.Available}, {Key: "status", Value: string(known.Status)},
			{Key: "updatedAt", Value: known.UpdatedAt.UnixMicro()}, {Key: "fetchedAt", Value: known.FetchedAt.UnixMicro()},
			{Key: "source", Value: string(known.Source)}}
		replace = append(replace, mongo.NewUpdateOneModel().SetFilter(bson.D{id, {Key: "$or", Value: superseded(known)}}).SetUpdate(store.Set(fields)))
		create = append(create, mongo.NewUpdateOneModel().SetFilter(bson.D{id}).SetUpdate(bson.D{{Key: "$setOnInsert", Value: fields}}).SetUpsert(true))
	}
	replaced, err := l.write(ctx, replace)
	if err != nil || replaced == int64(len(replace)) {
		return err
	}
	if _, err := l.write(ctx, create); err != nil {
		return err
	}
	_, err = l.write(ctx, replace)
	return err
}

func (l *Levels) write(ctx context.Context, models []mongo.WriteModel) (matched int64, err error) {
	matched, err = l.store.BulkWrite(ctx, l.store.Database().Collection(levelsName), models)
	if err != nil && !store.OnlyDuplicates(err) {
		return matched, fmt.Errorf("save the last known levels: %w", err)
	}
	return matched, nil
}

// superseded matches the documents that a level replaces: inventory.Level.Supersedes as a filter.
func superseded(by inventory.Level) bson.A {
	updated, fetched := by.UpdatedAt.UnixMicro(), by.FetchedAt.UnixMicro()
	before := func(field, operator string, than int64) bson.E {
		return bson.E{Key: field, Value: bson.D{{Key: operator, Value: than}}}
	}
	ofEvent := bson.E{Key: "source", Value: string(inventory.FromEvent)}
	ofAnswer := bson.E{Key: "source", Value: bson.D{{Key: "$ne", Value: string(inventory.FromEvent)}}}
	if by.Source != inventory.FromEvent {
		return bson.A{bson.D{ofAnswer, before("fetchedAt", "$lte", fetched)}, bson.D{ofEvent, before("updatedAt", "$lte", updated)}}
	}
	return bson.A{
		bson.D{before("updatedAt", "$lt", updated)},
		bson.D{ofEvent, {Key: "updatedAt", Value: updated}, before("fetchedAt", "$lte", fetched)},
	}
}

// newest keeps one level a variant: a command must not write the same document twice.
func newest(levels []inventory.Level) map[uuid.UUID]inventory.Level {
	byVariant := make(map[uuid.UUID]inventory.Level, len(levels))
	for _, l := range levels {
		if known, twice := byVariant[l.VariantID]; !twice || l.Supersedes(known) {
			byVariant[l.VariantID] = l
		}
	}
	return byVariant
}
