package graph

import (
	"context"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"product-service/graph/generated"
	"product-service/graph/model"
	"product-service/projection/read"
)

var _ generated.EntityResolver = (*queryResolver)(nil)

// Entities answers Query._entities: all products in one read, all variants in another. What can't be an entity is an error at its place.
func (r *queryResolver) Entities(ctx context.Context, representations []map[string]any) ([]model.Entity, error) {
	if len(representations) > read.MaxIDs {
		return nil, badInput("representations has %d objects; it can have %d", len(representations), read.MaxIDs)
	}
	wanted := map[string][]uuid.UUID{}
	refs := make([]entityRef, len(representations))
	for i, representation := range representations {
		var err error
		if refs[i], err = parseEntity(representation); err != nil {
			graphql.AddError(ctx, gqlerror.WrapPath(append(graphql.GetPath(ctx), ast.PathIndex(i)), err))
			continue
		}
		wanted[refs[i].typeName] = append(wanted[refs[i].typeName], refs[i].id)
	}
	products, err := r.entityProducts(ctx, wanted["Product"])
	if err != nil {
		return nil, err
	}
	variants := map[uuid.UUID]*model.ProductVariant{}
	if ids := wanted["ProductVariant"]; len(ids) > 0 {
		if variants, err = r.variantsByID(ctx, ids); err != nil {
			return nil, err
		}
	}
	found := make([]model.Entity, len(refs)) // nil stays nil: no entity, not an empty one
	var shown []*model.Product
	var shownVariants []*model.ProductVariant
	for i, ref := range refs {
		switch {
		case ref.typeName == "Product" && products[ref.id] != nil:
			found[i], shown = products[ref.id], append(shown, products[ref.id])
		case ref.typeName == "ProductVariant" && variants[ref.id] != nil:
			found[i], shownVariants = variants[ref.id], append(shownVariants, variants[ref.id])
		}
	}
	lookAhead(ctx, shown, shownVariants)
	return found, nil
}

func (r *queryResolver) entityProducts(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]*model.Product, error) {
	byID := make(map[uuid.UUID]*model.Product, len(ids))
	if len(ids) == 0 {
		return byID, nil
	}
	found, err := r.services.Reads.ProductsByIDs(ctx, ids)
	for _, p := range found {
		if p != nil && byID[p.ID] == nil {
			byID[p.ID] = showProduct(p)
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
