package graph

import (
	"context"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"product-service/graph/model"
	"product-service/graph/plan"
	"product-service/integration/inventory"
	"product-service/projection/read"
)

// What the projection and the Inventory Service know, as the schema shows it.

// showing makes a read what the schema shows of it.
func showing[R, S any](show func(R) S) func(R, error) (S, error) {
	return func(read R, err error) (shown S, _ error) {
		if err != nil {
			return shown, err
		}
		return show(read), nil
	}
}

func showProduct(p *read.Product) *model.Product {
	if p == nil {
		return nil
	}
	stock := p.Stock()
	shown := &model.Product{
		ID: p.ID.String(), Name: p.Name, Description: p.Description, Variants: make([]*model.ProductVariant, len(p.Variants)),
		Stock: showStock(&stock), IsOrderable: p.IsOrderable, StockStatus: p.StockStatus, LowStockThreshold: p.LowStockThreshold,
		Version: p.Version, CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt,
	}
	for i := range p.Variants {
		shown.Variants[i] = showVariantOf(&p.Variants[i], shown)
	}
	return shown
}

func showProducts(page read.Page[read.Product]) *model.ProductConnection {
	c := &model.ProductConnection{PageInfo: pageInfo(page), TotalCount: page.Total}
	for i := range page.Edges {
		p := showProduct(&page.Edges[i].Node)
		c.Nodes = append(c.Nodes, p)
		c.Edges = append(c.Edges, &model.ProductEdge{Cursor: page.Edges[i].Cursor, Node: p})
	}
	return c
}

func showVariantOf(v *read.Variant, of *model.Product) *model.ProductVariant {
	shown := &model.ProductVariant{
		ID: v.ID.String(), Sku: v.SKU, Name: v.Name, Attributes: make([]*model.VariantAttribute, len(v.Attributes)),
		Product: of, IsOrderable: v.IsOrderable,
	}
	for i, a := range v.Attributes {
		shown.Attributes[i] = &model.VariantAttribute{Name: a.Name, Value: a.Value}
	}
	return shown
}

func showVariant(v plan.Variant) *model.ProductVariant {
	if v.Variant == nil {
		return nil
	}
	return showVariantOf(v.Variant, showProduct(v.Product))
}

func showVariants(all []plan.Variant) []*model.ProductVariant {
	shown := make([]*model.ProductVariant, len(all))
	for i, v := range all {
		shown[i] = showVariant(v)
	}
	return shown
}

func showNode(n plan.Node) model.Node {
	switch n := n.(type) {
	case *read.Product:
		return showProduct(n)
	case plan.Variant:
		return showVariant(n)
	case *read.Movement:
		return showMovement(n)
	case *read.Reservation:
		return showReservation(n)
	}
	return nil
}

// showElements shows nodes in the generated code, which knows one error of a field: those of its
// elements are told apart from it.
func showElements[N any](ctx context.Context, all []plan.Node) []N {
	shown := make([]N, len(all))
	for i, n := range all {
		shown[i], _ = showNode(n).(N)
		if why, hidden := n.(error); hidden {
			graphql.AddError(ctx, gqlerror.WrapPath(append(graphql.GetPath(ctx), ast.PathIndex(i)), why))
		}
	}
	return shown
}

func showStock(s *read.Stock) *model.ProductStock {
	return &model.ProductStock{
		ProductID: s.ProductID.String(), Total: s.Total, Reserved: s.Reserved, Available: s.Available(), Version: s.Version, AsOf: s.AsOf,
	}
}

// agedLevel is a known level with its age at a time.
func agedLevel(r *inventory.Result, now time.Time) plan.Level {
	return plan.Level{Level: &r.Level, Stale: r.Stale, AgeSeconds: int64(r.Level.Age(now) / time.Second)}
}

func showLevel(l plan.Level) *model.InventoryLevel {
	return &model.InventoryLevel{
		ProductVariantID: l.VariantID.String(), AvailableQuantity: l.Available, Status: l.Status,
		UpdatedAt: l.UpdatedAt, FetchedAt: l.FetchedAt, IsStale: l.Stale, AgeSeconds: l.AgeSeconds, Source: l.Source,
	}
}

func showReservation(r *read.Reservation) *model.Reservation {
	shown := &model.Reservation{
		ID: model.ReservationID(r.ProductID, r.ID), ReservationID: r.ID.String(), ProductID: r.ProductID.String(),
		Quantity: r.Quantity, Held: r.Held, State: r.State, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
	}
	if !r.ExpiresAt.IsZero() {
		shown.ExpiresAt = &r.ExpiresAt
	}
	return shown
}

func showMovement(m *read.Movement) *model.StockMovement {
	return &model.StockMovement{
		ID: model.MovementID(m.ProductID, m.Version), ProductID: m.ProductID.String(), Type: m.Type,
		Quantity: m.Quantity, Delta: m.Delta, TotalAfter: m.Total, ReservedAfter: m.Reserved, AvailableAfter: m.Available(),
		Version: m.Version, ReservationID: idOrNil(m.ReservationID), SagaID: textOrNil(m.SagaID), Reason: textOrNil(m.Reason), Actor: textOrNil(m.Actor),
		CommandID: idOrNil(m.CommandID), CorrelationID: textOrNil(m.CorrelationID), OccurredAt: m.OccurredAt,
	}
}

func pageInfo[T any](p read.Page[T]) *model.PageInfo {
	info := &model.PageInfo{HasNextPage: p.HasNext, HasPreviousPage: p.HasPrevious}
	if n := len(p.Edges); n > 0 {
		info.StartCursor, info.EndCursor = &p.Edges[0].Cursor, &p.Edges[n-1].Cursor
	}
	return info
}

func filterOf(where *model.ProductFilter) (read.ProductFilter, error) {
	var f read.ProductFilter
	if where == nil {
		return f, nil
	}
	f.Orderable = where.IsOrderable
	if where.Search != nil {
		f.Search = *where.Search
	}
	if where.StockStatus != nil {
		f.StockStatus = *where.StockStatus
	}
	if a := where.Available; a != nil {
		f.AvailableGTE, f.AvailableLTE = a.Gte, a.Lte
		if a.Gte != nil && a.Lte != nil && *a.Gte > *a.Lte {
			return f, badInput("where.available has gte %d above lte %d; it must be at most that", *a.Gte, *a.Lte)
		}
	}
	if u := where.UpdatedAt; u != nil {
		f.UpdatedGTE, f.UpdatedLTE = u.Gte, u.Lte
		if u.Gte != nil && u.Lte != nil && u.Gte.After(*u.Lte) {
			return f, badInput("where.updatedAt has gte %s after lte %s; it must be at most that", stamp(*u.Gte), stamp(*u.Lte))
		}
	}
	if where.Ids != nil {
		var err error
		if f.IDs, err = parseIDs("where.ids", where.Ids); err != nil {
			return f, err
		}
	}
	return f, nil
}

func orderOf(order *model.ProductOrder) read.ProductOrder {
	if order == nil {
		return read.ProductOrder{}
	}
	return read.ProductOrder{Field: order.Field, Descending: order.Direction == model.OrderDirectionDesc}
}

func idOrNil(id uuid.UUID) *string {
	if id == uuid.Nil {
		return nil
	}
	text := id.String()
	return &text
}

func textOrNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
