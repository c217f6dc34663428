package command

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/product"
)

// TestFingerprintsNeverChange holds the stored fingerprints: were one to change, a repeated command
// would be taken for another.
func TestFingerprintsNeverChange(t *testing.T) {
	id, reservation := uuid.MustParse("5f0b8a6e-2f4d-4f0a-8c8e-1a2b3c4d5e6f"), uuid.MustParse("0e7c1d2a-93a1-4d0c-b5b6-7d1f3a5c9e02")
	for _, test := range []struct {
		command product.Command
		want    int64
	}{
		{product.Reserve{ReservationID: reservation, SagaID: "saga-1", Quantity: 3}, 5492004148555960220},
		{product.Reserve{ReservationID: reservation, SagaID: "é\"\x01", Quantity: 3, ExpiresAt: time.Date(2026, 3, 1, 13, 0, 0, 123456000, time.FixedZone("", 3600))}, -1839950317875891257},
		{product.Release{ReservationID: reservation, SagaID: "saga-1", Quantity: 0, Reason: "paid\ttwice"}, -7647298465773400557},
	} {
		got, err := fingerprint(id, test.command)
		if err != nil {
			t.Fatal(err)
		}
		if got != test.want {
			t.Errorf("the fingerprint of %+v is %d; want %d", test.command, got, test.want)
		}
	}
}

func TestTheInitPolicyIsNoContentOfACommand(t *testing.T) {
	for _, same := range [][2]product.Command{
		{product.Create{Name: "A"}, product.Create{Name: "A", Unconfirmed: true}},
		{product.AddVariant{Variant: product.Variant{SKU: "s"}}, product.AddVariant{Variant: product.Variant{SKU: "s"}, Unconfirmed: true}},
	} {
		a, err := fingerprint(uuid.Nil, same[0])
		if err != nil {
			t.Fatal(err)
		}
		if b, err := fingerprint(uuid.Nil, same[1]); err != nil || a != b {
			t.Errorf("%+v and %+v have the fingerprints %d and %d, %v", same[0], same[1], a, b, err)
		}
	}
}
