package read

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/projection/store"
	"product-service/projection/view"
)

// probes is how many blocks are looked at in one step of the search for a point in time.
const probes = 16

// StockAt returns a product's stock as it was at a time: what its events up to and with that
// instant add up to. There is none before the product was created. It costs some reads by id, few
// more for a million movements than for a thousand.
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
	return Stock{ProductID: productID, Total: row.Total, Reserved: row.Reserved, Version: row.Version, AsOf: view.TimeOf(row.At)}, true, nil
}

// versionAt is the last version of a product at a time: one below its visible history where it
// wasn't there yet.
func (r *Reader) versionAt(ctx context.Context, g store.Generation, d *view.Document, at int64) (int64, error) {
	row, ok, err := r.rowAt(ctx, g, d, at)
	if err != nil || !ok {
		return d.Since - 1, err
	}
	return row.Version, nil
}

// rowAt finds the last movement of a product at a time: in the tail, or in the last block that
// begins no later.
func (r *Reader) rowAt(ctx context.Context, g store.Generation, d *view.Document, at int64) (found view.Movement, ok bool, err error) {
	id, _ := uuid.Parse(d.ID) // it was written from one
	history, err := r.stream(g, id, d)
	if err != nil {
		return view.Movement{}, false, err
	}
	last := func(rows []view.Movement) {
		for _, m := range rows {
			if m.At <= at && m.Version >= d.Since {
				found, ok = m, true
			}
		}
	}
	if last(history.tail); ok {
		return found, ok, nil
	}
	start, err := history.blockAt(ctx, at)
	if err != nil {
		return view.Movement{}, false, err
	}
	for rows, err := range history.blocks(ctx, start, min(start+history.size, history.tailStart()), true) {
		if err != nil {
			return view.Movement{}, false, err
		}
		last(rows)
	}
	return found, ok, nil
}

// blockAt is the first version of the last full block that begins at a time or before it, or of the
// first. Time never runs back in a stream, so it is searched for by version: no index by time is
// needed. Half of the probes lie evenly, half about where it would be if movements came evenly.
func (s *streamReader) blockAt(ctx context.Context, at int64) (int64, error) {
	lo, hi := s.blockStart(s.d.Since), s.tailStart() // it is lo, or between the two
	since, until := s.d.CreatedAt, s.d.UpdatedAt
	for hi-lo > s.size {
		var ids []string
		for _, version := range s.spread(lo, hi, float64(at-since)/float64(max(1, until-since))) {
			ids = append(ids, view.MovementID(s.d.ID, version))
		}
		begins := map[int64]int64{}
		if err := store.Find(ctx, s.reader.store, s.in, ids, bson.D{{Key: "from", Value: 1}}, func(b view.Block) { begins[s.version(b.ID)] = b.From }); err != nil {
			return 0, fmt.Errorf("search the history of product %s: %w", s.id, err)
		}
		if len(begins) < len(ids) {
			return 0, fmt.Errorf("product %s lacks movements between versions %d and %d: its history has a hole", s.id, lo, hi)
		}
		for version, from := range begins {
			if from <= at && version > lo {
				lo, since = version, from
			} else if from > at && version < hi {
				hi, until = version, from
			}
		}
	}
	return lo, nil
}

// spread are the first versions of blocks between lo and hi: up to half the probes evenly, and as
// many about a part of the way, ever further from it.
func (s *streamReader) spread(lo, hi int64, part float64) []int64 {
	blocks := (hi - lo) / s.size
	guess := int64(float64(blocks) * min(1, max(0, part)))
	var versions []int64
	add := func(block int64) {
		if version := lo + block*s.size; block > 0 && block < blocks && !slices.Contains(versions, version) {
			versions = append(versions, version)
		}
	}
	for i := int64(1); i <= probes/2; i++ {
		add(blocks * i / (probes/2 + 1))
		distance := int64(1)<<i - 2 // 0, 2, 6, 14 …
		add(guess - distance)
		add(guess + distance + 1)
	}
	if len(versions) == 0 {
		add(1)
	}
	return versions
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

// Bucket is an hour or a day of a product's stock. Levels are of what is available; the lowest and
// the highest count the opening one too.
type Bucket struct {
	Start, End        time.Time
	Opening, Closing  int64 // Closing is the next bucket's Opening
	Min, Max          int64
	ReservedQuantity  int64
	ReleasedQuantity  int64 // on expiry too
	ExpiredQuantity   int64 // the part of it that expired
	AdjustedQuantity  int64 // net, with the initial stock
	RefusedQuantity   int64 // units asked for in requests that were refused for want of stock
	Refusals          int64 // how many such requests there were
	OutOfStockSeconds int64 // in which nothing was available, up to now
	Movements         int64
}

// Timeline returns the buckets of UTC from the one that holds from to the one that ends at to or
// holds it: as many as that takes, also where nothing moved, zero before the product was created.
// It is nil for a product that isn't there. It returns [ErrBadRange] where to isn't after from, or
// is more than [MaxHours] hours or [MaxDays] days after it.
func (r *Reader) Timeline(ctx context.Context, productID uuid.UUID, from, to time.Time, every Interval) ([]Bucket, error) {
	first, end, err := bucketSpan(from, to, every)
	if err != nil {
		return nil, err
	}
	width := every.width()
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	g, d, ok, err := r.visible(ctx, productID)
	if err != nil || !ok {
		return nil, err
	}
	hours, err := r.hours(ctx, g, &d, first/view.MicrosPerHour, end/view.MicrosPerHour)
	if err != nil {
		return nil, err
	}
	w := timeline{hours: hours, born: secondOf(max(d.SinceAt, d.CreatedAt)), now: r.now().Unix()}
	if len(hours) > 0 {
		w.level = hours[0].Opening
	} else if w.level, err = r.levelBefore(ctx, g, &d, first); err != nil {
		return nil, err
	}
	buckets := make([]Bucket, 0, (end-first)/width)
	for start := first; start < end; start += width {
		buckets = append(buckets, w.next(start, width))
	}
	return buckets, nil
}

// width is how long the interval is, in microseconds: 0 where there is none such.
func (i Interval) width() int64 {
	return map[Interval]int64{Hourly: view.MicrosPerHour, Daily: view.MicrosPerDay}[i]
}

// bucketSpan is when the first bucket of a span begins, and when its last one ends.
func bucketSpan(from, to time.Time, every Interval) (first, end int64, err error) {
	width, most := every.width(), int64(MaxHours)
	switch every {
	case Hourly:
	case Daily:
		most = MaxDays
	default:
		return 0, 0, fmt.Errorf("there is no interval %q: %w", every, ErrBadRange)
	}
	first, end = floor(from.UnixMicro(), width), floor(to.UnixMicro()+width-1, width)
	if !to.After(from) || to.UnixMicro()-from.UnixMicro() > most*width || from.UTC().Year() < 1970 || view.TimeOf(end).Year() > 9999 {
		return 0, 0, fmt.Errorf("from %s to %s: to must be after from, at most %d times one %s after it, and the buckets between them in the years 1970 to 9999: %w",
			stamp(from), stamp(to), most, every, ErrBadRange)
	}
	return first, end, nil
}

// timeline makes buckets of hours, one after the other.
type timeline struct {
	hours     []view.Hour // that are left
	level     int64       // what was available before them
	born, now int64       // seconds: nothing is out of stock before the one or after the other
}

// next makes the next bucket.
func (t *timeline) next(start, width int64) Bucket {
	b := Bucket{Start: view.TimeOf(start), End: view.TimeOf(start + width), Opening: t.level, Closing: t.level, Min: t.level, Max: t.level}
	at, end := secondOf(start), secondOf(start+width)
	for len(t.hours) > 0 && t.hours[0].Number*view.SecondsPerHour < end {
		h := &t.hours[0]
		b.OutOfStockSeconds += t.quiet(at, h.Number*view.SecondsPerHour)
		b.add(h)
		t.level, at, t.hours = h.Closing, (h.Number+1)*view.SecondsPerHour, t.hours[1:]
	}
	b.OutOfStockSeconds += t.quiet(at, end)
	return b
}

// quiet is how many seconds of a span in which nothing happened nothing was available in.
func (t *timeline) quiet(from, to int64) int64 {
	if t.level != 0 {
		return 0
	}
	return max(0, min(to, t.now)-max(from, t.born))
}

func secondOf(micros int64) int64 { return floor(micros, 1_000_000) / 1_000_000 }

// levelBefore is what was available before a time.
func (r *Reader) levelBefore(ctx context.Context, g store.Generation, d *view.Document, at int64) (int64, error) {
	row, ok, err := r.rowAt(ctx, g, d, at-1)
	if err != nil || !ok {
		return 0, err
	}
	return row.Total - row.Reserved, nil
}

func (b *Bucket) add(h *view.Hour) {
	b.Closing, b.Min, b.Max = h.Closing, min(b.Min, h.Min), max(b.Max, h.Max)
	b.ReservedQuantity += h.Reserved
	b.ReleasedQuantity += h.Released
	b.ExpiredQuantity += h.Expired
	b.AdjustedQuantity += h.Adjusted
	b.RefusedQuantity += h.Refused
	b.Refusals += h.Refusals
	b.OutOfStockSeconds += h.OutOfStock
	b.Movements += h.Movements
}

// hours are those in which something moved, from one up to but without another, in order. They are
// as of the document: hours end, and are written, before the product that leaves them out, and
// those beyond its last one are of a later state. Documents of days are walked as they are:
// decoding them into maps took longer than all the rest.
func (r *Reader) hours(ctx context.Context, g store.Generation, d *view.Document, first, end int64) ([]view.Hour, error) {
	span := bson.D{{Key: "_id", Value: bson.D{{Key: "$gte", Value: view.DayID(d.ID, first/24)}, {Key: "$lte", Value: view.DayID(d.ID, (end-1)/24)}}}, {Key: "product", Value: d.ID}}
	c, err := g.Days.Find(ctx, span, r.many(ctx).SetProjection(bson.D{{Key: "hours", Value: 1}}).SetBatchSize(4000))
	if err != nil {
		return nil, fmt.Errorf("read a timeline: %w", err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	last := d.Hour.Start / view.SecondsPerHour // 0: there is none
	known := end
	if last > 0 {
		known = min(end, last)
	}
	found := make([]view.Hour, 0, min(end-first, MaxHours))
	for c.Next(ctx) {
		day, _ := c.Current.Lookup("hours").DocumentOK()
		elements, err := day.Elements()
		if err != nil {
			return nil, fmt.Errorf("read a timeline: %w", err)
		}
		for _, e := range elements {
			var h view.Hour
			v := e.Value()
			if err := h.UnmarshalBSONValue(byte(v.Type), v.Value); err != nil {
				return nil, fmt.Errorf("read a timeline: %w", err)
			}
			if first <= h.Number && h.Number < known {
				found = append(found, h)
			}
		}
	}
	if err := c.Err(); err != nil {
		return nil, fmt.Errorf("read a timeline: %w", err)
	}
	slices.SortFunc(found, func(a, b view.Hour) int { return int(a.Number - b.Number) })
	if last > 0 && first <= last && last < end {
		h := view.Hour{Bucket: d.Hour.Bucket, Number: last}
		h.OutOfStock = d.Hour.OutOfStockUntil(min(r.now().Unix(), (last+1)*view.SecondsPerHour))
		found = append(found, h)
	}
	return found, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func floor(at, width int64) int64 { return at - ((at%width)+width)%width }
