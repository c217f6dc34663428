package read

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/product"
	"product-service/projection/projectiontest"
	"product-service/projection/store"
	"product-service/projection/view"
)

// Ensure that variants come in the order asked, without those that aren't shown, and are orderable
// by their record and their latest event.
func TestVariants(t *testing.T) {
	s := projectiontest.Open(t)
	l := projectiontest.NewLog()
	id := projectiontest.ID(0xaa, 0)
	variants := make([]product.Variant, 4)
	for i := range variants {
		variants[i] = product.Variant{ID: projectiontest.ID(0xbb, i), SKU: string(rune('a' + i)), Name: "V", Attributes: []product.Attribute{{Name: "size", Value: "L"}}}
	}
	l.Do(id, time.Second, product.Create{Name: "P", InitialStock: 5, Variants: variants[:3]})
	l.Do(id, time.Second, product.AddVariant{Variant: variants[3], Unconfirmed: true})
	l.Do(projectiontest.ID(0xaa, 1), time.Second, product.Create{Name: "Hidden", Unconfirmed: true, Variants: []product.Variant{{ID: projectiontest.ID(0xbb, 9), SKU: "z", Name: "V"}}})
	for i := range 2 {
		l.Do(id, time.Second, product.NoteInventoryRecord{VariantID: projectiontest.ID(0xbb, i)})
	}
	out := product.NoteInventoryChange{VariantID: projectiontest.ID(0xbb, 1), Type: "InventoryOutOfStockEvent", Timestamp: l.Clock}
	l.Do(id, time.Second, out)
	l.Do(id, time.Second, product.NoteInventoryChange{VariantID: projectiontest.ID(0xbb, 1), Type: "InventoryBackInStockEvent", Timestamp: l.Clock.Add(-time.Hour)}) // late
	l.Do(id, time.Second, product.NoteInventoryChange{VariantID: projectiontest.ID(0xbb, 0), Type: "InventoryOutOfStockEvent", Timestamp: l.Clock.AddDate(50, 0, 0)})
	l.Do(id, time.Second, product.NoteInventoryChange{VariantID: projectiontest.ID(0xbb, 0), Type: "InventoryBackInStockEvent", Timestamp: l.Clock}) // later than that was logged
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	asked := []uuid.UUID{projectiontest.ID(0xbb, 2), projectiontest.ID(0xbb, 9), projectiontest.ID(0xbb, 0), projectiontest.ID(0xbb, 3), projectiontest.ID(0xbb, 1), projectiontest.ID(0xbb, 0), projectiontest.ID(0xbb, 77)}
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
	products, err := NewReader(s, nil).ProductsByIDs(t.Context(), []uuid.UUID{projectiontest.ID(0xaa, 1), id, projectiontest.ID(0xaa, 5)})
	if err != nil || products[0] != nil || products[1] == nil || products[2] != nil || !products[1].IsOrderable || len(products[1].Variants) != 3 {
		t.Errorf("products: %+v, %v", products, err)
	}
}

// Ensure that a read for a version waits for the projector of this process, gives up in time, and
// ends with its context.
func TestWaitFor(t *testing.T) {
	s := projectiontest.Open(t)
	s.Config.WaitTimeout = 300 * time.Millisecond
	l := projectiontest.NewLog()
	id := projectiontest.ID(0xaa, 0)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	p := project(t, s, l, &projectiontest.Leases{Epoch: 1})
	go func() { done <- p.Run(ctx) }()
	r := NewReader(s, nil)
	waited := make(chan error, 1)
	go func() { waited <- r.WaitFor(ctx, id, 1) }()
	l.Do(id, time.Second, product.Create{Name: "P", InitialStock: 5})
	if err := <-waited; err != nil {
		t.Errorf("waiting for a product that is about to be: %v", err)
	}
	if err := r.WaitFor(ctx, id, 99); !errors.Is(err, ErrNotYet) {
		t.Errorf("waiting for what doesn't come: %v", err)
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

// Ensure that a reservation is found in blocks of an older shape, which name it in another way.
func TestReservationInBlocksOfAnotherShape(t *testing.T) {
	s, l := projectiontest.Open(t), projectiontest.Stocked(t, 2)
	id := projectiontest.ID(0xaa, 0)
	projectiontest.FillBlocks(l, id) // which push the reservations out of the tail
	l.Do(id, time.Second, product.Release{ReservationID: projectiontest.ID(0xcc, 2)})
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Database().Collection("movements_1").UpdateMany(t.Context(), bson.D{}, store.Set(bson.D{{Key: "reservations", Value: bson.A{int64(1)}}})); err != nil {
		t.Fatal(err)
	}
	projectiontest.SetMeta(t, s, bson.D{{Key: "schema", Value: view.Schema - 1}})
	upgraded := projectiontest.Another(t, s)
	upgraded.Server.Indexes = true
	for reservation, state := range map[int]product.ReservationState{0: product.StateReleased, 1: product.StateActive, 2: product.StateReleased} {
		found, ok, err := NewReader(upgraded, nil).Reservation(t.Context(), id, projectiontest.ID(0xcc, reservation))
		if err != nil || !ok || found.State != state || found.Quantity != 2 {
			t.Errorf("reservation %d is %+v, %v, %v", reservation, found, ok, err)
		}
	}
}

// Ensure that a damaged block fails the export that comes to it, and nothing else.
func TestExportOfADamagedBlock(t *testing.T) {
	s, l := projectiontest.Open(t), projectiontest.NewLog()
	id := projectiontest.ID(0xaa, 0)
	l.Do(id, 0, product.Create{Name: "P", InitialStock: 100})
	for range 40 {
		l.Do(id, 1, product.AdjustStock{Delta: 1, Reason: "counted"})
	}
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Database().Collection("movements_1").UpdateMany(t.Context(), bson.D{}, store.Set(bson.D{{Key: "rows", Value: "none"}})); err != nil {
		t.Fatal(err)
	}
	err := NewReader(s, nil).Export(t.Context(), MovementFilter{ProductID: id}, MovementID{}, func(*Movement) error { return nil })
	if !errors.Is(err, view.ErrDamaged) {
		t.Errorf("the export ends with %v", err)
	}
}
