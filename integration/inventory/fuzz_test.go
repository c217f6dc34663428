package inventory

import (
	"testing"
	"time"

	"github.com/google/uuid"
)

// FuzzDecode feeds the decoders of answers: nothing may panic, and what is accepted must be a whole level.
func FuzzDecode(f *testing.F) {
	const one = `{"productVariantId":"6b1f7a52-7b43-4f0e-9a53-1a2b3c4d5e6f","availableQuantity":3,"status":"LOW_STOCK","updatedAt":"2026-03-01T12:00:00Z"}`
	for _, seed := range []string{
		one, "[" + one + "," + one + "]", `[]`, `null`, `[null]`, `[{}]`, `[{"productVariantId":7},` + one + `]`, `{"error":"x"}`,
		`[{"productVariantId":"6b1f7a52-7b43-4f0e-9a53-1a2b3c4d5e6f","availableQuantity":1e400}]`, `<html>`, "[" + one,
	} {
		f.Add([]byte(seed))
	}
	whole := func(t *testing.T, level Level) {
		if level.VariantID == uuid.Nil || level.Available < 0 || !level.Status.known() || level.UpdatedAt.IsZero() || level.Source != Live {
			t.Fatalf("accepted %+v", level)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if got, err := decodeList(body); err == nil {
			for id, level := range got.levels {
				whole(t, level)
				if level.VariantID != id {
					t.Fatalf("level of %s under %s", level.VariantID, id)
				}
			}
			if got.faulty[uuid.Nil] != nil {
				t.Fatal("a fault of no variant")
			}
		}
		want := uuid.MustParse("6b1f7a52-7b43-4f0e-9a53-1a2b3c4d5e6f")
		if level, err := decodeOne(body, want); err == nil {
			whole(t, level)
			if level.VariantID != want {
				t.Fatal("another variant's level")
			}
		}
	})
}

// FuzzParseEvent: nothing may panic, and what is accepted must be a whole event that states a level in words we know.
func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(`{"eventId":"6b1f7a52-7b43-4f0e-9a53-1a2b3c4d5e6f","type":"InventoryLowStockEvent","timestamp":"2026-03-01T12:00:00Z",`+
		`"productVariantId":"6b1f7a52-7b43-4f0e-9a53-1a2b3c4d5e6f","availableQuantity":3}`), "")
	f.Add([]byte(`{"eventId":"6b1f7a52-7b43-4f0e-9a53-1a2b3c4d5e6f","timestamp":"2026-03-01T12:00:00Z",`+
		`"productVariantId":"6b1f7a52-7b43-4f0e-9a53-1a2b3c4d5e6f"}`), "InventoryOutOfStockEvent")
	f.Add([]byte(`{}`), "")
	f.Add([]byte(`[1]`), "x")
	f.Fuzz(func(t *testing.T, body []byte, header string) {
		e, err := ParseEvent(body, header)
		if err != nil {
			return
		}
		if e.ID == uuid.Nil || e.VariantID == uuid.Nil || e.At.IsZero() {
			t.Fatalf("accepted %+v", e)
		}
		level, states := e.Level(time.Now())
		if states && (!level.Status.known() || level.Available < 0 || (level.Available == 0) != (level.Status == OutOfStock)) {
			t.Fatalf("%+v states %+v", e, level)
		}
	})
}
