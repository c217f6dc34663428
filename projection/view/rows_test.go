package view_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"product-service/projection/view"
)

func someMovement(t *rapid.T, name string) view.Movement {
	number := rapid.Int64Range(-1<<40, 1<<40)
	text := rapid.StringN(0, 20, -1)
	id := rapid.Custom(func(t *rapid.T) (id uuid.UUID) {
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		return id
	})
	return rapid.Custom(func(t *rapid.T) view.Movement {
		m := view.Movement{
			Product: id.Draw(t, "product"), Type: rapid.SampledFrom(view.MovementTypes).Draw(t, "type"),
			Version: rapid.Int64Range(1, 1<<40).Draw(t, "version"), Pos: number.Draw(t, "pos"), At: number.Draw(t, "at"),
			Quantity: number.Draw(t, "quantity"), Delta: number.Draw(t, "delta"), Total: number.Draw(t, "total"),
			Reserved: number.Draw(t, "reserved"), ExpiresAt: number.Draw(t, "expiresAt"),
			Saga: text.Draw(t, "saga"), Reason: text.Draw(t, "reason"), Actor: text.Draw(t, "actor"),
			Command: id.Draw(t, "command"), Correlation: text.Draw(t, "correlation"),
		}
		if m.Reservation = id.Draw(t, "reservation"); m.Reservation != uuid.Nil {
			m.Held = number.Draw(t, "held")
		}
		return m
	}).Draw(t, name)
}

// Ensure that what is read of rows is what was written, through the database's own form too.
func TestRowsAreReadAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		several := rapid.Bool().Draw(t, "several")
		var rows view.Rows
		var want []view.Movement
		for range rapid.IntRange(0, 40).Draw(t, "rows") {
			m := someMovement(t, "movement")
			rows, want = rows.Append(&m, several), append(want, m)
			if !several {
				want[len(want)-1].Product = uuid.Nil
			}
		}
		raw, err := bson.Marshal(struct{ Rows view.Rows }{rows})
		if err != nil {
			t.Fatal(err)
		}
		var stored struct{ Rows view.Rows }
		if err := bson.Unmarshal(raw, &stored); err != nil {
			t.Fatal(err)
		}
		got, err := stored.Rows.Movements(uuid.Nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(want) == 0 {
			want = []view.Movement{}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-written +read):\n%s", diff)
		}
	})
}

// Ensure that a stored movement has the names of a StockMovement, and plain values.
func TestRowsArePlainDocuments(t *testing.T) {
	id := uuid.MustParse("0190f3a4-5b6c-7d8e-9f00-00000000000a")
	m := view.Movement{Product: id, Type: view.Reserved, Version: 2, Pos: 3, At: 1_767_225_600_123_456, Quantity: 4, Delta: -4,
		Total: 10, Reserved: 4, Held: 4, Reservation: id, Saga: "s", Command: id, Correlation: "c"}
	raw, err := bson.Marshal(struct{ Rows view.Rows }{view.Rows(nil).Append(&m, true)})
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Rows []bson.M }
	if err := bson.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	want := bson.M{
		"productId": id.String(), "type": "RESERVED", "version": int32(2), "pos": int32(3),
		"occurredAt": bson.DateTime(1_767_225_600_123), "occurredAtMicros": int32(456),
		"quantity": int32(4), "delta": int32(-4), "totalAfter": int32(10), "reservedAfter": int32(4),
		"reservationId": id.String(), "held": int32(4), "sagaId": "s", "commandId": id.String(), "correlationId": "c",
	}
	if diff := cmp.Diff([]bson.M{want}, got.Rows); diff != "" {
		t.Errorf("(-want +stored):\n%s", diff)
	}
}

// Ensure that damaged rows are an error, wherever they are cut.
func TestDamagedRowsAreFound(t *testing.T) {
	m := view.Movement{Type: view.Adjusted, Version: 1}
	rows := view.Rows(nil).Append(&m, false)
	for n := 1; n < len(rows); n++ {
		if _, err := rows[:n].Movements(uuid.Nil); err == nil {
			t.Fatalf("%d of %d bytes are read as whole", n, len(rows))
		}
	}
	for name, value := range map[string]any{
		"a text": "rows", "a number in it": bson.A{1}, "packed nonsense": bson.Binary{Data: []byte("nonsense")},
		"no version": bson.A{bson.D{{Key: "type", Value: "ADJUSTED"}}}, "a text for a number": bson.A{bson.D{{Key: "version", Value: "1"}}},
	} {
		raw, err := bson.Marshal(bson.D{{Key: "rows", Value: value}})
		if err != nil {
			t.Fatal(err)
		}
		var stored struct{ Rows view.Rows }
		err = bson.Unmarshal(raw, &stored)
		if err == nil {
			_, err = stored.Rows.Movements(uuid.Nil)
		}
		if err == nil {
			t.Errorf("%s is read as movements", name)
		}
	}
}
