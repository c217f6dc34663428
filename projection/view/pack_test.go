package view_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"product-service/projection/view"
)

// What was packed before movements had actors is read as it is stored now; both lie side by side in one block.
func TestMovementsArePackedWithTheirActors(t *testing.T) {
	product, reservation := uuid.MustParse("0190f3a4-5b6c-7d8e-9f00-112233445566"), uuid.MustParse("0190f3a4-5b6c-7d8e-9f00-000000000001")
	plain := view.Movement{Product: product, Version: 1, Pos: 2, Type: view.Initial, At: 3, Quantity: 4, Delta: 4, Total: 4, Command: reservation, Correlation: "c-1"}
	by := plain
	by.Version, by.Type, by.Reason, by.Actor = 2, view.Adjusted, "found", "auth0|ann"
	held := plain
	held.Version, held.Type, held.Reservation, held.Actor = 3, view.Reserved, reservation, "0190f3a4-5b6c-7d8e-9f00-00000000000a"

	const before = "000204060808080000000190f3a45b6c7d8e9f0000000000000100000663" + "2d31"
	packed := plain.Pack(nil)
	if old, err := hex.DecodeString(before); err != nil || !bytes.Equal(packed, old) {
		t.Errorf("a movement without an actor is packed as %x, and was as %s", packed, before)
	}
	packed = held.Pack(by.Pack(packed))
	rows, err := view.Unpack(product, packed)
	if diff := cmp.Diff([]view.Movement{plain, by, held}, rows); err != nil || diff != "" {
		t.Errorf("%v (-packed +unpacked):\n%s", err, diff)
	}
	for n := range packed {
		if rows, err := view.Unpack(product, packed[:n]); err == nil && len(rows) == 3 {
			t.Errorf("cut after %d bytes it is still whole", n)
		}
	}
}
