package graph

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"product-service/graph/generated"
)

var generatedSchema = generated.NewExecutableSchema(generated.Config{}).Schema()

// generator makes operations that a schema allows, and some that it almost does.
type generator struct {
	*rand.Rand
	schema    *ast.Schema
	admission *admission
	defs      []string // of variables
	variables map[string]any
	fragments []string
	left      int // fields
}

func newGenerator(schema *ast.Schema, seed uint64) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, 17)), schema: schema, variables: map[string]any{}, left: 60}
}

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g *generator, of ...T) T { return of[g.IntN(len(of))] }

func (g *generator) operation() string {
	body := g.selections(g.schema.Query, 0)
	head := ""
	if len(g.defs) > 0 {
		head = "query(" + strings.Join(g.defs, ",") + ")"
	}
	return head + body + strings.Join(g.fragments, "")
}

// hot are the root fields that plans can run; the others come less often.
var hot = map[string]bool{"product": true, "products": true, "productVariants": true, "node": true, "nodes": true, "_entities": true}

func (g *generator) selections(of *ast.Definition, depth int) string {
	var b strings.Builder
	b.WriteString("{")
	for range 1 + g.IntN(4) {
		b.WriteString(g.selection(of, depth))
		b.WriteString(" ")
	}
	if b.Len() == 1+4 || g.chance(20) {
		b.WriteString("__typename")
	}
	b.WriteString("}")
	return b.String()
}

func (g *generator) selection(of *ast.Definition, depth int) string {
	switch {
	case g.chance(8) && depth > 0:
		return "..." + g.condition(of) + g.directive() + g.selections(of, depth)
	case g.chance(6):
		name := fmt.Sprintf("F%d", len(g.fragments))
		g.fragments = append(g.fragments, "")
		at := len(g.fragments) - 1
		g.fragments[at] = " fragment " + name + " on " + of.Name + g.selections(of, depth)
		return "..." + name + g.directive()
	case of.Kind == ast.Union, of.Kind == ast.Interface && g.chance(70):
		possible := pick(g, g.schema.GetPossibleTypes(of)...)
		return "...on " + possible.Name + g.directive() + g.selections(possible, depth)
	case g.chance(5):
		return pick(g, "", "t:") + "__typename" + g.directive()
	}
	return g.field(of, depth)
}

func (g *generator) condition(of *ast.Definition) string {
	if g.chance(40) {
		return ""
	}
	names := []string{of.Name}
	for _, abstract := range g.schema.GetImplements(of) {
		names = append(names, abstract.Name)
	}
	name := pick(g, names...)
	if name != of.Name {
		return "" // its fields may not be there
	}
	return " on " + name
}

func (g *generator) field(of *ast.Definition, depth int) string {
	var f *ast.FieldDefinition
	for range 20 {
		f = pick(g, of.Fields...)
		under := g.schema.Types[f.Type.Name()]
		switch {
		case strings.HasPrefix(f.Name, "__"), under.IsCompositeType() && depth > 5, g.left < 0 && under.IsCompositeType():
			continue
		case of == g.schema.Query && !hot[f.Name] && g.chance(96), strings.HasPrefix(f.Name, "stock") && len(f.Arguments) > 0 && g.chance(96):
			continue
		case (of.Name == "StockMovement" || of.Name == "Reservation") && f.Name != "id" && g.chance(94):
			continue
		}
		break
	}
	if strings.HasPrefix(f.Name, "__") || (g.schema.Types[f.Type.Name()].IsCompositeType() && depth > 7) {
		return "__typename"
	}
	g.left--
	text := f.Name
	if g.chance(15) || (len(f.Arguments) > 0 && g.chance(90)) { // with other arguments it needs another key
		text = fmt.Sprintf("a%d:%s", g.IntN(1000), f.Name)
	}
	var args []string
	for _, a := range f.Arguments {
		if (a.Type.NonNull && a.DefaultValue == nil) || g.chance(25) {
			args = append(args, a.Name+":"+g.value(a.Type, a.Name, true))
		}
	}
	if len(args) > 0 {
		text += "(" + strings.Join(args, ",") + ")"
	}
	text += g.directive()
	if under := g.schema.Types[f.Type.Name()]; under.IsCompositeType() {
		text += g.selections(under, depth+1)
	}
	return text
}

func (g *generator) directive() string {
	if !g.chance(6) {
		return ""
	}
	value := pick(g, "true", "false")
	if g.chance(50) {
		value = g.variable("Boolean!", g.chance(50))
	}
	return pick(g, " @skip", " @include") + "(if:" + value + ") "
}

func (g *generator) variable(declared string, value any) string {
	name := fmt.Sprintf("v%d", len(g.defs))
	g.defs = append(g.defs, "$"+name+":"+declared)
	g.variables[name] = value
	return "$" + name
}

// value writes an argument, or a part of one; a whole one may be a variable.
func (g *generator) value(t *ast.Type, name string, whole bool) string {
	switch {
	case whole && g.chance(30):
		v := g.json(t, name)
		if v == nil && t.NonNull {
			v = g.json(t, name)
		}
		at := g.variable(t.String(), v)
		if v == nil && g.chance(50) {
			delete(g.variables, at[1:]) // absent instead of null
		}
		return at
	case !t.NonNull && g.chance(5):
		return "null"
	case t.Elem != nil && g.chance(5):
		return g.value(t.Elem, name, false) // one instead of a list
	case t.Elem != nil:
		items := make([]string, g.IntN(4))
		for i := range items {
			items[i] = g.value(t.Elem, name, false)
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	def := g.schema.Types[t.NamedType]
	switch def.Kind {
	case ast.Enum:
		return pick(g, def.EnumValues...).Name
	case ast.InputObject:
		var fields []string
		for _, f := range def.Fields {
			if (f.Type.NonNull && f.DefaultValue == nil) || g.chance(40) {
				fields = append(fields, f.Name+":"+g.value(f.Type, f.Name, true))
			}
		}
		return "{" + strings.Join(fields, ",") + "}"
	}
	switch v := g.scalar(t.NamedType, name).(type) {
	case string:
		return fmt.Sprintf("%q", v)
	case map[string]any:
		return fmt.Sprintf("{__typename:%q,id:%q}", v["__typename"], v["id"])
	default:
		return fmt.Sprint(v)
	}
}

// json is a value of a variable.
func (g *generator) json(t *ast.Type, name string) any {
	switch {
	case !t.NonNull && g.chance(15):
		return nil
	case g.chance(1):
		return map[string]any{"no": "such"}
	case t.Elem != nil && g.chance(5):
		return g.json(t.Elem, name)
	case t.Elem != nil:
		items := make([]any, g.IntN(4))
		for i := range items {
			items[i] = g.json(t.Elem, name)
		}
		return items
	}
	def := g.schema.Types[t.NamedType]
	switch def.Kind {
	case ast.Enum:
		return pick(g, def.EnumValues...).Name
	case ast.InputObject:
		object := map[string]any{}
		for _, f := range def.Fields {
			if (f.Type.NonNull && f.DefaultValue == nil) || g.chance(40) {
				object[f.Name] = g.json(f.Type, f.Name)
			}
		}
		return object
	}
	return g.scalar(t.NamedType, name)
}

func (g *generator) scalar(typeName, name string) any {
	product, variant := numbered("a", g.IntN(7)).String(), numbered("b", g.IntN(14)).String()
	switch typeName {
	case "_Any":
		return map[string]any{"__typename": pick(g, "Product", "ProductVariant", "Node"), "id": pick(g, product, variant)}
	case "Int":
		return pick[any](g, 1, 2, 3, 5, 20, 100, 0, -1, 101, 1<<31-1)
	case "Boolean":
		return g.chance(50)
	case "DateTime":
		return pick(g, "2026-01-01T00:00:00Z", "2026-02-28T12:00:00.123456+01:00", "2026-01-02T00:00:00Z", "2027-01-01T00:00:00Z", "yesterday")
	case "ID":
		if name == "ids" && g.chance(50) {
			return variant
		}
		return pick(g, product, product, product, strings.ToUpper(product), variant, product+".3", product+"."+variant, idA, "no id", "")
	default:
		return pick(g, "", "x", "a b", "é \" \\ \u2028", strings.Repeat("x", 201))
	}
}

// operationOf is the operation of a document that has one.
func operationOf(doc *document, variables map[string]any) *graphql.OperationContext {
	return &graphql.OperationContext{Doc: doc.QueryDocument, Operation: doc.Operations[0], Variables: variables}
}
