package plan

import (
	"context"
	"fmt"

	"github.com/99designs/gqlgen/graphql"

	"product-service/graph/model"
	"product-service/product"
	"product-service/projection/read"
)

// prepare reads the arguments of a root field and of the levels below it. Not ok, one of them can't
// be read.
func (e *Execution) prepare(f *Field) (r reading, ok bool) {
	defer func() {
		if cause := recover(); cause != nil { // a number that is none in Go
			r, ok = nil, false
		}
	}()
	if !levelsReadable(f, e.Variables) {
		return nil, false
	}
	args := &arguments{given: f.ArgumentMap(e.Variables)}
	switch f.Name {
	case "product":
		id, minVersion := args.required("id", graphql.UnmarshalID), optional(args, "minVersion", model.UnmarshalInt)
		r = func(ctx context.Context) (func(*answer) bool, error) {
			p, err := e.Source.Product(ctx, id, minVersion)
			return func(a *answer) bool { return p != nil && f.write.(write[*read.Product])(a, p) }, err
		}
	case "products":
		first, last := optional(args, "first", model.UnmarshalInt), optional(args, "last", model.UnmarshalInt)
		after, before := optional(args, "after", graphql.UnmarshalString), optional(args, "before", graphql.UnmarshalString)
		where, order := optional(args, "where", productFilter), optional(args, "orderBy", productOrder)
		r = func(ctx context.Context) (func(*answer) bool, error) {
			page, err := e.Source.Products(ctx, first, after, last, before, where, order)
			return func(a *answer) bool { return f.write.(write[*read.Page[read.Product]])(a, &page) }, err
		}
	case "productVariants":
		ids := args.ids("ids")
		r = func(ctx context.Context) (func(*answer) bool, error) {
			all, err := e.Source.Variants(ctx, ids)
			return func(a *answer) bool { return f.write.(write[[]Variant])(a, all) }, err
		}
	case "node":
		id := args.required("id", graphql.UnmarshalID)
		r = func(ctx context.Context) (func(*answer) bool, error) {
			all, err := e.Source.Nodes(ctx, []string{id})
			return func(a *answer) bool { return f.write.(write[Node])(a, all[0]) }, err
		}
	case "nodes":
		ids := args.ids("ids")
		r = func(ctx context.Context) (func(*answer) bool, error) {
			all, err := e.Source.Nodes(ctx, ids)
			return func(a *answer) bool { return f.write.(write[[]Node])(a, all) }, err
		}
	case "_entities":
		given := optional(args, "representations", representations)
		args.bad = args.bad || given == nil
		r = func(ctx context.Context) (func(*answer) bool, error) {
			all, err := e.Source.Entities(ctx, *given)
			return func(a *answer) bool {
				if err != nil {
					a.fail(nil, err)
					all = make([]Node, len(*given)) // of nulls: a gateway knows then that nothing is known of any
				}
				return f.write.(write[[]Node])(a, all)
			}, nil
		}
	}
	return r, args.readable()
}

// levelsReadable says whether the levels selected below a field have a maxStaleness that can be read.
func levelsReadable(f *Field, variables map[string]any) bool {
	if !f.levels {
		return true
	}
	if f.IsLevel() && len(f.Arguments) > 0 {
		if _, err := MaxStaleness(f, variables); err != nil {
			return false
		}
	}
	for _, of := range f.of {
		for _, below := range of {
			if !levelsReadable(below, variables) {
				return false
			}
		}
	}
	return true
}

// MaxStaleness is the argument of a level; nil where it is absent.
func MaxStaleness(f *Field, variables map[string]any) (seconds *int64, err error) {
	if len(f.Arguments) == 0 {
		return nil, nil
	}
	given := f.ArgumentMap(variables)["maxStaleness"]
	if given == nil {
		return nil, nil
	}
	n, err := model.UnmarshalInt(given)
	return &n, err
}

// arguments are what a field is given, of the kinds that the validation and the coercion of
// variables let through: they have the types of the schema, but for scalars, which say themselves
// what they take.
type arguments struct {
	given map[string]any
	taken int  // how many of them have been asked for
	bad   bool // one couldn't be read
}

// readable says whether all that was given could be read: what isn't asked for is new in the
// schema, and unknown here.
func (a *arguments) readable() bool { return !a.bad && a.taken == len(a.given) }

// optional is an argument, or a field of one, that may be null or absent.
func optional[T any](a *arguments, name string, unmarshal func(any) (T, error)) *T {
	given, there := a.given[name]
	if there {
		a.taken++
	}
	if given == nil {
		return nil
	}
	v, err := unmarshal(given)
	a.bad = a.bad || err != nil
	return &v
}

func (a *arguments) required(name string, unmarshal func(any) (string, error)) (v string) {
	if given := optional(a, name, unmarshal); given != nil {
		return *given
	}
	a.bad = true
	return ""
}

func (a *arguments) ids(name string) []string {
	given := optional(a, name, ids)
	if given == nil {
		a.bad = true
		return nil
	}
	return *given
}

func ids(v any) ([]string, error) {
	given := graphql.CoerceList(v)
	all := make([]string, len(given))
	for i := range given {
		if given[i] == nil {
			return nil, fmt.Errorf("an id is null")
		}
		var err error
		if all[i], err = graphql.UnmarshalID(given[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func representations(v any) ([]map[string]any, error) {
	given := graphql.CoerceList(v)
	all := make([]map[string]any, len(given))
	for i := range given {
		var ok bool
		if all[i], ok = given[i].(map[string]any); !ok {
			return nil, fmt.Errorf("a representation is no object")
		}
	}
	return all, nil
}

// fields reads those of an input object.
func fields(v any, each func(*arguments)) error {
	given, ok := v.(map[string]any)
	a := arguments{given: given, bad: !ok}
	if each(&a); !a.readable() {
		return fmt.Errorf("it can't be read")
	}
	return nil
}

func productFilter(v any) (f model.ProductFilter, err error) {
	err = fields(v, func(a *arguments) {
		f.Search = optional(a, "search", graphql.UnmarshalString)
		f.StockStatus = optional(a, "stockStatus", enum[product.StockStatus])
		f.IsOrderable = optional(a, "isOrderable", graphql.UnmarshalBoolean)
		f.Available = optional(a, "available", intRange)
		f.UpdatedAt = optional(a, "updatedAt", timeRange)
		if given := optional(a, "ids", ids); given != nil {
			f.Ids = *given
		}
	})
	return f, err
}

func intRange(v any) (r model.IntRange, err error) {
	err = fields(v, func(a *arguments) {
		r.Gte, r.Lte = optional(a, "gte", model.UnmarshalInt), optional(a, "lte", model.UnmarshalInt)
	})
	return r, err
}

func timeRange(v any) (r model.DateTimeRange, err error) {
	err = fields(v, func(a *arguments) {
		r.Gte, r.Lte = optional(a, "gte", model.UnmarshalDateTime), optional(a, "lte", model.UnmarshalDateTime)
	})
	return r, err
}

func productOrder(v any) (o model.ProductOrder, err error) {
	err = fields(v, func(a *arguments) {
		o.Direction = model.OrderDirectionAsc
		if field := optional(a, "field", enum[read.OrderField]); field != nil {
			o.Field = *field
		}
		if direction := optional(a, "direction", enum[model.OrderDirection]); direction != nil {
			o.Direction = *direction
		}
	})
	return o, err
}

func enum[E ~string](v any) (E, error) {
	s, err := graphql.UnmarshalString(v)
	return E(s), err
}
