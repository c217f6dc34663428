package graph

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"product-service/graph/model"
	"product-service/graph/plan"
	"product-service/integration/inventory"
	"product-service/projection/read"
)

// product answers Query.product.
func (r *Resolver) product(ctx context.Context, id string, minVersion *int64) (*read.Product, error) {
	productID, err := parseID(id)
	if err != nil {
		return nil, err
	}
	if minVersion == nil {
		return r.productNow(ctx, productID)
	}
	if *minVersion < 1 {
		return nil, badInput("minVersion is %d; versions are 1 and more", *minVersion)
	}
	return r.productAt(ctx, productID, *minVersion)
}

// productAt waits until the product is at least at a version.
func (r *Resolver) productAt(ctx context.Context, id uuid.UUID, version int64) (*read.Product, error) {
	if err := idly(ctx, func() error { return r.services.Reads.WaitFor(ctx, id, version) }); err != nil {
		return nil, err
	}
	return r.productNow(ctx, id)
}

func (r *Resolver) productNow(ctx context.Context, id uuid.UUID) (*read.Product, error) {
	found, ok, err := r.services.Reads.Product(ctx, id)
	if err != nil || !ok {
		return nil, err
	}
	lookAhead(ctx, []*read.Product{&found}, nil)
	return &found, nil
}

// products answers Query.products.
func (r *Resolver) products(ctx context.Context, page pageArgs, where *model.ProductFilter, orderBy *model.ProductOrder) (got read.Page[read.Product], err error) {
	asked, err := page.check(ctx, "ProductConnection")
	if err != nil {
		return got, err
	}
	filter, err := filterOf(where)
	if err != nil {
		return got, err
	}
	if got, err = r.services.Reads.Products(ctx, filter, orderOf(orderBy), asked); err != nil {
		return got, err
	}
	products := make([]*read.Product, len(got.Edges))
	for i := range got.Edges {
		products[i] = &got.Edges[i].Node
	}
	lookAhead(ctx, products, nil)
	return got, nil
}

// variants answers Query.productVariants.
func (r *Resolver) variants(ctx context.Context, ids []string) ([]plan.Variant, error) {
	wanted, err := parseIDs("ids", ids)
	if err != nil {
		return nil, err
	}
	found, err := r.variantsByID(ctx, wanted)
	if err != nil {
		return nil, err
	}
	all := make([]plan.Variant, len(wanted))
	for i, id := range wanted {
		all[i] = found[id]
	}
	lookAhead(ctx, nil, all)
	return all, nil
}

// variantsByID reads variants, and the products they belong to where those are selected.
func (r *Resolver) variantsByID(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]plan.Variant, error) {
	found, err := r.services.Reads.Variants(ctx, ids)
	if err != nil {
		return nil, err
	}
	byID := make(map[uuid.UUID]plan.Variant, len(found))
	var owners []uuid.UUID
	for _, v := range found {
		if v != nil && byID[v.ID].Variant == nil {
			byID[v.ID] = plan.Variant{Variant: v}
			owners = append(owners, v.ProductID)
		}
	}
	if len(owners) == 0 || !selects(ctx, "ProductVariant", "product") {
		return byID, nil
	}
	products, err := r.services.Reads.ProductsByIDs(ctx, owners)
	if err != nil {
		return nil, err
	}
	for _, p := range products {
		if p == nil {
			continue
		}
		for i := range p.Variants { // as its product has it
			if v := &p.Variants[i]; byID[v.ID].Variant != nil {
				byID[v.ID] = plan.Variant{Variant: v, Product: p}
			}
		}
	}
	for id, v := range byID {
		if v.Product == nil {
			delete(byID, id) // its product went while it was read
		}
	}
	return byID, nil
}

// levels answers ProductVariant.inventory. Ages are of the moment at which the levels are there.
func (r *Resolver) levels(ctx context.Context, maxStaleness *int64) plan.LevelOf {
	bound, err := stalenessBound(maxStaleness)
	if err != nil {
		return func(uuid.UUID) (plan.Level, error) { return plan.Level{}, err }
	}
	load, err := levelLoadsOf(ctx).of(ctx, bound)
	now := time.Now()
	return func(variant uuid.UUID) (l plan.Level, _ error) {
		var result *inventory.Result // nil where there was no time to wait for it
		if err == nil {
			if result = load.result(variant); result == nil { // the look-ahead didn't come to this field
				result = &r.services.Levels.Levels(ctx, []uuid.UUID{variant}, bound)[0]
			}
		}
		switch {
		case result != nil && result.Outcome == inventory.Known:
			return agedLevel(result, now), nil
		case result != nil && result.Outcome == inventory.Absent:
			return l, nil
		}
		return l, faultf(InventoryUnavailable, "the Inventory Service can't be asked, and no level recent enough is known")
	}
}

// inventory answers it in the generated code.
func (r *Resolver) inventory(ctx context.Context, v *model.ProductVariant, maxStaleness *int64) (*model.InventoryLevel, error) {
	id, err := uuid.Parse(v.ID)
	if err != nil {
		return nil, err
	}
	l, err := r.levels(ctx, maxStaleness)(id)
	if err != nil || l.Level == nil {
		return nil, err
	}
	return showLevel(l), nil
}

// stalenessBound is a maxStaleness argument as [Levels] takes it: 0 asks for a level of just now,
// absent is the reader's rule.
func stalenessBound(maxStaleness *int64) (time.Duration, error) {
	switch {
	case maxStaleness == nil:
		return 0, nil
	case *maxStaleness < 0:
		return 0, badInput("maxStaleness is %d; it must be 0 or more seconds", *maxStaleness)
	}
	return max(time.Duration(*maxStaleness)*time.Second, time.Nanosecond), nil
}

// classifyRead is what clients are told of the errors that reads come with on purpose.
func classifyRead(err error) (Code, string, bool) {
	switch {
	case errors.Is(err, read.ErrNotYet):
		return NotYetAvailable, "the version asked for can't be read yet; ask again in a moment", true
	case errors.Is(err, read.ErrBadCursor):
		return BadUserInput, "after or before isn't a cursor of this list, in this order", true
	case errors.Is(err, read.ErrBadRange):
		return BadUserInput, strings.TrimSuffix(err.Error(), ": "+read.ErrBadRange.Error()), true
	case errors.Is(err, read.ErrTooMany):
		return BadUserInput, err.Error(), true
	}
	return "", "", false
}
