package read

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"

	"product-service/dev/stack"
	"product-service/product"
	"product-service/projection"
	"product-service/projection/projectiontest"
	"product-service/projection/store"
)

// counting is a store whose reads of products are counted, and what fills it.
type counting struct {
	store     *store.Store
	log       *projectiontest.Log
	projector *projection.Projector
	leases    *projectiontest.Leases
	reads     *atomic.Int64
	lists     *atomic.Int64 // those of them that go through products in an order
}

// counted is a store whose reads of products are counted, with a log of stocked products, all
// projected by the only projector.
func counted(t *testing.T, products int) (c counting) {
	t.Helper()
	c = countedStore(t, products)
	c.projector = project(t, c.store, c.log, c.leases)
	if err := projectiontest.Drain(t.Context(), c.projector); err != nil {
		t.Fatal(err)
	}
	return c
}

// elsewhere is counted, but it is another process that projects.
func elsewhere(t *testing.T, products int) (c counting) {
	t.Helper()
	c = countedStore(t, products)
	c.projector = project(t, projectiontest.Another(t, c.store), c.log, c.leases)
	if err := projectiontest.Drain(t.Context(), c.projector); err != nil {
		t.Fatal(err)
	}
	return c
}

func countedStore(t *testing.T, products int) counting {
	t.Helper()
	reads, lists := &atomic.Int64{}, &atomic.Int64{}
	url, database := stack.Mongo(t)
	s, err := store.OpenMonitored(t.Context(), projectiontest.Configured(t, url, database), &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		if in, ok := e.Command.Lookup(e.CommandName).StringValueOK(); ok && in == "products_1" && (e.CommandName == "find" || e.CommandName == "aggregate") {
			reads.Add(1)
			if _, err := e.Command.LookupErr("sort"); err == nil {
				lists.Add(1)
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return counting{store: s, log: projectiontest.Stocked(t, products), leases: &projectiontest.Leases{Epoch: 1}, reads: reads, lists: lists}
}

// follow has what other processes change told until the test ends, or stop is called.
func (c counting) follow(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.store.FollowChanges(ctx, c.log, slog.New(slog.DiscardHandler)) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// adjust changes the stock of a product, and has it projected.
func (c counting) adjust(t *testing.T, id uuid.UUID) (version int64) {
	t.Helper()
	c.log.Do(id, time.Second, product.AdjustStock{Delta: 1, Reason: "count"})
	if err := projectiontest.Drain(t.Context(), c.projector); err != nil {
		t.Fatal(err)
	}
	return versionOf(c.log, id)
}

func versionOf(l *projectiontest.Log, id uuid.UUID) (version int64) {
	for _, r := range l.Of(id) {
		version = max(version, r.Version)
	}
	return version
}

// keptReads are the reads of products that can be kept, each with the version it shows of one.
func keptReads(r *Reader, id uuid.UUID) map[string]func(context.Context) (version int64, err error) {
	return map[string]func(context.Context) (int64, error){
		"product": func(ctx context.Context) (int64, error) {
			p, _, err := r.Product(ctx, id)
			return p.Version, err
		},
		"by ids": func(ctx context.Context) (int64, error) {
			all, err := r.ProductsByIDs(ctx, []uuid.UUID{id})
			if err != nil || all[0] == nil {
				return 0, err
			}
			return all[0].Version, nil
		},
		"page": func(ctx context.Context) (int64, error) {
			page, err := r.Products(ctx, ProductFilter{}, ProductOrder{Field: ByAvailable}, Range{First: 100, Count: true})
			for _, e := range page.Edges {
				if e.Node.ID == id {
					return e.Node.Version, err
				}
			}
			return 0, err
		},
	}
}

// Ensure that what was read isn't read again until it changes, and that a change shows in every
// read once it is projected.
func TestHotProductsAreKept(t *testing.T) {
	c := counted(t, 5)
	s, l, p, reads := c.store, c.log, c.projector, c.reads
	r, id := NewReader(s, nil), projectiontest.ID(0xaa, 0)
	for round := range 3 {
		want := versionOf(l, id)
		for name, read := range keptReads(r, id) {
			if got, err := read(t.Context()); err != nil || got != want {
				t.Errorf("round %d: %s shows version %d, %v; want %d", round, name, got, err, want)
			}
		}
		before := reads.Load()
		for name, read := range keptReads(r, id) {
			if got, err := read(t.Context()); err != nil || got != want || reads.Load() != before {
				t.Errorf("round %d: %s again shows version %d, %v, with %d more reads; want %d", round, name, got, err, reads.Load()-before, want)
			}
		}
		if err := r.WaitFor(t.Context(), id, want); err != nil || reads.Load() != before {
			t.Errorf("round %d: waiting for what is kept took %d reads, %v", round, reads.Load()-before, err)
		}
		l.Do(id, time.Second, product.AdjustStock{Delta: 1, Reason: "count"})
		if err := projectiontest.Drain(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
}

// Ensure that nothing kept is shown when another instance may project, and that what it kept before
// isn't shown after.
func TestNothingIsKeptBesideAnotherProjector(t *testing.T) {
	c := counted(t, 3)
	s, l, p, leases, reads := c.store, c.log, c.projector, c.leases, c.reads
	r, id := NewReader(s, nil), projectiontest.ID(0xaa, 0)
	warm := func() {
		for _, read := range keptReads(r, id) {
			if _, err := read(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	warm()
	leases.Lose(7)
	before := reads.Load()
	warm()
	if got := reads.Load() - before; got < 3 {
		t.Errorf("%d reads without the leases of all shards; want one for each", got)
	}
	l.Do(id, time.Second, product.AdjustStock{Delta: 1, Reason: "count"})
	other := project(t, projectiontest.Another(t, s), l, &projectiontest.Leases{Epoch: 2})
	if err := projectiontest.Drain(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	leases.Take(3)
	if _, _, err := p.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, read := range keptReads(r, id) {
		if got, err := read(t.Context()); err != nil || got != versionOf(l, id) {
			t.Errorf("%s shows version %d, %v after another had projected; want %d", name, got, err, versionOf(l, id))
		}
	}
}

// Ensure that what a process without a lease writes, as a repair does, shows in time.
func TestNothingIsKeptForLong(t *testing.T) {
	c := counted(t, 2)
	s, reads := c.store, c.reads
	r, id := NewReader(s, nil), projectiontest.ID(0xaa, 0)
	later := time.Duration(0)
	r.kept.now = func() time.Time { return time.Now().Add(later) }
	if _, _, err := r.Product(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	set := bson.D{{Key: "$set", Value: bson.D{{Key: "name", Value: "Repaired"}}}}
	if _, err := s.Collections("1").Products.UpdateOne(t.Context(), bson.D{{Key: "_id", Value: id.String()}}, set); err != nil {
		t.Fatal(err)
	}
	before := reads.Load()
	later = keptAge + time.Second
	if p, _, err := r.Product(t.Context(), id); err != nil || p.Name != "Repaired" || reads.Load() != before+1 {
		t.Errorf("%q, %v", p.Name, err)
	}
}

// Ensure that what is kept is bounded, with the variants that lead to it.
func TestWhatIsKeptIsBounded(t *testing.T) {
	c := counted(t, 30)
	s, reads := c.store, c.reads
	s.Config.ReadCache = 16 << 10
	r := NewReader(s, nil)
	for n := range 30 {
		if _, _, err := r.Product(t.Context(), projectiontest.ID(0xaa, n)); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Products(t.Context(), ProductFilter{}, ProductOrder{}, Range{First: n + 1}); err != nil {
			t.Fatal(err)
		}
	}
	k := r.kept
	if reads.Load() == 0 {
		t.Error("nothing was read")
	}
	if n := k.products.lru.Len(); k.products.used > k.products.limit || k.pages.used > k.pages.limit || n == 0 || n == 30 {
		t.Errorf("%d products of %d bytes, pages of %d bytes", n, k.products.used, k.pages.used)
	}
	for v, owner := range k.variants {
		if !k.products.lru.Contains(owner) {
			t.Errorf("variant %s leads to a product that isn't kept", v)
		}
	}
}
