package store

import (
	"context"
	"time"
)

// SetSole says how to find out whether nobody but this process's projector writes a generation's
// products now.
func (s *Store) SetSole(sole func(generation string) bool) { s.sole.Store(&sole) }

// heardFor is how long what other processes change counts as heard after the follower last came to its end.
const heardFor = time.Second

// followed says up to when the changes of a generation were followed.
type followed struct {
	generation string
	at         time.Time
}

// Heard returns the generation that is read, where this process is told of its changes ([Changes])
// as they come: its own projector alone makes them, or it follows those that others make and isn't
// behind. Not ok: some may have been missed. Who asks has them followed from then on, as long as he
// asks every few seconds.
func (s *Store) Heard(ctx context.Context) (generation string, ok bool) {
	u, err := s.using(ctx)
	if err != nil || u.read.Generation != u.fed.Generation {
		return "", false
	}
	name := u.read.Generation
	if sole := s.sole.Load(); sole != nil && (*sole)(name) {
		return name, true
	}
	s.Changes.want()
	f := s.followed.Load()
	return name, f != nil && f.generation == name && time.Since(f.at) < heardFor
}

// TellMissed tells subscribers that changes may have been missed, as before a projector took over
// from another one.
func (s *Store) TellMissed() { s.Changes.tell(nil) }
