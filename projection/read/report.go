package read

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/projection/store"
	"product-service/projection/view"
)

// ReportRow sums up the days of a product in a span: its first opening, its last closing, and of the rest what the days add up to.
type ReportRow struct {
	Bucket

	ProductID uuid.UUID
}

// ReportFilter says what a report is about: the days of UTC that overlap the span from From up to but without To.
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

var reportFigures = map[ReportField]func(*Bucket) int64{
	ReportRefused:        func(b *Bucket) int64 { return b.RefusedQuantity },
	ReportReserved:       func(b *Bucket) int64 { return b.ReservedQuantity },
	ReportReleased:       func(b *Bucket) int64 { return b.ReleasedQuantity },
	ReportExpired:        func(b *Bucket) int64 { return b.ExpiredQuantity },
	ReportOutOfStockTime: func(b *Bucket) int64 { return b.OutOfStockSeconds },
	ReportMovements:      func(b *Bucket) int64 { return b.Movements },
	ReportName:           func(*Bucket) int64 { return 0 },
}

// ReportOrder is the order of a report. The zero value is what was refused most first.
type ReportOrder struct {
	Field      ReportField
	Descending bool
}

// Report returns a page of a row a product that existed in a span. It reads the days of all the products that are asked for, not their
// movements, and keeps no more rows than a page has. It returns [ErrBadCursor], [ErrTooMany], and [ErrBadRange] where To isn't after
// From or is more than [MaxDays] days after it.
func (r *Reader) Report(ctx context.Context, where ReportFilter, order ReportOrder, page Range) (Page[ReportRow], error) {
	if order == (ReportOrder{}) {
		order = ReportOrder{ReportRefused, true}
	}
	if reportFigures[order.Field] == nil {
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
	rows, err := newReportPage(order, page)
	if err != nil {
		return Page[ReportRow]{}, err
	}
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	g, err := r.store.Generation(ctx)
	if err != nil {
		return Page[ReportRow]{}, err
	}
	if err := r.report(ctx, g, where, rows); err != nil {
		return Page[ReportRow]{}, err
	}
	return rows.result(), nil
}

// report adds the rows of a report, one product after the other.
func (r *Reader) report(ctx context.Context, g store.Generation, where ReportFilter, rows *reportPage) error {
	now := r.now()
	span := daySpan{first: max(0, dayOf(where.From)), end: min(dayOf(now), dayOf(where.To.Add(-time.Microsecond))) + 1}
	products := bson.D{{Key: "$gte", Value: ""}}
	if where.ProductIDs != nil {
		products = bson.D{{Key: "$in", Value: distinct(where.ProductIDs)}}
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
	return r.eachDays(ctx, g, products, span, func(d *view.Document, stored *dayCursor) error {
		row = ReportRow{}
		w := dayWriter{each: add, at: span.first, end: span.end, now: now.Unix()}
		err := w.product(ctx, g, d, stored)
		if err == nil && row.ProductID != uuid.Nil {
			rows.add(&row, d.SortName)
		}
		return err
	})
}

// reportPage keeps the rows of a page while rows come in any order: one more than the page has, from the end it is counted from.
type reportPage struct {
	order         ReportOrder
	page          Range
	after, before *reportPlace
	kept          []placedRow
	total         int64
}

// reportPlace is where a row stands in a report.
type reportPlace struct {
	figure   int64
	name, id string
}

type placedRow struct {
	reportPlace
	row ReportRow
}

func newReportPage(order ReportOrder, page Range) (p *reportPage, err error) {
	p = &reportPage{order: order, page: page}
	if p.after, err = p.place(page.After); err == nil {
		p.before, err = p.place(page.Before)
	}
	return p, err
}

func (p *reportPage) list() string {
	if p.order.Descending {
		return "report " + string(p.order.Field) + "-"
	}
	return "report " + string(p.order.Field)
}

func (p *reportPage) place(c string) (*reportPlace, error) {
	if c == "" {
		return nil, nil
	}
	values, err := parseCursor(p.list(), c, 3)
	if err != nil {
		return nil, err
	}
	at := reportPlace{name: values[1], id: values[2]}
	if at.figure, err = strconv.ParseInt(values[0], 10, 64); err != nil {
		return nil, ErrBadCursor
	}
	return &at, nil
}

// compare compares places in the order of the report.
func (p *reportPage) compare(a, b *reportPlace) int {
	c := cmp.Or(cmp.Compare(a.figure, b.figure), cmp.Compare(a.name, b.name), cmp.Compare(a.id, b.id))
	if p.order.Descending {
		return -c
	}
	return c
}

// add takes a row that is the report's into the page, where it belongs there.
func (p *reportPage) add(row *ReportRow, sortName string) {
	p.total++
	at := reportPlace{figure: reportFigures[p.order.Field](&row.Bucket), id: row.ProductID.String()}
	if p.order.Field == ReportName {
		at.name = sortName
	}
	if (p.after != nil && p.compare(&at, p.after) <= 0) || (p.before != nil && p.compare(&at, p.before) >= 0) {
		return
	}
	i, _ := slices.BinarySearchFunc(p.kept, &at, func(other placedRow, at *reportPlace) int {
		if p.page.backward() {
			return p.compare(at, &other.reportPlace)
		}
		return p.compare(&other.reportPlace, at)
	})
	if i > p.page.size() {
		return
	}
	p.kept = slices.Insert(p.kept, i, placedRow{at, *row})
	p.kept = p.kept[:min(len(p.kept), p.page.size()+1)]
}

func (p *reportPage) result() Page[ReportRow] {
	edges := make([]Edge[ReportRow], len(p.kept))
	for i, k := range p.kept {
		edges[i] = Edge[ReportRow]{Cursor: cursor(p.list(), strconv.FormatInt(k.figure, 10), k.name, k.id), Node: k.row}
	}
	result := paged(p.page, edges)
	if p.page.Count {
		result.Total = p.total
	}
	return result
}
