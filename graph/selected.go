package graph

import (
	"context"

	"github.com/99designs/gqlgen/graphql"

	"product-service/graph/model"
	"product-service/graph/plan"
	"product-service/projection/read"
)

// prepared is an operation that can be executed, with the plan of what it selects.
type prepared struct {
	*graphql.OperationContext
	plan    *plan.Plan
	planned bool // it runs by it
}

// selectedField is a field that is being resolved, as the plan has it. Resolvers find out from it
// what to read; it is the same whichever way the operation runs.
type selectedField struct {
	*plan.Field
	root      string // the response key of the root field it is, or is under
	variables map[string]any
}

type selectedKey struct{}

// around runs a root field of an operation that runs by its plan.
func (op *prepared) around(ctx context.Context, root *plan.Field, run func(context.Context)) {
	ctx = context.WithValue(ctx, selectedKey{}, &selectedField{root, root.Key, op.Variables})
	if loads := levelLoadsOf(ctx); loads != nil {
		defer loads.reported(root.Key) // it may have ended before it had anything to report
	}
	placed(ctx, func() struct{} { run(ctx); return struct{}{} })
}

// generated is the context of an operation that runs in the generated code.
func (op *prepared) generated(ctx context.Context) context.Context {
	return context.WithValue(graphql.WithOperationContext(ctx, op.OperationContext), selectedKey{}, op)
}

// selectedAt returns the field that is being resolved; nil outside of an operation.
func selectedAt(ctx context.Context) *selectedField {
	switch at := ctx.Value(selectedKey{}).(type) {
	case *selectedField:
		return at
	case *prepared:
		if f, root := fieldAt(at.plan, graphql.GetFieldContext(ctx)); f != nil {
			return &selectedField{f, root, at.Variables}
		}
	}
	return nil
}

// selectedRoot is a root field of an operation that runs in the generated code.
func selectedRoot(ctx context.Context, key string) *plan.Field {
	op, _ := ctx.Value(selectedKey{}).(*prepared)
	return op.plan.Roots().Key(key)
}

// fieldAt follows the path to a field that the generated code resolves, in the plan. It returns the
// key of the path's root too.
func fieldAt(p *plan.Plan, at *graphql.FieldContext) (f *plan.Field, root string) {
	switch {
	case at == nil:
		return nil, ""
	case at.Field.Field == nil: // an element of a list, or the operation itself
		return fieldAt(p, at.Parent)
	}
	above, root := fieldAt(p, at.Parent)
	if above == nil {
		return p.Roots().Key(at.Field.Alias), at.Field.Alias
	}
	return above.Of(at.Object).Key(at.Field.Alias), root
}

// selects says whether the field being resolved selects a field of a type.
func selects(ctx context.Context, typeName, name string) bool {
	at := selectedAt(ctx)
	return at != nil && at.Selects(typeName, name)
}

// selectsWithin is selects for a type that is somewhere below the field.
func selectsWithin(ctx context.Context, typeName, name string) bool {
	at := selectedAt(ctx)
	return at != nil && selectedWithin(at.Field, typeName, name)
}

func selectedWithin(f *plan.Field, typeName, name string) bool {
	if f.Selects(typeName, name) {
		return true
	}
	for _, selection := range f.Below() {
		for _, below := range selection {
			if selectedWithin(below, typeName, name) {
				return true
			}
		}
	}
	return false
}

// source is what plans read from: the functions behind the generated code.
type source struct{ *Resolver }

func (s source) Product(ctx context.Context, id string, minVersion *int64) (*read.Product, error) {
	return s.product(ctx, id, minVersion)
}

func (s source) Products(ctx context.Context, first *int64, after *string, last *int64, before *string, where *model.ProductFilter, orderBy *model.ProductOrder) (read.Page[read.Product], error) {
	return s.products(ctx, pageArgs{first, after, last, before}, where, orderBy)
}

func (s source) Variants(ctx context.Context, ids []string) ([]plan.Variant, error) {
	return s.variants(ctx, ids)
}

func (s source) Nodes(ctx context.Context, ids []string) ([]plan.Node, error) {
	return s.nodes(ctx, ids)
}

func (s source) Levels(ctx context.Context, maxStaleness *int64) plan.LevelOf {
	return s.levels(ctx, maxStaleness)
}

func (s source) Entities(ctx context.Context, representations []map[string]any) ([]plan.Node, error) {
	return s.entities(ctx, representations)
}
