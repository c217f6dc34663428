package plan

import (
	"context"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"product-service/graph/model"
	"product-service/projection/read"
)

// Source is what queries are answered from: the same functions as those behind the generated code.
type Source interface {
	Product(ctx context.Context, id string, minVersion *int64) (*read.Product, error)
	Products(ctx context.Context, first *int64, after *string, last *int64, before *string, where *model.ProductFilter, orderBy *model.ProductOrder) (read.Page[read.Product], error)
	Variants(ctx context.Context, ids []string) ([]Variant, error)
	Nodes(ctx context.Context, ids []string) ([]Node, error)
	Entities(ctx context.Context, representations []map[string]any) ([]Node, error)
	// Levels returns what tells the level of a variant. It is asked for once for all variants of an
	// answer, whose ages are of that moment.
	Levels(ctx context.Context, maxStaleness *int64) LevelOf
}

// LevelOf is the level of a variant; of one that has none, a Level without one.
type LevelOf func(variant uuid.UUID) (Level, error)

// Execution is one run of a plan.
type Execution struct {
	*Plan
	Source    Source
	Variables map[string]any

	// Around runs a root field, which does nothing outside of run. What it puts into the context
	// the source finds there.
	Around func(ctx context.Context, root *Field, run func(context.Context))

	// Present makes an error with a path what clients see of it.
	Present func(context.Context, error) *gqlerror.Error
}

// reading reads what a root field is answered from, and returns what writes it.
type reading func(context.Context) (func(*answer) bool, error)

// Run answers the operation. Not ok, it has read nothing: an argument isn't one that can be read,
// which is for the generated code to tell.
func (e *Execution) Run(ctx context.Context) (response *graphql.Response, ok bool) {
	reads := make([]reading, len(e.roots))
	for i, f := range e.roots {
		if reads[i], ok = e.prepare(f); !ok {
			return nil, false
		}
	}
	answers := make([]answer, len(e.roots))
	var others sync.WaitGroup
	for i, f := range e.roots {
		answers[i] = answer{Execution: e, root: f}
		answers[i].begin(i == 0)
		if i > 0 {
			others.Go(func() { answers[i].run(ctx, reads[i]) })
		}
	}
	if len(answers) > 0 { // @skip may leave none
		answers[0].run(ctx, reads[0])
	}
	others.Wait()
	return join(answers), true
}

// begin writes what comes before the value. The answer to the first root field becomes that to all.
func (a *answer) begin(first bool) {
	a.text = make([]byte, 0, int(a.root.length.Load())+len(a.root.Key)+32)
	if first {
		a.text = append(a.text, '{')
	} else {
		a.text = append(a.text, ',')
	}
	a.text = append(model.AppendString(a.text, a.root.Key), ':')
	a.start = len(a.text)
}

func (a *answer) run(ctx context.Context, from reading) {
	if a.root.Name == "__typename" {
		a.text, a.whole = model.AppendString(a.text, a.root.object), true
		return
	}
	a.path = append(make([]step, 0, 8), step{key: a.root.Key})
	a.Around(ctx, a.root, func(ctx context.Context) {
		a.ctx = ctx
		a.safely(func() {
			write, err := from(ctx)
			if err != nil {
				a.fail(a.root, err)
				return
			}
			a.whole = write(a)
		})
	})
	if !a.whole && !a.root.Definition.Type.NonNull {
		a.text, a.whole = append(a.text[:a.start], "null"...), true
	}
	a.root.length.Store(int64(len(a.text)))
}

// join makes one response of the answers to the root fields.
func join(answers []answer) *graphql.Response {
	whole, data := true, []byte("{")
	response := &graphql.Response{}
	for i := range answers {
		a := &answers[i]
		whole = whole && a.whole
		response.Errors = append(response.Errors, a.errors...)
		if i == 0 {
			data = a.text
		} else {
			data = append(data, a.text...)
		}
	}
	if whole {
		data = append(data, '}')
		response.Data = data
	} else {
		response.Data = []byte("null")
	}
	return response
}
