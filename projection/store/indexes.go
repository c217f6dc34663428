package store

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// index is one index of a kind of document.
type index struct {
	keys   bson.D
	sparse bool // it holds only the documents that have the field
}

// The indexes of each kind of document, beside the one on _id. A block's _id begins with its
// product and ends with its first version, so that a product's movements need no other index;
// neither do its days.
var (
	productIndexes = []index{
		{keys: bson.D{{Key: "variants.id", Value: 1}}},
		{keys: bson.D{{Key: "status", Value: 1}, {Key: "words", Value: 1}}},
		{keys: ordered("sortName")},
		{keys: ordered("createdAt")},
		{keys: ordered("updatedAt")},
		{keys: ordered("available")},
		{keys: ordered("stockRank")},
		// For the few that can't be ordered. What it holds of a product changes only with that, and
		// not with the stock.
		{keys: bson.D{{Key: "status", Value: 1}, {Key: "isOrderable", Value: 1}, {Key: "createdAt", Value: 1}, {Key: "_id", Value: 1}}},
	}
	movementIndexes = []index{
		{keys: bson.D{{Key: "product", Value: 1}}}, // for the view of movements
		{keys: bson.D{{Key: "reservations", Value: 1}}, sparse: true},
		{keys: bson.D{{Key: "rare", Value: 1}}, sparse: true},
	}
	// For the view of days, and for the rows of reports.
	dayIndexes = []index{
		{keys: bson.D{{Key: "product", Value: 1}, {Key: "day", Value: 1}}},
	}
	// For the order of reports.
	monthIndexes = []index{
		{keys: bson.D{{Key: "month", Value: 1}, {Key: "product", Value: 1}}},
	}
	journalIndexes = []index{
		{keys: bson.D{{Key: "order", Value: 1}}},
		{keys: bson.D{{Key: "rare", Value: 1}}, sparse: true},
	}
)

// ordered is the index of a list of products in an order.
func ordered(key string) bson.D {
	return bson.D{{Key: "status", Value: 1}, {Key: key, Value: 1}, {Key: "_id", Value: 1}}
}

// index makes indexes where the server uses any.
func (s *Store) index(ctx context.Context, in *mongo.Collection, indexes []index) error {
	if !s.Server.Indexes {
		return nil
	}
	models := make([]mongo.IndexModel, len(indexes))
	for i, index := range indexes {
		models[i] = mongo.IndexModel{Keys: index.keys}
		if index.sparse {
			models[i].Options = options.Index().SetSparse(true)
		}
	}
	if _, err := in.Indexes().CreateMany(ctx, models); err != nil {
		return fmt.Errorf("index %s: %w", in.Name(), err)
	}
	return nil
}

// IndexHistory makes the indexes of a generation that a rebuild fills it without.
func (s *Store) IndexHistory(ctx context.Context, g Generation) error {
	if err := s.index(ctx, g.Movements, movementIndexes); err != nil {
		return err
	}
	if err := s.index(ctx, g.Days, dayIndexes); err != nil {
		return err
	}
	if err := s.index(ctx, g.Months, monthIndexes); err != nil {
		return err
	}
	return s.index(ctx, g.Journal, journalIndexes)
}
