// Package plan answers queries without an interpreter between what was read and what is sent.
//
// The generated code resolves each field of each object by itself, with a context, a result and
// often a goroutine of its own. A page of twenty products has some six hundred fields, which are
// all plain values of documents that were read in one go. A [Plan] finds out once what a document
// selects, and keeps for each field the function that appends its value to the answer. What it
// selects is also what resolvers look ahead to, whichever way the operation runs.
//
//   - plan.go compiles a document into a tree of the fields it selects.
//   - shapes.go says how the fields of each type are written. It is all there is to add for a new field.
//   - answer.go writes JSON: nulls, lists, errors with their paths.
//   - run.go runs an operation: arguments, root fields side by side, what they read.
//
// A plan covers the reads that are asked for all the time. An operation with a field that shapes.go
// doesn't know, or with an argument that can't be read, isn't run here: the generated code does it,
// and refuses what is to be refused. Both ways read through the same functions and write values
// with the same ones; a test holds them to the same bytes and the same errors.
package plan

import (
	"slices"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
)

// Plan is what one operation of a document selects, for one set of values of the Booleans that its
// @skip and @include depend on. It doesn't change.
type Plan struct {
	roots []*Field
	runs  bool // it is a query, and every field has a shape
}

// Field is a field that is selected, once for each response key.
type Field struct {
	*ast.Field                      // the first of those selected under the key
	Key        string               // its response key
	object     string               // the type of the objects it is selected of
	of         map[string]Selection // what is selected below it, by the type that is there
	levels     bool                 // it or a field below it is a level of the Inventory Service
	write      any                  // of a root field: the write of its type, see shapes.go
	length     atomic.Int64         // of a root field: of its last answer
}

// Selection is what is selected of an object of one type, in the order of the answer.
type Selection []*Field

// Of is what is selected of objects of a type.
func (f *Field) Of(typeName string) Selection { return f.of[typeName] }

// Below is what is selected below it, by the type that is there.
func (f *Field) Below() map[string]Selection { return f.of }

// Levels says whether a level of the Inventory Service is selected by the field or anywhere below it.
func (f *Field) Levels() bool { return f.levels }

// IsLevel says whether the field is such a level.
func (f *Field) IsLevel() bool {
	return f.Name == "inventory" && f.ObjectDefinition != nil && f.ObjectDefinition.Name == "ProductVariant"
}

// Selects says whether a field of a type is selected.
func (f *Field) Selects(typeName, name string) bool {
	return slices.ContainsFunc(f.of[typeName], func(below *Field) bool { return below.Name == name })
}

// Key returns the field of a response key; nil where there is none.
func (s Selection) Key(key string) *Field {
	for _, f := range s {
		if f.Key == key {
			return f
		}
	}
	return nil
}

// Roots are the root fields.
func (p *Plan) Roots() Selection { return p.roots }

// Runs says whether [Execution.Run] can run the operation.
func (p *Plan) Runs() bool { return p.runs }

// Compile plans an operation. Of the variables it looks only at those that @skip and @include name.
func Compile(schema *ast.Schema, op *graphql.OperationContext) *Plan {
	c := compiler{schema: schema, op: &graphql.OperationContext{Doc: op.Doc, Variables: op.Variables}, runs: op.Operation.Operation == ast.Query}
	root := map[ast.Operation]*ast.Definition{ast.Query: schema.Query, ast.Mutation: schema.Mutation, ast.Subscription: schema.Subscription}[op.Operation.Operation]
	p := &Plan{roots: c.selection(root, op.Operation.SelectionSet)}
	for _, f := range p.roots {
		if f.Name == "__typename" {
			continue
		}
		if f.write = rootWrite(f); f.write == nil {
			c.runs = false
		}
	}
	p.runs = c.runs
	return p
}

type compiler struct {
	schema *ast.Schema
	op     *graphql.OperationContext
	runs   bool
}

// selection is what a selection set comes to for objects of a type: gqlgen's own collection, so
// that what is merged, and in which order, is the same.
func (c *compiler) selection(of *ast.Definition, set ast.SelectionSet) Selection {
	satisfies := []string{of.Name}
	for _, abstract := range c.schema.GetImplements(of) {
		satisfies = append(satisfies, abstract.Name)
	}
	var selected Selection
	for _, collected := range graphql.CollectFields(c.op, set, satisfies) {
		f := &Field{Field: collected.Field, Key: collected.Alias, object: of.Name}
		if selected.Key(f.Key) != nil {
			c.runs = false // gqlgen runs both, and writes the first
		}
		if collected.Definition != nil && len(collected.Selections) > 0 {
			c.below(f, collected.Selections)
		}
		f.levels = f.levels || f.IsLevel()
		selected = append(selected, f)
	}
	return selected
}

func (c *compiler) below(f *Field, set ast.SelectionSet) {
	f.of = map[string]Selection{}
	for _, possible := range c.schema.GetPossibleTypes(c.schema.Types[f.Definition.Type.Name()]) {
		below := c.selection(possible, set)
		f.of[possible.Name] = below
		f.levels = f.levels || slices.ContainsFunc(below, (*Field).Levels)
	}
}
