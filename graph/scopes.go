package graph

import (
	"context"
	"fmt"
	"slices"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"product-service/graph/auth"
)

// scopes are what the schema's @requiresScopes ask of callers. They are looked at in two steps:
// once for an operation as a whole, before it runs, and only where that finds something that the
// caller may not see, again at each of its fields.
type scopes struct {
	fields map[fieldName][]rule
	types  map[string]rule
}

// fieldName is a field of an object type.
type fieldName struct{ object, field string }

// rule is sets of scopes, of which one is enough.
type rule [][]string

const scopesDirective = "requiresScopes"

// scopesOf reads the schema. A field needs what it is marked with, what its type is marked with,
// and what the type of its value is.
func scopesOf(schema *ast.Schema) (scopes, error) {
	s := scopes{fields: map[fieldName][]rule{}, types: map[string]rule{}}
	read := func(marks ast.DirectiveList, at string) (rule, error) {
		mark := marks.ForName(scopesDirective)
		if mark == nil {
			return nil, nil
		}
		r, err := ruleOf(mark)
		if err != nil {
			return nil, fmt.Errorf("@%s of %s: %w", scopesDirective, at, err)
		}
		return r, nil
	}
	for name, def := range schema.Types {
		r, err := read(def.Directives, name)
		if err != nil {
			return s, err
		}
		if r != nil {
			s.types[name] = r
		}
	}
	for name, def := range schema.Types {
		if def.Kind != ast.Object {
			continue
		}
		for _, f := range def.Fields {
			own, err := read(f.Directives, name+"."+f.Name)
			if err != nil {
				return s, err
			}
			for _, r := range []rule{own, s.types[name], s.types[f.Type.Name()]} {
				if r != nil {
					at := fieldName{name, f.Name}
					s.fields[at] = append(s.fields[at], r)
				}
			}
		}
	}
	return s, nil
}

func ruleOf(mark *ast.Directive) (rule, error) {
	given, err := mark.Arguments.ForName("scopes").Value.Value(nil)
	if err != nil {
		return nil, err
	}
	var r rule
	sets, _ := given.([]any)
	for _, one := range sets {
		scopes, _ := one.([]any)
		var set []string
		for _, scope := range scopes {
			text, _ := scope.(string)
			set = append(set, text)
		}
		r = append(r, set)
	}
	if len(r) == 0 {
		return nil, fmt.Errorf("it names no scopes")
	}
	return r, nil
}

// below returns the rules of all fields that an operation selects, each once. What node and nodes
// give isn't known before they run: they look at it themselves ([scopes.ofType]).
func (s scopes) below(op *ast.OperationDefinition) []rule {
	var found []rule
	seen := map[*ast.FragmentDefinition]bool{}
	var walk func(ast.SelectionSet)
	walk = func(selections ast.SelectionSet) {
		for _, selection := range selections {
			switch it := selection.(type) {
			case *ast.Field:
				for _, r := range s.fields[fieldName{it.ObjectDefinition.Name, it.Name}] {
					if !slices.ContainsFunc(found, r.same) {
						found = append(found, r)
					}
				}
				walk(it.SelectionSet)
			case *ast.InlineFragment:
				walk(it.SelectionSet)
			case *ast.FragmentSpread:
				if !seen[it.Definition] {
					seen[it.Definition] = true
					walk(it.Definition.SelectionSet)
				}
			}
		}
	}
	walk(op.SelectionSet)
	return found
}

func (r rule) same(other rule) bool { return slices.EqualFunc(r, other, slices.Equal[[]string]) }

// denies says whether any of the rules isn't kept by the caller.
func denies(rules []rule, c auth.Caller) bool {
	return slices.ContainsFunc(rules, func(r rule) bool { return c.Need(r...) != nil })
}

// check runs around each field of an operation that selects something the caller may not see.
// Nothing is read for such a field: it is null, with an error at its path.
func (s scopes) check(ctx context.Context, next graphql.Resolver) (any, error) {
	at := graphql.GetFieldContext(ctx)
	if err := s.ofField(auth.CallerOf(ctx), at.Object, at.Field.Name); err != nil {
		return nil, err
	}
	return checked(ctx, next)
}

// ofField returns why a caller may not see a field; nil where the caller may.
func (s scopes) ofField(c auth.Caller, object, field string) error {
	for _, r := range s.fields[fieldName{object, field}] {
		if err := c.Need(r...); err != nil {
			return err
		}
	}
	return nil
}

// ofType returns why a caller may not see objects of a type; nil where the caller may.
func (s scopes) ofType(c auth.Caller, name string) error {
	if r := s.types[name]; r != nil {
		return c.Need(r...)
	}
	return nil
}
