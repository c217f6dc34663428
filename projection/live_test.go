package projection

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/product"
	"product-service/projection/projectiontest"
	"product-service/projection/read"
	"product-service/projection/store"
)

// Ensure that a row that can't be folded in parks its product alone, visibly, and that folding it
// anew brings the product back.
func TestPoisonParksOneProduct(t *testing.T) {
	s := projectiontest.Open(t)
	l := projectiontest.Stocked(t, 2)
	bad, good := projectiontest.ID(0xaa, 0), projectiontest.ID(0xaa, 1)
	rows := l.Do(bad, time.Second, product.AdjustStock{Delta: 5, Reason: "delivery"})
	row := &l.Shards[rows[0].Shard][rows[0].Pos-1]
	right := row.Data
	row.Data = []byte(`{"delta":"five"}`)
	for _, id := range []uuid.UUID{bad, good} {
		l.Do(id, time.Second, product.AdjustStock{Delta: 1, Reason: "later"})
	}
	p := project(t, s, l, &projectiontest.Leases{Epoch: 1})
	if err := projectiontest.Drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	r := read.NewReader(s, nil)
	if got, ok, err := r.Product(t.Context(), good); err != nil || !ok || got.Version != 9 {
		t.Fatalf("the good product is %+v, %v, %v", got, ok, err)
	}
	if got, ok, err := r.Product(t.Context(), bad); err != nil || !ok || got.Version != 8 {
		t.Fatalf("the parked product is %+v, %v, %v; its good rows should be in it", got, ok, err)
	}
	parked, err := s.Parked(t.Context(), "1")
	if err != nil || len(parked) != 1 || parked[0].Product != bad || parked[0].Pos != rows[0].Pos || !strings.Contains(parked[0].Error, "StockAdjusted") {
		t.Fatalf("parked: %+v, %v", parked, err)
	}
	if n := testutil.ToFloat64(p.metrics.parked); n != 1 {
		t.Errorf("the metric says %v", n)
	}
	row.Data = right // as when a newer program can read it
	if err := Rebuild(t.Context(), s, l, projectiontest.Quiet, RebuildOptions{Product: bad}, nil); err != nil {
		t.Fatal(err)
	}
	if parked, err := s.Parked(t.Context(), "1"); err != nil || len(parked) != 0 {
		t.Fatalf("parked after the replay: %+v, %v", parked, err)
	}
	l.Do(bad, time.Second, product.AdjustStock{Delta: 1, Reason: "after"})
	p.live.gauged = time.Time{} // it looks at what is parked once a second
	if err := projectiontest.Drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	l.Do(bad, time.Second, product.AdjustStock{Delta: 1, Reason: "after"})
	if err := projectiontest.Drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	projectiontest.Compare(t, s, l)
}

// Ensure that a parked product is tried again by the next program that takes its shard.
func TestParkedProductIsTriedAgainAtTheStart(t *testing.T) {
	s := projectiontest.Open(t)
	l := projectiontest.Stocked(t, 1)
	row := &l.Shards[l.Of(projectiontest.ID(0xaa, 0))[0].Shard][3]
	right := row.Type
	row.Type = "ProductPaintedEvent"
	own := &projectiontest.Leases{Epoch: 1}
	if err := projectiontest.Drain(t.Context(), project(t, s, l, own)); err != nil {
		t.Fatal(err)
	}
	row.Type, own.Epoch = right, 2
	p := project(t, s, l, own)
	if _, _, err := p.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if parked, err := s.Parked(t.Context(), "1"); err != nil || len(parked) != 0 {
		t.Fatalf("parked: %+v, %v", parked, err)
	}
	projectiontest.Compare(t, s, l)
}

// Ensure that a shard stops, and only that one, when the log has another row at its checkpoint or
// none, as after a restore.
func TestAnotherLogStopsTheShard(t *testing.T) {
	for name, restore := range map[string]func(l *projectiontest.Log, shard int16){
		"another row": func(l *projectiontest.Log, shard int16) {
			rows := l.Shards[shard]
			rows[len(rows)-1].CommandID = uuid.New()
		},
		"an earlier end": func(l *projectiontest.Log, shard int16) { l.Shards[shard] = l.Shards[shard][:3] },
	} {
		t.Run(name, func(t *testing.T) {
			s := projectiontest.Open(t)
			l := projectiontest.Stocked(t, 2)
			own := &projectiontest.Leases{Epoch: 1}
			if err := projectiontest.Drain(t.Context(), project(t, s, l, own)); err != nil {
				t.Fatal(err)
			}
			stopped, running := projectiontest.ID(0xaa, 0), projectiontest.ID(0xaa, 1)
			restore(l, l.Of(stopped)[0].Shard)
			l.Do(running, time.Second, product.AdjustStock{Delta: 1, Reason: "later"})
			own.Epoch++
			p := project(t, s, l, own)
			if err := projectiontest.Drain(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if n := testutil.ToFloat64(p.metrics.stopped); n != 1 {
				t.Errorf("%v shards are stopped", n)
			}
			if got, _, err := read.NewReader(s, nil).Product(t.Context(), running); err != nil || got.Version != 9 {
				t.Errorf("the other shard's product is %+v, %v", got, err)
			}
		})
	}
}

// Ensure that a pruned fact at the checkpoint doesn't stop a shard.
func TestPrunedFactAtTheCheckpoint(t *testing.T) {
	s := projectiontest.Open(t)
	l := projectiontest.Stocked(t, 1)
	id := projectiontest.ID(0xaa, 0)
	l.Append(id, product.ReservationFailed{ReservationID: projectiontest.ID(0xcc, 1), Quantity: 1, Reason: product.InsufficientStock})
	own := &projectiontest.Leases{Epoch: 1}
	if err := projectiontest.Drain(t.Context(), project(t, s, l, own)); err != nil {
		t.Fatal(err)
	}
	l.Do(id, time.Second, product.AdjustStock{Delta: 1, Reason: "later"})
	shard := l.Of(id)[0].Shard
	l.Pruned = map[int64]bool{int64(len(l.Shards[shard]) - 1): true}
	own.Epoch++
	if err := projectiontest.Drain(t.Context(), project(t, s, l, own)); err != nil {
		t.Fatal(err)
	}
	projectiontest.Compare(t, s, l)
}

// Ensure that who lost a shard doesn't write its checkpoint, and goes on with those it still has.
func TestCheckpointsAreFenced(t *testing.T) {
	s := projectiontest.Open(t)
	l := projectiontest.Stocked(t, 4)
	old := project(t, s, l, &projectiontest.Leases{Epoch: 1})
	if err := projectiontest.Drain(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	taken := l.Of(projectiontest.ID(0xaa, 0))[0].Shard
	for n := range 4 {
		l.Do(projectiontest.ID(0xaa, n), time.Second, product.AdjustStock{Delta: 1, Reason: "later"})
	}
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 2, Of: []int16{taken}})); err != nil {
		t.Fatal(err)
	}
	l.Do(projectiontest.ID(0xaa, 0), time.Second, product.AdjustStock{Delta: 1, Reason: "later still"})
	if _, _, err := old.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	shards, err := s.LoadCheckpoints(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	for n, c := range shards {
		want, epoch := int64(len(l.Shards[n])), int64(1)
		if n == taken {
			want, epoch = want-1, 2
		}
		if c.Pos != want || c.Epoch != epoch {
			t.Errorf("shard %d is at %d of epoch %d, want %d of %d", n, c.Pos, c.Epoch, want, epoch)
		}
	}
	projectiontest.Compare(t, s, l) // it folded the row all the same, which does no harm
}

// Ensure that a hole in a document's versions is filled from the stream.
func TestHoleIsFoldedFromTheStream(t *testing.T) {
	s := projectiontest.Open(t)
	l := projectiontest.Stocked(t, 2)
	p := project(t, s, l, &projectiontest.Leases{Epoch: 1})
	if err := projectiontest.Drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	id := projectiontest.ID(0xaa, 0)
	back := store.Set(bson.D{{Key: "version", Value: int64(3)}, {Key: "total", Value: int64(9)}})
	if _, err := s.Database().Collection("products_1").UpdateOne(t.Context(), bson.D{{Key: "_id", Value: id.String()}}, back); err != nil {
		t.Fatal(err)
	}
	l.Do(id, time.Second, product.AdjustStock{Delta: 1, Reason: "later"})
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 2})); err != nil {
		t.Fatal(err)
	}
	projectiontest.Compare(t, s, l)
}

// Ensure that a list over all products waits for the batches that are being decided anywhere, whose
// rows may be stamped already, and shows what is projected as soon as there is none, also while
// other shards are idle.
func TestWatermarkWaitsForBatches(t *testing.T) {
	s := projectiontest.Open(t)
	s.Config.Heartbeat = 10 * time.Minute
	l := projectiontest.NewLog()
	l.Deciding = map[int16]bool{7: true}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	p := project(t, s, l, &projectiontest.Leases{Epoch: 1})
	go func() { done <- p.Run(ctx) }()
	r := read.NewReader(s, nil)
	shown := func() bool {
		page, err := r.Movements(ctx, read.MovementFilter{}, read.Range{First: 5})
		if err != nil {
			t.Fatal(err)
		}
		return len(page.Edges) == 1
	}
	id := projectiontest.ID(0xaa, 0)
	l.Do(id, 0, product.Create{Name: "P", InitialStock: 5})
	if err := r.WaitFor(ctx, id, 1); err != nil {
		t.Fatal(err)
	}
	if shown() {
		t.Error("a row is listed, while one with an earlier time may follow")
	}
	l.Mu.Lock()
	l.Deciding = nil
	l.Mu.Unlock()
	projectiontest.Within(t, 10*time.Second, shown)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Ensure that a projector whose log fails tries again and loses nothing.
func TestFailuresAreTriedAgain(t *testing.T) {
	s := projectiontest.Open(t)
	l := projectiontest.Stocked(t, 2)
	failures := 3
	l.Fail = func(string) error {
		if failures > 0 {
			failures--
			return projectiontest.ErrInjected
		}
		return nil
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	p := project(t, s, l, &projectiontest.Leases{Epoch: 1})
	go func() { done <- p.Run(ctx) }()
	projectiontest.Within(t, time.Minute, func() bool {
		saved, err := s.LoadCheckpoints(ctx, "1")
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
	if m, err := s.LoadMeta(t.Context()); err != nil || m.Generation != "1" {
		t.Errorf("the generation is %+v, %v: nothing was to be rebuilt", m, err)
	}
	if n := testutil.ToFloat64(p.metrics.failures); n != 3 {
		t.Errorf("%v failures were counted", n)
	}
	projectiontest.Compare(t, s, l)
}
