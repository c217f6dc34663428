package graph

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
)

// breaks are the changes from one schema to another that could break a client: something is gone,
// an answer may be null or of another type where it couldn't, or something must be given that
// needn't.
func breaks(before, now *ast.Schema) (found []string) {
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	for name, old := range before.Types {
		def := now.Types[name]
		switch {
		case old.BuiltIn || strings.HasPrefix(name, "__"):
			continue
		case def == nil:
			say("%s is gone", name)
			continue
		case def.Kind != old.Kind:
			say("%s is of kind %s, and was %s", name, def.Kind, old.Kind)
			continue
		}
		for _, v := range old.EnumValues {
			if def.EnumValues.ForName(v.Name) == nil {
				say("%s.%s is gone", name, v.Name)
			}
		}
		for _, other := range old.Types {
			if !slices.Contains(def.Types, other) {
				say("%s can't be %s any more", name, other)
			}
		}
		for _, other := range old.Interfaces {
			if !slices.Contains(def.Interfaces, other) {
				say("%s doesn't implement %s any more", name, other)
			}
		}
		for _, f := range old.Fields {
			field := def.Fields.ForName(f.Name)
			at := name + "." + f.Name
			switch {
			case field == nil:
				say("%s is gone", at)
			case def.Kind == ast.InputObject && !accepts(field.Type, f.Type):
				say("%s takes %s, and took %s", at, field.Type, f.Type)
			case def.Kind != ast.InputObject && !accepts(f.Type, field.Type):
				say("%s gives %s, and gave %s", at, field.Type, f.Type)
			default:
				found = append(found, argumentBreaks(at, f.Arguments, field.Arguments)...)
			}
		}
		for _, f := range def.Fields {
			if def.Kind == ast.InputObject && old.Fields.ForName(f.Name) == nil && f.Type.NonNull && f.DefaultValue == nil {
				say("%s.%s must be given", name, f.Name)
			}
		}
	}
	slices.Sort(found)
	return found
}

func argumentBreaks(at string, before, now ast.ArgumentDefinitionList) (found []string) {
	for _, a := range before {
		switch given := now.ForName(a.Name); {
		case given == nil:
			found = append(found, fmt.Sprintf("%s(%s) is gone", at, a.Name))
		case !accepts(given.Type, a.Type):
			found = append(found, fmt.Sprintf("%s(%s) takes %s, and took %s", at, a.Name, given.Type, a.Type))
		}
	}
	for _, a := range now {
		if before.ForName(a.Name) == nil && a.Type.NonNull && a.DefaultValue == nil {
			found = append(found, fmt.Sprintf("%s(%s) must be given", at, a.Name))
		}
	}
	return found
}

// accepts says whether every value of a type is one of a place of another.
func accepts(place, value *ast.Type) bool {
	switch {
	case place.NonNull && !value.NonNull:
		return false
	case (place.Elem == nil) != (value.Elem == nil):
		return false
	case place.Elem != nil:
		return accepts(place.Elem, value.Elem)
	}
	return place.NamedType == value.NamedType
}

// parseSchema reads a schema file with what federation adds to it.
func parseSchema(t *testing.T, text string) *ast.Schema {
	t.Helper()
	federation, err := os.ReadFile("federation.graphqls")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := gqlparser.LoadSchema(&ast.Source{Name: "schema", Input: text}, &ast.Source{Name: "federation", Input: string(federation)})
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// Ensure that every breaking change since the released schema is named in testdata/breaks.txt, and
// nothing else is.
func TestBreakingChangesAreNamed(t *testing.T) {
	var texts [3]string
	for i, file := range []string{"testdata/released.graphqls", "../schema.graphqls", "testdata/breaks.txt"} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(content)
	}
	var named []string
	for line := range strings.Lines(texts[2]) {
		what, reason, _ := strings.Cut(line, "#")
		if what = strings.TrimSpace(what); what == "" {
			continue
		}
		if named = append(named, what); strings.TrimSpace(reason) == "" {
			t.Errorf("testdata/breaks.txt: %q needs a reason behind a #", what)
		}
	}
	found := breaks(parseSchema(t, texts[0]), parseSchema(t, texts[1]))
	for _, what := range found {
		if !slices.Contains(named, what) {
			t.Errorf("the schema breaks clients: %s; take it back, or name it in testdata/breaks.txt", what)
		}
	}
	for _, what := range named {
		if !slices.Contains(found, what) {
			t.Errorf("testdata/breaks.txt names what isn't so: %s", what)
		}
	}
}

func TestBreaksAreFound(t *testing.T) {
	content, err := os.ReadFile("testdata/released.graphqls")
	if err != nil {
		t.Fatal(err)
	}
	released := string(content)
	for _, change := range []struct{ from, to, want string }{
		{"  sku: String!\n  \"\"\"\n  What it is called.", "  code: String!\n  \"\"\"\n  What it is called.", "ProductVariant.sku is gone"},
		{"stock: ProductStock!", "stock: ProductStock", "Product.stock gives ProductStock, and gave ProductStock!"},
		{"available: Int!", "available: String!", "ProductStock.available gives String!, and gave Int!"},
		{"ids: [ID!]!\n  ): [ProductVariant]!", "ids: [ID!]!\n  ): [ProductVariant!]!", ""},
		{"ids: [ID!]!\n  ): [ProductVariant]!", "ids: [ID!]!, of: ID!\n  ): [ProductVariant]!", "Query.productVariants(of) must be given"},
		{"ids: [ID!]!\n  ): [ProductVariant]!", "ids: [ID!]!, of: ID! = \"x\"\n  ): [ProductVariant]!", ""},
		{"ids: [ID!]!\n  ): [ProductVariant]!", "keys: [ID!]!\n  ): [ProductVariant]!", "Query.productVariants(ids) is gone,Query.productVariants(keys) must be given"},
		{"minVersion: Int\n", "minVersion: Int!\n", "Query.product(minVersion) takes Int!, and took Int"},
		{"reason: String!\n", "reason: String\n", ""},
		{"  total: Int\n  \"\"\"\n  Why", "  total: Int!\n  \"\"\"\n  Why", "AdjustStockInput.total takes Int!, and took Int"},
		{"input UpdateProductInput {", "input UpdateProductInput {\n  why: String!", "UpdateProductInput.why must be given"},
		{"input UpdateProductInput {", "input UpdateProductInput {\n  why: String", ""},
		{"  CREATED_AT\n", "  MADE_AT\n", "ProductOrderField.CREATED_AT is gone"},
		{"type Product implements Node @key", "type Product @key", "Product doesn't implement Node any more"},
	} {
		if strings.Count(released, change.from) == 0 {
			t.Errorf("the released schema has no %q", change.from)
			continue
		}
		got := strings.Join(breaks(parseSchema(t, released), parseSchema(t, strings.Replace(released, change.from, change.to, 1))), ",")
		if got != change.want {
			t.Errorf("%q to %q: %q, want %q", change.from, change.to, got, change.want)
		}
	}
}
