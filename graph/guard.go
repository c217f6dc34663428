package graph

import (
	"slices"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// size is what a selection set comes to with its fragments expanded.
type size struct{ fields, aliases, depth int }

// guarding walks a document once. A fragment is measured once, however often it is spread.
type guarding struct {
	*admission
	doc        *ast.QueryDocument
	fragments  map[string]*ast.FragmentDefinition
	measured   map[string]size
	measuring  map[string]bool
	directives int
	refused    gqlerror.List
}

// guard refuses a parsed document that is too deep, too wide or too repetitive. It takes time
// linear in the document.
func (a *admission) guard(doc *ast.QueryDocument) gqlerror.List {
	g := &guarding{admission: a, doc: doc, fragments: map[string]*ast.FragmentDefinition{}, measured: map[string]size{}, measuring: map[string]bool{}}
	switch {
	case len(doc.Operations) == 0:
		g.refuse(ValidationFailed, nil, "the document has no operation")
	case len(doc.Operations) > maxOperations:
		g.refuse(QueryTooComplex, nil, "the document has %d operations; it can have %d", len(doc.Operations), maxOperations)
	case len(doc.Fragments) > maxFragments:
		g.refuse(QueryTooComplex, nil, "the document has %d fragments; it can have %d", len(doc.Fragments), maxFragments)
	}
	if g.refused != nil {
		return g.refused
	}
	for _, f := range doc.Fragments {
		g.fragments[f.Name] = f
	}
	for _, f := range doc.Fragments { // also those that nothing spreads: they are validated all the same
		g.fragment(f.Name)
	}
	for _, op := range doc.Operations {
		g.directive(op.Directives)
		if s := g.set(op.SelectionSet); g.refused == nil {
			g.judge(op, s)
		}
	}
	return g.refused
}

func (g *guarding) refuse(code Code, at *ast.Position, format string, args ...any) {
	if g.refused == nil {
		g.refused = refusal(code, at, format, args...)
	}
}

func (g *guarding) judge(op *ast.OperationDefinition, s size) {
	l := g.limits
	switch {
	case s.depth > l.MaxDepth:
		g.refuse(QueryTooDeep, op.Position, "the operation is %d levels deep; it can be %d", s.depth, l.MaxDepth)
	case s.fields > l.MaxFields:
		g.refuse(QueryTooComplex, op.Position, "the operation selects more than %d fields, which is the most it can", l.MaxFields)
	case s.aliases > l.MaxAliases:
		g.refuse(QueryTooComplex, op.Position, "the operation has more than %d aliases, which is the most it can have", l.MaxAliases)
	case len(op.SelectionSet) > maxRootFields:
		g.refuse(QueryTooComplex, op.Position, "the operation has %d selections at its root; it can have %d", len(op.SelectionSet), maxRootFields)
	case g.comparisons([]ast.SelectionSet{op.SelectionSet}) > maxComparisons:
		g.refuse(QueryTooComplex, op.Position, "the operation selects the same fields too often: once is enough")
	}
}

// comparisons estimates how often the validation will compare two fields: as many as there are
// pairs of one response key on one path, once fragments are expanded. By now it is known that they
// don't expand to many fields.
func (g *guarding) comparisons(sets []ast.SelectionSet) int {
	byKey := map[string][]ast.SelectionSet{}
	spread := map[string]bool{}
	var gather func(ast.SelectionSet)
	gather = func(selections ast.SelectionSet) {
		for _, selection := range selections {
			switch it := selection.(type) {
			case *ast.Field:
				byKey[it.Alias] = append(byKey[it.Alias], it.SelectionSet)
			case *ast.InlineFragment:
				gather(it.SelectionSet)
			case *ast.FragmentSpread:
				if f := g.fragments[it.Name]; f != nil && !spread[it.Name] {
					spread[it.Name] = true
					gather(f.SelectionSet)
				}
			}
		}
	}
	for _, s := range sets {
		gather(s)
	}
	total := 0
	for _, below := range byKey {
		total += len(below) * (len(below) - 1)
		if slices.ContainsFunc(below, func(s ast.SelectionSet) bool { return len(s) > 0 }) {
			total += g.comparisons(below)
		}
	}
	return total
}

func (g *guarding) directive(list ast.DirectiveList) {
	if g.directives += len(list); g.directives > maxDirectives {
		g.refuse(QueryTooComplex, nil, "the document has more than %d directives, which is the most it can have", maxDirectives)
	}
}

func (g *guarding) fragment(name string) size {
	if s, ok := g.measured[name]; ok {
		return s
	}
	f := g.fragments[name]
	if f == nil {
		return size{} // the validation will say so
	}
	if g.measuring[name] {
		g.refuse(ValidationFailed, f.Position, "fragment %q is spread within itself", name)
		return size{}
	}
	g.measuring[name] = true
	g.directive(f.Directives)
	s := g.set(f.SelectionSet)
	switch {
	case g.refused != nil:
	case s.fields > g.limits.MaxFields:
		g.refuse(QueryTooComplex, f.Position, "fragment %q selects more than %d fields, which is the most it can", name, g.limits.MaxFields)
	case g.comparisons([]ast.SelectionSet{f.SelectionSet}) > maxComparisons:
		g.refuse(QueryTooComplex, f.Position, "fragment %q selects the same fields too often: once is enough", name)
	}
	g.measured[name] = s
	return s
}

// set measures a selection set.
func (g *guarding) set(selections ast.SelectionSet) size {
	var total size
	same := map[string]int{}
	inline := 0
	for _, selection := range selections {
		if g.refused != nil {
			return total
		}
		switch it := selection.(type) {
		case *ast.Field:
			if same[it.Alias]++; same[it.Alias] > maxSameKey {
				g.refuse(QueryTooComplex, it.Position, "%q is selected more than %d times side by side", it.Alias, maxSameKey)
			}
			total.add(g.field(it))
		case *ast.InlineFragment:
			if inline++; inline > maxInlineInASet {
				g.refuse(QueryTooComplex, it.Position, "a selection has more than %d inline fragments", maxInlineInASet)
			}
			g.directive(it.Directives)
			total.add(g.set(it.SelectionSet))
		case *ast.FragmentSpread:
			g.directive(it.Directives)
			total.add(g.fragment(it.Name))
		}
	}
	return total
}

// field measures a field. The levels below an introspection field are counted apart.
func (g *guarding) field(f *ast.Field) size {
	g.directive(f.Directives)
	asks := f.Name == "__schema" || f.Name == "__type"
	if asks && !g.introspection {
		g.refuse(ValidationFailed, f.Position, "introspection is off here")
	}
	s := g.set(f.SelectionSet)
	s.fields++
	if f.Alias != f.Name {
		s.aliases++
	}
	switch s.depth++; {
	case asks && s.depth > maxIntrospection:
		g.refuse(QueryTooDeep, f.Position, "the introspection is %d levels deep; it can be %d", s.depth, maxIntrospection)
	case asks:
		s.depth = 1
	}
	return s
}

// add sums up what stands side by side, and counts no further than a bound that no operation may come near.
func (s *size) add(o size) {
	s.fields = min(s.fields+o.fields, countingNoFurther)
	s.aliases = min(s.aliases+o.aliases, countingNoFurther)
	s.depth = max(s.depth, o.depth)
}
