package projection

import (
	"context"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/product"
	"product-service/projection/projectiontest"
	"product-service/projection/store"
	"product-service/projection/view"
)

// told collects what subscribers of changes are told.
type told struct {
	mu      sync.Mutex
	changes []view.Change
	anew    int // how often it was: anything may have changed
}

func (c *told) take(changes []view.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes = append(c.changes, changes...)
	if len(changes) == 0 {
		c.anew++
	}
}

// of are the versions that were told of a product, in order.
func (c *told) of(id uuid.UUID) (versions []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, change := range c.changes {
		if change.ProductID == id {
			versions = append(versions, change.Version)
		}
	}
	return versions
}

func (c *told) resets() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.anew
}

// listen has a process tell of changes until the test ends.
func listen(t *testing.T, s *store.Store, l *projectiontest.Log) *told {
	t.Helper()
	c := &told{}
	stop := s.Changes.Subscribe(c.take)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.FollowChanges(ctx, l, projectiontest.Quiet) }()
	t.Cleanup(func() {
		stop()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	projectiontest.Within(t, time.Minute, func() bool { return c.resets() > 0 }) // it has begun
	return c
}

// ways are both ways to follow: what the server can do itself, and what every server can.
func ways(t *testing.T, test func(t *testing.T, mine, other *store.Store)) {
	for _, streams := range []bool{true, false} {
		t.Run(map[bool]string{true: "as the server can", false: "by the log"}[streams], func(t *testing.T) {
			mine := projectiontest.Open(t)
			other := projectiontest.Another(t, mine)
			other.Server.Streams = streams && other.Server.Streams
			test(t, mine, other)
		})
	}
}

// What one process projects is told in it at once, and in others soon.
func TestChangesOfAnotherProcessAreTold(t *testing.T) {
	ways(t, func(t *testing.T, mine, other *store.Store) {
		l := projectiontest.Stocked(t, 3)
		p := project(t, mine, l, &projectiontest.Leases{Epoch: 1})
		if err := projectiontest.Drain(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		here := &told{}
		defer mine.Changes.Subscribe(here.take)()
		there := listen(t, other, l)
		id := projectiontest.ID(0xaa, 1)
		for range 3 {
			rows := l.Do(id, time.Second, product.AdjustStock{Delta: 1, Reason: "delivery"})
			if err := projectiontest.Drain(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			version := rows[len(rows)-1].Version
			if got := here.of(id); !slices.Contains(got, version) {
				t.Fatalf("here was told of %v, not of %d", got, version)
			}
			projectiontest.Within(t, time.Minute, func() bool { return slices.Contains(there.of(id), version) })
		}
		if got := there.of(projectiontest.ID(0xaa, 0)); len(got) > 0 {
			t.Errorf("of a product that didn't change was told %v", got)
		}
	})
}

// What a process has told of when it made the change doesn't come to it again.
func TestOwnChangesAreToldOnce(t *testing.T) {
	ways(t, func(t *testing.T, mine, other *store.Store) {
		l := projectiontest.Stocked(t, 2)
		p := project(t, other, l, &projectiontest.Leases{Epoch: 1})
		if err := projectiontest.Drain(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		all := listen(t, other, l)
		own, theirs := projectiontest.ID(0xaa, 0), projectiontest.ID(0xaa, 1)
		l.Do(own, time.Second, product.AdjustStock{Delta: 1, Reason: "delivery"})
		if err := projectiontest.Drain(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		l.Do(theirs, time.Second, product.AdjustStock{Delta: 1, Reason: "delivery"})
		if err := projectiontest.Drain(t.Context(), project(t, mine, l, &projectiontest.Leases{Epoch: 2})); err != nil { // it has taken over
			t.Fatal(err)
		}
		projectiontest.Within(t, time.Minute, func() bool { return len(all.of(theirs)) > 0 }) // and so what came before it
		if got := all.of(own); len(got) != 1 {
			t.Errorf("of the own change was told %v", got)
		}
	})
}

// Where too much has happened to look at, anything may have changed.
func TestManyChangesAreToldAsOne(t *testing.T) {
	mine := projectiontest.Open(t)
	other := projectiontest.Another(t, mine)
	other.Server.Streams = false
	l := projectiontest.Stocked(t, 1)
	if err := projectiontest.Drain(t.Context(), project(t, mine, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	all := listen(t, other, l)
	before := all.resets()
	g, err := mine.Generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shards, err := mine.LoadCheckpoints(t.Context(), g.Name)
	if err != nil {
		t.Fatal(err)
	}
	c := shards[7]
	c.Pos, c.Epoch = c.Pos+1_000_000, math.MaxInt32
	if err := mine.SaveCheckpoints(t.Context(), g.Name, map[int16]store.Checkpoint{7: c}); err != nil {
		t.Fatal(err)
	}
	projectiontest.Within(t, time.Minute, func() bool { return all.resets() > before })
}

// When another generation is read anything may differ, and it is that one that is followed.
func TestAnotherGenerationIsFollowed(t *testing.T) {
	ways(t, func(t *testing.T, mine, other *store.Store) {
		l := projectiontest.Stocked(t, 2)
		p := project(t, mine, l, &projectiontest.Leases{Epoch: 1})
		if err := projectiontest.Drain(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		all := listen(t, other, l)
		before := all.resets()
		if err := Rebuild(t.Context(), mine, l, projectiontest.Quiet, RebuildOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		id := projectiontest.ID(0xaa, 0)
		version := int64(0)
		projectiontest.Within(t, 60*time.Second, func() bool {
			rows := l.Do(id, time.Second, product.AdjustStock{Delta: 1, Reason: "delivery"})
			version = rows[len(rows)-1].Version
			if err := projectiontest.Drain(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			return all.resets() > before && len(all.of(id)) > 0 && slices.Max(all.of(id)) >= version-20
		})
		g, err := other.Generation(t.Context())
		if err != nil || g.Name == "1" {
			t.Errorf("the other process reads generation %s, %v", g.Name, err)
		}
	})
}
