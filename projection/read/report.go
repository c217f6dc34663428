package read

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"product-service/projection/store"
	"product-service/projection/view"
)

// ReportRow sums up the days of a product in a span: its first opening, its last closing, and of
// the rest what the days add up to.
type ReportRow struct {
	Bucket

	ProductID uuid.UUID
}

// ReportFilter says what a report is about: the days of UTC that overlap the span from From up to
// but without To.
type ReportFilter struct {
	From, To   time.Time
	ProductIDs []uuid.UUID // at most MaxIDs; nil: all
}

// ReportField is what a report can be ordered by.
type ReportField string

// The orders. Rows that are equal in one are ordered by the product's id.
const (
	ReportRefused        ReportField = "REFUSED" // units
	ReportReserved       ReportField = "RESERVED"
	ReportReleased       ReportField = "RELEASED"
	ReportExpired        ReportField = "EXPIRED"
	ReportOutOfStockTime ReportField = "OUT_OF_STOCK_TIME"
	ReportMovements      ReportField = "MOVEMENTS"
	ReportName           ReportField = "NAME" // as in a dictionary: see [product.SortKey]
)

// reportFigures are the names that the figures have in documents; that of a report by name has none.
var reportFigures = map[ReportField]string{
	ReportRefused:        "refusedQuantity",
	ReportReserved:       "reservedQuantity",
	ReportReleased:       "releasedQuantity",
	ReportExpired:        "expiredQuantity",
	ReportOutOfStockTime: view.OutOfStockSeconds,
	ReportMovements:      "movements",
	ReportName:           "",
}

// ReportOrder is the order of a report. The zero value is what was refused most first.
type ReportOrder struct {
	Field      ReportField
	Descending bool
}

// Report returns a page of a row a product that existed in a span. It reads the products and their
// months, not their movements or days, for the figure that the report is ordered by, and then the
// days of the page's products. A row is as the days are; where it stands may be of a moment before.
// It keeps no more than a page. It returns [ErrBadCursor], [ErrTooMany], and [ErrBadRange] where To
// isn't after From or is more than [MaxDays] days after it.
func (r *Reader) Report(ctx context.Context, where ReportFilter, order ReportOrder, page Range) (Page[ReportRow], error) {
	if order == (ReportOrder{}) {
		order = ReportOrder{ReportRefused, true}
	}
	figure, ok := reportFigures[order.Field]
	if !ok {
		return Page[ReportRow]{}, fmt.Errorf("a report can't be ordered by %q: %w", order.Field, ErrBadRange)
	}
	if err := page.check(); err != nil {
		return Page[ReportRow]{}, err
	}
	if len(where.ProductIDs) > MaxIDs {
		return Page[ReportRow]{}, ErrTooMany
	}
	if _, _, err := bucketSpan(where.From, where.To, Daily); err != nil {
		return Page[ReportRow]{}, err
	}
	places, err := newReportPage(order, page)
	if err != nil {
		return Page[ReportRow]{}, err
	}
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	g, err := r.store.Generation(ctx)
	if err != nil {
		return Page[ReportRow]{}, err
	}
	now := r.now()
	span := daySpan{first: max(0, dayOf(where.From)), end: min(dayOf(now), dayOf(where.To.Add(-time.Microsecond))) + 1}
	if err := r.place(ctx, g, where.ProductIDs, &reportFigure{name: figure, span: span, now: now.Unix()}, places); err != nil {
		return Page[ReportRow]{}, err
	}
	rows, err := r.reportRows(ctx, g, places.ids(), span, now)
	if err != nil {
		return Page[ReportRow]{}, err
	}
	return places.result(rows), nil
}

// reportRows adds up the days of products.
func (r *Reader) reportRows(ctx context.Context, g store.Generation, ids []string, span daySpan, now time.Time) (map[string]ReportRow, error) {
	rows := make(map[string]ReportRow, len(ids))
	if len(ids) == 0 {
		return rows, nil
	}
	var row ReportRow
	add := func(d *Day) error { //nolint:unparam // a dayWriter stops at the errors of others
		if row.ProductID == uuid.Nil {
			row = ReportRow{ProductID: d.ProductID, Bucket: d.Bucket}
			return nil
		}
		row.End, row.Closing, row.Min, row.Max = d.End, d.Closing, min(row.Min, d.Min), max(row.Max, d.Max)
		row.ReservedQuantity += d.ReservedQuantity
		row.ReleasedQuantity += d.ReleasedQuantity
		row.ExpiredQuantity += d.ExpiredQuantity
		row.AdjustedQuantity += d.AdjustedQuantity
		row.RefusedQuantity += d.RefusedQuantity
		row.Refusals += d.Refusals
		row.OutOfStockSeconds += d.OutOfStockSeconds
		row.Movements += d.Movements
		return nil
	}
	err := r.eachDays(ctx, g, chosen{ids: ids}, span, func(d *view.Document, stored *dayCursor) error {
		row = ReportRow{}
		w := dayWriter{each: add, at: span.first, end: span.end, now: now.Unix()}
		err := w.product(ctx, g, d, stored)
		if err == nil && row.ProductID != uuid.Nil {
			rows[d.ID] = row
		}
		return err
	})
	return rows, err
}
