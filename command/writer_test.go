package command

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"product-service/dev/stack"
	"product-service/eventstore"
	"product-service/product"
)

func TestMain(m *testing.M) { stack.Main(m) }

func migrate(url string) error {
	store, err := eventstore.Open(context.Background(), eventstore.Config{URL: url, MaxConnections: 4})
	if err != nil {
		return err
	}
	defer store.Close()
	_, err = store.Migrate(context.Background())
	return err
}

func openStore(t testing.TB) *eventstore.Store {
	t.Helper()
	store, err := eventstore.Open(t.Context(), eventstore.Config{URL: stack.Postgres(t, migrate), MaxConnections: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

func startWriter(t testing.TB, store *eventstore.Store, c WriterConfig) *Writer {
	t.Helper()
	w := NewWriter(store, c, NewWriterMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

var quick = WriterConfig{Lanes: 2, Batch: 500, Linger: time.Millisecond}

// tell submits a request and returns its answer.
func tell(t testing.TB, w *Writer, id, productID uuid.UUID, c product.Command) Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	answered := make(chan Answer, 1)
	if err := w.Submit(ctx, &Request{ID: id, ProductID: productID, Command: c, Settle: func(a Answer) { answered <- a }}); err != nil {
		t.Fatal(err)
	}
	select {
	case a := <-answered:
		return a
	case <-ctx.Done():
		t.Fatal("no answer")
		return Answer{}
	}
}

// history returns what the log says about a product, decoded.
func history(t testing.TB, store *eventstore.Store, productID uuid.UUID) (events []product.Event, records []eventstore.Record) {
	t.Helper()
	for r, err := range store.ProductRecords(t.Context(), productID) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := product.Decode(r.Type, r.Data)
		if err != nil {
			t.Fatal(err)
		}
		events, records = append(events, e), append(records, r)
	}
	return events, records
}

func TestThreeThousandRequestsRaceForAThousandUnitsAndExactlyAThousandGetOne(t *testing.T) {
	store := openStore(t)
	w := startWriter(t, store, quick)
	id := uuid.New()
	if a := tell(t, w, uuid.New(), id, product.Create{Name: "A", InitialStock: 1000}); a.Err != nil || a.Refusal != nil || a.Version != 1 {
		t.Fatalf("create answered %+v", a)
	}
	var wg sync.WaitGroup
	for i := range 3000 {
		commandID, c := uuid.New(), product.Reserve{ReservationID: uuid.New(), Quantity: 1}
		for range 1 + i%5/4 { // every fifth twice
			wg.Add(1)
			if err := w.Submit(t.Context(), &Request{ID: commandID, ProductID: id, Command: c, Settle: func(Answer) { wg.Done() }}); err != nil {
				t.Fatal(err)
			}
		}
	}
	wg.Wait()
	events, records := history(t, store, id)
	state, held, failed, resent := product.Product{ID: id}, 0, 0, 0
	for i, e := range events {
		state = state.Apply(e)
		if e.Versioned() && records[i].Version != state.Version {
			t.Fatalf("record %d has version %d, not %d", i, records[i].Version, state.Version)
		}
		switch e := e.(type) {
		case product.Reserved:
			held++
		case product.ReservationFailed:
			failed++
			if e.Reason != product.InsufficientStock {
				t.Fatalf("refused with %s", e.Reason)
			}
		case product.OutcomeResent:
			resent++
		}
	}
	if held != 1000 || failed != 2000 || resent != 600 {
		t.Errorf("%d reserved, %d refused, %d sent again; want 1000, 2000, 600", held, failed, resent)
	}
	head, err := store.Head(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if productOf(id, head) != state {
		t.Errorf("the head is %+v, the fold of the events %+v", productOf(id, head), state)
	}
}

func TestACommandIDWithAnotherContentIsRefusedAndKeepsItsOutcome(t *testing.T) {
	store := openStore(t)
	w := startWriter(t, store, quick)
	id, commandID := uuid.New(), uuid.New()
	tell(t, w, uuid.New(), id, product.Create{Name: "A", InitialStock: 10})
	first := product.Reserve{ReservationID: uuid.New(), Quantity: 2}
	tell(t, w, commandID, id, first)
	other := first
	other.Quantity = 3
	tell(t, w, commandID, id, other)
	tell(t, w, commandID, id, first)
	events, records := history(t, store, id)
	if len(events) != 4 {
		t.Fatalf("%d records; want created, reserved, failed, resent", len(events))
	}
	if failed, ok := events[2].(product.ReservationFailed); !ok || failed.Reason != product.InvalidCommand || failed.Fingerprint == "" || failed.Quantity != 3 {
		t.Errorf("the other content got %+v", events[2])
	}
	if resent, ok := events[3].(product.OutcomeResent); !ok || resent.Of != records[1].Pos {
		t.Errorf("the repeated command got %+v; want the outcome at %d again", events[3], records[1].Pos)
	}
}

func TestAMutationAskedAgainAnswersTheSameVersion(t *testing.T) {
	store := openStore(t)
	w := startWriter(t, store, quick)
	id, commandID := uuid.New(), uuid.New()
	create := product.Create{Name: "A", InitialStock: 10, Variants: []product.Variant{{ID: uuid.New(), SKU: id.String(), Name: "v"}}}
	if a := tell(t, w, commandID, id, create); a.Version != 2 {
		t.Fatalf("created at %+v", a)
	}
	tell(t, w, uuid.New(), id, product.AdjustStock{Delta: 1, Reason: "found"})
	if a := tell(t, w, commandID, id, create); a.Version != 2 || a.Refusal != nil || a.Err != nil {
		t.Errorf("asked again it answered %+v", a)
	}
	create.Name = "B"
	if a := tell(t, w, commandID, id, create); a.Refusal == nil || a.Refusal.Code != product.Conflict {
		t.Errorf("another content answered %+v", a)
	}
}

func TestAnSKUIsTakenOnce(t *testing.T) {
	store := openStore(t)
	w := startWriter(t, store, quick)
	answers := make(chan Answer, 16)
	for range cap(answers) { // on different shards, so in different transactions
		r := &Request{ID: uuid.New(), ProductID: uuid.New(), Settle: func(a Answer) { answers <- a },
			Command: product.Create{Name: "A", Variants: []product.Variant{{ID: uuid.New(), SKU: "only one", Name: "v"}}}}
		if err := w.Submit(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	created := 0
	for range cap(answers) {
		switch a := <-answers; {
		case a.Err != nil:
			t.Error(a.Err)
		case a.Refusal == nil:
			created++
		case a.Refusal.Code != product.Conflict:
			t.Errorf("refused with %+v", a.Refusal)
		}
	}
	if created != 1 {
		t.Errorf("%d products have the SKU", created)
	}
}
