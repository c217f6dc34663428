package command

import (
	"context"
	"testing"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

func TestTheJanitorForgetsCommandsAndKeepsEvents(t *testing.T) {
	store := openStore(t)
	w := startWriter(t, store, quick)
	id := uuid.New()
	tell(t, w, uuid.New(), id, product.Create{Name: "A", InitialStock: 1})
	refused := uuid.New()
	for range 3 {
		tell(t, w, refused, id, product.Reserve{ReservationID: uuid.New(), Quantity: 5})
	}
	tell(t, w, uuid.New(), id, product.Reserve{ReservationID: uuid.New(), Quantity: 1})

	j := NewJanitor(store, nil, -forgetLater, func(context.Context) ([]eventstore.Cursor, error) {
		return []eventstore.Cursor{{Shard: eventstore.ShardOf(id), Pos: 100}}, nil
	}, quiet)
	if _, err := j.prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	known := true
	if err := store.Transact(t.Context(), eventstore.Keys{Commands: []uuid.UUID{refused}}, func(s *eventstore.Snapshot, _ *eventstore.Changes) error {
		_, known = s.Inbox[refused]
		return nil
	}); err != nil || known {
		t.Errorf("the command is known: %v, %v", known, err)
	}
	events, _ := history(t, store, id)
	versioned := 0
	for _, e := range events {
		if e.Versioned() {
			versioned++
		}
	}
	if versioned != 2 {
		t.Errorf("%d events are left of 2", versioned)
	}
	if len(events) != 5 { // created, refused, two other contents refused, reserved: nothing is relayed yet, so all facts are needed
		t.Errorf("%d rows are left of 5", len(events))
	}
}
