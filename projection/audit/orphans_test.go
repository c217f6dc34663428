package audit

import (
	"context"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/eventstore"
	"product-service/product"
	"product-service/projection/projectiontest"
	"product-service/projection/store"
	"product-service/projection/view"
)

// strayBlock is a block by any name, with a movement of its own.
func strayBlock(t *testing.T, product uuid.UUID, name string) view.Block {
	t.Helper()
	m := view.Movement{Product: product, Pos: 999, Type: view.Cancelled, Reservation: projectiontest.ID(0xcc, 900)}
	b, err := view.NewBlock(name, product, view.Rows(nil).Append(&m, false))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// extra is something that is kept, and that the log doesn't come to.
type extra struct {
	plant func(t *testing.T, s *store.Store, l *projectiontest.Log)
	where string
	of    uuid.UUID
	stays bool // nothing of the read model, or named after no product
}

// extras are of a product that the log has, and of a stranger.
func extras(id, stranger uuid.UUID) map[string]extra {
	held := product.Reservation{ID: projectiontest.ID(0xcc, 900), SagaID: "s", Quantity: 3, Held: 3, State: product.StateActive}
	blocks := func(of uuid.UUID, name string) func(*testing.T, *store.Store, *projectiontest.Log) {
		return func(t *testing.T, s *store.Store, _ *projectiontest.Log) {
			projectiontest.Plant(t, s, "movements_1", strayBlock(t, of, name))
		}
	}
	days := func(of uuid.UUID, name string, h view.Hour) func(*testing.T, *store.Store, *projectiontest.Log) {
		return func(t *testing.T, s *store.Store, _ *projectiontest.Log) {
			projectiontest.Plant(t, s, "days_1", view.Day{ID: name, Product: of.String(), Date: view.Midnight(h.Number / 24), Hours: map[string]view.Hour{h.Key(): h}})
		}
	}
	reserved := func(of uuid.UUID, r product.Reservation) func(*testing.T, *store.Store, *projectiontest.Log) {
		return func(_ *testing.T, _ *store.Store, l *projectiontest.Log) {
			l.Held[eventstore.ReservationKey{ProductID: of, ReservationID: r.ID}] = r
		}
	}
	afternoon := view.Hour{Number: projectiontest.NewLog().Clock.Unix()/3600 + 24*365, Bucket: view.Bucket{Movements: 1}}
	return map[string]extra{
		"a reservation":               {reserved(id, held), "reservation", id, true},
		"a cancelled reservation":     {reserved(id, product.Reservation{ID: projectiontest.ID(0xcc, 900), State: product.StateCancelled}), "reservation", id, true},
		"a reservation of a stranger": {reserved(stranger, held), "reservation", stranger, true},
		"a head": {func(_ *testing.T, _ *store.Store, l *projectiontest.Log) {
			l.Products[stranger] = product.Product{ID: stranger, Version: 3}
		}, "head", stranger, true},
		"a cancelled block":             {blocks(id, view.CancelledID(id.String(), 999)), "movements", id, false},
		"a cancelled block of an event": {blocks(id, view.CancelledID(id.String(), 3)), "movements", id, false},
		"a block between two":           {blocks(id, view.MovementID(id.String(), 5)), "movements", id, false},
		"a block that isn't full yet": {func(t *testing.T, s *store.Store, l *projectiontest.Log) {
			blocks(id, view.MovementID(id.String(), view.BlockStart(l.Products[id].Version+1)))(t, s, l)
		}, "movements", id, false},
		"a block with half a name":      {blocks(id, id.String()+"/x"), "movements", id, false},
		"a cancelled block of stranger": {blocks(stranger, view.CancelledID(stranger.String(), 1)), "movements", stranger, false},
		"a block of a stranger":         {blocks(stranger, view.MovementID(stranger.String(), 1)), "movements", stranger, false},
		"a block of no product":         {blocks(id, "x"), "movements", uuid.Nil, true},
		"a numbered document": {func(t *testing.T, s *store.Store, _ *projectiontest.Log) {
			projectiontest.Plant(t, s, "days_1", bson.D{{Key: "_id", Value: 7}})
		}, "days", uuid.Nil, true},
		"a document named null": {func(t *testing.T, s *store.Store, _ *projectiontest.Log) {
			projectiontest.Plant(t, s, "days_1", bson.D{{Key: "_id", Value: nil}})
		}, "days", uuid.Nil, true},
		"a day to come":                   {days(id, view.DayID(id.String(), afternoon.Number/24), afternoon), "days", id, false},
		"a day under the name of another": {days(id, view.DayID(id.String(), 3), afternoon), "days", id, false},
		"a day of a stranger":             {days(stranger, view.DayID(stranger.String(), afternoon.Number/24), afternoon), "days", stranger, false},
		"a parked stranger": {func(t *testing.T, s *store.Store, _ *projectiontest.Log) {
			if err := s.Park(t.Context(), "1", store.Parked{Product: stranger, Pos: 1}); err != nil {
				t.Fatal(err)
			}
		}, "parked", stranger, false},
	}
}

// Ensure that what is kept, and the log doesn't come to, is found one by one, and that documents of
// it are removed.
func TestAuditFindsExtras(t *testing.T) {
	id, stranger := projectiontest.ID(0xaa, 1), projectiontest.ID(0xdd, 1)
	for name, c := range extras(id, stranger) {
		t.Run(name, func(t *testing.T) {
			s := projectiontest.Open(t)
			l := projectiontest.Stocked(t, 3)
			projectiontest.FillBlocks(l, id)
			l.Do(id, time.Second, product.Release{ReservationID: projectiontest.ID(0xcc, 800)})
			if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
				t.Fatal(err)
			}
			if found := differences(t, s, l, Options{}); len(found) > 0 {
				t.Fatalf("differences before: %+v", found)
			}
			c.plant(t, s, l)
			for _, heal := range []bool{false, true} {
				found := differences(t, s, l, Options{Heal: heal})
				if len(found) != 1 || found[0].Where != c.where || found[0].Product != c.of || found[0].Healed != (heal && !c.stays) {
					t.Errorf("found %+v", found)
				}
			}
			if found := differences(t, s, l, Options{}); (len(found) == 0) == c.stays {
				t.Errorf("after healing: %+v", found)
			}
			if !c.stays {
				projectiontest.Compare(t, s, l)
			}
		})
	}
}

// busyLog is a log that is written to, and projected, around every call of an audit.
type busyLog struct {
	*projectiontest.Log
	busy func()
}

func (l busyLog) Heads(ctx context.Context, ids []uuid.UUID) ([]eventstore.Head, error) {
	defer l.busy()
	return l.Log.Heads(ctx, ids)
}

func (l busyLog) Reservations(ctx context.Context, id, after uuid.UUID, limit int) ([]eventstore.Reservation, error) {
	l.busy()
	return l.Log.Reservations(ctx, id, after, limit)
}

func (l busyLog) WithState(ctx context.Context, after uuid.UUID, limit int) ([]uuid.UUID, error) {
	defer l.busy()
	return l.Log.WithState(ctx, after, limit)
}

func (l busyLog) NotInLog(ctx context.Context, ids []uuid.UUID) ([]uuid.UUID, error) {
	defer l.busy()
	return l.Log.NotInLog(ctx, ids)
}

func (l busyLog) At(ctx context.Context, places []eventstore.Cursor) ([]eventstore.Record, error) {
	l.busy()
	return l.Log.At(ctx, places)
}

func (l busyLog) Facts(ctx context.Context, id uuid.UUID, after int64, limit int) ([]eventstore.Record, error) {
	defer l.busy()
	return l.Log.Facts(ctx, id, after, limit)
}

func (l busyLog) ProductRecords(ctx context.Context, id uuid.UUID) iter.Seq2[eventstore.Record, error] {
	l.busy()
	return func(yield func(eventstore.Record, error) bool) {
		defer l.busy()
		l.Log.ProductRecords(ctx, id)(yield)
	}
}

// Ensure that what is written and projected while an audit runs is no difference, whatever comes
// between any two of its reads.
func TestAuditBesideWriters(t *testing.T) {
	s := projectiontest.Open(t)
	l := projectiontest.Stocked(t, 2)
	p := project(t, s, l, &projectiontest.Leases{Epoch: 1})
	if err := projectiontest.Drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	n := 0
	busy := func() {
		n++
		id, fresh := projectiontest.ID(0xaa, n%2), projectiontest.ID(0xcc, 1000+n)
		l.Do(id, time.Duration(n%3)*20*time.Minute, product.Reserve{ReservationID: fresh, Quantity: 1})
		l.Do(id, time.Second, product.Release{ReservationID: projectiontest.ID(0xcc, 5000+n)}) // cancelled before it was asked for
		l.Do(id, time.Second, product.Release{ReservationID: fresh})
		for range view.BlockSize / 2 {
			l.Do(id, time.Second, product.AdjustStock{Delta: 1, Reason: "counted"})
		}
		if n%5 == 0 {
			l.Do(projectiontest.ID(0xaa, 10+n), time.Second, product.Create{Name: "New", InitialStock: 5})
			l.Do(projectiontest.ID(0xdd, n), time.Second, product.Release{ReservationID: fresh}) // of a product that nobody has created
		}
		if err := projectiontest.Drain(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if found := differences(t, s, busyLog{l, busy}, Options{}); len(found) > 0 {
			t.Errorf("differences: %+v", found)
		}
	}
}

// Ensure that removing the documents of what the log doesn't have leaves alone what comes to be
// meanwhile, between any two reads.
func TestHealingBesideWriters(t *testing.T) {
	s := projectiontest.Open(t)
	id := projectiontest.ID(0xdd, 1)
	for moment, reached := 1, true; reached; moment++ {
		projectiontest.Begin(t, s)
		l := projectiontest.Stocked(t, 1)
		p := project(t, s, l, &projectiontest.Leases{Epoch: 1})
		if err := projectiontest.Drain(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		planted := strayBlock(t, id, view.CancelledID(id.String(), 999))
		projectiontest.Plant(t, s, "movements_1", planted)
		n := 0
		busy := func() {
			if n++; n != moment {
				return
			}
			l.Do(id, time.Second, product.Release{ReservationID: projectiontest.ID(0xcc, 500)})
			l.Do(id, time.Second, product.Create{Name: "After all", InitialStock: 50})
			projectiontest.FillBlocks(l, id)
			if err := projectiontest.Drain(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		differences(t, s, busyLog{l, busy}, Options{Heal: true})
		for _, d := range differences(t, s, l, Options{}) { // of a product that came to be before it was found a stranger, so that it wasn't compared
			if !strings.Contains(d.What, planted.ID) {
				t.Errorf("moment %d: %+v", moment, d)
			}
		}
		if _, err := s.Database().Collection("movements_1").DeleteOne(t.Context(), bson.D{{Key: "_id", Value: planted.ID}}); err != nil {
			t.Fatal(err)
		}
		if reached = n >= moment; reached {
			projectiontest.Compare(t, s, l)
		}
	}
}

// Ensure that nothing is healed by a log that isn't the one the documents were made from.
func TestNothingIsHealedByAnotherLog(t *testing.T) {
	s, l := projectiontest.Open(t), projectiontest.Stocked(t, 2)
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	empty := projectiontest.NewLog()
	result, err := Run(t.Context(), s, empty, empty, projectiontest.Quiet, Options{Heal: true}, func(Difference) {})
	if err == nil || result.Healed > 0 {
		t.Errorf("%+v, %v", result, err)
	}
	projectiontest.Compare(t, s, l)
}
