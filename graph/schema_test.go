package graph

import (
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"

	"product-service/graph/generated"
)

// Nothing that another service answers for can make a product null.
func TestInventoryIsNullable(t *testing.T) {
	schema := generated.NewExecutableSchema(generated.Config{}).Schema()
	field := schema.Types["ProductVariant"].Fields.ForName("inventory")
	if field.Type.NonNull {
		t.Error("ProductVariant.inventory must be nullable")
	}
	for _, def := range schema.Types {
		if def.Kind != ast.Object || def.BuiltIn || def == schema.Subscription || strings.HasPrefix(def.Name, "__") {
			continue
		}
		for _, f := range def.Fields {
			if f.Type.Name() == "InventoryLevel" && f != field {
				t.Errorf("%s.%s is a level too", def.Name, f.Name)
			}
		}
	}
}
