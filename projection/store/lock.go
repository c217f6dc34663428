package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"product-service/projection/view"
)

// RebuildLock names the generation that is being filled, and the process that fills it. Its owner
// alone fills generations and drops them, until it runs out.
type RebuildLock struct {
	ID         string `bson:"_id"`
	Generation string `bson:"generation"`
	Schema     int    `bson:"schema"`
	Owner      string `bson:"owner"`
	Until      int64  `bson:"until"` // others may go on after it
}

// own matches the stored lock as long as it is this one's owner's.
func (l RebuildLock) own() bson.D {
	return bson.D{{Key: "_id", Value: "building"}, {Key: "owner", Value: l.Owner}}
}

// NewRebuildLock returns a lock of a new owner. It isn't stored yet.
func (s *Store) NewRebuildLock(generation string) RebuildLock {
	until := time.Now().Add(s.Times.Lock).UnixMicro()
	return RebuildLock{ID: "building", Generation: generation, Schema: view.Schema, Owner: uuid.NewString(), Until: until}
}

// Locked returns the lock that is stored, whoever owns it.
func (s *Store) Locked(ctx context.Context) (found RebuildLock, ok bool, err error) {
	err = s.db.Collection(metaName).FindOne(ctx, ByID("building")).Decode(&found)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return found, false, nil
	}
	if err != nil {
		return found, false, fmt.Errorf("find an interrupted rebuild: %w", err)
	}
	return found, true, nil
}

// Lock stores a lock. It returns [ErrRebuilding] where one is stored, even if that has run out.
func (s *Store) Lock(ctx context.Context, lock RebuildLock) error {
	if _, err := s.db.Collection(metaName).InsertOne(ctx, lock); mongo.IsDuplicateKeyError(err) {
		return ErrRebuilding
	} else if err != nil {
		return fmt.Errorf("lock the rebuild: %w", err)
	}
	return nil
}

// TakeOver puts a lock in the place of one that has run out, and then drops all generations but
// those to be kept. It drops them under the new lock, because without it they could be those of
// another rebuild. It returns [ErrRebuilding] where the old lock hasn't run out, or another process
// was faster.
func (s *Store) TakeOver(ctx context.Context, old RebuildLock, lock *RebuildLock, keep ...string) error {
	if old.Until > time.Now().UnixMicro() {
		return ErrRebuilding
	}
	result, err := s.db.Collection(metaName).ReplaceOne(ctx, old.own(), lock)
	if err != nil {
		return fmt.Errorf("lock the rebuild: %w", err)
	}
	if result.MatchedCount == 0 {
		return ErrRebuilding
	}
	return s.DropOthers(ctx, lock, keep...)
}

// Unlock removes a lock, if it is still its owner's.
func (s *Store) Unlock(ctx context.Context, lock RebuildLock) error {
	if _, err := s.db.Collection(metaName).DeleteOne(ctx, lock.own()); err != nil {
		return fmt.Errorf("end the rebuild: %w", err)
	}
	return nil
}

// tidy drops the generations that a rebuild left behind: one that changed over, and then ended
// before it had dropped the old generation.
func (s *Store) tidy(ctx context.Context, current Meta) error {
	left, ok, err := s.Locked(ctx)
	if err != nil || !ok || left.Generation != current.Generation {
		return err
	}
	lock := s.NewRebuildLock(current.Generation)
	if err := s.TakeOver(ctx, left, &lock, current.Generation); errors.Is(err, ErrRebuilding) {
		return nil // it is theirs
	} else if err != nil {
		return fmt.Errorf("tidy up after a rebuild: %w", err)
	}
	return s.Unlock(ctx, lock)
}

// NextGeneration is a name that no generation has had before.
func NextGeneration(current, building string) string {
	a, _ := strconv.Atoi(current) // both were made here, or are "1"
	b, _ := strconv.Atoi(building)
	return strconv.Itoa(max(a, b) + 1)
}

// Renew keeps a lock from running out. It returns [ErrRebuilding] where another process owns it.
func (s *Store) Renew(ctx context.Context, lock *RebuildLock) error {
	if time.Until(time.UnixMicro(lock.Until)) > s.Times.Lock*2/3 {
		return nil
	}
	until := time.Now().Add(s.Times.Lock).UnixMicro()
	result, err := s.db.Collection(metaName).UpdateOne(ctx, lock.own(), Set(bson.D{{Key: "until", Value: until}}))
	if err != nil {
		return fmt.Errorf("renew the lock of the rebuild: %w", err)
	}
	if result.MatchedCount == 0 {
		return ErrRebuilding
	}
	lock.Until = until
	return nil
}

// DropOthers drops every generation but those to be kept, and renews the lock meanwhile. It begins
// with the checkpoints: a generation that has checkpoints is whole. It drops each generation by its
// name. Because no name is used twice, a command that arrives late drops nothing of a newer rebuild.
func (s *Store) DropOthers(ctx context.Context, lock *RebuildLock, keep ...string) error {
	named, err := s.LoadMeta(ctx)
	if err != nil {
		return err
	}
	if err := s.show(ctx, named); err != nil { // a rebuild that was killed may have left the views behind
		return err
	}
	for _, part := range []struct{ in, field string }{{checkpointName, "_id"}, {parkedName, "generation"}} {
		in := s.db.Collection(part.in)
		old, err := others(ctx, in, part.field, keep)
		if err != nil {
			return fmt.Errorf("list the generations: %w", err)
		}
		if len(old) == 0 {
			continue
		}
		if err := s.Renew(ctx, lock); err != nil {
			return err
		}
		if _, err := in.DeleteMany(ctx, bson.D{{Key: part.field, Value: bson.D{{Key: "$in", Value: old}}}}); err != nil {
			return fmt.Errorf("forget old generations: %w", err)
		}
	}
	names, err := s.db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return fmt.Errorf("list the generations: %w", err)
	}
	for _, name := range names {
		kind, generation, ok := strings.Cut(name, "_")
		if !ok || !slices.Contains(kinds, kind) || slices.Contains(keep, generation) {
			continue
		}
		if err := s.Renew(ctx, lock); err != nil {
			return err
		}
		if err := s.db.Collection(name).Drop(ctx); err != nil {
			return fmt.Errorf("drop %s: %w", name, err)
		}
	}
	return nil
}

// others returns the values of a field, each once, without those to be kept.
func others(ctx context.Context, in *mongo.Collection, field string, keep []string) ([]string, error) {
	filter := bson.D{{Key: field, Value: bson.D{{Key: "$nin", Value: keep}}}}
	cursor, err := in.Find(ctx, filter, options.Find().SetProjection(bson.D{{Key: field, Value: 1}}))
	if err != nil {
		return nil, err
	}
	var docs []bson.Raw
	if err := cursor.All(ctx, &docs); err != nil {
		return nil, err
	}
	var values []string
	for _, d := range docs {
		if value, ok := d.Lookup(field).StringValueOK(); ok { // other values aren't of this program
			values = append(values, value)
		}
	}
	slices.Sort(values)
	return slices.Compact(values), nil
}

// ErrRebuilding says that another process is rebuilding.
var ErrRebuilding = errors.New("a rebuild is under way in another process")
