package read

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"product-service/projection/projectiontest"
	"product-service/projection/store"
)

// Ensure that the views show what readers see: each movement, and each day as a timeline has it,
// also those in which nothing happened. On a server without views there are none.
func TestViewsShowWhatReadersSee(t *testing.T) {
	s := projectiontest.Open(t)
	names, err := s.Database().ListCollectionNames(t.Context(), bson.D{{Key: "name", Value: bson.D{{Key: "$regex", Value: "^stock_"}}}})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	if !s.Server.Views {
		if len(names) > 0 {
			t.Errorf("a server without views has %v", names)
		}
		return
	}
	if !slices.Equal(names, []string{store.DaysView, store.MovementsView}) {
		t.Fatalf("there are the views %v", names)
	}
	rapid.Check(t, func(t *rapid.T) {
		l, r := projected(t, s, 3, rapid.IntRange(1, 60).Draw(t, "commands"))
		for n := range 3 {
			id := projectiontest.ID(0xaa, n)
			checkMovementsView(t, s, l, id)
			checkDaysView(t, s, l, r, id)
		}
	})
}

type movementRow struct {
	ID             string    `bson:"_id"`
	ProductID      string    `bson:"productId"`
	Type           string    `bson:"type"`
	Version        int64     `bson:"version"`
	Quantity       int64     `bson:"quantity"`
	Delta          int64     `bson:"delta"`
	TotalAfter     int64     `bson:"totalAfter"`
	ReservedAfter  int64     `bson:"reservedAfter"`
	AvailableAfter int64     `bson:"availableAfter"`
	ReservationID  string    `bson:"reservationId"`
	SagaID         string    `bson:"sagaId"`
	Reason         string    `bson:"reason"`
	CommandID      string    `bson:"commandId"`
	OccurredAt     time.Time `bson:"occurredAt"`
}

func checkMovementsView(t *rapid.T, s *store.Store, l *projectiontest.Log, id uuid.UUID) {
	got := projectiontest.Stored[movementRow](t, s, store.MovementsView, bson.D{{Key: "productId", Value: id.String()}})
	slices.SortFunc(got, func(a, b movementRow) int { return int(b.Version - a.Version) })
	want := []movementRow{}
	for _, m := range wantedMovements(l, MovementFilter{ProductID: id}) {
		row := movementRow{
			ID: fmt.Sprintf("%s.%d", m.ProductID, m.Version), ProductID: id.String(), Type: string(m.Type), Version: m.Version, Quantity: m.Quantity,
			Delta: m.Delta, TotalAfter: m.Total, ReservedAfter: m.Reserved, AvailableAfter: m.Available(), SagaID: m.SagaID, Reason: m.Reason,
			CommandID: m.CommandID.String(), OccurredAt: m.OccurredAt.Truncate(time.Millisecond),
		}
		if m.ReservationID != uuid.Nil {
			row.ReservationID = m.ReservationID.String()
		}
		want = append(want, row)
	}
	if diff := cmp.Diff(want, append([]movementRow{}, got...)); diff != "" {
		t.Fatalf("movements of %s (-want +shown):\n%s", id, diff)
	}
}

type dayRow struct {
	Start      time.Time `bson:"start"`
	End        time.Time `bson:"end"`
	Opening    int64     `bson:"opening"`
	Closing    int64     `bson:"closing"`
	Min        int64     `bson:"minAvailable"`
	Max        int64     `bson:"maxAvailable"`
	Reserved   int64     `bson:"reservedQuantity"`
	Released   int64     `bson:"releasedQuantity"`
	Expired    int64     `bson:"expiredQuantity"`
	Adjusted   int64     `bson:"adjustedQuantity"`
	Refused    int64     `bson:"refusedQuantity"`
	Refusals   int64     `bson:"refusals"`
	OutOfStock int64     `bson:"outOfStockSeconds"`
	Movements  int64     `bson:"movements"`
	Name       string    `bson:"name"`
	Day        time.Time `bson:"day"`
	ProductID  string    `bson:"productId"`
}

func checkDaysView(t *rapid.T, s *store.Store, l *projectiontest.Log, r *Reader, id uuid.UUID) {
	got := projectiontest.Stored[dayRow](t, s, store.DaysView, bson.D{{Key: "productId", Value: id.String()}})
	slices.SortFunc(got, func(a, b dayRow) int { return a.Day.Compare(b.Day) })
	movements := wantedMovements(l, MovementFilter{ProductID: id})
	if len(movements) == 0 {
		if len(got) > 0 {
			t.Fatalf("product %s has no history, and the days %+v", id, got)
		}
		return
	}
	first := movements[len(movements)-1].OccurredAt
	now := r.now()
	r.now = func() time.Time { return now } // the server's clock goes on: see below
	buckets, err := r.Timeline(t.Context(), id, first, now, Daily)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(buckets) {
		t.Fatalf("product %s has %d days from %s to %s, shown are %d", id, len(buckets), first, now, len(got))
	}
	for i, b := range buckets {
		want := dayRow{Start: b.Start, End: b.End, Opening: b.Opening, Closing: b.Closing, Min: b.Min, Max: b.Max, Reserved: b.ReservedQuantity,
			Released: b.ReleasedQuantity, Expired: b.ExpiredQuantity, Adjusted: b.AdjustedQuantity, Refused: b.RefusedQuantity, Refusals: b.Refusals,
			OutOfStock: b.OutOfStockSeconds, Movements: b.Movements, Name: got[i].Name, Day: b.Start, ProductID: id.String()}
		if i == len(buckets)-1 { // today goes on
			if more := got[i].OutOfStock - want.OutOfStock; more < 0 || more > int64(time.Since(now).Seconds())+1 {
				t.Fatalf("product %s was out of stock for %d s today, shown are %d", id, want.OutOfStock, got[i].OutOfStock)
			}
			want.OutOfStock = got[i].OutOfStock
		}
		if got[i] != want || got[i].Name == "" {
			t.Fatalf("product %s on %s:\nwant  %+v\nshown %+v", id, b.Start, want, got[i])
		}
	}
}
