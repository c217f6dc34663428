package audit

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"product-service/projection/view"
)

// namedAfter reads the documents of a kind that are named after the product. It notes those that
// can't be read.
func namedAfter[D any](ctx context.Context, c *comparison, in *mongo.Collection) (map[string]D, error) {
	id := c.id.String()
	cursor, err := in.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: id + "."}, {Key: "$lt", Value: id + "/"}}}})
	if err != nil {
		return nil, err
	}
	var all []bson.Raw
	if err := cursor.All(ctx, &all); err != nil {
		return nil, err
	}
	stored := map[string]D{}
	for _, raw := range all {
		var d D
		if err := bson.Unmarshal(raw, &d); err != nil {
			c.differ("days", "%s can't be read: %v", raw.Lookup("_id"), err)
			continue
		}
		stored[raw.Lookup("_id").StringValue()] = d
	}
	return stored, nil
}

// compareDays holds the hours and days that ended against those stored, and then the months.
func (a *audit) compareDays(ctx context.Context, c *comparison) error {
	stored, err := namedAfter[view.Day](ctx, c, a.into.Days)
	if err != nil {
		return err
	}
	want := map[string]view.Day{}
	for _, d := range c.entry.Days {
		want[d.ID] = d
	}
	var running map[string]bool
	for _, id := range names(want, stored) {
		if reflect.DeepEqual(want[id], stored[id]) {
			continue
		}
		if running == nil {
			if running, err = a.running(ctx, c); err != nil {
				return err
			}
		}
		c.compareDay(want[id], stored[id], running)
	}
	return a.compareMonths(ctx, c)
}

// names are the keys of both maps, in order.
func names[D any](one, other map[string]D) []string {
	all := maps.Clone(one)
	maps.Copy(all, other)
	return slices.Sorted(maps.Keys(all))
}

// compareMonths holds the figures that reports are ordered by against the days of the log. Those of
// the last day and later ones are left alone where the log goes on: they may be of rows that
// weren't folded here.
func (a *audit) compareMonths(ctx context.Context, c *comparison) error {
	stored, err := namedAfter[view.Month](ctx, c, a.into.Months)
	if err != nil {
		return err
	}
	want := map[string]view.Month{}
	for _, m := range view.MonthsOf(c.entry.Days) {
		want[m.ID] = m
	}
	last, goesOn := view.Midnight(c.entry.Doc.Today.Start/view.SecondsPerDay).Format("20060102"), false
	for i, id := range names(want, stored) {
		if i == 0 {
			if goesOn, err = a.goesOn(ctx, c); err != nil {
				return err
			}
		}
		w, got := want[id], stored[id]
		if w.ID == "" { // what the name says of it
			w.ID, w.Product = id, c.id.String()
			w.Date, _ = time.Parse("200601", id[len(w.Product)+1:])
		}
		if got.ID != "" && (got.Product != w.Product || !got.Date.Equal(w.Date)) {
			c.differ("days", "the month %s is described as %s of product %q", id, got.Date.Format("2006-01"), got.Product)
		}
		for _, figure := range names(w.Figures, got.Figures) {
			for _, day := range names(w.Figures[figure], got.Figures[figure]) {
				n, m := w.Figures[figure][day], got.Figures[figure][day]
				if n != m && !(goesOn && w.Date.Format("200601")+day >= last) {
					c.differ("days", "the log comes to %d %s on day %s of the month %s, stored is %d", n, figure, day, id, m)
				}
			}
		}
	}
	return nil
}

// goesOn says whether the log has rows of the product that weren't folded.
func (a *audit) goesOn(ctx context.Context, c *comparison) (bool, error) {
	rows, err := a.log.Stream(ctx, c.id, c.entry.Doc.Version, 1)
	if err == nil && len(rows) == 0 {
		rows, err = a.log.Facts(ctx, c.id, c.entry.Doc.Pos, 1)
	}
	return len(rows) > 0, err
}

// compareDay holds what the log comes to of a day against what is stored of it. What is stored of
// hours and days that were running is left alone.
func (c *comparison) compareDay(want, got view.Day, running map[string]bool) {
	day := view.DayID(c.id.String(), got.Date.Unix()/view.SecondsPerDay)
	before := len(c.found)
	for key, h := range got.Hours {
		_, known := want.Hours[key]
		switch {
		case got.ID != day || got.ID != view.DayID(c.id.String(), h.Number/24) || key != h.Key():
			c.differ("days", "the day %s has %+v as hour %s, which is another", got.ID, h, key)
		case !known && !running[hourID(h.Number)]:
			c.differ("days", "stored is %+v, in which nothing happened", h)
		}
	}
	for key, h := range want.Hours {
		if got.Hours[key] != h {
			c.differ("days", "the log comes to %+v, stored is %+v", h, got.Hours[key])
		}
	}
	switch {
	case want.Sums == nil && got.Sums != nil && !running[got.ID]:
		c.differ("days", "the day %s has the sums %+v, and has not ended", got.ID, *got.Sums)
	case want.Sums == nil:
	case got.Sums == nil:
		c.differ("days", "the day %s has no sums, the log comes to %+v", want.ID, *want.Sums)
	case *want.Sums != *got.Sums || want.Idle != got.Idle || want.Name != got.Name:
		c.differ("days", "the log comes to %+v of %q after %d idle days on the day %s, stored is %+v of %q after %d",
			*want.Sums, want.Name, want.Idle, want.ID, *got.Sums, got.Name, got.Idle)
	}
	if len(c.found) == before && got.ID != "" && (got.ID != day || got.Product != c.id.String()) {
		c.differ("days", "the day %s is described as %s of product %q", got.ID, got.Date.Format(time.DateOnly), got.Product)
	}
}

func hourID(number int64) string { return fmt.Sprint(number) }

// running are the hours and the days that were running when the product was last folded, or began
// since: what is stored of them may be of rows that weren't folded here.
func (a *audit) running(ctx context.Context, c *comparison) (map[string]bool, error) {
	const page = 1000
	running := map[string]bool{}
	note := func(second int64) {
		running[hourID(second/view.SecondsPerHour)] = true
		running[view.DayID(c.id.String(), second/view.SecondsPerDay)] = true
	}
	note(c.entry.Doc.Hour.Start)
	note(c.entry.Doc.Today.Start)
	for after := c.entry.Doc.Version; ; {
		rows, err := a.log.Stream(ctx, c.id, after, page)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			after = rows[i].Version
			note(rows[i].At.Unix())
		}
		if len(rows) < page {
			break
		}
	}
	for after := c.entry.Doc.Pos; ; {
		rows, err := a.log.Facts(ctx, c.id, after, page)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			after = rows[i].Pos
			note(rows[i].At.Unix())
		}
		if len(rows) < page {
			return running, nil
		}
	}
}
