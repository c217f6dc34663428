package product

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// inService is what a service has.
type inService struct {
	products, variants []uuid.UUID
	skus               []string
}

func (s inService) Product(id uuid.UUID) bool { return slices.Contains(s.products, id) }
func (s inService) Variant(id uuid.UUID) bool { return slices.Contains(s.variants, id) }
func (s inService) SKU(key string) bool       { return slices.Contains(s.skus, key) }

// An id names one product or variant of the whole service, and a SKU one variant.
func TestIDsAndSKUsAreUniqueInTheService(t *testing.T) {
	id, other := uuid.New(), uuid.New()
	has := inService{products: []uuid.UUID{uuid.New()}, variants: []uuid.UUID{other}, skus: []string{SKUKey("TAKEN-1")}}
	free := Variant{ID: uuid.New(), SKU: "FREE"}
	for name, test := range map[string]struct {
		id      uuid.UUID
		command Command
		field   string // "": nothing is in use
	}{
		"a new product":                    {id, Create{Variants: []Variant{free}}, ""},
		"a product with a variant's id":    {other, Create{}, "id"},
		"a second variant's id is in use":  {id, Create{Variants: []Variant{free, {ID: other, SKU: "FREE-2"}}}, "variants.1.id"},
		"a variant with a product's id":    {id, AddVariant{Variant: Variant{ID: has.products[0], SKU: "FREE"}}, "id"},
		"a SKU that is in use":             {id, Create{Variants: []Variant{{ID: uuid.New(), SKU: "TAKEN-1"}}}, "variants.0.sku"},
		"a SKU that looks like one in use": {id, AddVariant{Variant: Variant{ID: uuid.New(), SKU: " TAKEN\u200b-１"}}, "sku"},
		"a variant without a SKU":          {id, AddVariant{Variant: Variant{ID: uuid.New()}}, ""}, // refused for another reason
		"another command":                  {id, Reserve{ReservationID: other, Quantity: 1}, ""},
	} {
		refusal := Unique(test.id, test.command, has)
		switch {
		case refusal == nil && test.field != "":
			t.Errorf("%s isn't refused", name)
		case refusal != nil && (refusal.Code != Conflict || strings.Join(refusal.Field, ".") != test.field):
			t.Errorf("%s: %+v", name, *refusal)
		}
	}
}
