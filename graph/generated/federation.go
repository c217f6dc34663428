package generated

import (
	"context"
	"regexp"
	"sync"

	"product-service/graph/model"
)

// EntityResolver is a query resolver that finds what a gateway asks for. gqlgen knows the two fields of a subgraph by their names, calls
// the methods below for them, and leaves those to be written: they aren't generated.
type EntityResolver interface {
	Entities(ctx context.Context, representations []map[string]any) ([]model.Entity, error)
}

func (ec *executionContext) __resolve_entities(ctx context.Context, representations []map[string]any) []model.Entity { //nolint:staticcheck // the name that gqlgen calls
	found, err := ec.Resolvers.Query().(EntityResolver).Entities(ctx, representations)
	if err != nil {
		ec.Error(ctx, err)
		return make([]model.Entity, len(representations)) // of nulls: nothing is known of any
	}
	return found
}

func (ec *executionContext) __resolve__service(context.Context) (model.Service, error) { //nolint:staticcheck,unparam // the name and the results that gqlgen calls for
	return model.Service{Sdl: subgraph()}, nil
}

// subgraph is the file schema.graphqls, without what graph/federation.graphqls adds, and without the scopes that fields need: a gateway
// that can't ask for scopes refuses to run a schema that names them, and this service asks for them itself.
var subgraph = sync.OnceValue(func() string {
	return scopesMark.ReplaceAllString(parsedSchema.Types["Product"].Position.Src.Input, "")
})

var scopesMark = regexp.MustCompile(` @requiresScopes\(scopes: \[\[[^\]]*\]\]\)`)
