package eventstore

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/uuid"
)

// reserved puts a reservation beside the log, as nothing but a fault does.
func (s *Store) reserved(t *testing.T, productID uuid.UUID) uuid.UUID {
	t.Helper()
	id := uuid.New()
	s.exec(t, `insert into reservation values ($1, $2, 's', 5, 2, 'ACTIVE', null)`, productID, id)
	return id
}

func ordered(ids ...uuid.UUID) []uuid.UUID {
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	return ids
}

func TestReservationsAreReadInPages(t *testing.T) {
	s := open(t)
	productID := uuid.New()
	var want, got []uuid.UUID
	for range 5 {
		want = append(want, s.reserved(t, productID))
		s.reserved(t, uuid.New())
	}
	for after := uuid.Nil; ; {
		page := must[[]Reservation](t)(s.Reservations(t.Context(), productID, after, 2))
		for _, r := range page {
			if after = r.ReservationID; r.ProductID != productID || r.Held != 2 || r.Quantity != 5 || r.State != "ACTIVE" || !r.ExpiresAt.IsZero() {
				t.Errorf("it is %+v", r)
			}
			got = append(got, after)
		}
		if len(page) < 2 {
			break
		}
	}
	if !slices.Equal(got, ordered(want...)) {
		t.Errorf("read %v, want %v", got, want)
	}
}

// Ensure that every product that anything is kept of is found once, and that those are told apart
// that the log has nothing of.
func TestWhatIsKeptBesideTheLog(t *testing.T) {
	s := open(t)
	whole, facts, head, held, nothing := uuid.New(), uuid.New(), uuid.New(), uuid.New(), uuid.New()
	s.write(t, func(snapshot *Snapshot, c *Changes) { event(snapshot, c, whole); fact(c, facts) }, whole, facts)
	s.exec(t, `insert into product_head values ($1, 1, 2, 10, 0, 1, 0)`, head)
	for _, id := range []uuid.UUID{whole, facts, held, held, held} {
		s.reserved(t, id)
	}
	var kept []uuid.UUID
	for after := uuid.Nil; ; {
		page := must[[]uuid.UUID](t)(s.WithState(t.Context(), after, 2))
		if len(page) == 0 {
			break
		}
		kept, after = append(kept, page...), page[len(page)-1]
	}
	if want := ordered(whole, facts, head, held); !slices.Equal(kept, want) {
		t.Errorf("kept are %v, want %v", kept, want)
	}
	unlogged := must[[]uuid.UUID](t)(s.NotInLog(t.Context(), []uuid.UUID{whole, facts, head, held, nothing}))
	if want := ordered(head, held, nothing); !slices.Equal(ordered(unlogged...), want) {
		t.Errorf("unlogged are %v, want %v", unlogged, want)
	}
}
