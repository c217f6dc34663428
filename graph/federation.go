package graph

import (
	"context"

	"github.com/google/uuid"

	"product-service/graph/generated"
	"product-service/graph/model"
	"product-service/graph/plan"
	"product-service/projection/read"
)

var _ generated.EntityResolver = (*queryResolver)(nil)

// Entities answers Query._entities.
func (r *queryResolver) Entities(ctx context.Context, representations []map[string]any) ([]model.Entity, error) {
	all, err := r.entities(ctx, representations)
	return showElements[model.Entity](ctx, all), err
}

// entities reads what representations name: all products in one read, all variants in another. What
// can't be an entity is an error at its place.
func (r *Resolver) entities(ctx context.Context, representations []map[string]any) ([]plan.Node, error) {
	if len(representations) > read.MaxIDs {
		return nil, badInput("representations has %d objects; it can have %d", len(representations), read.MaxIDs)
	}
	wanted := map[string][]uuid.UUID{}
	refs := make([]entityRef, len(representations))
	all := make([]plan.Node, len(representations)) // nil stays nil: no entity, not an empty one
	for i, representation := range representations {
		var err error
		if refs[i], err = parseEntity(representation); err != nil {
			all[i] = err
			continue
		}
		wanted[refs[i].typeName] = append(wanted[refs[i].typeName], refs[i].id)
	}
	products, err := r.entityProducts(ctx, wanted["Product"])
	if err != nil {
		return nil, err
	}
	variants := map[uuid.UUID]plan.Variant{}
	if ids := wanted["ProductVariant"]; len(ids) > 0 {
		if variants, err = r.variantsByID(ctx, ids); err != nil {
			return nil, err
		}
	}
	for i, ref := range refs {
		if p := products[ref.id]; ref.typeName == "Product" && p != nil {
			all[i] = p
		}
		if v := variants[ref.id]; ref.typeName == "ProductVariant" && v.Variant != nil {
			all[i] = v
		}
	}
	lookAheadNodes(ctx, all)
	return all, nil
}

func (r *Resolver) entityProducts(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]*read.Product, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	found, err := r.services.Reads.ProductsByIDs(ctx, ids)
	byID := make(map[uuid.UUID]*read.Product, len(found))
	for _, p := range found {
		if p != nil {
			byID[p.ID] = p
		}
	}
	return byID, err
}

// entityRef is a representation that names an entity; the zero value names none.
type entityRef struct {
	typeName string
	id       uuid.UUID
}

// parseEntity reads a representation. Further fields are other subgraphs' business.
func parseEntity(representation map[string]any) (entityRef, error) {
	typeName, _ := representation["__typename"].(string)
	if typeName != "Product" && typeName != "ProductVariant" {
		return entityRef{}, badInput("a representation has the __typename %s; it must be \"Product\" or \"ProductVariant\"", show(representation["__typename"]))
	}
	text, ok := representation["id"].(string)
	if !ok {
		return entityRef{}, badInput("a representation of %s has the id %s; it must be a UUID, as a string", typeName, show(representation["id"]))
	}
	id, err := parseID(text)
	if err != nil {
		return entityRef{}, err
	}
	return entityRef{typeName, id}, nil
}
