package graph

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVariablesAreCoercedAsSpecified(t *testing.T) {
	a := newTestAdmission(t)
	for _, test := range []struct {
		name, types, given string
		want               map[string]any
		refused            string
	}{
		{"int", `$v:Int`, `{"v":3}`, map[string]any{"v": int64(3)}, ""},
		{"int with a fraction", `$v:Int`, `{"v":3.5}`, nil, "whole number"},
		{"int too large", `$v:Int`, `{"v":2147483648}`, nil, "2147483647"},
		{"int as text", `$v:Int`, `{"v":"3"}`, nil, "whole number"},
		{"text", `$v:String`, `{"v":"x"}`, map[string]any{"v": "x"}, ""},
		{"text as a number", `$v:String`, `{"v":3}`, nil, "must be a String"},
		{"id as a number", `$v:ID`, `{"v":3}`, map[string]any{"v": "3"}, ""},
		{"id with a fraction", `$v:ID`, `{"v":3.5}`, nil, "must be a ID"},
		{"boolean as a number", `$v:Boolean`, `{"v":1}`, nil, "must be a Boolean"},
		{"absent", `$v:Int`, `{}`, map[string]any{}, ""},
		{"null", `$v:Int`, `{"v":null}`, map[string]any{"v": nil}, ""},
		{"absent and required", `$v:Int!`, `{}`, nil, "missing"},
		{"null and required", `$v:Int!`, `{"v":null}`, nil, "null"},
		{"default", `$v:Int=7`, `{}`, map[string]any{"v": int64(7)}, ""},
		{"default of an enum", `$v:OrderDirection=DESC`, `{}`, map[string]any{"v": "DESC"}, ""},
		{"enum", `$v:OrderDirection`, `{"v":"DESC"}`, map[string]any{"v": "DESC"}, ""},
		{"enum in lower case", `$v:OrderDirection`, `{"v":"desc"}`, nil, "must be a value of OrderDirection"},
		{"list", `$v:[ID!]!`, `{"v":["a","b"]}`, map[string]any{"v": []any{"a", "b"}}, ""},
		{"one for a list", `$v:[ID!]!`, `{"v":"a"}`, map[string]any{"v": []any{"a"}}, ""},
		{"null in a list", `$v:[ID!]!`, `{"v":["a",null]}`, nil, "$v[1] is null"},
		{"list in a list", `$v:[ID!]`, `{"v":[["a"]]}`, nil, "$v[0] is a list"},
		{"object", `$v:ProductOrder`, `{"v":{"field":"NAME"}}`, map[string]any{"v": map[string]any{"field": "NAME"}}, ""},
		{"object without a required field", `$v:ProductOrder`, `{"v":{"direction":"ASC"}}`, nil, "$v.field is missing"},
		{"object with an unknown field", `$v:ProductOrder`, `{"v":{"field":"NAME","by":1}}`, nil, `"by"`},
		{"object as text", `$v:ProductOrder`, `{"v":"NAME"}`, nil, "must be an object"},
		{"nested", `$v:ProductFilter`, `{"v":{"available":{"gte":"1"}}}`, nil, "$v.available.gte"},
		{"date", `$v:DateTime`, `{"v":"2026-02-28T12:00:00Z"}`, map[string]any{"v": "2026-02-28T12:00:00Z"}, ""},
		{"no date", `$v:DateTime`, `{"v":"noon"}`, nil, "RFC 3339"},
		{"undeclared ones are ignored", `$v:Int`, `{"w":1}`, map[string]any{}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			doc, refused := a.admit("query(" + test.types + "){__typename ...F} fragment F on Query{" + useOf(test.types) + "}")
			if refused != nil {
				t.Fatal(refused)
			}
			given, err := object("variables", []byte(test.given))
			if err != nil {
				t.Fatal(err)
			}
			got, err := coerceVariables(a.schema, doc.Operations[0], given)
			if test.refused != "" {
				if err == nil || !strings.Contains(err.Error(), test.refused) {
					t.Errorf("want an error that tells of %q, got %v, %v", test.refused, got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("variables (-want +got):\n%s", diff)
			}
		})
	}
}

// useOf is a field that takes a variable of the type: every variable must be used.
func useOf(declared string) string {
	declared = strings.TrimPrefix(declared, "$v:")
	switch {
	case strings.HasPrefix(declared, "Int"):
		return "products(first:$v){totalCount}"
	case strings.HasPrefix(declared, "String"):
		return "products(after:$v){totalCount}"
	case strings.HasPrefix(declared, "[ID!]"):
		return "products(where:{ids:$v}){totalCount}"
	case strings.HasPrefix(declared, "ID"):
		return "stockMovements(productId:$v){totalCount}"
	case strings.HasPrefix(declared, "Boolean"):
		return "products(where:{isOrderable:$v}){totalCount}"
	case strings.HasPrefix(declared, "OrderDirection"):
		return "products(orderBy:{field:NAME,direction:$v}){totalCount}"
	case strings.HasPrefix(declared, "ProductOrder"):
		return "products(orderBy:$v){totalCount}"
	case strings.HasPrefix(declared, "ProductFilter"):
		return "products(where:$v){totalCount}"
	default:
		return "stockMovements(from:$v){totalCount}"
	}
}
