package store

import (
	"errors"
	"slices"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/projection/view"
)

// Ensure that what a rebuild left is dropped by the next program to start, but not while somebody
// has the lock.
func TestTidyingUp(t *testing.T) {
	s := open(t)
	left := s.NewRebuildLock("2")
	put := func(c RebuildLock) {
		t.Helper()
		if _, err := s.db.Collection(metaName).InsertOne(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	is := func(when string, generations ...string) {
		t.Helper()
		for _, name := range []string{"1", "2"} {
			_, err := s.LoadCheckpoints(t.Context(), name)
			if want := slices.Contains(generations, name); (err == nil) != want {
				t.Errorf("%s generation %s is there: %v, want %v", when, name, err, want)
			}
		}
	}
	if err := s.CreateGeneration(t.Context(), "2"); err != nil {
		t.Fatal(err)
	}
	current := Meta{Generation: "2", Schema: view.Schema}
	put(left)
	if err := s.tidy(t.Context(), current); err != nil {
		t.Fatal(err)
	}
	is("while the rebuild may be alive", "1", "2")
	update(t, s, "building", bson.D{{Key: "until", Value: int64(1)}})
	if err := s.tidy(t.Context(), Meta{Generation: "1", Schema: view.Schema}); err != nil {
		t.Fatal(err)
	}
	is("while it can be gone on with", "1", "2")
	lost := s.NewRebuildLock("3")
	if err := s.TakeOver(t.Context(), RebuildLock{Owner: "somebody else"}, &lost, "2"); !errors.Is(err, ErrRebuilding) {
		t.Errorf("a lock that another has taken over: %v", err)
	}
	is("after another took over", "1", "2")
	lost.Until = 1
	if err := s.DropOthers(t.Context(), &lost, "2"); !errors.Is(err, ErrRebuilding) {
		t.Errorf("cleaning up after a pause in which another took over: %v", err)
	}
	is("after a pause in which another took over", "1", "2")
	if err := s.tidy(t.Context(), current); err != nil {
		t.Fatal(err)
	}
	is("in the end", "2")
	if c, ok, err := s.Locked(t.Context()); ok || err != nil {
		t.Errorf("a lock is left: %+v, %v", c, err)
	}
}
