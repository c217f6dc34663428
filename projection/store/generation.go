package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"product-service/projection/view"
)

// Meta names the generation that is read.
type Meta struct {
	ID         string `bson:"_id"`
	Generation string `bson:"generation"`
	Schema     int    `bson:"schema"`
}

// Generation holds the collections of one read model.
type Generation struct {
	Name      string
	Schema    int // the shape of its documents, where it was found by its being read or fed
	Products  *mongo.Collection
	Movements *mongo.Collection // in blocks, by product
	Journal   *mongo.Collection // the same in segments, by time
	Days      *mongo.Collection
	Months    *mongo.Collection
}

// kinds are the collections of a generation.
var kinds = []string{"products", "movements", "journal", "days", "months"}

// Collections returns the generation of a name, whatever its shape.
func (s *Store) Collections(name string) Generation {
	of := func(what string) *mongo.Collection { return s.db.Collection(what + "_" + name) }
	return Generation{Name: name, Products: of("products"), Movements: of("movements"), Journal: of("journal"),
		Days: of("days"), Months: of("months")}
}

// use says which generations a process uses. They differ only while it is turning.
type use struct{ read, fed Meta }

// Generation returns the generation that is read now. It gives way to another such that no reader
// of this process sees less than one did before.
func (s *Store) Generation(ctx context.Context) (Generation, error) {
	u, err := s.using(ctx)
	return s.GenerationOf(u.read), err
}

// FedGeneration returns the generation that is projected into now.
func (s *Store) FedGeneration(ctx context.Context) (Generation, error) {
	u, err := s.using(ctx)
	return s.GenerationOf(u.fed), err
}

// GenerationOf returns the generation that is named.
func (s *Store) GenerationOf(m Meta) Generation {
	g := s.Collections(m.Generation)
	g.Schema = m.Schema
	return g
}

// using says which generations are in use. One of those who ask finds it out for all, in time or
// not at all, while MongoDB is silent.
func (s *Store) using(ctx context.Context) (use, error) {
	if u, fresh := s.fresh(); fresh {
		return u, nil
	}
	u, err := s.looks.Do(ctx, "", func(ctx context.Context) (use, error) {
		if u, fresh := s.fresh(); fresh { // those before have just found it out
			return u, nil
		}
		ctx, cancel := context.WithTimeout(ctx, s.Config.ReadTimeout)
		defer cancel()
		return s.look(ctx)
	})
	if err != nil {
		return use{}, fmt.Errorf("find the generation to read: %w", err)
	}
	return u, nil
}

// fresh is what is in use, where that is known well enough.
func (s *Store) fresh() (use, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return use{s.known.read, s.known.read}, s.known.fresh(time.Now(), s.Times)
}

// look finds out which generation is named, and with that which ones are in use from now on. Looks
// come one after the other.
func (s *Store) look(ctx context.Context) (use, error) {
	found := sighting{at: time.Now()}
	var err error
	if found.named, err = s.LoadMeta(ctx); err != nil {
		return use{}, err
	}
	s.mu.Lock()
	before := s.known
	s.mu.Unlock()
	if before.read.Generation != "" && before.read.Generation != found.named.Generation {
		if found.takenOver, err = s.TakenOver(ctx, before.read.Generation, found.named.Generation); err != nil {
			return use{}, err
		}
	}
	next, _ := before.after(found, s.Times)
	s.mu.Lock()
	s.known = next
	s.mu.Unlock()
	if next.read.Generation != before.read.Generation && before.read.Generation != "" {
		s.Changes.tell(nil) // it may differ in anything
	}
	return use{read: next.read, fed: found.named}, nil
}

// TakenOver says whether the owner of every shard has left an old generation for a new one that
// holds all that the old one shows. The new one is read first: an owner who came to the old one
// meanwhile then shows there.
func (s *Store) TakenOver(ctx context.Context, from, to string) (bool, error) {
	next, err := s.LoadCheckpoints(ctx, to)
	if err != nil {
		return false, err
	}
	old, err := s.LoadCheckpoints(ctx, from)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return true, nil // it is being dropped
	} else if err != nil {
		return false, err
	}
	return isTakenOver(old, next), nil
}

// ErrRenamed says that what was looked at isn't what is read any more.
var ErrRenamed = errors.New("a rebuild has named another generation meanwhile; begin again")

// StillCurrent fails where another generation than this has been named: it may have been dropped,
// and what is written to it nobody reads.
func (s *Store) StillCurrent(ctx context.Context, g Generation) error {
	if m, err := s.LoadMeta(ctx); err != nil || m.Generation == g.Name {
		return err
	}
	return ErrRenamed
}

// LoadMeta reads which generation is named.
func (s *Store) LoadMeta(ctx context.Context) (Meta, error) {
	var m Meta
	if err := s.db.Collection(metaName).FindOne(ctx, ByID("current")).Decode(&m); err != nil {
		return m, fmt.Errorf("find the generation to read: %w", err)
	}
	return m, nil
}

// ChangeOver names another generation as the one that is read. It returns [ErrRebuilding] where the
// one before isn't the one it was.
func (s *Store) ChangeOver(ctx context.Context, from, to string) error {
	fields := bson.D{{Key: "generation", Value: to}, {Key: "schema", Value: view.Schema}}
	was := bson.D{{Key: "_id", Value: "current"}, {Key: "generation", Value: from}}
	result, err := s.db.Collection(metaName).UpdateOne(ctx, was, Set(fields))
	if err != nil {
		return fmt.Errorf("change over to generation %s: %w", to, err)
	}
	if result.MatchedCount == 0 {
		return ErrRebuilding
	}
	return s.show(ctx, Meta{Generation: to, Schema: view.Schema})
}
