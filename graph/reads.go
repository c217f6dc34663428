package graph

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"

	"product-service/graph/model"
	"product-service/integration/inventory"
	"product-service/projection/read"
)

// product answers Query.product.
func (r *Resolver) product(ctx context.Context, id string, minVersion *int64) (*model.Product, error) {
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
func (r *Resolver) productAt(ctx context.Context, id uuid.UUID, version int64) (*model.Product, error) {
	if err := idly(ctx, func() error { return r.services.Reads.WaitFor(ctx, id, version) }); err != nil {
		return nil, err
	}
	return r.productNow(ctx, id)
}

func (r *Resolver) productNow(ctx context.Context, id uuid.UUID) (*model.Product, error) {
	found, ok, err := r.services.Reads.Product(ctx, id)
	if err != nil || !ok {
		return nil, err
	}
	p := showProduct(&found)
	lookAhead(ctx, []*model.Product{p}, nil)
	return p, nil
}

// products answers Query.products.
func (r *Resolver) products(ctx context.Context, page pageArgs, where *model.ProductFilter, orderBy *model.ProductOrder) (*model.ProductConnection, error) {
	asked, err := page.check(ctx)
	if err != nil {
		return nil, err
	}
	filter, err := filterOf(where)
	if err != nil {
		return nil, err
	}
	got, err := r.services.Reads.Products(ctx, filter, orderOf(orderBy), asked)
	if err != nil {
		return nil, err
	}
	c := &model.ProductConnection{PageInfo: pageInfo(got), TotalCount: got.Total}
	for _, e := range got.Edges {
		p := showProduct(&e.Node)
		c.Nodes = append(c.Nodes, p)
		c.Edges = append(c.Edges, &model.ProductEdge{Cursor: e.Cursor, Node: p})
	}
	lookAhead(ctx, c.Nodes, nil)
	return c, nil
}

// variants answers Query.productVariants.
func (r *Resolver) variants(ctx context.Context, ids []string) ([]*model.ProductVariant, error) {
	wanted, err := parseIDs("ids", ids)
	if err != nil {
		return nil, err
	}
	found, err := r.variantsByID(ctx, wanted)
	if err != nil {
		return nil, err
	}
	all := make([]*model.ProductVariant, len(wanted))
	for i, id := range wanted {
		all[i] = found[id]
	}
	lookAhead(ctx, nil, present(all))
	return all, nil
}

// variantsByID reads variants, and the products they belong to where those are selected.
func (r *Resolver) variantsByID(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]*model.ProductVariant, error) {
	found, err := r.services.Reads.Variants(ctx, ids)
	if err != nil {
		return nil, err
	}
	byID := make(map[uuid.UUID]*model.ProductVariant, len(found))
	var owners []uuid.UUID
	for _, v := range found {
		if v != nil && byID[v.ID] == nil {
			byID[v.ID] = showVariant(v, nil)
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
		for _, v := range showProduct(p).Variants { // each knows its product
			if id, err := uuid.Parse(v.ID); err == nil && byID[id] != nil {
				byID[id] = v
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

// selects says whether the field being resolved selects a field of a type.
func selects(ctx context.Context, typeName, field string) bool {
	for _, f := range graphql.CollectFieldsCtx(ctx, []string{typeName, "Node", "_Entity"}) {
		if f.Name == field {
			return true
		}
	}
	return false
}

// inventory answers ProductVariant.inventory.
func (r *Resolver) inventory(ctx context.Context, v *model.ProductVariant, maxStaleness *int64) (*model.InventoryLevel, error) {
	bound, err := stalenessBound(maxStaleness)
	if err != nil {
		return nil, err
	}
	id, err := uuid.Parse(v.ID)
	if err != nil {
		return nil, err
	}
	result, ok, err := levelLoadsOf(ctx).level(ctx, id, bound)
	if err == nil && !ok { // nobody looked ahead to here
		result = r.services.Levels.Levels(ctx, []uuid.UUID{id}, bound)[0]
	}
	switch result.Outcome {
	case inventory.Known:
		return showLevel(result, time.Now()), nil
	case inventory.Absent:
		return nil, nil
	default: // or there was no time to wait for it
		return nil, faultf(InventoryUnavailable, "the Inventory Service can't be asked, and no level recent enough is known")
	}
}

// stalenessBound is a maxStaleness argument as [Levels] takes it: 0 asks for a level of just now, absent is the reader's rule.
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

// present leaves out the nulls.
func present(variants []*model.ProductVariant) []*model.ProductVariant {
	var there []*model.ProductVariant
	for _, v := range variants {
		if v != nil {
			there = append(there, v)
		}
	}
	return there
}
