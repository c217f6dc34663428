package read

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/projection/store"
	"product-service/projection/view"
)

// journalReader reads the journal. Its field is "order", or "rare".
type journalReader struct{ rowsReader }

// microsAt reads the time from an order, and lowestAt is the lowest order at a time.
func microsAt(order string) (at int64) {
	for _, digit := range []byte(order[:16]) { // it has the shape
		at = at*10 + int64(digit-'0')
	}
	return at
}

func lowestAt(micros int64) string { return fmt.Sprintf("%016d", max(0, micros)) }

// later is the lowest order that no segment with a movement before this one has.
func later(order string) string {
	return lowestAt(microsAt(order) + view.SegmentSpan.Microseconds() + 1)
}

// rows are the movements from lo up to but without hi, orders both, in the direction asked.
func (l *journalReader) rows(ctx context.Context, lo, hi string, ascending bool) iter.Seq2[view.Movement, error] {
	first, end := microsAt(lo), microsAt(hi)
	within := func(m *view.Movement) bool {
		if first < m.At && m.At < end {
			return true
		}
		order := m.Order()
		return lo <= order && order < hi
	}
	return func(yield func(view.Movement, error) bool) {
		open, last := view.NewMerge(ascending), view.Movement{}
		// Those that come before what is still to be read are handed on; one that is there twice, once.
		pass := func(all bool, settled func(m *view.Movement) bool) bool {
			for next := open.Peek(); next != nil && (all || settled(next)); next = open.Peek() {
				m := open.Next()
				if m.Pos == last.Pos && m.Product == last.Product {
					continue
				}
				if last = m; !yield(m, nil) {
					return false
				}
			}
			return true
		}
		for rows, err := range l.segments(ctx, lo, later(hi), ascending) {
			if err != nil {
				yield(view.Movement{}, err)
				return
			}
			ended := rows[len(rows)-1].At // rows of segments that follow are no earlier than a span before, or no later
			settled := func(m *view.Movement) bool { return m.At > ended }
			if ascending {
				settled = func(m *view.Movement) bool { return m.At < ended-view.SegmentSpan.Microseconds() }
			}
			if !pass(false, settled) {
				return
			}
			if rows = slices.DeleteFunc(rows, func(m view.Movement) bool { return !within(&m) }); len(rows) == 0 {
				continue
			}
			if !ascending {
				slices.Reverse(rows)
			}
			open.Add(rows)
		}
		pass(true, nil)
	}
}

// segments reads those whose order is from lo up to but without hi.
func (l *journalReader) segments(ctx context.Context, lo, hi string, ascending bool) iter.Seq2[[]view.Movement, error] {
	return func(yield func([]view.Movement, error) bool) {
		for stored, err := range l.stored(ctx, l.within(lo, hi), ascending) {
			var rows []view.Movement
			if err == nil {
				rows, err = stored.Movements(uuid.Nil)
			}
			if !yield(rows, err) || err != nil {
				return
			}
		}
	}
}

func (l *journalReader) within(lo, hi string) bson.D {
	return bson.D{{Key: l.field, Value: bson.D{{Key: "$gte", Value: lo}, {Key: "$lt", Value: hi}}}}
}

// count counts the movements of some types from lo up to but without hi: segments that lie between
// by what they say they hold, others one by one.
func (l *journalReader) count(ctx context.Context, lo, hi string, types []view.MovementType) (int64, error) {
	inner := later(lo)
	if inner >= hi || !l.reader.store.Server.Sums {
		return countRows(l.rows(ctx, lo, hi, true), types)
	}
	n, err := store.SumCounts(ctx, l.in, l.within(inner, hi), types)
	for _, part := range [][2]string{{lo, inner}, {hi, later(hi)}} {
		if err != nil {
			return 0, err
		}
		var more int64
		more, err = l.countEdge(ctx, part[0], part[1], lo, hi, types)
		n += more
	}
	return n, err
}

// countEdge counts what lies between lo and hi in the segments from one order to another.
func (l *journalReader) countEdge(ctx context.Context, from, to, lo, hi string, types []view.MovementType) (n int64, err error) {
	for rows, err := range l.segments(ctx, from, to, true) {
		if err != nil {
			return 0, err
		}
		for i := range rows {
			if order := rows[i].Order(); lo <= order && order < hi && slices.Contains(types, rows[i].Type) {
				n++
			}
		}
	}
	return n, nil
}
