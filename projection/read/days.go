package read

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"product-service/projection/store"
	"product-service/projection/view"
)

// Day is a day (UTC) of a product.
type Day struct {
	Bucket

	ProductID uuid.UUID
	// Name is the product's name when the day was over. A day in which nothing happened has the
	// name of the next one in which something did.
	Name string
}

// DayFilter says which days a list holds.
type DayFilter struct {
	ProductID uuid.UUID  // uuid.Nil: of all products
	From, To  *time.Time // the days that overlap the span from this instant up to but without that one; nil: open
}

// DayID names a day of a product.
type DayID struct {
	ProductID uuid.UUID
	Day       time.Time // its midnight
}

// productPage is how many products are read at once for their days.
const productPage = 200

// ExportDays calls each with every day of a list, by product and day, and stops at its first error.
// Each product has its days from the one it was created in up to now, also those in which nothing
// happened. With after it goes on behind that day. A list over all products ends with the day of
// the watermark, as [Reader.Export] does; its last day goes on. It returns [ErrBadRange] where
// after is a day of another product than the list's.
func (r *Reader) ExportDays(ctx context.Context, where DayFilter, after DayID, each func(*Day) error) error {
	if after != (DayID{}) && where.ProductID != uuid.Nil && where.ProductID != after.ProductID {
		return fmt.Errorf("a day of product %s isn't one of product %s: %w", after.ProductID, where.ProductID, ErrBadRange)
	}
	return r.throughout(ctx, func(g store.Generation) (refused bool, err error) {
		err = r.days(ctx, g, where, after, func(d *Day) error {
			after = DayID{d.ProductID, d.Start}
			err := each(d)
			refused = err != nil
			return err
		})
		return refused, err
	})
}

// days goes through a list in one generation.
func (r *Reader) days(ctx context.Context, g store.Generation, where DayFilter, after DayID, each func(*Day) error) error {
	now := r.now()
	span, err := r.daySpan(ctx, g, where, now)
	if err != nil {
		return err
	}
	var products chosen
	if after != (DayID{}) {
		products.from = after.ProductID.String()
	}
	if where.ProductID != uuid.Nil {
		products.ids = []string{where.ProductID.String()}
	}
	return r.eachDays(ctx, g, products, span, func(d *view.Document, stored *dayCursor) error {
		w := dayWriter{each: each, at: span.first, end: span.end, now: now.Unix()}
		if d.ID == after.ProductID.String() {
			w.at = max(w.at, dayOf(after.Day)+1)
		}
		return w.product(ctx, g, d, stored)
	})
}

// chosen says which products are read: those of some ids, where it has any, and not those below an id.
type chosen struct {
	ids  []string // nil: all
	from string
}

// behind is the condition on the ids of those that follow one.
func (c chosen) behind(last string) bson.D {
	ids := bson.D{{Key: "$gt", Value: last}, {Key: "$gte", Value: c.from}}
	if c.ids != nil {
		ids = append(ids, bson.E{Key: "$in", Value: c.ids})
	}
	return ids
}

// stretches are the conditions on the products of days that have those of a page: of all products
// one, since none is left out between them.
func (c chosen) stretches(page []view.Document) (products []any) {
	if c.ids == nil {
		return []any{bson.D{{Key: "$gte", Value: page[0].ID}, {Key: "$lte", Value: page[len(page)-1].ID}}}
	}
	for i := range page {
		products = append(products, page[i].ID)
	}
	return products
}

// eachDays calls each with every product that is chosen, in order, and with the days of a span in
// which something happened. It reads ahead: what comes next is read and decoded while each works.
func (r *Reader) eachDays(ctx context.Context, g store.Generation, products chosen, span daySpan, each func(*view.Document, *dayCursor) error) error {
	if span.first >= span.end {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	pages, failed := make(chan *dayPage), make(chan error, 1)
	go func() {
		failed <- r.dayPages(ctx, g, products, span, pages)
		close(pages)
	}()
	defer func() {
		cancel()
		for range pages { // until nobody reads any more
		}
	}()
	for p := range pages {
		stored := &dayCursor{page: p}
		for i := range p.products {
			if err := each(&p.products[i], stored); err != nil {
				return err
			}
		}
	}
	return <-failed
}

// dayPage is some products, in order, and the days in which something happened to them.
type dayPage struct {
	products []view.Document
	days     chan []storedDay // in order
	err      error            // why days was closed before its end
}

// dayPages reads the products and their days, page by page.
func (r *Reader) dayPages(ctx context.Context, g store.Generation, products chosen, span daySpan, pages chan<- *dayPage) error {
	for last := ""; ; {
		docs, err := r.dayProducts(ctx, g, products.behind(last))
		if err != nil || len(docs) == 0 {
			return err
		}
		p := &dayPage{products: docs, days: make(chan []storedDay, 2)}
		select {
		case pages <- p:
		case <-ctx.Done():
			return ctx.Err()
		}
		for _, stretch := range products.stretches(docs) {
			if p.err = r.storedDays(ctx, g, stretch, span, p.days); p.err != nil {
				break
			}
		}
		close(p.days)
		if p.err != nil {
			return p.err
		}
		last = docs[len(docs)-1].ID
	}
}

func dayOf(t time.Time) int64 { return floor(t.Unix(), view.SecondsPerDay) / view.SecondsPerDay }

// daySpan is a span of days, by their numbers since 1970.
type daySpan struct{ first, end int64 }

func (r *Reader) daySpan(ctx context.Context, g store.Generation, where DayFilter, now time.Time) (daySpan, error) {
	span := daySpan{end: dayOf(now) + 1}
	if where.From != nil {
		span.first = max(0, dayOf(*where.From))
	}
	if where.To != nil {
		span.end = min(span.end, dayOf(where.To.Add(-time.Microsecond))+1)
	}
	if where.From != nil && where.To != nil && !where.To.After(*where.From) {
		return daySpan{}, nil
	}
	if where.ProductID == uuid.Nil {
		_, watermark, err := r.projected(ctx, g)
		if err != nil {
			return daySpan{}, err
		}
		span.end = min(span.end, dayOf(view.TimeOf(watermark))+1)
	}
	return span, nil
}

// dayProducts reads a page of the products whose ids meet a condition, in order.
func (r *Reader) dayProducts(ctx context.Context, g store.Generation, ids bson.D) ([]view.Document, error) {
	fields := bson.D{{Key: "name", Value: 1}, {Key: "sortName", Value: 1}, {Key: "sinceAt", Value: 1}, {Key: "createdAt", Value: 1}, {Key: "today", Value: 1}, {Key: "idleDaysBefore", Value: 1}}
	page := int64(productPage)
	if !r.store.Server.Indexes { // each page costs a read of all days
		page *= 50
	}
	cursor, err := g.Products.Find(ctx, bson.D{{Key: "_id", Value: ids}, {Key: "status", Value: view.Active}},
		r.many(ctx).SetSort(store.IDOnly).SetProjection(fields).SetLimit(page))
	if err != nil {
		return nil, fmt.Errorf("read the products of days: %w", err)
	}
	var docs []view.Document
	if err := cursor.All(ctx, &docs); err != nil {
		return nil, fmt.Errorf("read the products of days: %w", err)
	}
	return docs, nil
}

var (
	byProductAndDay = bson.D{{Key: "product", Value: 1}, {Key: "day", Value: 1}}
	dayFields       = bson.D{{Key: "hours", Value: 0}}
)

// storedDay is a [view.Day] without its hours. They are left out here and not by the database: to
// read over them is cheaper than a projection.
type storedDay struct {
	Product string       `bson:"product"`
	Date    time.Time    `bson:"day"`
	Sums    *view.Bucket `bson:"sums"`
	Name    string       `bson:"name"`
	Idle    int64        `bson:"idleDaysBefore"`
}

// daysAtOnce is how many days are handed over at once.
const daysAtOnce = 500

// storedDays reads the days of products that meet a condition.
func (r *Reader) storedDays(ctx context.Context, g store.Generation, product any, span daySpan, days chan<- []storedDay) (err error) {
	within := bson.D{{Key: "$gte", Value: view.Midnight(span.first)}, {Key: "$lt", Value: view.Midnight(span.end)}}
	cursor, err := g.Days.Find(ctx, bson.D{{Key: "product", Value: product}, {Key: "day", Value: within}},
		r.many(ctx).SetSort(byProductAndDay).SetBatchSize(4000))
	if err != nil {
		return fmt.Errorf("read days: %w", err)
	}
	defer func() { err = errors.Join(err, cursor.Close(context.WithoutCancel(ctx))) }()
	for more := true; more; {
		read := make([]storedDay, 0, daysAtOnce)
		for len(read) < daysAtOnce && more {
			if more = cursor.Next(ctx); more {
				read = append(read, storedDay{})
				if err := cursor.Decode(&read[len(read)-1]); err != nil {
					return fmt.Errorf("read a day: %w", err)
				}
			}
		}
		select {
		case days <- read:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return cursor.Err()
}

// dayCursor goes through the days of a page.
type dayCursor struct {
	page *dayPage
	read []storedDay // and not handed on yet
}

// next is the next day of a product, nil behind its last. It holds until the next call.
func (c *dayCursor) next(product string) (*storedDay, error) {
	for {
		if len(c.read) == 0 {
			var ok bool
			if c.read, ok = <-c.page.days; !ok {
				return nil, c.page.err
			}
			continue
		}
		d := &c.read[0]
		if d.Product > product {
			return nil, nil
		}
		if c.read = c.read[1:]; d.Product == product {
			return d, nil
		}
	}
}

// dayWriter writes the days of a product in order, without a gap.
type dayWriter struct {
	each    func(*Day) error
	at, end int64 // the next day, and the one behind the last
	now     int64 // seconds
	day     Day   // the last one written
}

// product writes the days of a product that aren't written yet. They are as of its document: days
// end, and are written, before the product that leaves them out, and those beyond its last one are
// of a later state.
func (w *dayWriter) product(ctx context.Context, g store.Generation, d *view.Document, stored *dayCursor) (err error) {
	if w.day.ProductID, err = uuid.Parse(d.ID); err != nil {
		return fmt.Errorf("read the days of product %q: %w", d.ID, err)
	}
	w.at = max(w.at, floor(max(d.SinceAt, d.CreatedAt), view.MicrosPerDay)/view.MicrosPerDay)
	if d.Today.Start == 0 {
		return fmt.Errorf("product %s: %w", d.ID, errNoDays)
	}
	today := d.Today.Start / view.SecondsPerDay
	for {
		day, err := stored.next(d.ID)
		if err != nil {
			return err
		}
		if day == nil {
			break
		}
		if number := dayOf(day.Date); number < today {
			if err := w.happened(number, day.Idle, day.Sums, day.Name); err != nil {
				return err
			}
		}
	}
	if w.at < min(w.end, today-d.IdleDays) {
		if err := w.idleBeyond(ctx, g, d); err != nil {
			return err
		}
	}
	last := d.Today.Bucket
	last.OutOfStock = d.Today.OutOfStockUntil(min(w.now, (today+1)*view.SecondsPerDay))
	if err := w.happened(today, d.IdleDays, &last, d.Name); err != nil {
		return err
	}
	return w.idle(w.end, last.Closing, d.Name)
}

// errNoDays says that a generation was built before days had sums of their own.
var errNoDays = errors.New("its days aren't summed up; they are once the read model is built anew")

// idleBeyond writes the days before one that isn't in the list, in which nothing happened.
func (w *dayWriter) idleBeyond(ctx context.Context, g store.Generation, d *view.Document) error {
	var next view.Day
	beyond := bson.D{{Key: "product", Value: d.ID}, {Key: "day", Value: bson.D{{Key: "$gte", Value: view.Midnight(w.end)}}}}
	err := g.Days.FindOne(ctx, beyond, options.FindOne().SetSort(byProductAndDay).SetProjection(dayFields)).Decode(&next)
	if err != nil {
		return fmt.Errorf("read a day of product %s behind %s: %w", d.ID, view.DayName(w.end), err)
	}
	return w.happened(dayOf(next.Date), next.Idle, next.Sums, next.Name)
}

// happened writes a day in which something happened, and those before it in which nothing did.
func (w *dayWriter) happened(day, idle int64, sums *view.Bucket, name string) error {
	if w.at < min(w.end, day-idle) || sums == nil {
		return fmt.Errorf("product %s lacks what happened up to %s: its days have a hole", w.day.ProductID, view.DayName(day))
	}
	if err := w.idle(day, sums.Opening, name); err != nil || w.at != day || w.at >= w.end {
		return err
	}
	return w.write(sums, name)
}

// idle writes the days up to but without one, in which nothing happened.
func (w *dayWriter) idle(until, level int64, name string) error {
	for w.at < min(until, w.end) {
		b := view.Bucket{Opening: level, Closing: level, Min: level, Max: level}
		if level == 0 {
			b.OutOfStock = max(0, min(w.now-w.at*view.SecondsPerDay, view.SecondsPerDay))
		}
		if err := w.write(&b, name); err != nil {
			return err
		}
	}
	return nil
}

func (w *dayWriter) write(b *view.Bucket, name string) error {
	w.day.Name = name
	w.day.Bucket = Bucket{Start: view.Midnight(w.at), End: view.Midnight(w.at + 1), Opening: b.Opening, Closing: b.Closing, Min: b.Min, Max: b.Max,
		ReservedQuantity: b.Reserved, ReleasedQuantity: b.Released, ExpiredQuantity: b.Expired, AdjustedQuantity: b.Adjusted,
		RefusedQuantity: b.Refused, Refusals: b.Refusals, OutOfStockSeconds: b.OutOfStock, Movements: b.Movements}
	w.at++
	return w.each(&w.day)
}
