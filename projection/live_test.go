package projection

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/integration/inventory"
	"product-service/product"
)

// Ensure that a row that can't be folded in parks its product alone, visibly, and that folding it anew brings the product back.
func TestPoisonParksOneProduct(t *testing.T) {
	s := open(t)
	l := stocked(t, 2)
	bad, good := testID(0xaa, 0), testID(0xaa, 1)
	rows := l.do(bad, time.Second, product.AdjustStock{Delta: 5, Reason: "delivery"})
	row := &l.shards[rows[0].Shard][rows[0].Pos-1]
	right := row.Data
	row.Data = []byte(`{"delta":"five"}`)
	for _, id := range []uuid.UUID{bad, good} {
		l.do(id, time.Second, product.AdjustStock{Delta: 1, Reason: "later"})
	}
	p := project(t, s, l, &leases{epoch: 1})
	if err := drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	r := NewReader(s, nil)
	if got, ok, err := r.Product(t.Context(), good); err != nil || !ok || got.Version != 9 {
		t.Fatalf("the good product is %+v, %v, %v", got, ok, err)
	}
	if got, ok, err := r.Product(t.Context(), bad); err != nil || !ok || got.Version != 8 {
		t.Fatalf("the parked product is %+v, %v, %v; its good rows should be in it", got, ok, err)
	}
	parked, err := s.Parked(t.Context())
	if err != nil || len(parked) != 1 || parked[0].Product != bad || parked[0].Pos != rows[0].Pos || !strings.Contains(parked[0].Error, "StockAdjusted") {
		t.Fatalf("parked: %+v, %v", parked, err)
	}
	if n := testutil.ToFloat64(p.metrics.parked); n != 1 {
		t.Errorf("the metric says %v", n)
	}
	if found := places(differences(t, s, l, AuditOptions{Heal: true})); !cmp.Equal(found, []string{"log", "parked"}) {
		t.Errorf("the audit finds %v", found)
	}
	row.Data = right // as when a newer program can read it
	if err := Rebuild(t.Context(), s, l, quiet, RebuildOptions{Product: bad}, nil); err != nil {
		t.Fatal(err)
	}
	if parked, err := s.Parked(t.Context()); err != nil || len(parked) != 0 {
		t.Fatalf("parked after the replay: %+v, %v", parked, err)
	}
	l.do(bad, time.Second, product.AdjustStock{Delta: 1, Reason: "after"})
	p.live.gauged = time.Time{} // it looks at what is parked once a second
	if err := drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	l.do(bad, time.Second, product.AdjustStock{Delta: 1, Reason: "after"})
	if err := drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	compare(t, s, l)
}

// Ensure that a parked product is tried again by the next program that takes its shard.
func TestParkedProductIsTriedAgainAtTheStart(t *testing.T) {
	s := open(t)
	l := stocked(t, 1)
	row := &l.shards[l.of(testID(0xaa, 0))[0].Shard][3]
	right := row.Type
	row.Type = "ProductPaintedEvent"
	own := &leases{epoch: 1}
	if err := drain(t.Context(), project(t, s, l, own)); err != nil {
		t.Fatal(err)
	}
	row.Type, own.epoch = right, 2
	p := project(t, s, l, own)
	if _, _, err := p.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if parked, err := s.Parked(t.Context()); err != nil || len(parked) != 0 {
		t.Fatalf("parked: %+v, %v", parked, err)
	}
	compare(t, s, l)
}

// Ensure that a shard stops, and only that one, when the log has another row at its checkpoint or none, as after a restore.
func TestAnotherLogStopsTheShard(t *testing.T) {
	for name, restore := range map[string]func(l *memoryLog, shard int16){
		"another row": func(l *memoryLog, shard int16) {
			rows := l.shards[shard]
			rows[len(rows)-1].CommandID = uuid.New()
		},
		"an earlier end": func(l *memoryLog, shard int16) { l.shards[shard] = l.shards[shard][:3] },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			l := stocked(t, 2)
			own := &leases{epoch: 1}
			if err := drain(t.Context(), project(t, s, l, own)); err != nil {
				t.Fatal(err)
			}
			stopped, running := testID(0xaa, 0), testID(0xaa, 1)
			restore(l, l.of(stopped)[0].Shard)
			l.do(running, time.Second, product.AdjustStock{Delta: 1, Reason: "later"})
			own.epoch++
			p := project(t, s, l, own)
			if err := drain(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if n := testutil.ToFloat64(p.metrics.stopped); n != 1 {
				t.Errorf("%v shards are stopped", n)
			}
			if got, _, err := NewReader(s, nil).Product(t.Context(), running); err != nil || got.Version != 9 {
				t.Errorf("the other shard's product is %+v, %v", got, err)
			}
		})
	}
}

// Ensure that a pruned fact at the checkpoint doesn't stop a shard.
func TestPrunedFactAtTheCheckpoint(t *testing.T) {
	s := open(t)
	l := stocked(t, 1)
	id := testID(0xaa, 0)
	l.append(id, product.ReservationFailed{ReservationID: testID(0xcc, 1), Quantity: 1, Reason: product.InsufficientStock})
	own := &leases{epoch: 1}
	if err := drain(t.Context(), project(t, s, l, own)); err != nil {
		t.Fatal(err)
	}
	l.do(id, time.Second, product.AdjustStock{Delta: 1, Reason: "later"})
	shard := l.of(id)[0].Shard
	l.pruned = map[int64]bool{int64(len(l.shards[shard]) - 1): true}
	own.epoch++
	if err := drain(t.Context(), project(t, s, l, own)); err != nil {
		t.Fatal(err)
	}
	compare(t, s, l)
}

// Ensure that who lost a shard doesn't write its checkpoint, and goes on with those it still has.
func TestCheckpointsAreFenced(t *testing.T) {
	s := open(t)
	l := stocked(t, 4)
	old := project(t, s, l, &leases{epoch: 1})
	if err := drain(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	taken := l.of(testID(0xaa, 0))[0].Shard
	for n := range 4 {
		l.do(testID(0xaa, n), time.Second, product.AdjustStock{Delta: 1, Reason: "later"})
	}
	if err := drain(t.Context(), project(t, s, l, &leases{epoch: 2, of: []int16{taken}})); err != nil {
		t.Fatal(err)
	}
	l.do(testID(0xaa, 0), time.Second, product.AdjustStock{Delta: 1, Reason: "later still"})
	if _, _, err := old.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	shards, err := s.loadCheckpoints(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	for n, c := range shards {
		want, epoch := int64(len(l.shards[n])), int64(1)
		if n == taken {
			want, epoch = want-1, 2
		}
		if c.Pos != want || c.Epoch != epoch {
			t.Errorf("shard %d is at %d of epoch %d, want %d of %d", n, c.Pos, c.Epoch, want, epoch)
		}
	}
	compare(t, s, l) // it folded the row all the same, which does no harm
}

// Ensure that a hole in a document's versions is filled from the stream.
func TestHoleIsFoldedFromTheStream(t *testing.T) {
	s := open(t)
	l := stocked(t, 2)
	p := project(t, s, l, &leases{epoch: 1})
	if err := drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	id := testID(0xaa, 0)
	back := set(bson.D{{Key: "version", Value: int64(3)}, {Key: "total", Value: int64(9)}})
	if _, err := s.db.Collection("products_1").UpdateOne(t.Context(), bson.D{{Key: "_id", Value: id.String()}}, back); err != nil {
		t.Fatal(err)
	}
	l.do(id, time.Second, product.AdjustStock{Delta: 1, Reason: "later"})
	if err := drain(t.Context(), project(t, s, l, &leases{epoch: 2})); err != nil {
		t.Fatal(err)
	}
	compare(t, s, l)
}

// Ensure that a read for a version waits for the projector of this process, gives up in time, and ends with its context.
func TestWaitFor(t *testing.T) {
	s := open(t)
	s.config.WaitTimeout = 300 * time.Millisecond
	l := newMemoryLog()
	id := testID(0xaa, 0)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	p := project(t, s, l, &leases{epoch: 1})
	go func() { done <- p.Run(ctx) }()
	r := NewReader(s, nil)
	waited := make(chan error, 1)
	go func() { waited <- r.WaitFor(ctx, id, 1) }()
	l.do(id, time.Second, product.Create{Name: "P", InitialStock: 5})
	if err := <-waited; err != nil {
		t.Errorf("waiting for a product that is about to be: %v", err)
	}
	if err := r.WaitFor(ctx, id, 99); !errors.Is(err, ErrNotYet) {
		t.Errorf("waiting for what doesn't come: %v", err)
	}
	if len(s.waiting.byProduct) != 0 {
		t.Errorf("waiters left behind: %v", s.waiting.byProduct)
	}
	ended, end := context.WithCancel(ctx)
	end()
	if err := r.WaitFor(ended, id, 99); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting with an ended context: %v", err)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("the projector ended with %v", err)
	}
}

// Ensure that a list over all products waits for the batches that are being decided anywhere, whose rows may be stamped already, and shows what is
// projected as soon as there is none, also while other shards are idle.
func TestWatermarkWaitsForBatches(t *testing.T) {
	s := open(t)
	s.config.Heartbeat = 10 * time.Minute
	l := newMemoryLog()
	l.deciding = map[int16]bool{7: true}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	p := project(t, s, l, &leases{epoch: 1})
	go func() { done <- p.Run(ctx) }()
	r := NewReader(s, nil)
	shown := func() bool {
		page, err := r.Movements(ctx, MovementFilter{}, Range{First: 5})
		if err != nil {
			t.Fatal(err)
		}
		return len(page.Edges) == 1
	}
	id := testID(0xaa, 0)
	l.do(id, 0, product.Create{Name: "P", InitialStock: 5})
	if err := r.WaitFor(ctx, id, 1); err != nil {
		t.Fatal(err)
	}
	if shown() {
		t.Error("a row is listed, while one with an earlier time may follow")
	}
	l.mu.Lock()
	l.deciding = nil
	l.mu.Unlock()
	within(t, 10*time.Second, shown)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Ensure that variants come in the order asked, without those that aren't shown, and are orderable by their record and their latest event.
func TestVariants(t *testing.T) {
	s := open(t)
	l := newMemoryLog()
	id := testID(0xaa, 0)
	variants := make([]product.Variant, 4)
	for i := range variants {
		variants[i] = product.Variant{ID: testID(0xbb, i), SKU: string(rune('a' + i)), Name: "V", Attributes: []product.Attribute{{Name: "size", Value: "L"}}}
	}
	l.do(id, time.Second, product.Create{Name: "P", InitialStock: 5, Variants: variants[:3]})
	l.do(id, time.Second, product.AddVariant{Variant: variants[3], Unconfirmed: true})
	l.do(testID(0xaa, 1), time.Second, product.Create{Name: "Hidden", Unconfirmed: true, Variants: []product.Variant{{ID: testID(0xbb, 9), SKU: "z", Name: "V"}}})
	for i := range 2 {
		l.do(id, time.Second, product.NoteInventoryRecord{VariantID: testID(0xbb, i)})
	}
	out := product.NoteInventoryChange{VariantID: testID(0xbb, 1), Type: "InventoryOutOfStockEvent", Timestamp: l.clock}
	l.do(id, time.Second, out)
	l.do(id, time.Second, product.NoteInventoryChange{VariantID: testID(0xbb, 1), Type: "InventoryBackInStockEvent", Timestamp: l.clock.Add(-time.Hour)}) // late
	l.do(id, time.Second, product.NoteInventoryChange{VariantID: testID(0xbb, 0), Type: "InventoryOutOfStockEvent", Timestamp: l.clock.AddDate(50, 0, 0)})
	l.do(id, time.Second, product.NoteInventoryChange{VariantID: testID(0xbb, 0), Type: "InventoryBackInStockEvent", Timestamp: l.clock}) // later than that was logged
	if err := drain(t.Context(), project(t, s, l, &leases{epoch: 1})); err != nil {
		t.Fatal(err)
	}
	asked := []uuid.UUID{testID(0xbb, 2), testID(0xbb, 9), testID(0xbb, 0), testID(0xbb, 3), testID(0xbb, 1), testID(0xbb, 0), testID(0xbb, 77)}
	got, err := NewReader(s, nil).Variants(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"c-false", "", "a-true", "", "b-false", "a-true", ""}
	for i, v := range got {
		text := ""
		if v != nil {
			if text = v.SKU + "-false"; v.IsOrderable {
				text = v.SKU + "-true"
			}
			if v.ID != asked[i] || v.ProductID != id || len(v.Attributes) != 1 {
				t.Errorf("variant %d is %+v", i, v)
			}
		}
		if text != want[i] {
			t.Errorf("variant %d is %q, want %q", i, text, want[i])
		}
	}
	products, err := NewReader(s, nil).ProductsByIDs(t.Context(), []uuid.UUID{testID(0xaa, 1), id, testID(0xaa, 5)})
	if err != nil || products[0] != nil || products[1] == nil || products[2] != nil || !products[1].IsOrderable || len(products[1].Variants) != 3 {
		t.Errorf("products: %+v, %v", products, err)
	}
}

// Ensure that of two levels the newer one stays, whichever is saved last.
func TestLevels(t *testing.T) {
	s := open(t)
	levels := NewLevels(s)
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	id := testID(0xbb, 1)
	at := func(updated, fetched int, available int64) inventory.Level {
		return inventory.Level{VariantID: id, Available: available, Status: inventory.InStock, Source: inventory.Live,
			UpdatedAt: noon.Add(time.Duration(updated) * time.Second), FetchedAt: noon.Add(time.Duration(fetched) * time.Second)}
	}
	for i, step := range []struct {
		save []inventory.Level
		want inventory.Level
	}{
		{[]inventory.Level{at(10, 10, 1)}, at(10, 10, 1)},
		{[]inventory.Level{at(9, 20, 2)}, at(10, 10, 1)},
		{[]inventory.Level{at(10, 9, 3)}, at(10, 10, 1)},
		{[]inventory.Level{at(10, 12, 4)}, at(10, 12, 4)},
		{[]inventory.Level{at(14, 14, 6), at(13, 13, 5)}, at(14, 14, 6)},
		{nil, at(14, 14, 6)},
	} {
		if err := levels.Save(t.Context(), step.save); err != nil {
			t.Fatal(err)
		}
		got, err := levels.Load(t.Context(), []uuid.UUID{testID(0xbb, 2), id})
		if err != nil || len(got) != 1 || got[0] != step.want {
			t.Errorf("step %d: got %+v (%v), want %+v", i, got, err, step.want)
		}
	}
}

// Ensure that a projector whose log fails tries again and loses nothing.
func TestFailuresAreTriedAgain(t *testing.T) {
	s := open(t)
	l := stocked(t, 2)
	failures := 3
	l.fail = func(string) error {
		if failures > 0 {
			failures--
			return errInjected
		}
		return nil
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	p := project(t, s, l, &leases{epoch: 1})
	go func() { done <- p.Run(ctx) }()
	within(t, 20*time.Second, func() bool {
		saved, err := s.loadCheckpoints(ctx, "1")
		last, _ := l.Positions(ctx)
		for n, c := range saved {
			if err != nil || c.Pos < last[n] {
				return false
			}
		}
		return err == nil
	})
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if m, err := s.loadMeta(t.Context()); err != nil || m.Generation != "1" {
		t.Errorf("the generation is %+v, %v: nothing was to be rebuilt", m, err)
	}
	if n := testutil.ToFloat64(p.metrics.failures); n != 3 {
		t.Errorf("%v failures were counted", n)
	}
	compare(t, s, l)
}
