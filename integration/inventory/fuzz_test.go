package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

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

// FuzzLevelAgainstEncodingJSON holds the decoder against an independent reading of the same body:
// what is accepted says what encoding/json reads under the very names, and a level that is plain in
// every way is accepted.
func FuzzLevelAgainstEncodingJSON(f *testing.F) {
	const id = "6b1f7a52-7b43-4f0e-9a53-1a2b3c4d5e6f"
	for _, seed := range []string{
		`"availableQuantity":3,"status":"LOW_STOCK","updatedAt":"2026-03-01T12:00:00Z"`,
		`"availableQuantity":3.0,"AvailableQuantity":4,"status":"IN_STOCK","updatedAt":"2026-03-01T12:00:00.5+01:00"`,
		`"availableQuantity":2147483648,"status":"IN_STOCK","updatedAt":"20260301T1200Z"`,
		`"availableQuantity":-0e5,"status":"OUT_OF_STOCK","updatedAt":"2026-03-01T12:00:00"`,
		`"availableQuantity":1,"availableQuantity":2,"status":"IN\u005fSTOCK","updatedAt":"2026-060T12Z"`,
	} {
		f.Add([]byte(`{"productVariantId":"` + id + `",` + seed + `}`))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		level, err := decodeOne(body, uuid.MustParse(id))
		want, plain := independently(body)
		switch {
		case err != nil && plain && want.VariantID == uuid.MustParse(id):
			t.Fatalf("%s is refused: %v", body, err)
		case err == nil && (level.VariantID != want.VariantID || level.Available != want.Available || level.Status != want.Status):
			t.Fatalf("%s is read as %+v, and by another reader as %+v", body, level, want)
		case err == nil && plain && !level.UpdatedAt.Equal(want.UpdatedAt):
			t.Fatalf("%s is of %s, and for another reader of %s", body, level.UpdatedAt, want.UpdatedAt)
		}
		list, err := decodeList(append(append([]byte("["), bytes.TrimPrefix(body, []byte("\ufeff"))...), ']'))
		if err == nil && list.levels[level.VariantID] != level && level.Status != "" {
			t.Fatalf("%s is %+v alone, and %+v in a list", body, level, list)
		}
	})
}

// independently reads a level with encoding/json. It is plain if nothing in it is open to interpretation.
func independently(body []byte) (level Level, plain bool) {
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil {
		return Level{}, false
	}
	var id, status, at string
	errs := []error{
		json.Unmarshal(members["productVariantId"], &id), json.Unmarshal(members["status"], &status), json.Unmarshal(members["updatedAt"], &at),
	}
	level.VariantID, _ = uuid.Parse(id)
	level.Status = Status(status)
	stamp, err := time.Parse(time.RFC3339, at)
	errs = append(errs, err)
	level.UpdatedAt = stamp
	text := string(members["availableQuantity"])
	if _, exponent, has := strings.Cut(strings.ToLower(text), "e"); !has || len(exponent) < 5 {
		if n, ok := new(big.Rat).SetString(text); ok && n.IsInt() && n.Num().IsInt64() {
			level.Available = n.Num().Int64()
		}
	}
	if _, err := strconv.ParseUint(text, 10, 31); err != nil {
		errs = append(errs, err)
	}
	// Names that are there twice or escapes of half a pair are for the strict reader to find: a
	// text without escapes in which each member's name is there once has neither.
	once := !bytes.ContainsRune(body, '\\') && utf8.Valid(body) && bytes.Count(body, []byte(`":`)) == len(members) && bytes.Count(body, []byte(`"`)) == 2*len(members)+6
	return level, errors.Join(errs...) == nil && level.Status.known() && len(id) == 36 && level.VariantID != uuid.Nil && stamp.Year() > 1 && stamp.Year() < 9999 && once
}

// FuzzParseEvent: nothing may panic, and what is accepted must be a whole event that states a level
// in words we know.
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
