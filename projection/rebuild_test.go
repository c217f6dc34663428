package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/eventstore"
	"product-service/integration/inventory"
	"product-service/product"
)

// stocked is a log of some products with reservations.
func stocked(t *testing.T, products int) *memoryLog {
	t.Helper()
	l := newMemoryLog()
	for n := range products {
		id := testID(0xaa, n)
		l.do(id, time.Second, product.Create{Name: fmt.Sprintf("Product %d", n), InitialStock: 100, LowStockThreshold: 5,
			Variants: []product.Variant{{ID: testID(0xbb, n), SKU: fmt.Sprintf("SKU-%d", n), Name: "V"}}})
		l.do(id, time.Second, product.NoteInventoryRecord{VariantID: testID(0xbb, n)})
		for i := range 5 {
			l.do(id, time.Minute, product.Reserve{ReservationID: testID(0xcc, n*10+i), Quantity: 2})
		}
		l.do(id, time.Hour, product.Release{ReservationID: testID(0xcc, n*10)})
	}
	return l
}

var quiet = slog.New(slog.DiscardHandler)

// Ensure that a rebuild, interrupted anywhere while commands go on being taken, ends with the documents of the log, that readers never see less
// than before meanwhile, and that nothing of the old generation is left.
func TestRebuildBesideTheLiveView(t *testing.T) {
	s := open(t)
	s.config.MinPage, s.config.MaxPage = 20, 20
	l := stocked(t, 6)
	p := project(t, s, l, &leases{epoch: 1})
	if err := drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := NewLevels(s).Save(t.Context(), []inventory.Level{{VariantID: testID(0xbb, 0), Available: 3}}); err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(t.Context())
	var background sync.WaitGroup
	background.Go(func() { _ = p.Run(running) })
	background.Go(func() { write(running, l) })
	background.Go(func() { poll(running, t, NewReader(s, nil)) })

	for _, phase := range []string{"fill", "index", "switch", "clean up", ""} {
		ctx, interrupt := context.WithCancel(t.Context())
		err := Rebuild(ctx, s, l, quiet, RebuildOptions{}, func(at Progress) {
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
		if err := Rebuild(t.Context(), s, l, quiet, RebuildOptions{}, nil); !errors.Is(err, ErrRebuilding) {
			t.Fatalf("a second rebuild while the first may be alive: %v", err)
		}
		if phase == "clean up" { // the claim outlives the time in which everybody notices the change
			within(t, 20*time.Second, func() bool { return changedOver(t, s) })
		}
		expire(t, s)
	}
	stop()
	background.Wait()
	if err := drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	compare(t, s, l)
	m, err := s.loadMeta(t.Context())
	if err != nil || m.Generation == "1" {
		t.Fatalf("the generation is %+v, error %v", m, err)
	}
	names, err := s.db.ListCollectionNames(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	if want := 3 + 3; len(names) > want+1 {
		t.Errorf("collections left behind: %v", names)
	}
	if known, err := NewLevels(s).Load(t.Context(), []uuid.UUID{testID(0xbb, 0)}); err != nil || len(known) != 1 {
		t.Errorf("levels after the rebuild: %v, %v", known, err)
	}
}

// Ensure that nothing is changed over to before it holds what is read now.
func TestRebuildCatchesUp(t *testing.T) {
	s, l := open(t), stocked(t, 6)
	p := project(t, s, l, &leases{epoch: 1})
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	r := &rebuild{store: s, log: l, logger: quiet, metrics: m, report: func(Progress) {}, began: time.Now()}
	if err := r.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := newFollower(s, s.collections(r.claim.Generation), l, quiet, m)
	if err := errors.Join(s.create(t.Context(), r.claim.Generation), r.fill(t.Context(), f, [eventstore.Shards]int64{})); err != nil {
		t.Fatal(err)
	}
	l.do(testID(0xaa, 1), time.Second, product.AdjustStock{Delta: 1, Reason: "delivery"})
	if err := drain(t.Context(), p); err != nil {
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
	s, l := open(t), stocked(t, 1)
	p := project(t, s, l, &leases{epoch: 1})
	if _, err := s.db.Collection(metaName).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: "current"}}, set(bson.D{{Key: "schema", Value: schema + 1}})); err != nil {
		t.Fatal(err)
	}
	s.read = time.Time{}
	if err := p.upgrade(t.Context()); !errors.Is(err, errNewer) {
		t.Errorf("it is ready: %v", err)
	}
	if rows, full, err := p.sweep(t.Context()); rows > 0 || full || err != nil { // they may have come between
		t.Errorf("it folds %d rows, error %v", rows, err)
	}
	if _, err := Audit(t.Context(), s, l, l, quiet, AuditOptions{Heal: true}, func(Difference) {}); !errors.Is(err, errShape) {
		t.Errorf("an audit: %v", err)
	}
	if err := Rebuild(t.Context(), s, l, quiet, RebuildOptions{Product: testID(0xaa, 0)}, nil); !errors.Is(err, errShape) {
		t.Errorf("a rebuild in place: %v", err)
	}
	if err := Rebuild(t.Context(), s, l, quiet, RebuildOptions{}, nil); !errors.Is(err, errNewer) {
		t.Errorf("a rebuild: %v", err)
	}
}

// write goes on taking commands.
func write(ctx context.Context, l *memoryLog) {
	for i := 0; ctx.Err() == nil; i++ {
		l.do(testID(0xaa, i%6), time.Millisecond, product.AdjustStock{Delta: 1, Reason: "delivery"})
		wait(ctx, nil, 50*time.Millisecond)
	}
}

// poll reads all the time: every product is there, with all that was there before the rebuild, and versions and stock belong together.
func poll(ctx context.Context, t *testing.T, r *Reader) {
	for ctx.Err() == nil {
		page, err := r.Products(ctx, ProductFilter{}, ProductOrder{}, Range{First: 20})
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
		wait(ctx, nil, 5*time.Millisecond)
	}
}

// changedOver says whether projectors have read all shards of the generation that is named to their ends.
func changedOver(t *testing.T, s *Store) bool {
	m, err := s.loadMeta(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shards, err := s.loadCheckpoints(t.Context(), m.Generation)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range shards {
		if c.CaughtUp == 0 {
			return false
		}
	}
	return true
}

// expire makes the claim of an interrupted rebuild look old.
func expire(t *testing.T, s *Store) {
	t.Helper()
	if _, err := s.db.Collection(metaName).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: "building"}}, set(bson.D{{Key: "until", Value: int64(1)}})); err != nil {
		t.Fatal(err)
	}
}

// Ensure that documents of an older shape are left as they are, and are rebuilt by the projector itself.
func TestAnotherShapeIsRebuilt(t *testing.T) {
	s := open(t)
	s.config.ReadTimeout = time.Second
	l := stocked(t, 2)
	if err := drain(t.Context(), project(t, s, l, &leases{epoch: 1})); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.Collection(metaName).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: "current"}}, set(bson.D{{Key: "schema", Value: schema - 1}})); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.Collection("products_1").UpdateMany(t.Context(), bson.D{}, set(bson.D{{Key: "available", Value: "many"}})); err != nil {
		t.Fatal(err)
	}
	upgraded, err := Open(t.Context(), s.config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = upgraded.Close(context.Background()) }()
	upgraded.patience = time.Hour // it is to change over because it has caught up
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	r := NewReader(upgraded, nil)
	if err := r.WaitFor(ctx, testID(0xaa, 0), 1); err != nil { // the old generation is in use
		t.Fatal(err)
	}
	go func() { done <- project(t, upgraded, l, &leases{epoch: 2}).Run(ctx) }()
	within(t, 20*time.Second, func() bool {
		m, err := s.loadMeta(ctx)
		return err == nil && m.Generation == "2" && m.Schema == schema
	})
	l.do(testID(0xaa, 0), time.Second, product.AdjustStock{Delta: 1, Reason: "later"})
	within(t, 20*time.Second, func() bool { return r.WaitFor(ctx, testID(0xaa, 0), 9) == nil })
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	compare(t, s, l)
}

// Ensure that a projector starts on what there is: it doesn't rebuild documents of its own shape.
func TestTheSameShapeIsNotRebuilt(t *testing.T) {
	s := open(t)
	l := stocked(t, 2)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- project(t, s, l, &leases{epoch: 1}).Run(ctx) }()
	other, err := Open(t.Context(), s.config) // so that nothing but the projector itself tells it what there is
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close(context.Background()) }()
	r := NewReader(other, nil)
	within(t, 20*time.Second, func() bool { return r.WaitFor(ctx, testID(0xaa, 0), 1) == nil })
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	m, err := s.loadMeta(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m.Generation != "1" {
		t.Errorf("the projector built generation %s", m.Generation)
	}
}

// within waits for a condition.
func within(t *testing.T, limit time.Duration, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not come true within %s", limit)
		}
	}
}

// Ensure that corrupted documents are as the log has them after a rebuild of their product, or of their shard.
func TestRebuildInPlace(t *testing.T) {
	for name, options := range map[string]func(id uuid.UUID, shard int16) RebuildOptions{
		"product": func(id uuid.UUID, _ int16) RebuildOptions { return RebuildOptions{Product: id} },
		"shard":   func(_ uuid.UUID, shard int16) RebuildOptions { return RebuildOptions{Shard: &shard} },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			l, id := stocked(t, 3), testID(0xaa, 1)
			fillBlocks(l, id)
			p := project(t, s, l, &leases{epoch: 1})
			if err := drain(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			corrupt(t, s, id)
			var last Progress
			shard := l.of(id)[0].Shard
			if err := Rebuild(t.Context(), s, l, quiet, options(id, shard), func(at Progress) { last = at }); err != nil {
				t.Fatal(err)
			}
			if last.Done != last.Total || last.Total == 0 {
				t.Errorf("progress ended with %+v", last)
			}
			compare(t, s, l)
			l.do(id, time.Second, product.AdjustStock{Delta: 2, Reason: "after"}) // the projector's own copy is out of date now
			if err := drain(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			compare(t, s, l)
		})
	}
}

// fillBlocks gives a product some full blocks.
func fillBlocks(l *memoryLog, id uuid.UUID) {
	for i := range int64(3 * blockSize) {
		l.do(id, time.Second, product.AdjustStock{Delta: 1 - i%2*2, Reason: "counted"})
	}
}

// corrupt changes a product's documents behind the projector's back.
func corrupt(t *testing.T, s *Store, id uuid.UUID) {
	t.Helper()
	for _, c := range []struct {
		in, id string
		fields bson.D
	}{
		{"products_1", id.String(), bson.D{{Key: "name", Value: "Somebody else"}, {Key: "reserved", Value: 77}}},
		{"movements_1", movementID(id.String(), 1), bson.D{{Key: "rows", Value: []byte("nonsense")}}},
	} {
		result, err := s.db.Collection(c.in).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: c.id}}, set(c.fields))
		if err != nil || result.MatchedCount != 1 {
			t.Fatal(result, err)
		}
	}
	extra := bson.D{{Key: "_id", Value: movementID(id.String(), 1+100*blockSize)}, {Key: "product", Value: id.String()}}
	if _, err := s.db.Collection("movements_1").InsertOne(t.Context(), extra); err != nil {
		t.Fatal(err)
	}
	result, err := s.db.Collection("movements_1").DeleteOne(t.Context(), bson.D{{Key: "_id", Value: movementID(id.String(), 1+blockSize)}})
	if err != nil || result.DeletedCount != 1 {
		t.Fatal(result, err)
	}
	if _, err := s.db.Collection("days_1").DeleteMany(t.Context(), bson.D{{Key: "product", Value: id.String()}}); err != nil {
		t.Fatal(err)
	}
}

// Ensure that a reservation is found in blocks of an older shape, which name it in another way.
func TestReservationInBlocksOfAnotherShape(t *testing.T) {
	s, l := open(t), stocked(t, 2)
	id := testID(0xaa, 0)
	fillBlocks(l, id) // which push the reservations out of the tail
	l.do(id, time.Second, product.Release{ReservationID: testID(0xcc, 2)})
	if err := drain(t.Context(), project(t, s, l, &leases{epoch: 1})); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.Collection("movements_1").UpdateMany(t.Context(), bson.D{}, set(bson.D{{Key: "reservations", Value: bson.A{int64(1)}}})); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.Collection(metaName).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: "current"}}, set(bson.D{{Key: "schema", Value: schema - 1}})); err != nil {
		t.Fatal(err)
	}
	upgraded := another(t, s)
	upgraded.server.indexes = true
	for reservation, state := range map[int]product.ReservationState{0: product.StateReleased, 1: product.StateActive, 2: product.StateReleased} {
		found, ok, err := NewReader(upgraded, nil).Reservation(t.Context(), id, testID(0xcc, reservation))
		if err != nil || !ok || found.State != state || found.Quantity != 2 {
			t.Errorf("reservation %d is %+v, %v, %v", reservation, found, ok, err)
		}
	}
}
