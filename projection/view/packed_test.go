package view_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"product-service/projection/projectiontest"
	"product-service/projection/view"
)

// Ensure that movements which an earlier version packed are read as they were.
func TestPackedMovementsAreStillRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		journal := rapid.Bool().Draw(t, "journal")
		var packed []byte
		var want []view.Movement
		for range rapid.IntRange(1, 20).Draw(t, "rows") {
			m := someMovement(t, "movement")
			m.Actor = ""
			if rapid.Bool().Draw(t, "a saga that is an id") {
				m.Saga = uuid.NewString()
			}
			if journal {
				packed = append(packed, m.Product[:]...)
			} else {
				m.Product = uuid.Nil
			}
			packed, want = projectiontest.PackMovement(packed, &m), append(want, m)
		}
		kind, value, err := bson.MarshalValue(bson.Binary{Data: packed})
		if err != nil {
			t.Fatal(err)
		}
		rows, err := view.RowsOf(bson.RawValue{Type: kind, Value: value}, journal)
		if err != nil {
			t.Fatal(err)
		}
		got, err := rows.Movements(uuid.Nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-packed +read):\n%s", diff)
		}
	})
}

// Ensure that an hour which an earlier version packed is read as it was, as an ended one and as the
// present one.
func TestPackedHoursAreStillRead(t *testing.T) {
	want := view.Bucket{Opening: 10, Closing: 4, Min: 3, Max: 12, Reserved: 7, Released: 1, Movements: 3}
	raw, err := bson.Marshal(bson.D{{Key: "hour", Value: projectiontest.PackHour(view.Hour{Bucket: want, Number: 490_000})}})
	if err != nil {
		t.Fatal(err)
	}
	var ended struct{ Hour view.Hour }
	var present struct{ Hour view.Span }
	if err := bson.Unmarshal(raw, &ended); err != nil {
		t.Fatal(err)
	}
	if err := bson.Unmarshal(raw, &present); err != nil {
		t.Fatal(err)
	}
	if ended.Hour != (view.Hour{Bucket: want, Number: 490_000}) {
		t.Errorf("an ended one is read as %+v", ended.Hour)
	}
	if present.Hour.Bucket != want || present.Hour.Start != 490_000*view.SecondsPerHour {
		t.Errorf("the present one is read as %+v", present.Hour)
	}
}
