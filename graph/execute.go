package graph

import (
	"context"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"product-service/graph/auth"
	"product-service/graph/live"
	"product-service/graph/model"
	"product-service/graph/plan"
)

// engine runs operations.
type engine struct {
	schema    graphql.ExecutableSchema
	admission *admission
	scopes    scopes
	source    plan.Source
	planned   bool // queries run by their plans, where they can
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
	throttled     kind = "throttled" // its caller has asked for too much already
	mutationByGet kind = "forbidden" // it would change something, and came as a GET
	follows       kind = "follows"   // it is a subscription, and has begun
	unfollowable  kind = "refused"   // it is a subscription, and came where there is one answer
)

// answer is what became of a request: a response, or a subscription that has begun.
type answer struct {
	resp *graphql.Response
	kind kind
	feed *live.Subscriber
}

// run admits, weighs and executes an operation, or begins to follow it. The response of a request
// that isn't executed has no data.
func (e *engine) run(ctx context.Context, req request) answer {
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
		if k != throttled {
			charge(ctx)
		}
		e.metrics.operation("none", k, time.Since(began))
		e.metrics.refused(refused[0])
		return answer{resp: resp, kind: k}
	}
	var a answer
	if op.Operation.Operation == ast.Subscription {
		a = e.begin(ctx, op.OperationContext, req.wake)
	} else {
		claimClocks(ctx, op.OperationContext)
		a.resp, a.kind = e.execute(ctx, op), answered
		if len(a.resp.Errors) > 0 {
			a.kind = partly
		}
	}
	e.metrics.operation(string(op.Operation.Operation), a.kind, time.Since(began))
	return a
}

// begin begins a subscription.
func (e *engine) begin(ctx context.Context, op *graphql.OperationContext, wake func()) answer {
	if wake == nil {
		return answer{kind: unfollowable}
	}
	feed, refused := e.follow(ctx, op, wake)
	if feed == nil {
		return answer{resp: &graphql.Response{Errors: refused}, kind: invalid}
	}
	return answer{feed: feed, kind: follows}
}

func kindOf(refused gqlerror.List) kind {
	switch refused[0].Extensions["code"] {
	case PersistedQueryNotFound:
		return unregistered
	case RateLimited:
		return throttled
	case QueryTooLarge, QueryTooDeep, QueryTooComplex:
		return limited
	}
	return invalid
}

// prepare finds the operation of a request and gives its variables their types. The operation that
// comes with a refusal is one that isn't allowed the way the request came.
func (e *engine) prepare(ctx context.Context, req request) (*prepared, gqlerror.List) {
	doc, id, refused := e.admission.document(ctx, req)
	if refused != nil {
		return nil, refused
	}
	e.metrics.document(id)
	definition := doc.Operations.ForName(req.operationName)
	switch {
	case definition == nil && req.operationName == "":
		return nil, refusal(BadUserInput, nil, "the document has several operations: operationName must say which to execute")
	case definition == nil:
		return nil, refusal(BadUserInput, nil, "the document has no operation of the name that operationName gives")
	}
	op := &prepared{OperationContext: &graphql.OperationContext{
		RawQuery: definition.Position.Src.Input, OperationName: req.operationName, Doc: doc.QueryDocument, Operation: definition,
		DisableIntrospection: !e.admission.introspection, RecoverFunc: recovered,
		ResolverMiddleware:     checked,
		RootResolverMiddleware: e.rootField,
	}}
	if req.get && definition.Operation == ast.Mutation {
		return op, refusal(BadUserInput, definition.Position, "a mutation must be sent as a POST")
	}
	variables, err := coerceVariables(e.admission.schema, definition, req.variables)
	if err != nil {
		return nil, gqlerror.List{{Err: err, Message: err.Error()}}
	}
	op.Variables = variables
	if refused := onlyField(op.OperationContext); refused != nil {
		return nil, refused
	}
	cost := costOf(op.OperationContext)
	if cost > e.maxCost {
		return nil, refusal(QueryTooComplex, definition.Position, "the operation weighs %d; it can weigh %d: ask for shorter pages or fewer fields", cost, e.maxCost)
	}
	if err := spend(ctx, cost); err != nil {
		return nil, gqlerror.List{{Err: err, Message: err.Error()}}
	}
	op.plan = doc.plan(e.admission.schema, op.OperationContext)
	op.planned = e.planned && op.plan.Runs()
	if denies(doc.needs(e.scopes, definition), auth.CallerOf(ctx)) {
		op.planned, op.ResolverMiddleware = false, e.scopes.check
	}
	return op, nil
}

// checked resolves a field, and refuses a number that the field's type can't hold: the generated
// code writes whatever there is.
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
	if err := model.CheckNumber(graphql.GetFieldContext(ctx).Field.Definition.Type.Name())(n); err != nil {
		return nil, err
	}
	return v, nil
}

func (e *engine) execute(ctx context.Context, op *prepared) *graphql.Response {
	if op.Operation.Operation == ast.Query {
		ctx = withLevelLoads(ctx, e.levels, op.plan.Roots())
	}
	if op.planned {
		run := plan.Execution{Plan: op.plan, Source: e.source, Variables: op.Variables, Around: op.around, Present: e.presenter.present}
		if resp, ok := run.Run(ctx); ok {
			return resp
		}
	}
	ctx = graphql.WithResponseContext(op.generated(ctx), e.presenter.present, recovered)
	resp := e.schema.Exec(ctx)(ctx)
	resp.Errors = append(resp.Errors, graphql.GetErrors(ctx)...)
	return resp
}

// rootField runs around each root field of the generated code. The root fields of a query run side
// by side and share their loads of levels; those of a mutation run one after the other, and each
// loads its own.
func (e *engine) rootField(ctx context.Context, next graphql.RootResolver) graphql.Marshaler {
	op, field := graphql.GetOperationContext(ctx), graphql.GetRootFieldContext(ctx).Field
	if op.Operation.Operation == ast.Mutation {
		ctx = withLevelLoads(ctx, e.levels, plan.Selection{selectedRoot(ctx, field.Alias)})
	}
	if loads := levelLoadsOf(ctx); loads != nil {
		defer loads.reported(field.Alias) // it may have ended before it had anything to report
	}
	return placed(ctx, func() graphql.Marshaler { return next(ctx) })
}
