package projection

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// probes is how many versions are looked at in one step of the search for a point in time; a stretch of near versions or fewer is read whole.
const (
	probes = 16
	near   = 64
)

// StockAt returns a product's stock as it was at a time: what its events up to and with that instant add up to. There is none before the
// product was created. It costs some reads by id, few more for a million movements than for a thousand.
func (r *Reader) StockAt(ctx context.Context, productID uuid.UUID, at time.Time) (s Stock, ok bool, err error) {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	g, d, ok, err := r.visible(ctx, productID)
	if err != nil || !ok {
		return Stock{}, false, err
	}
	row, ok, err := r.rowAt(ctx, g, &d, at.UnixMicro())
	if err != nil || !ok {
		return Stock{}, false, err
	}
	return Stock{ProductID: productID, Total: row.Total, Reserved: row.Reserved, Version: row.Version, AsOf: timeOf(row.At)}, true, nil
}

// versionAt is the last version of a product at a time: one below its visible history where it wasn't there yet.
func (r *Reader) versionAt(ctx context.Context, g generation, d *document, at int64) (int64, error) {
	row, ok, err := r.rowAt(ctx, g, d, at)
	if err != nil || !ok {
		return d.Since - 1, err
	}
	return row.Version, nil
}

// rowAt finds the last row of a product at a time. Each version has a row and time never runs back in a stream, so it is searched for by
// version: no index by time is needed, which would cost each movement a write.
func (r *Reader) rowAt(ctx context.Context, g generation, d *document, at int64) (found movement, ok bool, err error) {
	lo, hi := d.Since-1, d.Version+1 // the row is above lo or is lo's, and below hi
	for hi-lo > near {
		rows, err := r.rows(ctx, g, spread(d.ID, lo, hi))
		if err != nil {
			return movement{}, false, err
		}
		before := hi - lo
		for _, row := range rows {
			if row.At > at {
				hi = row.Version
				break
			}
			lo, found, ok = row.Version, row, true
		}
		if hi-lo == before {
			return movement{}, false, fmt.Errorf("product %s has no movements between versions %d and %d: its history has a hole", d.ID, lo, hi)
		}
	}
	between := bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: movementID(d.ID, lo)}, {Key: "$lt", Value: movementID(d.ID, hi)}}}, {Key: "product", Value: d.ID}}
	c, err := g.movements.Find(ctx, between, r.many(ctx).SetProjection(levels))
	if err != nil {
		return movement{}, false, fmt.Errorf("search the history of product %s: %w", d.ID, err)
	}
	var rows []movement
	if err := c.All(ctx, &rows); err != nil {
		return movement{}, false, fmt.Errorf("search the history of product %s: %w", d.ID, err)
	}
	for _, row := range rows {
		if row.At <= at && (!ok || row.Version > found.Version) {
			found, ok = row, true
		}
	}
	return found, ok, nil
}

// levels are the fields of a row that say what the stock was.
var levels = bson.D{{Key: "version", Value: 1}, {Key: "at", Value: 1}, {Key: "total", Value: 1}, {Key: "reserved", Value: 1}}

// spread names rows between two versions, evenly.
func spread(product string, lo, hi int64) []string {
	ids := make([]string, 0, probes)
	for i := int64(1); i <= probes; i++ {
		ids = append(ids, movementID(product, lo+(hi-lo)*i/(probes+1)))
	}
	return ids
}

// rows reads rows by id, in order.
func (r *Reader) rows(ctx context.Context, g generation, ids []string) ([]movement, error) {
	c, err := g.movements.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}, r.many(ctx).SetProjection(levels))
	if err != nil {
		return nil, fmt.Errorf("search a history: %w", err)
	}
	var rows []movement
	if err := c.All(ctx, &rows); err != nil {
		return nil, fmt.Errorf("search a history: %w", err)
	}
	slices.SortFunc(rows, func(a, b movement) int { return int(a.Version - b.Version) })
	return rows, nil
}

// Interval is how long a bucket of a timeline is.
type Interval string

// The intervals, of UTC.
const (
	Hourly Interval = "HOUR"
	Daily  Interval = "DAY"
)

// The longest timelines.
const (
	MaxHours = 366 * 24
	MaxDays  = 3660
)

// Bucket is an hour or a day of a product's stock. Levels are of what is available; the lowest and the highest count the opening one too.
type Bucket struct {
	Start, End       time.Time
	Opening, Closing int64 // Closing is the next bucket's Opening
	Min, Max         int64
	ReservedQuantity int64
	ReleasedQuantity int64 // on expiry too
	AdjustedQuantity int64 // net, with the initial stock
	Movements        int64
}

// Timeline returns the buckets of UTC from the one that holds from to the one that ends at to or holds it: as many as that takes, also where
// nothing moved, zero before the product was created. It is nil for a product that isn't there. It returns [ErrBadRange] for a span longer
// than [MaxHours] or [MaxDays] buckets.
func (r *Reader) Timeline(ctx context.Context, productID uuid.UUID, from, to time.Time, every Interval) ([]Bucket, error) {
	width, most := int64(microsPerHour), int64(MaxHours)
	switch every {
	case Hourly:
	case Daily:
		width, most = microsPerDay, MaxDays
	default:
		return nil, fmt.Errorf("there is no interval %q: %w", every, ErrBadRange)
	}
	first, end := floor(from.UnixMicro(), width), floor(to.UnixMicro()+width-1, width)
	if end <= first || (end-first)/width > most || from.Year() < 1970 || to.Year() > 9999 {
		return nil, fmt.Errorf("from %s to %s: it must be 1 to %d buckets of one %s, after 1970: %w", from, to, most, every, ErrBadRange)
	}
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	g, d, ok, err := r.visible(ctx, productID)
	if err != nil || !ok {
		return nil, err
	}
	days, err := r.days(ctx, g, d.ID, first/microsPerDay, (end-1)/microsPerDay)
	if err != nil {
		return nil, err
	}
	if at := d.Hour.Number * microsPerHour; d.Hour.Movements > 0 && first <= at && at < end {
		number := d.Hour.Number / 24
		if days[number] == nil {
			days[number] = &day{Hours: map[string]hour{}}
		}
		days[number].Hours[d.Hour.key()] = d.Hour
	}
	level, err := r.opening(ctx, g, &d, days, first)
	if err != nil {
		return nil, err
	}
	buckets := make([]Bucket, 0, (end-first)/width)
	for start := first; start < end; start += width {
		b := Bucket{Start: timeOf(start), End: timeOf(start + width), Opening: level, Closing: level, Min: level, Max: level}
		for at := start; at < start+width; at += microsPerHour {
			if day := days[at/microsPerDay]; day != nil {
				b.add(day.Hours[hourKey(at/microsPerHour)])
			}
		}
		level = b.Closing
		buckets = append(buckets, b)
	}
	return buckets, nil
}

// opening is the level before a time. The first hour after it that moved anything knows; else it is the product's level then.
func (r *Reader) opening(ctx context.Context, g generation, d *document, days map[int64]*day, at int64) (int64, error) {
	if day := days[at/microsPerDay]; day != nil {
		for start := at; start/microsPerDay == at/microsPerDay; start += microsPerHour {
			if h := day.Hours[hourKey(start/microsPerHour)]; h.Movements > 0 {
				return h.Opening, nil
			}
		}
	}
	row, ok, err := r.rowAt(ctx, g, d, at-1)
	if err != nil || !ok {
		return 0, err
	}
	return row.Total - row.Reserved, nil
}

func (b *Bucket) add(h hour) {
	if h.Movements == 0 {
		return
	}
	b.Closing, b.Min, b.Max = h.Closing, min(b.Min, h.Min), max(b.Max, h.Max)
	b.ReservedQuantity += h.Reserved
	b.ReleasedQuantity += h.Released
	b.AdjustedQuantity += h.Adjusted
	b.Movements += h.Movements
}

// days reads a product's days from one to another, both included.
func (r *Reader) days(ctx context.Context, g generation, product string, first, last int64) (map[int64]*day, error) {
	span := bson.D{{Key: "_id", Value: bson.D{{Key: "$gte", Value: dayID(product, first)}, {Key: "$lte", Value: dayID(product, last)}}}, {Key: "product", Value: product}}
	c, err := g.days.Find(ctx, span, r.many(ctx).SetProjection(bson.D{{Key: "day", Value: 1}, {Key: "hours", Value: 1}}).SetBatchSize(1000))
	if err != nil {
		return nil, fmt.Errorf("read a timeline: %w", err)
	}
	var found []day
	if err := c.All(ctx, &found); err != nil {
		return nil, fmt.Errorf("read a timeline: %w", err)
	}
	days := make(map[int64]*day, len(found))
	for i := range found {
		days[found[i].Day] = &found[i]
	}
	return days, nil
}

func floor(at, width int64) int64 { return at - ((at%width)+width)%width }
