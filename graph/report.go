package graph

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"product-service/graph/model"
	"product-service/projection/read"
)

// report answers Query.stockReport.
func (r *Resolver) report(ctx context.Context, from, to time.Time, productIDs []string, orderBy *model.StockReportOrder, page pageArgs) (*model.StockReportConnection, error) {
	asked, err := page.check(ctx, "StockReportConnection")
	if err != nil {
		return nil, err
	}
	if !to.After(from) {
		return nil, badInput("to isn't after from: there is no time from %s on and before %s", stamp(from), stamp(to))
	}
	where := read.ReportFilter{From: from, To: to}
	if productIDs != nil {
		if where.ProductIDs, err = parseIDs("productIds", productIDs); err != nil {
			return nil, err
		}
	}
	var order read.ReportOrder
	if orderBy != nil {
		order = read.ReportOrder{Field: orderBy.Field, Descending: orderBy.Direction == model.OrderDirectionDesc}
	}
	got, err := r.services.Reads.Report(ctx, where, order, asked)
	if err != nil {
		return nil, err
	}
	products, err := r.reported(ctx, got.Edges)
	if err != nil {
		return nil, err
	}
	c := &model.StockReportConnection{PageInfo: pageInfo(got), TotalCount: got.Total}
	for i, e := range got.Edges {
		row := showReportRow(&e.Node)
		if products != nil {
			row.Product = showProduct(products[i])
		}
		c.Nodes = append(c.Nodes, row)
		c.Edges = append(c.Edges, &model.StockReportEdge{Cursor: e.Cursor, Node: row})
	}
	return c, nil
}

// reported reads the products of rows, where they are selected.
func (r *Resolver) reported(ctx context.Context, rows []read.Edge[read.ReportRow]) ([]*read.Product, error) {
	if len(rows) == 0 || !selectsWithin(ctx, "StockReportRow", "product") {
		return nil, nil
	}
	ids := make([]uuid.UUID, len(rows))
	for i := range rows {
		ids[i] = rows[i].Node.ProductID
	}
	products, err := r.services.Reads.ProductsByIDs(ctx, ids)
	if err != nil {
		return nil, err
	}
	there := slices.DeleteFunc(slices.Clone(products), func(p *read.Product) bool { return p == nil })
	lookAhead(ctx, there, nil)
	return products, nil
}

func showReportRow(r *read.ReportRow) *model.StockReportRow {
	return &model.StockReportRow{
		ProductID: r.ProductID.String(), Opening: r.Opening, Closing: r.Closing, MinAvailable: r.Min, MaxAvailable: r.Max,
		ReservedQuantity: r.ReservedQuantity, ReleasedQuantity: r.ReleasedQuantity, ExpiredQuantity: r.ExpiredQuantity, AdjustedQuantity: r.AdjustedQuantity,
		RefusedQuantity: r.RefusedQuantity, Refusals: r.Refusals, OutOfStockSeconds: r.OutOfStockSeconds, Movements: r.Movements,
	}
}
