package graph

import (
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"

	"product-service/graph/generated"
)

// Every type, field, argument and enum value says what it is.
func TestSchemaIsDescribed(t *testing.T) {
	schema := generated.NewExecutableSchema(generated.Config{}).Schema()
	described := func(what, description string) {
		t.Helper()
		if len(strings.TrimSpace(description)) < 5 || !strings.HasSuffix(strings.TrimSpace(description), ".") {
			t.Errorf("%s has the description %q; it must be a sentence", what, description)
		}
	}
	for name, def := range schema.Types {
		if def.BuiltIn || strings.HasPrefix(name, "__") {
			continue
		}
		described(name, def.Description)
		for _, f := range def.Fields {
			if strings.HasPrefix(f.Name, "__") {
				continue
			}
			described(name+"."+f.Name, f.Description)
			for _, a := range f.Arguments {
				described(name+"."+f.Name+"("+a.Name+")", a.Description)
			}
		}
		for _, v := range def.EnumValues {
			described(name+"."+v.Name, v.Description)
		}
	}
}

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
