package graph

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"product-service/graph/plan"
	"product-service/integration/inventory"
	"product-service/projection/read"
)

// levelLoads gathers the variants whose levels an operation selects and loads them together: one
// load for each distinct maxStaleness, however many products and root fields the variants are
// under. It doesn't wait and see: which root fields select levels is known from the document, and
// each reports its variants as soon as its data is known. The last one to report starts the loads.
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

// withLevelLoads prepares the loads of root fields that run side by side. Where none selects a
// level it does nothing.
func withLevelLoads(ctx context.Context, reader Levels, roots []*plan.Field) context.Context {
	var pending map[string]bool
	for _, root := range roots {
		if root.Levels() {
			if pending == nil {
				pending = map[string]bool{}
			}
			pending[root.Key] = true
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

// lookAhead reports the data of the root field that ctx is under, so that the levels selected below
// it can be loaded. A root field reports once: what a second field below it finds (a mutation's
// payload can be asked for its product twice) is loaded by the levels themselves. Products that
// aren't there may be nil.
func lookAhead(ctx context.Context, products []*read.Product, variants []plan.Variant) {
	l := levelLoadsOf(ctx)
	if l == nil {
		return
	}
	at := selectedAt(ctx)
	if at == nil {
		return
	}
	l.mu.Lock()
	if !l.pending[at.root] { // the loads may be under way: nothing is added to them
		l.mu.Unlock()
		return
	}
	(&lookAheadWalk{variables: at.variables, loads: l}).below(at.Field, products, variants)
	start := l.report(at.root)
	l.mu.Unlock()
	start()
}

// lookAheadWalk follows what is selected from root data to variants.
type lookAheadWalk struct {
	variables map[string]any
	loads     *levelLoads
}

// below takes the selections of a field, whatever lies between it and the products or variants: a
// connection, a mutation's payload, the rows of one.
func (w *lookAheadWalk) below(f *plan.Field, products []*read.Product, variants []plan.Variant) {
	for typeName, selected := range f.Below() {
		switch typeName {
		case "Product":
			w.products(selected, products)
		case "ProductVariant":
			w.variants(selected, variants)
		default:
			for _, f := range selected {
				if f.Levels() {
					w.below(f, products, variants)
				}
			}
		}
	}
}

func (w *lookAheadWalk) products(selected plan.Selection, products []*read.Product) {
	for _, f := range selected {
		if f.Name != "variants" || !f.Levels() {
			continue
		}
		n := 0
		for _, p := range products {
			if p != nil {
				n += len(p.Variants)
			}
		}
		variants := make([]plan.Variant, 0, n)
		for _, p := range products {
			if p == nil {
				continue // it isn't there
			}
			for i := range p.Variants {
				variants = append(variants, plan.Variant{Variant: &p.Variants[i], Product: p})
			}
		}
		w.variants(f.Of("ProductVariant"), variants)
	}
}

func (w *lookAheadWalk) variants(selected plan.Selection, variants []plan.Variant) {
	for _, f := range selected {
		switch {
		case f.IsLevel():
			w.levels(f, variants)
		case f.Name == "product" && f.Levels():
			w.products(f.Of("Product"), distinctProducts(variants))
		}
	}
}

func distinctProducts(variants []plan.Variant) []*read.Product {
	seen := map[*read.Product]bool{}
	var products []*read.Product
	for _, v := range variants {
		if v.Product != nil && !seen[v.Product] {
			seen[v.Product] = true
			products = append(products, v.Product)
		}
	}
	return products
}

// levels notes the levels that a field wants; l.mu is held. What is wrong with its argument the
// field itself will say.
func (w *lookAheadWalk) levels(f *plan.Field, variants []plan.Variant) {
	maxStaleness, err := plan.MaxStaleness(f, w.variables)
	if err != nil {
		return
	}
	bound, err := stalenessBound(maxStaleness)
	if err != nil {
		return
	}
	load := w.loads.loads[bound]
	if load == nil {
		load = &levelLoad{place: make(map[uuid.UUID]int, len(variants)), done: make(chan struct{})}
		w.loads.loads[bound] = load
	}
	load.ids = slices.Grow(load.ids, len(variants))
	for _, v := range variants {
		if v.Variant == nil {
			continue
		}
		if _, twice := load.place[v.ID]; !twice {
			load.place[v.ID] = len(load.ids)
			load.ids = append(load.ids, v.ID)
		}
	}
}

// reported says that a root field has no more to add, because it did, or because it ended without data.
func (l *levelLoads) reported(root string) {
	l.mu.Lock()
	start := l.report(root)
	l.mu.Unlock()
	start()
}

// report is reported with l.mu held. It returns what starts the loads, if they can start now.
func (l *levelLoads) report(root string) (start func()) {
	if !l.pending[root] {
		return func() {}
	}
	delete(l.pending, root)
	if len(l.pending) > 0 {
		return func() {}
	}
	close(l.started)
	return func() {
		left := len(l.loads)
		for bound, load := range l.loads {
			if left--; left > 0 {
				go l.load(load, bound)
			} else {
				l.load(load, bound) // by whom would have nothing to do but wait for it
			}
		}
	}
}

func (l *levelLoads) load(load *levelLoad, bound time.Duration) {
	defer close(load.done)
	_ = safely(l.ctx, func() error { // without results each field asks for itself, and tells what is wrong
		load.results = l.reader.Levels(l.ctx, load.ids, bound)
		return nil
	})
}

// of waits for the load of a bound; nil where there is none.
func (l *levelLoads) of(ctx context.Context, bound time.Duration) (*levelLoad, error) {
	if l == nil {
		return nil, nil
	}
	if err := wait(ctx, l.started); err != nil {
		return nil, err
	}
	load := l.loads[bound] // not written any more
	if load == nil {
		return nil, nil
	}
	return load, wait(ctx, load.done)
}

// result is the one for a variant; nil where the load doesn't have it.
func (l *levelLoad) result(id uuid.UUID) *inventory.Result {
	if l == nil {
		return nil
	}
	at, ok := l.place[id]
	if !ok || at >= len(l.results) {
		return nil
	}
	return &l.results[at]
}

func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done: // as for all but the first who waits
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
