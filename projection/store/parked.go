package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"product-service/projection/view"
)

// parkedProduct is a parked product as it is stored.
type parkedProduct struct {
	ID         string `bson:"_id"`
	Generation string `bson:"generation"`
	Product    string `bson:"product"`
	Shard      int16  `bson:"shard"`
	Pos        int64  `bson:"pos"`
	Version    int64  `bson:"version"`
	Type       string `bson:"type"`
	Error      string `bson:"error"`
	At         int64  `bson:"at"`
}

func parkedID(generation string, product uuid.UUID) string {
	return generation + "." + product.String()
}

// Parked is a product that isn't kept up to date, because a row of the log can't be folded into its
// documents.
type Parked struct {
	Product uuid.UUID
	Shard   int16
	Pos     int64 // of the row, and its version and type
	Version int64
	Type    string
	Error   string
	At      time.Time
}

// Parked returns the products of a generation that are set aside.
func (s *Store) Parked(ctx context.Context, generation string) ([]Parked, error) {
	cursor, err := s.db.Collection(parkedName).Find(ctx, bson.D{{Key: "generation", Value: generation}})
	if err != nil {
		return nil, fmt.Errorf("read the parked products: %w", err)
	}
	var docs []parkedProduct
	if err := cursor.All(ctx, &docs); err != nil {
		return nil, fmt.Errorf("read the parked products: %w", err)
	}
	parked := make([]Parked, len(docs))
	for i, d := range docs {
		parked[i] = Parked{Shard: d.Shard, Pos: d.Pos, Version: d.Version, Type: d.Type, Error: d.Error, At: view.TimeOf(d.At)}
		if parked[i].Product, err = uuid.Parse(d.Product); err != nil {
			return nil, fmt.Errorf("read the parked products: %w", err)
		}
	}
	return parked, nil
}

// Park sets a product of a generation aside. One that is there stays as it is.
func (s *Store) Park(ctx context.Context, generation string, p Parked) error {
	doc := parkedProduct{ID: parkedID(generation, p.Product), Generation: generation, Product: p.Product.String(), Shard: p.Shard,
		Pos: p.Pos, Version: p.Version, Type: p.Type, Error: p.Error, At: p.At.UnixMicro()}
	if _, err := s.db.Collection(parkedName).InsertOne(ctx, doc); err != nil && !mongo.IsDuplicateKeyError(err) {
		return fmt.Errorf("park product %s: %w", p.Product, err)
	}
	return nil
}

// Unpark ends a product's being set aside.
func (s *Store) Unpark(ctx context.Context, generation string, product uuid.UUID) error {
	if _, err := s.db.Collection(parkedName).DeleteOne(ctx, ByID(parkedID(generation, product))); err != nil {
		return fmt.Errorf("end parking of product %s: %w", product, err)
	}
	return nil
}
