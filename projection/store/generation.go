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
}

// kinds are the collections of a generation.
var kinds = []string{"products", "movements", "journal", "days"}

func (s *Store) Collections(name string) Generation {
	of := func(what string) *mongo.Collection { return s.db.Collection(what + "_" + name) }
	return Generation{Name: name, Products: of("products"), Movements: of("movements"), Journal: of("journal"), Days: of("days")}
}

const (
	// StaleMeta is how long a process may go without a look at which generation is read.
	StaleMeta = time.Second
	// notice is how long a process knows of a new generation before its projector feeds it: by then every process knows of it.
	notice = StaleMeta * 3 / 2
	// changeTime is how long after its last look that found an old generation in use a process reads it at most.
	changeTime = 5 * StaleMeta
)

// use says which generations a process uses. They differ only while it changes over.
type use struct{ read, fed Meta }

// Generation returns the generation that is read now. See [Store.look] for how it gives way to another.
func (s *Store) Generation(ctx context.Context) (Generation, error) {
	u, err := s.using(ctx)
	return s.GenerationOf(u.read), err
}

// FedGeneration returns the generation that is projected into now.
func (s *Store) FedGeneration(ctx context.Context) (Generation, error) {
	u, err := s.using(ctx)
	return s.GenerationOf(u.fed), err
}

func (s *Store) GenerationOf(m Meta) Generation {
	g := s.Collections(m.Generation)
	g.Schema = m.Schema
	return g
}

// using says which generations are in use. One of those who ask finds it out for all, in time or not at all, while MongoDB is silent.
func (s *Store) using(ctx context.Context) (use, error) {
	if u, fresh := s.known(); fresh {
		return u, nil
	}
	u, err := s.looks.Do(ctx, "", func(ctx context.Context) (use, error) {
		if u, fresh := s.known(); fresh { // those before have just found it out
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

func (s *Store) known() (u use, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return use{s.current, s.current}, time.Since(s.read) < StaleMeta
}

// look finds out which generation is named, and changes over to it such that no reader sees less than one did before, in this process or another.
//
// A projector turns to a new generation some time after its process has seen that it is named, when every other one has seen it too. It ends its page of
// the old generation, and begins with the new one where it stands. No clock of another host is asked. When it has read a shard to its end there, the
// new generation holds all that the old one ever will, and the checkpoint says so: under the epoch of whoever was the last to feed the old one, or a
// later one. Readers change over when that is so of every shard. Until then every read looks for itself, those under way aside: when one finds the
// change done, so does each that begins after it, wherever.
//
// A shard without an owner, or with one of another shape of documents, holds this up. After changeTime a process changes over all the same,
// because the old generation is dropped: what the rebuild adds to the new one meanwhile is then all there is to go by.
func (s *Store) look(ctx context.Context) (use, error) {
	began := time.Now() // not when the answer comes: a slow one is old by then
	m, err := s.LoadMeta(ctx)
	if err != nil {
		return use{}, err
	}
	s.mu.Lock()
	old, last := s.current, s.read
	if s.seen != m.Generation {
		s.seen, s.since = m.Generation, began
	}
	since := s.since
	s.mu.Unlock()
	if changes := old.Generation != "" && old.Generation != m.Generation; changes && began.Sub(last) < s.Patience {
		done, err := s.TakenOver(ctx, old.Generation, m.Generation)
		switch {
		case err != nil:
			return use{}, err
		case done:
		case began.Sub(since) < notice:
			return use{old, old}, nil
		default:
			return use{old, m}, nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current, s.read = m, began
	return use{m, m}, nil
}

// TakenOver says whether the owner of every shard has left an old generation for a new one that holds all that the old one shows. The new one is
// looked at first: an owner who came to the old one meanwhile then shows there.
func (s *Store) TakenOver(ctx context.Context, from, to string) (bool, error) {
	is, err := s.LoadCheckpoints(ctx, to)
	if err != nil {
		return false, err
	}
	was, err := s.LoadCheckpoints(ctx, from)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return true, nil // it is being dropped
	} else if err != nil {
		return false, err
	}
	for n, c := range was {
		if at := is[n]; at.CaughtUp < c.Epoch || at.Complete < c.Complete {
			return false, nil
		}
	}
	return true, nil
}

// ErrRenamed says that what was looked at isn't what is read any more.
var ErrRenamed = errors.New("a rebuild has named another generation meanwhile; begin again")

// StillCurrent fails where another generation than this has been named: it may have been dropped, and what is written to it nobody reads.
func (s *Store) StillCurrent(ctx context.Context, g Generation) error {
	if m, err := s.LoadMeta(ctx); err != nil || m.Generation == g.Name {
		return err
	}
	return ErrRenamed
}

func (s *Store) LoadMeta(ctx context.Context) (Meta, error) {
	var m Meta
	if err := s.db.Collection(metaName).FindOne(ctx, bson.D{{Key: "_id", Value: "current"}}).Decode(&m); err != nil {
		return m, fmt.Errorf("find the generation to read: %w", err)
	}
	return m, nil
}

// ChangeOver names another generation as the one that is read. It returns [ErrRebuilding] where the one before isn't the one it was.
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
	return nil
}
