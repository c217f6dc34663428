package projection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// meta names the generation that is read.
type meta struct {
	ID         string `bson:"_id"`
	Generation string `bson:"generation"`
	Schema     int    `bson:"schema"`
}

// generation holds the collections of one read model.
type generation struct {
	name      string
	schema    int // the shape of its documents, where it was found by its being read or fed
	products  *mongo.Collection
	movements *mongo.Collection // in blocks, by product
	journal   *mongo.Collection // the same in segments, by time
	days      *mongo.Collection
}

// kinds are the collections of a generation.
var kinds = []string{"products", "movements", "journal", "days"}

func (s *Store) collections(name string) generation {
	of := func(what string) *mongo.Collection { return s.db.Collection(what + "_" + name) }
	return generation{name: name, products: of("products"), movements: of("movements"), journal: of("journal"), days: of("days")}
}

const (
	// staleMeta is how long a process may go without a look at which generation is read.
	staleMeta = time.Second
	// notice is how long a process knows of a new generation before its projector feeds it: by then every process knows of it.
	notice = staleMeta * 3 / 2
	// changeTime is how long after its last look that found an old generation in use a process reads it at most.
	changeTime = 5 * staleMeta
)

// use says which generations a process uses. They differ only while it changes over.
type use struct{ read, fed meta }

// generation returns the generation that is read now. See [Store.look] for how it gives way to another.
func (s *Store) generation(ctx context.Context) (generation, error) {
	u, err := s.using(ctx)
	return s.named(u.read), err
}

// fed returns the generation that is projected into now.
func (s *Store) fed(ctx context.Context) (generation, error) {
	u, err := s.using(ctx)
	return s.named(u.fed), err
}

func (s *Store) named(m meta) generation {
	g := s.collections(m.Generation)
	g.schema = m.Schema
	return g
}

// using says which generations are in use. One of those who ask finds it out for all, in time or not at all, while MongoDB is silent.
func (s *Store) using(ctx context.Context) (use, error) {
	if u, fresh := s.known(); fresh {
		return u, nil
	}
	u, err := s.looks.do(ctx, "", func(ctx context.Context) (use, error) {
		if u, fresh := s.known(); fresh { // those before have just found it out
			return u, nil
		}
		ctx, cancel := context.WithTimeout(ctx, s.config.ReadTimeout)
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
	return use{s.current, s.current}, time.Since(s.read) < staleMeta
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
	m, err := s.loadMeta(ctx)
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
	if changes := old.Generation != "" && old.Generation != m.Generation; changes && began.Sub(last) < s.patience {
		done, err := s.takenOver(ctx, old.Generation, m.Generation)
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

// takenOver says whether the owner of every shard has left an old generation for a new one that holds all that the old one shows. The new one is
// looked at first: an owner who came to the old one meanwhile then shows there.
func (s *Store) takenOver(ctx context.Context, from, to string) (bool, error) {
	is, err := s.loadCheckpoints(ctx, to)
	if err != nil {
		return false, err
	}
	was, err := s.loadCheckpoints(ctx, from)
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

// errRenamed says that what was looked at isn't what is read any more.
var errRenamed = errors.New("a rebuild has named another generation meanwhile; begin again")

// still fails where another generation than this has been named: it may have been dropped, and what is written to it nobody reads.
func (s *Store) still(ctx context.Context, g generation) error {
	if m, err := s.loadMeta(ctx); err != nil || m.Generation == g.name {
		return err
	}
	return errRenamed
}

func (s *Store) loadMeta(ctx context.Context) (meta, error) {
	var m meta
	if err := s.db.Collection(metaName).FindOne(ctx, bson.D{{Key: "_id", Value: "current"}}).Decode(&m); err != nil {
		return m, fmt.Errorf("find the generation to read: %w", err)
	}
	return m, nil
}
