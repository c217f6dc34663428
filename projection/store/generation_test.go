package store

import (
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/eventstore"
	"product-service/projection/view"
)

// Ensure that a process that has no projector to wait for, or one that is stuck, changes over in the end, and one that hasn't looked for long at once.
func TestChangingOverInTheEnd(t *testing.T) {
	s := open(t)
	owners := map[int16]int64{}
	for n := range int16(eventstore.Shards) {
		owners[n] = 1
	}
	if _, err := s.Fence(t.Context(), "1", owners); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateGeneration(t.Context(), "2"); err != nil {
		t.Fatal(err)
	}
	next := bson.D{{Key: "generation", Value: "2"}}
	update(t, s, "current", next)
	for _, c := range []struct {
		ago       time.Duration // of the last look that found the old one
		known     time.Duration // since the first that found the new one
		read, fed string
	}{
		{StaleMeta, 0, "1", "1"},
		{StaleMeta + notice, notice / 2, "1", "1"},
		{StaleMeta + notice, notice, "1", "2"},
		{changeTime, notice, "2", "2"},
		{time.Hour, 0, "2", "2"},
	} {
		s.current, s.read = Meta{Generation: "1", Schema: view.Schema}, time.Now().Add(-c.ago)
		s.seen, s.since = "2", time.Now().Add(-c.known)
		u, err := s.using(t.Context())
		if err != nil || u.read.Generation != c.read || u.fed.Generation != c.fed {
			t.Errorf("%s after a look it uses %+v, error %v", c.ago, u, err)
		}
	}
}
