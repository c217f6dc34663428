package graph

import (
	"context"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"product-service/graph/auth"
	"product-service/graph/model"
)

// engine runs operations.
type engine struct {
	schema    graphql.ExecutableSchema
	admission *admission
	scopes    scopes
	levels    Levels
	presenter presenter
	maxCost   int
	metrics   *metrics
}

// kind is how a request ended.
type kind string

const (
	answered      kind = "ok"        // without errors
	partly        kind = "partial"   // with errors beside the data
	invalid       kind = "invalid"   // its document, its operation's name or its variables can't be executed
	unregistered  kind = "unknown"   // it names a document that isn't known yet, and may come again with it
	limited       kind = "limited"   // its document or its operation is too much
	mutationByGet kind = "forbidden" // it would change something, and came as a GET
)

// run admits, weighs and executes an operation. The response of a request that isn't executed has no data.
func (e *engine) run(ctx context.Context, req request) (*graphql.Response, kind) {
	began := time.Now()
	op, refused := e.prepare(ctx, req)
	if refused != nil {
		resp := &graphql.Response{}
		for _, err := range refused {
			resp.Errors = append(resp.Errors, e.presenter.present(ctx, err))
		}
		k := kindOf(resp.Errors)
		if op != nil {
			k = mutationByGet
		}
		e.metrics.operation("none", k, time.Since(began))
		e.metrics.refused(refused[0])
		return resp, k
	}
	claimClocks(ctx, op)
	resp := e.execute(ctx, op)
	k := answered
	if len(resp.Errors) > 0 {
		k = partly
	}
	e.metrics.operation(string(op.Operation.Operation), k, time.Since(began))
	return resp, k
}

func kindOf(refused gqlerror.List) kind {
	switch refused[0].Extensions["code"] {
	case PersistedQueryNotFound:
		return unregistered
	case QueryTooLarge, QueryTooDeep, QueryTooComplex:
		return limited
	}
	return invalid
}

// prepare finds the operation of a request and gives its variables their types. The operation that comes with a refusal is one
// that isn't allowed the way the request came.
func (e *engine) prepare(ctx context.Context, req request) (*graphql.OperationContext, gqlerror.List) {
	doc, id, refused := e.admission.document(ctx, req)
	if refused != nil {
		return nil, refused
	}
	e.metrics.document(id)
	operation := doc.Operations.ForName(req.operationName)
	switch {
	case operation == nil && req.operationName == "":
		return nil, refusal(BadUserInput, nil, "the document has several operations: operationName must say which to execute")
	case operation == nil:
		return nil, refusal(BadUserInput, nil, "the document has no operation of the name that operationName gives")
	}
	op := &graphql.OperationContext{
		RawQuery: operation.Position.Src.Input, OperationName: req.operationName, Doc: doc, Operation: operation,
		DisableIntrospection: !e.admission.introspection, RecoverFunc: recovered,
		ResolverMiddleware:     checked,
		RootResolverMiddleware: e.rootField,
	}
	if req.get && operation.Operation != ast.Query {
		return op, refusal(BadUserInput, operation.Position, "a mutation must be sent as a POST")
	}
	variables, err := coerceVariables(e.admission.schema, operation, req.variables)
	if err != nil {
		return nil, gqlerror.List{{Err: err, Message: err.Error()}}
	}
	op.Variables = variables
	if cost := costOf(op); cost > e.maxCost {
		return nil, refusal(QueryTooComplex, operation.Position, "the operation weighs %d; it can weigh %d: ask for shorter pages or fewer fields", cost, e.maxCost)
	}
	if e.scopes.deny(auth.CallerOf(ctx), operation) {
		op.ResolverMiddleware = e.scopes.check
	}
	return op, nil
}

// checked resolves a field, and refuses a number that the field's type can't hold: the generated code writes whatever there is.
func checked(ctx context.Context, next graphql.Resolver) (any, error) {
	v, err := next(ctx)
	if err != nil {
		return v, err
	}
	var n int64
	switch v := v.(type) {
	case int64:
		n = v
	case *int64:
		if v == nil {
			return v, nil
		}
		n = *v
	default:
		return v, nil
	}
	if err := model.CheckNumber(graphql.GetFieldContext(ctx).Field.Definition.Type.Name(), n); err != nil {
		return nil, faultf(InternalServerError, "%s", err)
	}
	return v, nil
}

func (e *engine) execute(ctx context.Context, op *graphql.OperationContext) *graphql.Response {
	ctx = graphql.WithOperationContext(ctx, op)
	ctx = graphql.WithResponseContext(ctx, e.presenter.present, recovered)
	if op.Operation.Operation == ast.Query {
		ctx = withLevelLoads(ctx, e.levels, op, graphql.CollectFields(op, op.Operation.SelectionSet, []string{"Query"}))
	}
	resp := e.schema.Exec(ctx)(ctx)
	resp.Errors = append(resp.Errors, graphql.GetErrors(ctx)...)
	return resp
}

// rootField runs around each root field. The root fields of a query run side by side and share their loads of levels; those of a
// mutation run one after the other, and each loads its own.
func (e *engine) rootField(ctx context.Context, next graphql.RootResolver) graphql.Marshaler {
	op, field := graphql.GetOperationContext(ctx), graphql.GetRootFieldContext(ctx).Field
	if op.Operation.Operation == ast.Mutation {
		ctx = withLevelLoads(ctx, e.levels, op, []graphql.CollectedField{field})
	}
	if loads := levelLoadsOf(ctx); loads != nil {
		defer loads.reported(field.Alias) // it may have ended before it had anything to report
	}
	return placed(ctx, func() graphql.Marshaler { return next(ctx) })
}
