// Package store keeps the read model's documents in MongoDB: which generation of them is read, how
// far each is, who rebuilds them, and what the server can do. It says where documents are, not what
// they mean.
//
// A generation is a set of collections with checkpoints of its own; a rebuild fills a new one
// beside the one that is read. A process that has shown a generation to a reader doesn't go back to
// an older one. A checkpoint moves only under the latest epoch of its shard's lease. A name of a
// generation is never used twice.
package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"product-service/eventstore"
	"product-service/projection/view"
)

// The collections. Those of the read model carry the generation as a suffix: each rebuild fills new
// ones.
const (
	metaName       = "meta"        // which generation is read
	checkpointName = "checkpoints" // how far each generation is
	parkedName     = "parked"      // the products a row could not be folded into
)

// Store is the database of the read model.
type Store struct {
	Config Config
	client *mongo.Client
	db     *mongo.Database
	Server Server

	Waiting Waiters
	Changes *Changes

	sole     atomic.Pointer[func(generation string) bool]
	followed atomic.Pointer[followed] // nil: changes of other processes aren't
	looks    Flights[use]             // for the generation in use

	mu    sync.Mutex
	known known // of the generation in use

	Times Times // of changes of the generation; tests make them longer
}

// Open connects to MongoDB, finds out what it can do and makes sure that there is a generation to
// read, with its indexes.
func Open(ctx context.Context, c Config) (*Store, error) { return OpenMonitored(ctx, c, nil) }

// OpenMonitored is Open with somebody looking at every command.
func OpenMonitored(ctx context.Context, c Config, monitor *event.CommandMonitor) (*Store, error) {
	opts := options.Client().ApplyURI(c.URL).SetAppName("product-service").SetMaxPoolSize(c.PoolSize).
		SetTimeout(c.WriteTimeout).SetWriteConcern(writeconcern.Majority()).SetMonitor(monitor)
	client, err := mongo.Connect(opts)
	if err != nil {
		return nil, fmt.Errorf("open MongoDB: %w", err)
	}
	s := &Store{Config: c, client: client, db: client.Database(c.Database), Waiting: newWaiters(), Changes: newChanges(), Times: defaultTimes}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, client.Disconnect(ctx))
	}
	return s, nil
}

func (s *Store) prepare(ctx context.Context) error {
	if err := s.ask(ctx); err != nil {
		return err
	}
	first := Meta{ID: "current", Generation: "1", Schema: view.Schema}
	m, err := s.LoadMeta(ctx)
	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		m = first
		if err := s.CreateGeneration(ctx, first.Generation); err != nil {
			return err
		}
		if _, err := s.db.Collection(metaName).InsertOne(ctx, first); err != nil && !mongo.IsDuplicateKeyError(err) {
			return fmt.Errorf("name the first generation: %w", err)
		}
	case err != nil:
		return err
	case m.Schema == view.Schema:
		if err := s.CreateGeneration(ctx, m.Generation); err != nil {
			return err
		}
	default:
		return nil // of another shape: it is read as it is until it has been rebuilt
	}
	if err := s.tidy(ctx, m); err != nil {
		return err
	}
	if err := s.IndexHistory(ctx, s.Collections(m.Generation)); err != nil {
		return err
	}
	return s.show(ctx, m)
}

// CreateGeneration makes a generation's checkpoint, if it isn't there, and the indexes of its
// products. Those of its movements are for later: a rebuild fills it faster without.
func (s *Store) CreateGeneration(ctx context.Context, generation string) error {
	if err := s.index(ctx, s.Collections(generation).Products, productIndexes); err != nil {
		return err
	}
	zero := checkpoints{ID: generation, Schema: view.Schema, Shards: map[string]Checkpoint{}}
	for shard := range int16(eventstore.Shards) {
		zero.Shards[ShardKey(shard)] = Checkpoint{}
	}
	if _, err := s.db.Collection(checkpointName).InsertOne(ctx, zero); err != nil && !mongo.IsDuplicateKeyError(err) {
		return fmt.Errorf("make the checkpoint of generation %s: %w", generation, err)
	}
	return nil
}

// Database is the database itself, for collections that aren't of the read model.
func (s *Store) Database() *mongo.Database { return s.db }

// Close ends the connections.
func (s *Store) Close(ctx context.Context) error { return s.client.Disconnect(ctx) }

// Ping says whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.client.Ping(ctx, nil) }
