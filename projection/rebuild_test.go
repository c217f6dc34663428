package projection

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/eventstore"
	"product-service/integration/inventory"
	"product-service/product"
	"product-service/projection/projectiontest"
	"product-service/projection/read"
	"product-service/projection/store"
	"product-service/projection/view"
	"product-service/wait"
)

// Ensure that a rebuild, interrupted anywhere while commands go on being taken, ends with the
// documents of the log, that readers never see less than before meanwhile, and that nothing of the
// old generation is left.
func TestRebuildBesideTheLiveView(t *testing.T) {
	s := projectiontest.Open(t)
	s.Config.MinPage, s.Config.MaxPage = 20, 20
	l := projectiontest.Stocked(t, 6)
	p := project(t, s, l, &projectiontest.Leases{Epoch: 1})
	if err := projectiontest.Drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := read.NewLevels(s).Save(t.Context(), []inventory.Level{{VariantID: projectiontest.ID(0xbb, 0), Available: 3}}); err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(t.Context())
	var background sync.WaitGroup
	background.Go(func() { _ = p.Run(running) })
	background.Go(func() { write(running, l) })
	background.Go(func() { poll(running, t, read.NewReader(s, nil)) })

	for _, phase := range []string{"fill", "index", "switch", "clean up", ""} {
		ctx, interrupt := context.WithCancel(t.Context())
		err := Rebuild(ctx, s, l, projectiontest.Quiet, RebuildOptions{}, func(at Progress) {
			if at.Phase == phase {
				interrupt()
			}
		})
		interrupt()
		if phase == "" {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("interrupted at %q: %v", phase, err)
		}
		if err := Rebuild(t.Context(), s, l, projectiontest.Quiet, RebuildOptions{}, nil); !errors.Is(err, store.ErrRebuilding) {
			t.Fatalf("a second rebuild while the first may be alive: %v", err)
		}
		if phase == "clean up" { // the lock outlives the time in which everybody notices the change
			projectiontest.Within(t, time.Minute, func() bool { return projectiontest.ChangedOver(t, s) })
		}
		projectiontest.Expire(t, s)
	}
	stop()
	background.Wait()
	if err := projectiontest.Drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	projectiontest.Compare(t, s, l)
	m, err := s.LoadMeta(t.Context())
	if err != nil || m.Generation == "1" {
		t.Fatalf("the generation is %+v, error %v", m, err)
	}
	names, err := s.Database().ListCollectionNames(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if _, generation, ok := strings.Cut(name, "_"); ok && generation != m.Generation && !strings.HasPrefix(name, "stock_") {
			t.Errorf("%s is left behind", name)
		}
	}
	if known, err := read.NewLevels(s).Load(t.Context(), []uuid.UUID{projectiontest.ID(0xbb, 0)}); err != nil || len(known) != 1 {
		t.Errorf("levels after the rebuild: %v, %v", known, err)
	}
}

// Ensure that nothing is changed over to before it holds what is read now.
func TestRebuildCatchesUp(t *testing.T) {
	s, l := projectiontest.Open(t), projectiontest.Stocked(t, 6)
	p := project(t, s, l, &projectiontest.Leases{Epoch: 1})
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	r := &rebuild{store: s, log: l, logger: projectiontest.Quiet, metrics: m, report: func(Progress) {}, began: time.Now()}
	if err := r.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := newSubscription(s, s.Collections(r.lock.Generation), l, projectiontest.Quiet, m)
	if err := errors.Join(s.CreateGeneration(t.Context(), r.lock.Generation), r.fill(t.Context(), f, [eventstore.Shards]int64{})); err != nil {
		t.Fatal(err)
	}
	l.Do(projectiontest.ID(0xaa, 1), time.Second, product.AdjustStock{Delta: 1, Reason: "delivery"})
	if err := projectiontest.Drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if behind, err := r.behind(t.Context(), f); err != nil || !behind {
		t.Errorf("behind: %v, error %v", behind, err)
	}
	if err := r.catchUp(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if behind, err := r.behind(t.Context(), f); err != nil || behind {
		t.Errorf("caught up, it is behind: %v, error %v", behind, err)
	}
}

// Ensure that a program doesn't write into documents of a shape that it doesn't know yet.
func TestNewerDocumentsAreLeftAlone(t *testing.T) {
	first, l := projectiontest.Open(t), projectiontest.Stocked(t, 1)
	projectiontest.SetMeta(t, first, bson.D{{Key: "schema", Value: view.Schema + 1}})
	s := projectiontest.Another(t, first)
	p := project(t, s, l, &projectiontest.Leases{Epoch: 1})
	if err := p.upgrade(t.Context()); !errors.Is(err, errNewer) {
		t.Errorf("it is ready: %v", err)
	}
	if rows, full, err := p.Poll(t.Context()); rows > 0 || full || err != nil { // they may have come between
		t.Errorf("it folds %d rows, error %v", rows, err)
	}
	if err := Rebuild(t.Context(), s, l, projectiontest.Quiet, RebuildOptions{Product: projectiontest.ID(0xaa, 0)}, nil); !errors.Is(err, ErrShape) {
		t.Errorf("a rebuild in place: %v", err)
	}
	if err := Rebuild(t.Context(), s, l, projectiontest.Quiet, RebuildOptions{}, nil); !errors.Is(err, errNewer) {
		t.Errorf("a rebuild: %v", err)
	}
}

// write goes on taking commands.
func write(ctx context.Context, l *projectiontest.Log) {
	for i := 0; ctx.Err() == nil; i++ {
		l.Do(projectiontest.ID(0xaa, i%6), time.Millisecond, product.AdjustStock{Delta: 1, Reason: "delivery"})
		wait.For(ctx, 50*time.Millisecond)
	}
}

// poll reads all the time: every product is there, with all that was there before the rebuild, and
// versions and stock belong together.
func poll(ctx context.Context, t *testing.T, r *read.Reader) {
	for ctx.Err() == nil {
		page, err := r.Products(ctx, read.ProductFilter{}, read.ProductOrder{}, read.Range{First: 20})
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, context.DeadlineExceeded) {
			continue // a slow machine: it saw nothing, and so nothing wrong
		}
		if err != nil || len(page.Edges) != 6 {
			t.Errorf("%d products, error %v", len(page.Edges), err)
			return
		}
		for _, e := range page.Edges {
			// 1 created, 2 the variant, 3 to 7 reserved, 8 released; every later version adds one.
			if p := e.Node; p.Version < 8 || p.Total != 100+p.Version-8 || p.Reserved != 8 {
				t.Errorf("a product of a moment that never was: %+v", p)
				return
			}
		}
		wait.For(ctx, 5*time.Millisecond)
	}
}

// Ensure that documents of an older shape are left as they are, and are rebuilt by the projector
// itself.
func TestAnotherShapeIsRebuilt(t *testing.T) {
	s := projectiontest.Open(t)
	s.Config.ReadTimeout = time.Second
	l := projectiontest.Stocked(t, 2)
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	projectiontest.SetMeta(t, s, bson.D{{Key: "schema", Value: view.Schema - 1}})
	if _, err := s.Database().Collection("products_1").UpdateMany(t.Context(), bson.D{}, store.Set(bson.D{{Key: "available", Value: "many"}})); err != nil {
		t.Fatal(err)
	}
	upgraded, err := store.Open(t.Context(), s.Config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = upgraded.Close(context.Background()) }()
	upgraded.Times.Change = time.Hour // it is to change over because it has caught up
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	r := read.NewReader(upgraded, nil)
	if err := r.WaitFor(ctx, projectiontest.ID(0xaa, 0), 1); err != nil { // the old generation is in use
		t.Fatal(err)
	}
	go func() { done <- project(t, upgraded, l, &projectiontest.Leases{Epoch: 2}).Run(ctx) }()
	projectiontest.Within(t, time.Minute, func() bool {
		m, err := s.LoadMeta(ctx)
		return err == nil && m.Generation == "2" && m.Schema == view.Schema
	})
	l.Do(projectiontest.ID(0xaa, 0), time.Second, product.AdjustStock{Delta: 1, Reason: "later"})
	projectiontest.Within(t, time.Minute, func() bool { return r.WaitFor(ctx, projectiontest.ID(0xaa, 0), 9) == nil })
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	projectiontest.Compare(t, s, l)
}

// Ensure that a projector starts on what there is: it doesn't rebuild documents of its own shape.
func TestTheSameShapeIsNotRebuilt(t *testing.T) {
	s := projectiontest.Open(t)
	l := projectiontest.Stocked(t, 2)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- project(t, s, l, &projectiontest.Leases{Epoch: 1}).Run(ctx) }()
	other, err := store.Open(t.Context(), s.Config) // so that nothing but the projector itself tells it what there is
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close(context.Background()) }()
	r := read.NewReader(other, nil)
	projectiontest.Within(t, time.Minute, func() bool { return r.WaitFor(ctx, projectiontest.ID(0xaa, 0), 1) == nil })
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	m, err := s.LoadMeta(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m.Generation != "1" {
		t.Errorf("the projector built generation %s", m.Generation)
	}
}

// Ensure that corrupted documents are as the log has them after a rebuild of their product, or of
// their shard.
func TestRebuildInPlace(t *testing.T) {
	for name, options := range map[string]func(id uuid.UUID, shard int16) RebuildOptions{
		"product": func(id uuid.UUID, _ int16) RebuildOptions { return RebuildOptions{Product: id} },
		"shard":   func(_ uuid.UUID, shard int16) RebuildOptions { return RebuildOptions{Shard: &shard} },
	} {
		t.Run(name, func(t *testing.T) {
			s := projectiontest.Open(t)
			l, id := projectiontest.Stocked(t, 3), projectiontest.ID(0xaa, 1)
			projectiontest.FillBlocks(l, id)
			p := project(t, s, l, &projectiontest.Leases{Epoch: 1})
			if err := projectiontest.Drain(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			projectiontest.Corrupt(t, s, id)
			var last Progress
			shard := l.Of(id)[0].Shard
			if err := Rebuild(t.Context(), s, l, projectiontest.Quiet, options(id, shard), func(at Progress) { last = at }); err != nil {
				t.Fatal(err)
			}
			if last.Done != last.Total || last.Total == 0 {
				t.Errorf("progress ended with %+v", last)
			}
			projectiontest.Compare(t, s, l)
			l.Do(id, time.Second, product.AdjustStock{Delta: 2, Reason: "after"}) // the projector's own copy is out of date now
			if err := projectiontest.Drain(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			projectiontest.Compare(t, s, l)
		})
	}
}
