package graph

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"product-service/projection/read"
)

func TestTheSubgraphTellsItsSchema(t *testing.T) {
	file, err := os.ReadFile("../schema.graphqls")
	if err != nil {
		t.Fatal(err)
	}
	for _, introspection := range []string{"on", "off"} {
		got := post(t, newTestHandler(t, &fakes{}, "GRAPHQL_INTROSPECTION", introspection), `{_service{sdl}}`, "")
		service, _ := got.Data["_service"].(map[string]any)
		sdl, _ := service["sdl"].(string)
		for _, word := range []string{"_entities", "_Any", "requiresScopes", "federation__"} {
			if strings.Contains(sdl, word) {
				t.Errorf("introspection %s: the schema has %s", introspection, word)
			}
		}
		if lines := strings.Count(string(file), "\n"); strings.Count(sdl, "\n") != lines || !strings.Contains(sdl, `type Product implements Node @key(fields: "id") {`) {
			t.Errorf("introspection %s: the schema has %d lines, the file %d: %v", introspection, strings.Count(sdl, "\n"), lines, got.Errors)
		}
	}
}

// Ensure that all entities are found in one read a type, in the order asked, with one load of their levels.
func TestEntitiesAreReadTogether(t *testing.T) {
	c := newCatalogue(3)
	f := fakesOf(c)
	var reads []string
	byIDs, variants := f.byIDs, f.variants
	f.byIDs = func(ids []uuid.UUID) ([]*read.Product, error) {
		reads = append(reads, fmt.Sprint("products ", len(ids)))
		return byIDs(ids)
	}
	f.variants = func(ids []uuid.UUID) ([]*read.Variant, error) {
		reads = append(reads, fmt.Sprint("variants ", len(ids)))
		return variants(ids)
	}
	h := newTestHandler(t, f)
	const query = `query($r:[_Any!]!){_entities(representations:$r){__typename ...on Product{name variants{inventory{availableQuantity}}} ...on ProductVariant{sku inventory{availableQuantity}}}}`
	variant := c[2].Variants[1]
	got := post(t, h, query, `{"r":[{"__typename":"ProductVariant","id":"`+variant.ID.String()+`","sku":"theirs","nested":{"n":1.5}},{"__typename":"Product","id":"`+c[1].ID.String()+`"},
		{"__typename":"Product","id":"`+idA+`"},{"__typename":"Product","id":"`+strings.ToUpper(c[0].ID.String())+`"},{"__typename":"Product","id":"`+c[1].ID.String()+`"},
		{"__typename":"ProductVariant","id":"`+c[0].ID.String()+`"}]}`)
	var names []string
	for _, entity := range got.Data["_entities"].([]any) {
		e, _ := entity.(map[string]any)
		names = append(names, fmt.Sprintf("%v: %v%v", e["__typename"], e["name"], e["sku"]))
	}
	want := []string{"ProductVariant: <nil>" + variant.SKU, "Product: Product 1<nil>", "<nil>: <nil><nil>", "Product: Product 0<nil>", "Product: Product 1<nil>", "<nil>: <nil><nil>"}
	if diff := cmp.Diff(want, names); diff != "" || len(got.Errors) > 0 {
		t.Errorf("entities (-want +got):\n%s\n%v", diff, got.Errors)
	}
	slices.Sort(reads)
	if fmt.Sprint(reads) != "[products 4 variants 2]" {
		t.Errorf("reads: %v", reads)
	}
	if len(f.loads) != 1 || len(f.loads[0].ids) != 5 {
		t.Errorf("loads: %v", f.loads)
	}
	literal := post(t, h, `{_entities(representations:[{__typename:"ProductVariant",id:"`+variant.ID.String()+`"}]){... on _Entity{... on ProductVariant{product{name}}}}}`, "")
	if fmt.Sprint(literal.Data) != "map[_entities:[map[product:map[name:Product 2]]]]" {
		t.Error(literal.body)
	}
}

// Ensure that what can't be an entity is an error at its place, and fails no other.
func TestMalformedRepresentationsFailAlone(t *testing.T) {
	c := newCatalogue(1)
	h := newTestHandler(t, fakesOf(c))
	for _, bad := range []string{
		`{}`, `{"__typename":"Product"}`, `{"__typename":"Product","id":null}`, `{"__typename":"Product","id":7}`, `{"__typename":"Product","id":"7"}`, `{"__typename":"Product","id":["` + idA + `"]}`,
		`{"__typename":"Reservation","id":"` + idA + `"}`, `{"__typename":7,"id":"` + idA + `"}`, `{"id":"` + idA + `"}`,
	} {
		got := post(t, h, `query($r:[_Any!]!){e:_entities(representations:$r){... on Product{name}}}`, `{"r":[`+bad+`,{"__typename":"Product","id":"`+c[0].ID.String()+`"}]}`)
		if fmt.Sprint(got.Data) != "map[e:[<nil> map[name:Product 0]]]" || fmt.Sprint(got.codes()) != "[BAD_USER_INPUT]" || fmt.Sprint(got.Errors[0].Path) != "[e 0]" {
			t.Errorf("%s: %s", bad, got.body)
		}
	}
	for _, bad := range []string{`[1]`, `["x"]`, `[null]`, `[[]]`, `null`, `[true]`} {
		got := post(t, h, `query($r:[_Any!]!){_entities(representations:$r){... on Product{name}}}`, `{"r":`+bad+`}`)
		if fmt.Sprint(got.codes()) != "[BAD_USER_INPUT]" || strings.Contains(got.body, `"data"`) {
			t.Errorf("%s: %s", bad, got.body)
		}
	}
	if got := post(t, h, `{_entities(representations:[]){__typename}}`, ""); fmt.Sprint(got.Data) != "map[_entities:[]]" || len(got.Errors) > 0 {
		t.Error(got.body)
	}
	many := strings.Repeat(`{"__typename":"Product","id":"`+idA+`"},`, read.MaxIDs) + `{}`
	got := post(t, h, `query($r:[_Any!]!){_entities(representations:$r){... on Product{name}}}`, `{"r":[`+many+`]}`)
	if fmt.Sprint(got.codes()) != "[BAD_USER_INPUT]" || !strings.Contains(got.body, "101") || !strings.HasSuffix(got.body, `"data":{"_entities":[`+strings.Repeat("null,", read.MaxIDs)+`null]}}`) {
		t.Error(got.body)
	}
}
