package product

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// Taken says which ids and SKUs are in use in the whole service. What it says must hold until the
// events of the command are stored.
type Taken interface {
	Product(id uuid.UUID) bool
	Variant(id uuid.UUID) bool
	SKU(key string) bool // by its [SKUKey]
}

// Unique returns why a command for the product of an id can't be, because of what other products have;
// nil where it can: an id names one product or one variant, and a SKU names one variant. [Decide] sees
// one product only, so this is to be asked before it.
func Unique(id uuid.UUID, c Command, taken Taken) *Refusal {
	switch c := c.(type) {
	case Create:
		if taken.Variant(id) {
			return inUse("id", "a variant with this id exists")
		}
		for i, v := range c.Variants {
			if r := unique(v, fmt.Sprint("variants.", i, "."), taken); r != nil {
				return r
			}
		}
	case AddVariant:
		return unique(c.Variant, "", taken)
	}
	return nil
}

func unique(v Variant, at string, taken Taken) *Refusal {
	switch key := SKUKey(v.SKU); {
	case taken.Variant(v.ID):
		return inUse(at+"id", "a variant with this id exists")
	case taken.Product(v.ID):
		return inUse(at+"id", "a product with this id exists")
	case key != "" && taken.SKU(key):
		return inUse(at+"sku", "this SKU is taken, or one that looks the same")
	}
	return nil
}

func inUse(field, message string) *Refusal {
	return &Refusal{Code: Conflict, Field: strings.Split(field, "."), Message: message}
}
