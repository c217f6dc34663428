package projection

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/eventstore"
	"product-service/product"
)

func plant(t *testing.T, s *Store, collection string, doc any) {
	t.Helper()
	if _, err := s.db.Collection(collection).InsertOne(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
}

// strayBlock is a block by any name, with a movement of its own.
func strayBlock(t *testing.T, product uuid.UUID, name string) block {
	t.Helper()
	m := movement{Product: product, Pos: 999, Type: cancelled, Reservation: testID(0xcc, 900)}
	b, err := newBlock(name, product, m.pack(nil))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Ensure that what is kept, and the log doesn't come to, is found one by one, and that documents of it are removed.
func TestAuditFindsExtras(t *testing.T) {
	id, stranger := testID(0xaa, 1), testID(0xdd, 1)
	held := product.Reservation{ID: testID(0xcc, 900), SagaID: "s", Quantity: 3, Held: 3, State: product.StateActive}
	blocks := func(of uuid.UUID, name string) func(*testing.T, *Store, *memoryLog) {
		return func(t *testing.T, s *Store, _ *memoryLog) { plant(t, s, "movements_1", strayBlock(t, of, name)) }
	}
	days := func(of uuid.UUID, name string, h hour) func(*testing.T, *Store, *memoryLog) {
		return func(t *testing.T, s *Store, _ *memoryLog) {
			plant(t, s, "days_1", day{ID: name, Product: of.String(), Day: h.Number / 24, Hours: map[string]hour{h.key(): h}})
		}
	}
	reserved := func(of uuid.UUID, r product.Reservation) func(*testing.T, *Store, *memoryLog) {
		return func(_ *testing.T, _ *Store, l *memoryLog) {
			l.held[eventstore.ReservationKey{ProductID: of, ReservationID: r.ID}] = r
		}
	}
	afternoon := hour{Number: newMemoryLog().clock.Unix()/3600 + 24*365, Movements: 1}
	for name, c := range map[string]struct {
		plant func(t *testing.T, s *Store, l *memoryLog)
		where string
		of    uuid.UUID
		stays bool
	}{
		"a reservation":               {reserved(id, held), "reservation", id, true},
		"a cancelled reservation":     {reserved(id, product.Reservation{ID: testID(0xcc, 900), State: product.StateCancelled}), "reservation", id, true},
		"a reservation of a stranger": {reserved(stranger, held), "reservation", stranger, true},
		"a head": {func(_ *testing.T, _ *Store, l *memoryLog) {
			l.products[stranger] = product.Product{ID: stranger, Version: 3}
		}, "head", stranger, true},
		"a cancelled block":               {blocks(id, cancelledID(id.String(), 999)), "movements", id, false},
		"a cancelled block of an event":   {blocks(id, cancelledID(id.String(), 3)), "movements", id, false},
		"a block between two":             {blocks(id, movementID(id.String(), 5)), "movements", id, false},
		"a block that isn't full yet":     {blocks(id, movementID(id.String(), 1+3*blockSize)), "movements", id, false},
		"a block with half a name":        {blocks(id, id.String()+"/x"), "movements", id, false},
		"a cancelled block of stranger":   {blocks(stranger, cancelledID(stranger.String(), 1)), "movements", stranger, false},
		"a block of a stranger":           {blocks(stranger, movementID(stranger.String(), 1)), "movements", stranger, false},
		"a block of no product":           {blocks(id, "x"), "movements", uuid.Nil, true},
		"a numbered document":             {func(t *testing.T, s *Store, _ *memoryLog) { plant(t, s, "days_1", bson.D{{Key: "_id", Value: 7}}) }, "days", uuid.Nil, true},
		"a document named null":           {func(t *testing.T, s *Store, _ *memoryLog) { plant(t, s, "days_1", bson.D{{Key: "_id", Value: nil}}) }, "days", uuid.Nil, true},
		"a day to come":                   {days(id, dayID(id.String(), afternoon.Number/24), afternoon), "days", id, false},
		"a day under the name of another": {days(id, dayID(id.String(), 3), afternoon), "days", id, false},
		"a day of a stranger":             {days(stranger, dayID(stranger.String(), afternoon.Number/24), afternoon), "days", stranger, false},
		"a parked stranger": {func(t *testing.T, s *Store, _ *memoryLog) {
			plant(t, s, parkedName, parkedProduct{ID: "1." + stranger.String(), Generation: "1", Product: stranger.String(), Pos: 1})
		}, "parked", stranger, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			l := stocked(t, 3)
			fillBlocks(l, id)
			l.do(id, time.Second, product.Release{ReservationID: testID(0xcc, 800)})
			if err := drain(t.Context(), project(t, s, l, &leases{epoch: 1})); err != nil {
				t.Fatal(err)
			}
			if found := differences(t, s, l, AuditOptions{}); len(found) > 0 {
				t.Fatalf("differences before: %+v", found)
			}
			c.plant(t, s, l)
			for _, heal := range []bool{false, true} {
				found := differences(t, s, l, AuditOptions{Heal: heal})
				if len(found) != 1 || found[0].Where != c.where || found[0].Product != c.of || found[0].Healed != (heal && !c.stays) {
					t.Errorf("found %+v", found)
				}
			}
			if found := differences(t, s, l, AuditOptions{}); (len(found) == 0) == c.stays {
				t.Errorf("after healing: %+v", found)
			}
			if !c.stays {
				compare(t, s, l)
			}
		})
	}
}

// busyLog is a log that is written to, and projected, around every call of an audit.
type busyLog struct {
	*memoryLog
	busy func()
}

func (l busyLog) Heads(ctx context.Context, ids []uuid.UUID) ([]eventstore.Head, error) {
	defer l.busy()
	return l.memoryLog.Heads(ctx, ids)
}

func (l busyLog) Reservations(ctx context.Context, id, after uuid.UUID, limit int) ([]eventstore.Reservation, error) {
	l.busy()
	return l.memoryLog.Reservations(ctx, id, after, limit)
}

func (l busyLog) Kept(ctx context.Context, after uuid.UUID, limit int) ([]uuid.UUID, error) {
	defer l.busy()
	return l.memoryLog.Kept(ctx, after, limit)
}

func (l busyLog) Unlogged(ctx context.Context, ids []uuid.UUID) ([]uuid.UUID, error) {
	defer l.busy()
	return l.memoryLog.Unlogged(ctx, ids)
}

func (l busyLog) At(ctx context.Context, places []eventstore.Cursor) ([]eventstore.Record, error) {
	l.busy()
	return l.memoryLog.At(ctx, places)
}

func (l busyLog) Facts(ctx context.Context, id uuid.UUID, after int64, limit int) ([]eventstore.Record, error) {
	defer l.busy()
	return l.memoryLog.Facts(ctx, id, after, limit)
}

func (l busyLog) ProductRecords(ctx context.Context, id uuid.UUID) iter.Seq2[eventstore.Record, error] {
	l.busy()
	return func(yield func(eventstore.Record, error) bool) {
		defer l.busy()
		l.memoryLog.ProductRecords(ctx, id)(yield)
	}
}

// Ensure that what is written and projected while an audit runs is no difference, whatever comes between any two of its reads.
func TestAuditBesideWriters(t *testing.T) {
	s := open(t)
	l := stocked(t, 2)
	p := project(t, s, l, &leases{epoch: 1})
	if err := drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	n := 0
	busy := func() {
		n++
		id, fresh := testID(0xaa, n%2), testID(0xcc, 1000+n)
		l.do(id, time.Duration(n%3)*20*time.Minute, product.Reserve{ReservationID: fresh, Quantity: 1})
		l.do(id, time.Second, product.Release{ReservationID: testID(0xcc, 5000+n)}) // cancelled before it was asked for
		l.do(id, time.Second, product.Release{ReservationID: fresh})
		for range blockSize / 2 {
			l.do(id, time.Second, product.AdjustStock{Delta: 1, Reason: "counted"})
		}
		if n%5 == 0 {
			l.do(testID(0xaa, 10+n), time.Second, product.Create{Name: "New", InitialStock: 5})
			l.do(testID(0xdd, n), time.Second, product.Release{ReservationID: fresh}) // of a product that nobody has created
		}
		if err := drain(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if found := differences(t, s, busyLog{l, busy}, AuditOptions{}); len(found) > 0 {
			t.Errorf("differences: %+v", found)
		}
	}
}

// Ensure that removing the documents of what the log doesn't have leaves alone what comes to be meanwhile, between any two reads.
func TestHealingBesideWriters(t *testing.T) {
	s := open(t)
	id := testID(0xdd, 1)
	for moment, reached := 1, true; reached; moment++ {
		begin(t, s)
		l := stocked(t, 1)
		p := project(t, s, l, &leases{epoch: 1})
		if err := drain(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		planted := strayBlock(t, id, cancelledID(id.String(), 999))
		plant(t, s, "movements_1", planted)
		n := 0
		busy := func() {
			if n++; n != moment {
				return
			}
			l.do(id, time.Second, product.Release{ReservationID: testID(0xcc, 500)})
			l.do(id, time.Second, product.Create{Name: "After all", InitialStock: 50})
			fillBlocks(l, id)
			if err := drain(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		differences(t, s, busyLog{l, busy}, AuditOptions{Heal: true})
		for _, d := range differences(t, s, l, AuditOptions{}) { // of a product that came to be before it was found a stranger, so that it wasn't compared
			if !strings.Contains(d.What, planted.ID) {
				t.Errorf("moment %d: %+v", moment, d)
			}
		}
		if _, err := s.db.Collection("movements_1").DeleteOne(t.Context(), bson.D{{Key: "_id", Value: planted.ID}}); err != nil {
			t.Fatal(err)
		}
		if reached = n >= moment; reached {
			compare(t, s, l)
		}
	}
}

// Ensure that nothing is healed by a log that isn't the one the documents were made from.
func TestNothingIsHealedByAnotherLog(t *testing.T) {
	s, l := open(t), stocked(t, 2)
	if err := drain(t.Context(), project(t, s, l, &leases{epoch: 1})); err != nil {
		t.Fatal(err)
	}
	empty := newMemoryLog()
	result, err := Audit(t.Context(), s, empty, empty, quiet, AuditOptions{Heal: true}, func(Difference) {})
	if err == nil || result.Healed > 0 {
		t.Errorf("%+v, %v", result, err)
	}
	compare(t, s, l)
}

// Ensure that a damaged block fails the export that comes to it, and nothing else.
func TestExportOfADamagedBlock(t *testing.T) {
	s, l := open(t), newMemoryLog()
	id := testID(0xaa, 0)
	l.do(id, 0, product.Create{Name: "P", InitialStock: 100})
	for range 40 {
		l.do(id, 1, product.AdjustStock{Delta: 1, Reason: "counted"})
	}
	if err := drain(t.Context(), project(t, s, l, &leases{epoch: 1})); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.Collection("movements_1").UpdateMany(t.Context(), bson.D{}, set(bson.D{{Key: "rows", Value: "none"}})); err != nil {
		t.Fatal(err)
	}
	err := NewReader(s, nil).Export(t.Context(), MovementFilter{ProductID: id}, MovementID{}, func(*Movement) error { return nil })
	if !errors.Is(err, errCut) {
		t.Errorf("the export ends with %v", err)
	}
}
