package graph

import (
	"context"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"

	"product-service/graph/model"
	"product-service/integration/inventory"
)

// levelLoads gathers the variants whose levels an operation selects and loads them together: one load for each distinct
// maxStaleness, however many products and root fields the variants are under. It doesn't wait and see: which root fields
// select levels is known from the document, and each reports its variants as soon as its data is known. The last one to
// report starts the loads.
type levelLoads struct {
	ctx    context.Context // of the whole operation: a load belongs to no single field
	reader Levels

	mu      sync.Mutex
	pending map[string]bool // response keys of the root fields that haven't reported
	loads   map[time.Duration]*levelLoad
	started chan struct{} // closed once nothing is pending
}

type levelLoad struct {
	ids     []uuid.UUID
	place   map[uuid.UUID]int // in ids, and in results
	results []inventory.Result
	done    chan struct{} // closed once results are there
}

type levelLoadsKey struct{}

// withLevelLoads prepares the loads of an operation whose root fields are given. Where none selects a level it does nothing.
func withLevelLoads(ctx context.Context, reader Levels, op *graphql.OperationContext, roots []graphql.CollectedField) context.Context {
	pending := map[string]bool{}
	for _, root := range roots {
		if selectsLevels(op, root.Selections) {
			pending[root.Alias] = true
		}
	}
	if len(pending) == 0 {
		return ctx
	}
	return context.WithValue(ctx, levelLoadsKey{}, &levelLoads{
		ctx: ctx, reader: reader, pending: pending,
		loads: map[time.Duration]*levelLoad{}, started: make(chan struct{}),
	})
}

func levelLoadsOf(ctx context.Context) *levelLoads {
	l, _ := ctx.Value(levelLoadsKey{}).(*levelLoads)
	return l
}

func selectsLevels(op *graphql.OperationContext, selections ast.SelectionSet) bool {
	for _, f := range graphql.CollectFields(op, selections, nil) {
		if isInventory(f) || selectsLevels(op, f.Selections) {
			return true
		}
	}
	return false
}

func isInventory(f graphql.CollectedField) bool {
	return f.Name == "inventory" && f.ObjectDefinition != nil && f.ObjectDefinition.Name == "ProductVariant"
}

// lookAhead reports the data of the root field that ctx is under, so that the levels selected below it can be loaded. A root field reports once:
// what a second field below it finds (a mutation's payload can be asked for its product twice) is loaded by the levels themselves.
func lookAhead(ctx context.Context, products []*model.Product, variants []*model.ProductVariant) {
	l := levelLoadsOf(ctx)
	if l == nil {
		return
	}
	field := graphql.GetFieldContext(ctx)
	root := rootKey(field)
	wanted := &lookAheadWalk{op: graphql.GetOperationContext(ctx), add: l.add}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.pending[root] {
		return // the loads may be under way: nothing is added to them
	}
	wanted.below(field.Field.Selections, products, variants)
	l.report(root)
}

// rootKey is the response key of the root field above (or at) a field.
func rootKey(f *graphql.FieldContext) string {
	for f.Parent != nil && f.Parent.Field.Field != nil {
		f = f.Parent
	}
	return f.Field.Alias
}

// lookAheadWalk follows the selections that lead from root data to variants.
type lookAheadWalk struct {
	op  *graphql.OperationContext
	add func(variantID string, maxStaleness *int64)
}

// below takes the selections of a root field, whichever of the shapes it has: nodes, a connection, the rows of a bulk
// mutation, products, variants.
func (w *lookAheadWalk) below(selections ast.SelectionSet, products []*model.Product, variants []*model.ProductVariant) {
	w.products(selections, products)
	w.variants(selections, variants)
	for _, f := range graphql.CollectFields(w.op, selections, []string{"ProductConnection", "ProductEdge", "BulkAdjustStockPayload", "BulkAdjustStockResult"}) {
		switch f.Name {
		case "edges", "nodes", "node", "results":
			w.below(f.Selections, products, variants)
		case "product":
			if f.ObjectDefinition != nil && f.ObjectDefinition.Name == "BulkAdjustStockResult" {
				w.products(f.Selections, products)
			}
		}
	}
}

func (w *lookAheadWalk) products(selections ast.SelectionSet, products []*model.Product) {
	if len(products) == 0 {
		return
	}
	for _, f := range graphql.CollectFields(w.op, selections, []string{"Product", "Node", "_Entity"}) {
		if f.Name != "variants" {
			continue
		}
		var variants []*model.ProductVariant
		for _, p := range products {
			variants = append(variants, p.Variants...)
		}
		w.variants(f.Selections, variants)
	}
}

func (w *lookAheadWalk) variants(selections ast.SelectionSet, variants []*model.ProductVariant) {
	if len(variants) == 0 {
		return
	}
	for _, f := range graphql.CollectFields(w.op, selections, []string{"ProductVariant", "Node", "_Entity"}) {
		switch {
		case isInventory(f):
			maxStaleness, ok := intArgument(f, "maxStaleness", w.op.Variables)
			for _, v := range variants {
				if ok {
					w.add(v.ID, maxStaleness)
				}
			}
		case f.Name == "product":
			w.products(f.Selections, distinctProducts(variants))
		}
	}
}

func distinctProducts(variants []*model.ProductVariant) []*model.Product {
	seen := map[*model.Product]bool{}
	var products []*model.Product
	for _, v := range variants {
		if v.Product != nil && !seen[v.Product] {
			seen[v.Product] = true
			products = append(products, v.Product)
		}
	}
	return products
}

// intArgument is an argument's value; not ok where it isn't an Int, which the field itself will say.
func intArgument(f graphql.CollectedField, name string, variables map[string]any) (value *int64, ok bool) {
	given, present := f.ArgumentMap(variables)[name]
	if !present || given == nil {
		return nil, true
	}
	i, err := model.UnmarshalInt(given)
	return &i, err == nil
}

// add notes that a level is wanted; l.mu is held.
func (l *levelLoads) add(variantID string, maxStaleness *int64) {
	bound, err := stalenessBound(maxStaleness)
	if err != nil {
		return // the field itself will say so
	}
	id, err := uuid.Parse(variantID)
	if err != nil {
		return
	}
	load := l.loads[bound]
	if load == nil {
		load = &levelLoad{place: map[uuid.UUID]int{}, done: make(chan struct{})}
		l.loads[bound] = load
	}
	if _, twice := load.place[id]; !twice {
		load.place[id] = len(load.ids)
		load.ids = append(load.ids, id)
	}
}

// reported says that a root field has no more to add, because it did, or because it ended without data.
func (l *levelLoads) reported(root string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report(root)
}

// report is reported with l.mu held.
func (l *levelLoads) report(root string) {
	if !l.pending[root] {
		return
	}
	delete(l.pending, root)
	if len(l.pending) > 0 {
		return
	}
	for bound, load := range l.loads {
		go func() {
			defer close(load.done)
			_ = safely(l.ctx, func() error { // without results each field asks for itself, and tells what is wrong
				load.results = l.reader.Levels(l.ctx, load.ids, bound)
				return nil
			})
		}()
	}
	close(l.started)
}

// level is the result for one variant, once its load is done; not ok where none of the loads has it.
func (l *levelLoads) level(ctx context.Context, id uuid.UUID, bound time.Duration) (r inventory.Result, ok bool, err error) {
	if l == nil {
		return r, false, nil
	}
	if err := wait(ctx, l.started); err != nil {
		return r, false, err
	}
	load := l.loads[bound] // not written any more
	if load == nil {
		return r, false, nil
	}
	if err := wait(ctx, load.done); err != nil {
		return r, false, err
	}
	at, ok := load.place[id]
	if !ok || at >= len(load.results) {
		return r, false, nil
	}
	return load.results[at], true, nil
}

func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
