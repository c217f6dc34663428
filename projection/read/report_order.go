package read

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"product-service/projection/store"
	"product-service/projection/view"
)

// reported is what places a product in a report.
type reported struct {
	ID        string    `bson:"_id"`
	SortName  string    `bson:"sortName"`
	SinceAt   int64     `bson:"sinceAt"`
	CreatedAt int64     `bson:"createdAt"`
	Today     view.Span `bson:"today"`
	IdleDays  int64     `bson:"idleDaysBefore"`
}

var reportedFields = bson.D{{Key: "sortName", Value: 1}, {Key: "sinceAt", Value: 1}, {Key: "createdAt", Value: 1}, {Key: "today", Value: 1}, {Key: "idleDaysBefore", Value: 1}}

// place puts every product that existed in the span where its figure puts it. It goes through the
// products and through their months, all by product, side by side.
func (r *Reader) place(ctx context.Context, g store.Generation, ids []uuid.UUID, f *reportFigure, p *reportPage) (err error) {
	if g.Schema < monthsSince {
		return errNoDays
	}
	var products chosen
	if ids != nil {
		products.ids = distinct(ids)
	}
	filter := bson.D{{Key: "_id", Value: products.behind("")}, {Key: "status", Value: view.Active}}
	documents, err := g.Products.Find(ctx, filter, r.many(ctx).SetSort(store.IDOnly).SetProjection(reportedFields).SetBatchSize(reportBatch))
	if err != nil {
		return fmt.Errorf("read the products of a report: %w", err)
	}
	defer func() { err = errors.Join(err, documents.Close(context.WithoutCancel(ctx)), f.close(ctx)) }()
	if f.name != "" {
		if f.months, err = r.months(ctx, g, ids, f.span); err != nil {
			return err
		}
	}
	for documents.Next(ctx) {
		var d reported
		if err := documents.Decode(&d); err != nil {
			return fmt.Errorf("read a product of a report: %w", err)
		}
		first := max(f.span.first, floor(max(d.SinceAt, d.CreatedAt), view.MicrosPerDay)/view.MicrosPerDay)
		if first >= f.span.end {
			continue // it didn't exist then
		}
		at := reportPlace{id: d.ID}
		if f.name == "" {
			at.name = d.SortName
		} else if at.figure, err = f.of(ctx, &d, first); err != nil {
			return err
		}
		p.add(at)
	}
	if err := documents.Err(); err != nil {
		return fmt.Errorf("read the products of a report: %w", err)
	}
	return nil
}

const (
	monthsSince = 6    // the shape of documents that has months
	reportBatch = 4000 // documents that are read ahead, of products and of all months
)

// months reads the months that a span is in, each by product.
func (r *Reader) months(ctx context.Context, g store.Generation, ids []uuid.UUID, span daySpan) (all []*monthCursor, err error) {
	if span.first >= span.end {
		return nil, nil
	}
	var dates []time.Time
	for at, last := view.Midnight(span.first), view.Midnight(span.end-1); !at.After(last); {
		at = time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
		dates, at = append(dates, at), at.AddDate(0, 1, 0)
	}
	for _, date := range dates {
		filter := bson.D{{Key: "month", Value: date}}
		if ids != nil {
			filter = append(filter, bson.E{Key: "product", Value: bson.D{{Key: "$in", Value: distinct(ids)}}})
		}
		c, err := g.Months.Find(ctx, filter, r.many(ctx).SetSort(byProduct).SetBatchSize(int32(max(100, reportBatch/len(dates)))))
		if err != nil {
			return all, fmt.Errorf("read the months of a report: %w", err)
		}
		all = append(all, &monthCursor{Cursor: c})
	}
	return all, nil
}

var byProduct = bson.D{{Key: "product", Value: 1}}

// monthCursor goes through a month of all products.
type monthCursor struct {
	*mongo.Cursor
	product string // whose month was read last
	ended   bool
}

// of is the month of a product, nil where there is none. Products are asked for in order.
func (c *monthCursor) of(ctx context.Context, product string) (bson.Raw, error) {
	for c.product < product && !c.ended {
		if c.ended = !c.Next(ctx); c.ended {
			return nil, c.Err()
		}
		c.product, _ = c.Current.Lookup("product").StringValueOK()
	}
	if c.product != product || c.ended {
		return nil, nil
	}
	return c.Current, nil
}

// reportFigure adds up the figure that a report is ordered by.
type reportFigure struct {
	name   string // in documents
	span   daySpan
	now    int64 // seconds
	months []*monthCursor
}

// of is what the figure comes to in the days of a product from one on. Days that ended since the
// product was read are left to what it says of them.
func (f *reportFigure) of(ctx context.Context, d *reported, first int64) (sum int64, err error) {
	if d.Today.Start == 0 {
		return 0, fmt.Errorf("product %s: %w", d.ID, errNoDays)
	}
	today, end := d.Today.Start/view.SecondsPerDay, f.span.end
	for _, c := range f.months {
		month, err := c.of(ctx, d.ID)
		if err != nil {
			return 0, fmt.Errorf("read the months of a report: %w", err)
		}
		if month == nil {
			continue
		}
		n, err := view.SumOfMonth(month, f.name, first, min(end, today))
		if err != nil {
			return 0, err
		}
		sum += n
	}
	isOutOfStock := f.name == view.OutOfStockSeconds
	switch within := first <= today && today < end; {
	case within && isOutOfStock:
		sum += d.Today.OutOfStockUntil(min(f.now, (today+1)*view.SecondsPerDay))
	case within:
		sum += d.Today.Number(f.name)
	}
	if isOutOfStock {
		sum += f.quiet(max(first, today-d.IdleDays), min(end, today), d.Today.Opening) + f.quiet(max(first, today+1), end, d.Today.Closing)
	}
	return sum, nil
}

// quiet is how many seconds of days in which nothing happened nothing was available in.
func (f *reportFigure) quiet(first, end, level int64) int64 {
	if level != 0 {
		return 0
	}
	return max(0, min(end*view.SecondsPerDay, f.now)-first*view.SecondsPerDay)
}

func (f *reportFigure) close(ctx context.Context) (err error) {
	for _, c := range f.months {
		err = errors.Join(err, c.Close(context.WithoutCancel(ctx)))
	}
	return err
}

// reportPage keeps the places of a page while they come in any order: one more than the page has,
// from the end it is counted from.
type reportPage struct {
	order         ReportOrder
	page          Range
	after, before *reportPlace
	kept          []reportPlace
	total         int64
}

// reportPlace is where a product stands in a report.
type reportPlace struct {
	figure   int64
	name, id string
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

// add takes a product that is in the report into the page, where it belongs there.
func (p *reportPage) add(at reportPlace) {
	p.total++
	if (p.after != nil && p.compare(&at, p.after) <= 0) || (p.before != nil && p.compare(&at, p.before) >= 0) {
		return
	}
	i, _ := slices.BinarySearchFunc(p.kept, &at, func(other reportPlace, at *reportPlace) int {
		if p.page.backward() {
			return p.compare(at, &other)
		}
		return p.compare(&other, at)
	})
	if i > p.page.size() {
		return
	}
	p.kept = slices.Insert(p.kept, i, at)
	p.kept = p.kept[:min(len(p.kept), p.page.size()+1)]
}

// ids are the products of the page, without the one that only says that there are more.
func (p *reportPage) ids() []string {
	ids := make([]string, min(len(p.kept), p.page.size()))
	for i := range ids {
		ids[i] = p.kept[i].id
	}
	return ids
}

// result makes the page of the rows of its products. One that has gone since it was placed has none.
func (p *reportPage) result(rows map[string]ReportRow) Page[ReportRow] {
	edges := make([]Edge[ReportRow], len(p.kept))
	for i, k := range p.kept {
		edges[i] = Edge[ReportRow]{Cursor: cursor(p.list(), strconv.FormatInt(k.figure, 10), k.name, k.id), Node: rows[k.id]}
	}
	result := paged(p.page, edges)
	result.Edges = slices.DeleteFunc(result.Edges, func(e Edge[ReportRow]) bool { return e.Node.ProductID == uuid.Nil })
	if p.page.Count {
		result.Total = p.total
	}
	return result
}
