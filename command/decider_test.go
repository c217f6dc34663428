package command

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

// errLost ends a transaction as a connection that is lost before its commit does.
var errLost = errors.New("the connection was lost")

// attempt decides a batch after an attempt of which it isn't known whether it was committed.
func attempt(t *testing.T, store *eventstore.Store, batch []*Request, before *decider, commit bool) (*decider, error) {
	t.Helper()
	for _, r := range batch {
		if r.ID == uuid.Nil {
			continue
		}
		var err error
		if r.fingerprint, err = fingerprint(r.ProductID, r.Command); err != nil {
			t.Fatal(err)
		}
	}
	d := newDecider(batch, before)
	err := store.Transact(t.Context(), d.keys(), func(s *eventstore.Snapshot, c *eventstore.Changes) error {
		if err := d.decide(s, c); err != nil || commit {
			return err
		}
		return errLost
	})
	return d, err
}

func reserveOne(productID uuid.UUID) *Request {
	return &Request{ID: uuid.New(), ProductID: productID, Command: product.Reserve{ReservationID: uuid.New(), Quantity: 1}, Settle: func(Answer) {}}
}

func TestABatchOfWhichAnotherInstanceDecidedAPartIsDecidedAnew(t *testing.T) {
	store := openStore(t)
	p, q := uuid.New(), uuid.New()
	for eventstore.ShardOf(p) == eventstore.ShardOf(q) {
		q = uuid.New()
	}
	x, y := reserveOne(p), reserveOne(q)
	before, err := attempt(t, store, []*Request{x, y}, nil, false)
	if !errors.Is(err, errLost) {
		t.Fatal(err)
	}
	if _, err := attempt(t, store, []*Request{x}, nil, true); err != nil { // the partition moved: at the same position as before
		t.Fatal(err)
	}
	for range 50 { // the inbox is a map: its order is another each time
		if _, err := attempt(t, store, []*Request{x, y}, before, false); !errors.Is(err, errLost) {
			t.Fatalf("the batch ended with %v; its second command would be lost", err)
		}
	}
	if _, err := attempt(t, store, []*Request{x, y}, before, true); err != nil {
		t.Fatal(err)
	}
	if events, _ := history(t, store, q); len(events) != 1 {
		t.Errorf("%d records of the other product, want its outcome", len(events))
	}
	if events, _ := history(t, store, p); len(events) != 2 {
		t.Errorf("%d records of the product, want its outcome and that it is sent again", len(events))
	}
}

func TestABatchThatOthersDecidedOnAnotherStateIsDecidedAnew(t *testing.T) {
	store := openStore(t)
	p := uuid.New()
	if _, err := attempt(t, store, []*Request{{ID: uuid.New(), ProductID: p, Command: product.Create{Name: "A", InitialStock: 9}}}, nil, true); err != nil {
		t.Fatal(err)
	}
	unremembered := &Request{ProductID: p, Command: product.NoteInventoryChange{VariantID: uuid.New()}}
	y := &Request{ID: uuid.New(), ProductID: p, Command: product.AdjustStock{Delta: 1, Reason: "found"}}
	before, err := attempt(t, store, []*Request{unremembered, y}, nil, false)
	if !errors.Is(err, errLost) {
		t.Fatal(err)
	}
	if _, err := attempt(t, store, []*Request{reserveOne(p), y}, nil, true); err != nil { // y at the same position, but another version
		t.Fatal(err)
	}
	d, err := attempt(t, store, []*Request{unremembered, y}, before, true)
	if err != nil {
		t.Fatalf("the batch ended with %v; what isn't remembered would be lost", err)
	}
	if err := d.recall(t.Context(), store); err != nil || d.answers[1].Version != 3 {
		t.Errorf("answered %+v, %v; want version 3", d.answers[1], err)
	}
}

func TestABatchThatWasCommittedIsKnownToBe(t *testing.T) {
	store := openStore(t)
	p := uuid.New()
	batch := []*Request{{ID: uuid.New(), ProductID: p, Command: product.Create{Name: "A", InitialStock: 9}}, reserveOne(p), reserveOne(uuid.New()),
		{ProductID: p, Command: product.NoteInventoryChange{VariantID: uuid.New(), Type: "é"}}}
	before, err := attempt(t, store, batch, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := attempt(t, store, batch, before, true); !errors.Is(err, errCommitted) {
		t.Errorf("the batch ended with %v, want that it was committed", err)
	}
}
