package projection

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// The indexes of each kind of document, beside the one on _id. A movement's _id begins with its product and ends with its version, so that
// a product's movements need no other index; neither do its days.
var (
	productIndexes = []bson.D{
		{{Key: "variants.id", Value: 1}},
	}
	movementIndexes = []bson.D{
		{{Key: "order", Value: 1}},
		{{Key: "reservation", Value: 1}},
	}
)

// index makes the indexes of a generation where the server uses any.
func (s *Store) index(ctx context.Context, g generation) error {
	if !s.server.indexes {
		return nil
	}
	for _, part := range []struct {
		in      *mongo.Collection
		indexes []bson.D
	}{{g.products, productIndexes}, {g.movements, movementIndexes}} {
		models := make([]mongo.IndexModel, len(part.indexes))
		for i, keys := range part.indexes {
			models[i] = mongo.IndexModel{Keys: keys}
		}
		if _, err := part.in.Indexes().CreateMany(ctx, models); err != nil {
			return fmt.Errorf("index %s: %w", part.in.Name(), err)
		}
	}
	return nil
}
