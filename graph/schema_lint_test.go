package graph

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vektah/gqlparser/v2/ast"
)

// element is something in the schema that a client names.
type element struct {
	at          string // such as Query.products(first)
	name        string
	description string
	value       *ast.Type // of a field, an argument or an input's field
	directives  ast.DirectiveList
	like        *regexp.Regexp // what it may be called
}

var (
	pascalCase = regexp.MustCompile(`^[A-Z][a-z]+([A-Z][a-z]+)*$`)
	camelCase  = regexp.MustCompile(`^[a-z]+([A-Z][a-z]+)*$`)
	upperCase  = regexp.MustCompile(`^[A-Z]+(_[A-Z]+)*$`)
	anything   = regexp.MustCompile(``) // what the federation specification names
)

// elements are all of the schema, but for what GraphQL itself brings.
func elements(schema *ast.Schema) (all []element) {
	for name, def := range schema.Types {
		if def.BuiltIn || strings.HasPrefix(name, "__") {
			continue
		}
		federations := strings.Contains(def.Position.Src.Name, "federation.graphqls")
		like := func(usual *regexp.Regexp, name string) *regexp.Regexp {
			if federations || strings.HasPrefix(name, "_") {
				return anything
			}
			return usual
		}
		all = append(all, element{at: name, name: name, description: def.Description, directives: def.Directives, like: like(pascalCase, name)})
		for _, f := range def.Fields {
			if strings.HasPrefix(f.Name, "__") {
				continue
			}
			at := name + "." + f.Name
			all = append(all, element{at, f.Name, f.Description, f.Type, f.Directives, like(camelCase, f.Name)})
			for _, a := range f.Arguments {
				all = append(all, element{at + "(" + a.Name + ")", a.Name, a.Description, a.Type, a.Directives, like(camelCase, f.Name)})
			}
		}
		for _, v := range def.EnumValues {
			all = append(all, element{at: name + "." + v.Name, name: v.Name, description: v.Description, directives: v.Directives, like: like(upperCase, v.Name)})
		}
	}
	return all
}

// Every type, field, argument and enum value says what it is, in sentences, and is called as the
// others are.
func TestSchemaIsDescribedAndNamed(t *testing.T) {
	for _, e := range elements(testSchema()) {
		if d := strings.TrimSpace(e.description); len(d) < 5 || !strings.HasSuffix(d, ".") {
			t.Errorf("%s has the description %q; it must be a sentence", e.at, d)
		}
		if !e.like.MatchString(e.name) {
			t.Errorf("%s isn't called as others are: it must match %s", e.at, e.like)
		}
	}
}

var deprecationDate = regexp.MustCompile(`\b20\d\d-\d\d-\d\d\b`)

// deprecationFault is what is wrong with the reason of a deprecation: it says what to use instead,
// and from which day on it goes.
func deprecationFault(reason string) string {
	date := deprecationDate.FindString(reason)
	switch _, err := time.Parse(time.DateOnly, date); {
	case len(strings.Fields(reason)) < 4:
		return "it must say what to use instead"
	case err != nil:
		return "it must name the day from which on it may be removed, such as 2027-06-30"
	}
	return ""
}

func TestDeprecationsHaveAReasonAndADate(t *testing.T) {
	for _, e := range elements(testSchema()) {
		if d := e.directives.ForName("deprecated"); d != nil {
			reason := ""
			if r := d.Arguments.ForName("reason"); r != nil {
				reason = r.Value.Raw
			}
			if fault := deprecationFault(reason); fault != "" {
				t.Errorf("%s is deprecated with the reason %q: %s", e.at, reason, fault)
			}
		}
	}
	for reason, good := range map[string]bool{
		"Use `stock` instead; removed after 2027-06-30.": true, "": false, "No longer supported": false, "Use `stock` instead.": false, "2027-06-30": false, "Use `stock` instead; removed after 2027-13-30.": false,
	} {
		if fault := deprecationFault(reason); (fault == "") != good {
			t.Errorf("%q: %q", reason, fault)
		}
	}
}

var bound = regexp.MustCompile(`[Aa]t most \d`)

// A list that isn't a page of a connection says how long it can be.
func TestPlainListsSayTheirBound(t *testing.T) {
	for _, e := range elements(testSchema()) {
		parent, _, _ := strings.Cut(e.at, ".")
		paged := strings.HasSuffix(parent, "Connection")
		if e.value == nil || e.value.Elem == nil || paged {
			continue
		}
		if !bound.MatchString(e.description) {
			t.Errorf("%s is a list; it must say its bound, as \"at most 100\": %q", e.at, e.description)
		}
	}
}

// Mutations take one input and answer with a payload, so that both can grow.
func TestMutationsTakeAnInputAndGiveAPayload(t *testing.T) {
	schema := testSchema()
	for _, f := range schema.Mutation.Fields {
		if len(f.Arguments) != 1 || f.Arguments[0].Name != "input" || schema.Types[f.Arguments[0].Type.Name()].Kind != ast.InputObject || !f.Arguments[0].Type.NonNull {
			t.Errorf("Mutation.%s doesn't take one input", f.Name)
		}
		if !strings.EqualFold(f.Type.Name(), f.Name+"Payload") || !f.Type.NonNull {
			t.Errorf("Mutation.%s gives a %s", f.Name, f.Type)
		}
	}
}
