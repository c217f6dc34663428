package generated

import (
	"context"

	"product-service/graph/model"
)

// EntityResolver is a query resolver that finds what a gateway asks for. gqlgen knows the two fields of a subgraph by their names, calls
// the methods below for them, and leaves those to be written: they aren't generated.
type EntityResolver interface {
	Entities(ctx context.Context, representations []map[string]any) ([]model.Entity, error)
}

func (ec *executionContext) __resolve_entities(ctx context.Context, representations []map[string]any) []model.Entity {
	found, err := ec.Resolvers.Query().(EntityResolver).Entities(ctx, representations)
	if err != nil {
		ec.Error(ctx, err)
		return make([]model.Entity, len(representations)) // of nulls: nothing is known of any
	}
	return found
}

// The schema of the subgraph is the file schema.graphqls, without what graph/federation.graphqls adds.
func (ec *executionContext) __resolve__service(context.Context) (model.Service, error) {
	return model.Service{Sdl: parsedSchema.Types["Product"].Position.Src.Input}, nil
}
