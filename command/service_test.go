package command

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

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

func TestACountIsDecidedOnWhatIsThereThen(t *testing.T) {
	store := openStore(t)
	w := startWriter(t, store, quick)
	id, count := uuid.New(), uuid.New()
	tell(t, w, uuid.New(), id, product.Create{Name: "A", InitialStock: 9})
	tell(t, w, uuid.New(), id, product.Reserve{ReservationID: uuid.New(), Quantity: 2})
	seven, one := int64(7), int64(1)
	if a := tell(t, w, count, id, product.AdjustStock{Total: &seven, Reason: "count"}); a.Version != 3 || a.Refusal != nil {
		t.Errorf("a count of 7 was answered with %+v", a)
	}
	if a := tell(t, w, uuid.New(), id, product.AdjustStock{Total: &one, Reason: "count"}); a.Refusal == nil {
		t.Errorf("a count of less than is reserved was answered with %+v", a)
	}
	same := uuid.New()
	confirm := product.AdjustStock{Total: &seven, Reason: "count"}
	for range 2 { // in a batch of its own each
		if a := tell(t, w, same, id, confirm); a.Version != 3 || a.Refusal != nil {
			t.Errorf("a count of as many as there are was answered with %+v", a)
		}
	}
	tell(t, w, uuid.New(), id, product.AdjustStock{Delta: 5, Reason: "delivery"})
	for command, version := range map[uuid.UUID]int64{count: 3, same: 3} { // repeated, not counted anew
		if a := tell(t, w, command, id, confirm); a.Version != version || a.Refusal != nil || !a.Repeated {
			t.Errorf("sent again, a count was answered with %+v; want version %d", a, version)
		}
	}
	if a := tell(t, w, same, id, product.AdjustStock{Total: &one, Reason: "count"}); a.Refusal != conflicting {
		t.Errorf("its command id with another total was answered with %+v", a)
	}
	if head, err := store.Head(t.Context(), id); err != nil || head.StockTotal != 12 || head.Version != 4 {
		t.Errorf("the head is %+v, %v; want 12 units at version 4", head, err)
	}
}

func TestCommandsSubmittedTogetherComeIntoFewTransactions(t *testing.T) {
	store := openStore(t)
	reg := prometheus.NewRegistry()
	w := NewWriter(store, WriterConfig{Lanes: 1, Batch: 500, Linger: 200 * time.Millisecond}, NewWriterMetrics(reg), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	s := &Service{Writer: w, Store: store}
	products := []uuid.UUID{uuid.New(), uuid.New()}
	for _, id := range products {
		if _, refusal, err := s.Execute(ctx, id, uuid.New(), product.Origin{}, product.Create{Name: "A", InitialStock: 1}); refusal != nil || err != nil {
			t.Fatal(refusal, err)
		}
	}
	var waits []func() (int64, *product.Refusal, error)
	for i := range 100 {
		waits = append(waits, s.Submit(ctx, products[i%2], uuid.New(), product.Origin{}, product.AdjustStock{Delta: 1, Reason: "delivery"}))
	}
	for i, wait := range waits {
		if version, refusal, err := wait(); version != int64(2+i/2) || refusal != nil || err != nil {
			t.Errorf("command %d came to version %d, %v, %v", i, version, refusal, err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if n := f.GetMetric()[0].GetHistogram().GetSampleCount(); f.GetName() == "product_service_writer_batch_commands" && n > 4 {
			t.Errorf("%d transactions for 102 commands, 100 of them submitted together", n)
		}
	}
}
