package view_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"product-service/projection/view"
)

var packedTypes = []view.MovementType{view.Initial, view.Adjusted, view.Reserved, view.Released, view.Expired, view.Renewed, view.Cancelled, view.Other}

// pack writes a movement as shape 4 of the documents did.
func pack(b []byte, m *view.Movement) []byte {
	kind := byte(slices.Index(packedTypes, m.Type))
	if m.Reservation != uuid.Nil {
		kind |= 0x80
	}
	b = append(b, kind)
	for _, n := range []int64{m.Version, m.Pos, m.At, m.Quantity, m.Delta, m.Total, m.Reserved, m.Held, m.ExpiresAt} {
		b = binary.AppendVarint(b, n)
	}
	b = append(b, m.Command[:]...)
	if m.Reservation != uuid.Nil {
		b = append(b, m.Reservation[:]...)
	}
	for _, s := range []string{m.Saga, m.Reason, m.Correlation} {
		if id, err := uuid.Parse(s); err == nil && len(s) == 36 && id.String() == s {
			b = append(append(b, 1), id[:]...)
			continue
		}
		b = append(binary.AppendUvarint(b, uint64(len(s))<<1), s...)
	}
	return b
}

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
			packed, want = pack(packed, &m), append(want, m)
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

// Ensure that an hour which an earlier version packed is read as it was, as an ended one and as the present one.
func TestPackedHoursAreStillRead(t *testing.T) {
	var packed []byte
	for _, n := range []int64{490_000, 10, 4, 3, 12, 7, 1, 0, 3} {
		packed = binary.AppendVarint(packed, n)
	}
	raw, err := bson.Marshal(bson.D{{Key: "hour", Value: bson.Binary{Data: packed}}})
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
	want := view.Bucket{Opening: 10, Closing: 4, Min: 3, Max: 12, Reserved: 7, Released: 1, Movements: 3}
	if ended.Hour != (view.Hour{Bucket: want, Number: 490_000}) {
		t.Errorf("an ended one is read as %+v", ended.Hour)
	}
	if present.Hour.Bucket != want || present.Hour.Start != 490_000*view.SecondsPerHour {
		t.Errorf("the present one is read as %+v", present.Hour)
	}
}
