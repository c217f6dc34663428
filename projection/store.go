// Package projection keeps the read model in MongoDB: it folds the log of the event store into documents, and answers reads
// from them.
//
// A [Projector] reads the log by shard and position and writes, page by page, first the movements and the days of each
// product, then the product itself, then how far it got. Every document carries the position of the last row folded into it
// and is only ever written by who knows what it held, so that a page may be folded twice, by two processes, or half: a row
// counts once. A [Reader] answers from these documents alone.
package projection

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"product-service/eventstore"
)

// schema is the shape of the documents. Raise it with every change that old documents don't have: they are then built anew.
const schema = 4

// The collections. Those of the read model carry the generation as a suffix: each rebuild fills new ones.
const (
	metaName       = "meta"        // which generation is read
	checkpointName = "checkpoints" // how far each generation is
	parkedName     = "parked"      // the products a row could not be folded into
	levelsName     = "levels"      // the last known levels of the Inventory Service
)

// Store is the database of the read model.
type Store struct {
	config Config
	client *mongo.Client
	db     *mongo.Database
	server server

	waiting waiters

	looks flights[use] // for the generation in use

	mu      sync.Mutex
	current meta      // that is read
	read    time.Time // when that was last found to be the one that is named
	seen    string    // the generation that is named
	since   time.Time // for how long this process has known it

	patience time.Duration // changeTime, but in tests
}

// server is what the database can do, asked once.
type server struct {
	operations int  // how many guarded writes a command may carry
	rows       int  // how many inserts
	lookups    bool // it finds documents by a list of ids without reading the whole collection
	indexes    bool // its queries use indexes
	sums       bool // it adds up fields of embedded documents
}

// Open connects to MongoDB, finds out what it can do and makes sure that there is a generation to read, with its indexes.
func Open(ctx context.Context, c Config) (*Store, error) { return watched(ctx, c, nil) }

// watched is Open with somebody looking at every command.
func watched(ctx context.Context, c Config, monitor *event.CommandMonitor) (*Store, error) {
	opts := options.Client().ApplyURI(c.URL).SetAppName("product-service").SetMaxPoolSize(c.PoolSize).
		SetTimeout(c.WriteTimeout).SetWriteConcern(writeconcern.Majority()).SetMonitor(monitor)
	client, err := mongo.Connect(opts)
	if err != nil {
		return nil, fmt.Errorf("open MongoDB: %w", err)
	}
	s := &Store{config: c, client: client, db: client.Database(c.Database), waiting: newWaiters(), patience: changeTime}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, client.Disconnect(ctx))
	}
	return s, nil
}

func (s *Store) prepare(ctx context.Context) error {
	if err := s.ask(ctx); err != nil {
		return err
	}
	first := meta{ID: "current", Generation: "1", Schema: schema}
	m, err := s.loadMeta(ctx)
	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		m = first
		if err := s.create(ctx, first.Generation); err != nil {
			return err
		}
		if _, err := s.db.Collection(metaName).InsertOne(ctx, first); err != nil && !mongo.IsDuplicateKeyError(err) {
			return fmt.Errorf("name the first generation: %w", err)
		}
	case err != nil:
		return err
	case m.Schema == schema:
		if err := s.create(ctx, m.Generation); err != nil {
			return err
		}
	default:
		return nil // of another shape: it is read as it is until it has been rebuilt
	}
	if err := s.tidy(ctx, m); err != nil {
		return err
	}
	return s.indexHistory(ctx, s.collections(m.Generation))
}

// ask finds out what the server can do. FerretDB 1 answers buildInfo with its own version beside MongoDB's. It holds a connection of
// its pool for each operation of an update command, scans a collection for a list of ids, doesn't use indexes in its queries,
// doesn't add up fields of embedded documents, misses large numbers in arrays, and may lose one of two updates of
// a document at the same time: it is for trying things out.
func (s *Store) ask(ctx context.Context) error {
	var info struct {
		Ferret string `bson:"ferretdbVersion"`
	}
	if err := s.db.RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&info); err != nil {
		return fmt.Errorf("ask MongoDB what it can do: %w", err)
	}
	s.server = server{operations: 1000, rows: 2500, lookups: true, indexes: true, sums: true}
	if info.Ferret != "" {
		s.server = server{operations: 8, rows: 100}
	}
	return nil
}

// create makes a generation's checkpoint, if it isn't there, and the indexes of its products. Those of its movements are for later: a rebuild
// fills it faster without.
func (s *Store) create(ctx context.Context, generation string) error {
	if err := s.index(ctx, s.collections(generation).products, productIndexes); err != nil {
		return err
	}
	zero := checkpoints{ID: generation, Schema: schema, Shards: map[string]checkpoint{}}
	for shard := range int16(eventstore.Shards) {
		zero.Shards[shardKey(shard)] = checkpoint{}
	}
	if _, err := s.db.Collection(checkpointName).InsertOne(ctx, zero); err != nil && !mongo.IsDuplicateKeyError(err) {
		return fmt.Errorf("make the checkpoint of generation %s: %w", generation, err)
	}
	return nil
}

// Close ends the connections.
func (s *Store) Close(ctx context.Context) error { return s.client.Disconnect(ctx) }

// Ping says whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.client.Ping(ctx, nil) }
