package projection

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/eventstore"
	"product-service/product"
	"product-service/projection/projectiontest"
	"product-service/projection/read"
	"product-service/projection/store"
	"product-service/projection/view"
)

// Ensure that an upgrade from packed documents loses nothing while it goes on: readers read the packed
// ones meanwhile, commands are taken, nobody sees less than before, and all ends in plain documents.
func TestAnUpgradeFromPackedDocumentsLosesNothing(t *testing.T) {
	before := projectiontest.Open(t)
	l := projectiontest.Stocked(t, 6)
	busy := projectiontest.ID(0xaa, 0)
	for range 5 * view.BlockSize {
		l.Do(busy, 10*time.Minute, product.AdjustStock{Delta: 1, Reason: "delivery"})
	}
	if err := projectiontest.Drain(t.Context(), project(t, before, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	l.Clock = l.Clock.Add(time.Minute)
	projectiontest.Settle(t, before, l)
	plain := allMovements(t, read.NewReader(before, nil), busy)
	projectiontest.Pack(t, before)
	if packedIn(t, before, "1") == 0 {
		t.Fatal("nothing is packed before the upgrade")
	}

	stores := []*store.Store{projectiontest.Another(t, before), projectiontest.Another(t, before)}
	for i, movement := range allMovements(t, read.NewReader(stores[0], nil), busy) {
		if movement != plain[i] {
			t.Fatalf("movement %d is read as %+v from packed documents, and was %+v", i, movement, plain[i])
		}
	}
	s := &seen{most: map[uuid.UUID]int64{}}
	var background sync.WaitGroup
	running, stop := context.WithCancel(t.Context())
	defer func() {
		stop()
		background.Wait()
	}()
	l.Clock = time.Now()
	for i, store := range stores {
		store.Times.Change = time.Hour // a slow machine is to be waited for
		s.watch(running, t, &background, []string{"one", "another"}[i], read.NewReader(store, nil))
	}
	background.Go(func() { trade(running, l) })
	for i, store := range stores {
		var half []int16
		for n := int16(i); n < eventstore.Shards; n += 2 {
			half = append(half, n)
		}
		background.Go(func() { _ = project(t, store, l, &projectiontest.Leases{Epoch: 2, Of: half}).Run(running) })
	}
	projectiontest.Within(t, 10*time.Minute, func() bool {
		m, err := before.LoadMeta(t.Context())
		return t.Failed() || err == nil && m.Schema == view.Schema && changed(t, stores)
	})
	stop()
	background.Wait()
	if t.Failed() {
		return
	}

	m, err := before.LoadMeta(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := packedIn(t, before, m.Generation); n > 0 {
		t.Errorf("%d documents are packed after the upgrade", n)
	}
	if err := projectiontest.Drain(t.Context(), project(t, stores[0], l, &projectiontest.Leases{Epoch: 3})); err != nil {
		t.Fatal(err)
	}
	projectiontest.Compare(t, before, l)
}

// allMovements reads a product's whole history page by page, without what packed documents didn't hold.
func allMovements(t *testing.T, r *read.Reader, id uuid.UUID) (all []read.Movement) {
	t.Helper()
	for after := ""; ; {
		page, err := r.Movements(t.Context(), read.MovementFilter{ProductID: id}, read.Range{First: read.MaxNodes, After: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Edges {
			e.Node.Actor = ""
			all = append(all, e.Node)
			after = e.Cursor
		}
		if !page.HasNext {
			return all
		}
	}
}

// packedIn counts the documents of a generation that hold binary data where movements are.
func packedIn(t *testing.T, s *store.Store, generation string) (n int) {
	t.Helper()
	for collection, field := range map[string]string{"products_": "tail", "movements_": "rows", "journal_": "rows"} {
		for _, d := range projectiontest.Stored[bson.Raw](t, s, collection+generation, bson.D{}) {
			if d.Lookup(field).Type == bson.TypeBinary {
				n++
			}
		}
	}
	return n
}
