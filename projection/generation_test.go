package projection

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
	"product-service/projection/projectiontest"
	"product-service/projection/read"
	"product-service/projection/store"
	"product-service/wait"
)

// seen is the most that any reader of any process has been shown: versions by product, and by
// uuid.Nil of how many movements there are.
type seen struct {
	reading sync.RWMutex // held by those that read
	mu      sync.Mutex
	most    map[uuid.UUID]int64
}

// finish returns when the reads that are under way have ended.
func (s *seen) finish() {
	s.reading.Lock()
	defer s.reading.Unlock()
}

// check reads, and fails where that shows less than was shown before it began.
func (s *seen) check(ctx context.Context, t *testing.T, what string, read func() (map[uuid.UUID]int64, error), asked func(uuid.UUID) bool) bool {
	s.mu.Lock()
	before := maps.Clone(s.most)
	s.mu.Unlock()
	s.reading.RLock()
	got, err := read()
	s.reading.RUnlock()
	if ctx.Err() != nil {
		return false
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return true // a slow machine: it saw nothing, and so nothing wrong
	}
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return false
	}
	for id, n := range before {
		if asked(id) && got[id] < n {
			t.Errorf("%s: %s is at %d, and was seen at %d", what, id, got[id], n)
			return false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, n := range got {
		s.most[id] = max(s.most[id], n)
	}
	return true
}

// watch reads all the time, in three ways, as the clients of one process do.
func (s *seen) watch(ctx context.Context, t *testing.T, background *sync.WaitGroup, process string, r *read.Reader) {
	one := func(id uuid.UUID) func() (map[uuid.UUID]int64, error) {
		return func() (map[uuid.UUID]int64, error) {
			p, ok, err := r.Product(ctx, id)
			if !ok {
				return nil, err
			}
			return map[uuid.UUID]int64{id: p.Version}, err
		}
	}
	list := func() (map[uuid.UUID]int64, error) {
		page, err := r.Products(ctx, read.ProductFilter{}, read.ProductOrder{}, read.Range{First: read.MaxNodes, Count: true})
		got := map[uuid.UUID]int64{}
		for _, e := range page.Edges {
			got[e.Node.ID] = e.Node.Version
		}
		if err == nil && page.Total < int64(len(got)) {
			err = errors.New("the list is longer than its count")
		}
		return got, err
	}
	movements := func() (map[uuid.UUID]int64, error) {
		page, err := r.Movements(ctx, read.MovementFilter{}, read.Range{First: 1, Count: true})
		return map[uuid.UUID]int64{uuid.Nil: page.Total}, err
	}
	background.Go(func() {
		for n := 0; ; n = (n + 1) % 6 {
			id := projectiontest.ID(0xaa, n)
			if wait.For(ctx, 10*time.Millisecond); !s.check(ctx, t, process+" reads a product", one(id), func(of uuid.UUID) bool { return of == id }) {
				return
			}
		}
	})
	background.Go(func() {
		for s.check(ctx, t, process+" lists products", list, func(of uuid.UUID) bool { return of != uuid.Nil }) {
			wait.For(ctx, 200*time.Millisecond)
		}
	})
	background.Go(func() {
		for s.check(ctx, t, process+" counts movements", movements, func(of uuid.UUID) bool { return of == uuid.Nil }) {
			wait.For(ctx, 200*time.Millisecond)
		}
	})
}

// Ensure that whatever a reader of one process has seen, no reader of it or of another sees less
// later, through changes of the generation while commands go on being taken.
func TestReadersNeverSeeLess(t *testing.T) {
	a := projectiontest.Open(t)
	l := projectiontest.Stocked(t, 6)
	l.Clock = time.Now()
	var background sync.WaitGroup
	running, stop := context.WithCancel(t.Context())
	defer func() {
		stop()
		background.Wait()
	}()
	s := &seen{most: map[uuid.UUID]int64{}}
	stores, rebuilding := []*store.Store{a, projectiontest.Another(t, a)}, projectiontest.Another(t, a)
	for _, store := range append(stores, rebuilding) {
		store.Times.Change = time.Hour // a slow machine is to be waited for
	}
	for i, store := range stores {
		var half []int16
		for n := int16(i); n < eventstore.Shards; n += 2 {
			half = append(half, n)
		}
		p := project(t, store, l, &projectiontest.Leases{Epoch: 1, Of: half})
		if err := projectiontest.Drain(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		background.Go(func() { _ = p.Run(running) })
	}
	for i, store := range stores {
		s.watch(running, t, &background, []string{"one", "another"}[i], read.NewReader(store, nil))
	}
	background.Go(func() { trade(running, l) })

	for range 2 {
		ctx, interrupt := context.WithCancel(t.Context())
		done := make(chan error, 1)
		named := make(chan struct{})
		go func() {
			done <- Rebuild(ctx, rebuilding, l, projectiontest.Quiet, RebuildOptions{}, func(at Progress) {
				if at.Phase == "clean up" {
					close(named)
				}
			})
		}()
		<-named
		projectiontest.Within(t, 10*time.Minute, func() bool { return changed(t, stores) || t.Failed() })
		interrupt()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
		s.finish() // a rebuild's lock outlasts every read of the generation that the next one drops
		projectiontest.Expire(t, a)
	}
}

// changed says whether all use the generation that is named.
func changed(t *testing.T, stores []*store.Store) bool {
	m, err := stores[0].LoadMeta(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stores {
		if in, err := s.Generation(t.Context()); err != nil || in.Name != m.Generation {
			return false
		}
	}
	return projectiontest.ChangedOver(t, stores[0])
}

// trade goes on taking commands as fast as pages come, and makes a product now and then.
func trade(ctx context.Context, l *projectiontest.Log) {
	for i := 0; ctx.Err() == nil; i++ {
		l.Mu.Lock()
		l.Clock = time.Now()
		l.Mu.Unlock()
		if n := 6 + i/50; i%50 == 0 && n < read.MaxNodes {
			l.Do(projectiontest.ID(0xaa, n), 0, product.Create{Name: "New", InitialStock: 1})
		}
		l.Do(projectiontest.ID(0xaa, i%6), 0, product.AdjustStock{Delta: 1, Reason: "delivery"})
		wait.For(ctx, 5*time.Millisecond)
	}
}

// follow is a subscription of a generation that takes every shard up under an epoch and folds one page
// of some rows.
func follow(t *testing.T, s *store.Store, l *projectiontest.Log, generation string, epoch int64, rows int) *subscription {
	t.Helper()
	f := newSubscription(s, s.Collections(generation), l, projectiontest.Quiet, project(t, s, l, &projectiontest.Leases{}).metrics)
	f.limit, s.Config.MinPage = rows, rows
	if _, _, err := f.poll(t.Context(), (&projectiontest.Leases{Epoch: epoch}).Held(Role)); err != nil {
		t.Fatal(err)
	}
	return f
}

// Ensure that who takes a shard up has its checkpoint at once: before its first page, the one
// before it can't move that any more.
func TestANewOwnerHasTheCheckpoint(t *testing.T) {
	s, l := projectiontest.Open(t), projectiontest.Stocked(t, 6)
	before := follow(t, s, l, "1", 1, 1000)
	tailing := errors.New("no page yet")
	l.Fail = func(call string) error {
		if call == "tail" {
			return tailing
		}
		return nil
	}
	f := newSubscription(s, before.into, l, projectiontest.Quiet, before.metrics)
	if _, _, err := f.poll(t.Context(), (&projectiontest.Leases{Epoch: 2}).Held(Role)); !errors.Is(err, tailing) {
		t.Fatal(err)
	}
	l.Fail = nil
	l.Do(projectiontest.ID(0xaa, 0), 0, product.AdjustStock{Delta: 1, Reason: "delivery"})
	if _, _, err := before.poll(t.Context(), (&projectiontest.Leases{Epoch: 1}).Held(Role)); err != nil {
		t.Fatal(err)
	}
	shard := eventstore.ShardOf(projectiontest.ID(0xaa, 0))
	saved, err := s.LoadCheckpoints(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	if at := saved[shard]; at.Epoch != 2 || at.Pos != int64(len(l.Shards[shard])-1) {
		t.Errorf("the checkpoint is %+v of %d rows", at, len(l.Shards[shard]))
	}
	rows, _, err := before.poll(t.Context(), (&projectiontest.Leases{Epoch: 1}).Held(Role))
	if s := before.shards[shard]; rows > 0 || err != nil || s == nil || !s.lost {
		t.Errorf("the old owner folds %d rows of %+v, error %v", rows, s, err)
	}
	if _, _, err := before.poll(t.Context(), (&projectiontest.Leases{Epoch: 3}).Held(Role)); err != nil || before.shards[shard].lost {
		t.Errorf("when the shard has come back it folds none, error %v", err)
	}
}

// Ensure that what readers may change over to they still may when the shards have gone to an owner
// who is behind, but not when one feeds the old generation.
func TestChangingOverIsForGood(t *testing.T) {
	s, l := projectiontest.Open(t), projectiontest.Stocked(t, 6)
	follow(t, s, l, "1", 1, 1000)
	if err := s.CreateGeneration(t.Context(), "2"); err != nil {
		t.Fatal(err)
	}
	is := func(when string, want bool) {
		t.Helper()
		if done, err := s.TakenOver(t.Context(), "1", "2"); err != nil || done != want {
			t.Errorf("%s: done %v, error %v", when, done, err)
		}
	}
	follow(t, s, l, "2", 0, 1000)
	is("a rebuild has filled it", false)
	owners := map[int16]int64{}
	for n := range int16(eventstore.Shards) {
		owners[n] = 1
	}
	if _, err := s.Fence(t.Context(), "2", owners); err != nil {
		t.Fatal(err)
	}
	is("owners have turned, and not read on yet", false)
	follow(t, s, l, "2", 1, 1000)
	is("they have", true)
	for range 20 {
		for n := range 6 {
			l.Do(projectiontest.ID(0xaa, n), 0, product.AdjustStock{Delta: 1, Reason: "delivery"})
		}
	}
	follow(t, s, l, "2", 2, 10)
	is("others have taken over, and are behind", true)
	follow(t, s, l, "1", 3, 10)
	is("another feeds the old one", false)
}
