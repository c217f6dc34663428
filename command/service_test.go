package command

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/product"
)

func TestAVariantThatIsTakenBackTwiceIsTakenBackOnce(t *testing.T) {
	store := openStore(t)
	slow := WriterConfig{Lanes: 1, Batch: 500, Linger: 50 * time.Millisecond} // so that both are in one batch
	w := startWriter(t, store, slow)
	id := uuid.New()
	tell(t, w, uuid.New(), id, product.Create{Name: "A", Variants: []product.Variant{{ID: uuid.New(), SKU: uuid.NewString(), Name: "v"}}})
	added := product.Variant{ID: uuid.New(), SKU: uuid.NewString(), Name: "v"}
	tell(t, w, uuid.New(), id, product.AddVariant{Variant: added, Unconfirmed: true})
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { tell(t, w, uuid.Nil, id, product.DiscardVariant{VariantID: added.ID}) })
	}
	both.Wait()
	head, err := store.Head(t.Context(), id)
	if err != nil || head.Variants != 1 || head.Version != 4 {
		t.Errorf("the head is %+v, %v; want one variant, at version 4", head, err)
	}
}

func TestACommandThatComesAgainTakesNothingBack(t *testing.T) {
	store := openStore(t)
	w := startWriter(t, store, quick)
	s := &Service{Writer: w, Store: store, Rollback: true, RollbackAfter: 200 * time.Millisecond, Created: func() {}}
	id, commandID := uuid.New(), uuid.New()
	create := product.Create{Name: "A", Variants: []product.Variant{{ID: uuid.New(), SKU: uuid.NewString(), Name: "v"}}}
	first := create
	first.Unconfirmed = true
	tell(t, w, commandID, id, first) // its caller died: nobody waits to take it back
	if _, refusal, err := s.Execute(t.Context(), id, commandID, product.Origin{}, create); err == nil || refusal != nil {
		t.Errorf("while the first is undecided it answered %+v, %v", refusal, err)
	}
	if head, err := store.Head(t.Context(), id); err != nil || product.Status(head.Status) != product.StatusPending {
		t.Fatalf("the head is %+v, %v; want it pending", head, err)
	}
	if err := s.Withdraw(t.Context(), id, []uuid.UUID{create.Variants[0].ID}, product.Origin{}); err != nil {
		t.Fatal(err)
	}
	if _, refusal, err := s.Execute(t.Context(), id, commandID, product.Origin{}, create); err != nil || refusal != inventorySilent {
		t.Errorf("after the first was taken back it answered %+v, %v", refusal, err)
	}
}

func TestARenewalMakesAHoldWithoutASagaThatOfWhoRenewsIt(t *testing.T) {
	store := openStore(t)
	w := startWriter(t, store, quick)
	id, reservation := uuid.New(), uuid.New()
	tell(t, w, uuid.New(), id, product.Create{Name: "A", InitialStock: 9})
	tell(t, w, uuid.New(), id, product.Reserve{ReservationID: reservation, Quantity: 2})
	tell(t, w, uuid.New(), id, product.Reserve{ReservationID: reservation, Quantity: 2, SagaID: "saga", ExpiresAt: time.Now().Add(time.Hour)})
	tell(t, w, uuid.New(), id, product.Release{ReservationID: reservation, SagaID: "another"})
	events, _ := history(t, store, id)
	if _, ignored := events[len(events)-1].(product.ReleaseIgnored); !ignored {
		t.Errorf("another saga's release came to %+v", events[len(events)-1])
	}
}
