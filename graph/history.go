package graph

import (
	"context"
	"slices"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"product-service/graph/model"
	"product-service/projection/read"
	"product-service/projection/view"
)

// reservation answers Query.reservation.
func (r *Resolver) reservation(ctx context.Context, productID, reservationID string) (*model.Reservation, error) {
	product, err := parseID(productID)
	if err != nil {
		return nil, err
	}
	reservation, err := parseID(reservationID)
	if err != nil {
		return nil, err
	}
	found, ok, err := r.services.Reads.Reservation(ctx, product, reservation)
	if err != nil || !ok {
		return nil, err
	}
	return showReservation(&found), nil
}

// maxTypes is how many types a list of movements can be asked for: each of them, and room for those
// to come.
const maxTypes = 20

// movementArgs are the filters of a list of movements.
type movementArgs struct {
	from, to *time.Time
	types    []view.MovementType
}

// movements answers stockMovements, of one product or, without an id, of all.
func (r *Resolver) movements(ctx context.Context, productID *string, args movementArgs, page pageArgs) (*model.StockMovementConnection, error) {
	asked, err := page.check(ctx, "StockMovementConnection")
	if err != nil {
		return nil, err
	}
	var filter read.MovementFilter
	if productID != nil {
		if filter.ProductID, err = parseID(*productID); err != nil {
			return nil, err
		}
	}
	if args.from != nil && args.to != nil && args.from.After(*args.to) {
		return nil, badInput("from %s is after to %s; it must be at most that", stamp(*args.from), stamp(*args.to))
	}
	filter.From, filter.To = args.from, args.to
	if args.types != nil && len(args.types) == 0 {
		return nil, badInput("types is empty; it must have at least one type, or be absent")
	}
	if len(args.types) > maxTypes {
		return nil, badInput("types has %d types; it can have %d", len(args.types), maxTypes)
	}
	filter.Types = args.types
	got, err := r.services.Reads.Movements(ctx, filter, asked)
	if err != nil {
		return nil, err
	}
	c := &model.StockMovementConnection{PageInfo: pageInfo(got), TotalCount: got.Total}
	for _, e := range got.Edges {
		m := showMovement(&e.Node)
		c.Nodes = append(c.Nodes, m)
		c.Edges = append(c.Edges, &model.StockMovementEdge{Cursor: e.Cursor, Node: m})
	}
	return c, nil
}

// stockAt answers Product.stockAt.
func (r *Resolver) stockAt(ctx context.Context, p *model.Product, at time.Time) (*model.ProductStock, error) {
	id, err := uuid.Parse(p.ID)
	if err != nil {
		return nil, err
	}
	found, ok, err := r.services.Reads.StockAt(ctx, id, at)
	if err != nil || !ok {
		return nil, err
	}
	return showStock(&found), nil
}

// timeline answers stockTimeline.
func (r *Resolver) timeline(ctx context.Context, productID string, from, to time.Time, every read.Interval) ([]*model.StockBucket, error) {
	id, err := parseID(productID)
	if err != nil {
		return nil, err
	}
	if !to.After(from) {
		return nil, badInput("to isn't after from: there is no time from %s on and before %s", stamp(from), stamp(to))
	}
	found, err := r.services.Reads.Timeline(ctx, id, from, to, every)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return []*model.StockBucket{}, nil
	}
	fields := model.BucketFields(graphql.CollectFieldsCtx(ctx, []string{"StockBucket"}))
	buckets := &model.StockBucket{Bucket: found[0], Following: found[1:], Shown: fields}
	if place, key, err := buckets.Check(); err != nil {
		path := append(slices.Clone(graphql.GetPath(ctx)), ast.PathIndex(place), ast.PathName(key))
		return nil, &gqlerror.Error{Err: err, Message: err.Error(), Path: path}
	}
	return []*model.StockBucket{buckets}, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
