package projection

import (
	"container/heap"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"product-service/eventstore"
)

// The journal holds the movements of all products once more, for lists over all of them, by time. Its segments hold up to segmentRows
// movements of one shard, as the log has them, and never reach over more than segmentSpan: so what happened in a span of time is in the
// segments that end in it or that much later.
const (
	segmentRows = 500
	segmentSpan = 100 * time.Millisecond
)

// segment is a piece of the journal. Its name is the place of its first movement, and it follows from the log and from where the segment before
// ended: two who write the same piece at once meet on it.
type segment struct {
	ID     string                 `bson:"_id"`
	Last   int64                  `bson:"last"`  // the position of its last movement
	Order  string                 `bson:"order"` // of its last movement
	Counts map[MovementType]int64 `bson:"counts"`
	Rare   string                 `bson:"rare,omitempty"` // the order again, where it has rare ones
	Rows   []byte                 `bson:"rows"`           // the product and the packed movement, again and again

	rows  int
	began int64
}

func segmentID(shard int16, pos int64) string { return fmt.Sprintf("%02d.%012d", shard, pos) }

// addedID names a segment of one product's movements between those of the others, which were added later.
func addedID(id string, product uuid.UUID) string { return id + "/" + product.String() }

func (s *segment) added() bool { return strings.Contains(s.ID, "/") }

// segments cut the movements of a shard, in order, into segments.
type segments []*segment

func (s *segments) add(m *movement) {
	var last *segment
	if n := len(*s); n > 0 {
		last = (*s)[n-1]
	}
	if last == nil || last.rows == segmentRows || m.At-last.began > segmentSpan.Microseconds() {
		last = &segment{ID: segmentID(eventstore.ShardOf(m.Product), m.Pos), Counts: map[MovementType]int64{}, began: m.At}
		*s = append(*s, last)
	}
	last.rows++
	last.Counts[m.Type]++
	last.Last, last.Order = m.Pos, m.order()
	if m.Type.rare() || last.Rare != "" {
		last.Rare = last.Order
	}
	last.Rows = m.pack(append(last.Rows, m.Product[:]...))
}

// models write the segments, whatever is there.
func (s segments) models() []mongo.WriteModel {
	models := make([]mongo.WriteModel, len(s))
	for i := range s {
		models[i] = replace(s[i].ID, s[i])
	}
	return models
}

// journal says up to which position of each shard the movements are in the journal. That is where a segment ends: who adds the next one
// meets on its name with whoever does so at the same time.
type journal map[int16]int64

// begin finds out how far the journal of shards is, which is at least as far as from: somebody may have come further who then couldn't write
// the checkpoints.
func (j journal) begin(ctx context.Context, in *mongo.Collection, from map[int16]int64) error {
	for shard, pos := range from {
		_, end, err := journalEnd(ctx, in, shard, pos)
		if err != nil {
			return fmt.Errorf("find the end of the journal: %w", err)
		}
		j[shard] = max(j[shard], end)
	}
	return nil
}

// journalEnd reads the segments of a shard from the last one back to the one that a position is in, or that ends before it, and returns the
// position where they end and the id of the one that it came to. It goes back in ever longer steps: some servers sort all of a range.
func journalEnd(ctx context.Context, in *mongo.Collection, shard int16, pos int64) (first string, end int64, err error) {
	first, end = segmentID(shard, 0), pos
	from, until := pos, segmentID(shard+1, 0)
	for step := int64(2 * segmentRows); ; step *= 8 {
		from = max(0, from-step)
		found, last, err := lastSegments(ctx, in, segmentID(shard, from), until, segmentID(shard, pos+1))
		if end = max(end, last); err != nil || found != "" || from == 0 {
			return max(first, found), end, err
		}
		until = segmentID(shard, from)
	}
}

// lastSegments reads the segments of a stretch from the last one back to the first before a place, and returns that and the last position in any.
func lastSegments(ctx context.Context, in *mongo.Collection, from, until, before string) (found string, last int64, err error) {
	span := bson.D{{Key: "_id", Value: bson.D{{Key: "$gte", Value: from}, {Key: "$lt", Value: until}}}}
	c, err := in.Find(ctx, span, options.Find().SetSort(bson.D{{Key: "_id", Value: -1}}).SetProjection(bson.D{{Key: "last", Value: 1}}).SetBatchSize(100))
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	for c.Next(ctx) {
		s := segment{ID: c.Current.Lookup("_id").StringValue()}
		s.Last, _ = c.Current.Lookup("last").AsInt64OK() // what is damaged doesn't count
		last = max(last, s.Last)
		if s.ID < before && !s.added() {
			return s.ID, last, nil
		}
	}
	return "", last, c.Err()
}

// run is a segment that is being read.
type run struct {
	rows []movement // that are left of it, the next one first
}

// runs is a heap of them, by their next movement.
type runs struct {
	all       []run
	ascending bool
}

func (h *runs) Len() int { return len(h.all) }
func (h *runs) Less(i, j int) bool {
	c := inOrder(&h.all[i].rows[0], &h.all[j].rows[0])
	return c < 0 == h.ascending && c != 0
}
func (h *runs) Swap(i, j int) { h.all[i], h.all[j] = h.all[j], h.all[i] }
func (h *runs) Push(x any)    { h.all = append(h.all, x.(run)) }
func (h *runs) Pop() any {
	last := h.all[len(h.all)-1]
	h.all = h.all[:len(h.all)-1]
	return last
}

func (h *runs) push(rows []movement) { heap.Push(h, run{rows}) }

// next takes the next movement.
func (h *runs) next() movement {
	m := h.all[0].rows[0]
	if h.all[0].rows = h.all[0].rows[1:]; len(h.all[0].rows) == 0 {
		heap.Pop(h)
	} else {
		heap.Fix(h, 0)
	}
	return m
}

// inOrder compares movements as their orders do.
func inOrder(a, b *movement) int {
	if a.At != b.At {
		return int(min(1, max(-1, a.At-b.At)))
	}
	if a.Product != b.Product {
		if x, y := eventstore.ShardOf(a.Product), eventstore.ShardOf(b.Product); x != y {
			return int(x - y)
		}
	}
	return int(min(1, max(-1, a.Pos-b.Pos)))
}

// ledger reads the journal. Its field is "order", or "rare".
type ledger struct{ shelf }

// microsAt reads the time from an order, and lowestAt is the lowest order at a time.
func microsAt(order string) (at int64) {
	for _, digit := range []byte(order[:16]) { // it has the shape
		at = at*10 + int64(digit-'0')
	}
	return at
}

func lowestAt(micros int64) string { return fmt.Sprintf("%016d", max(0, micros)) }

// later is the lowest order that no segment with a movement before this one has.
func later(order string) string { return lowestAt(microsAt(order) + segmentSpan.Microseconds() + 1) }

// rows are the movements from lo up to but without hi, orders both, in the direction asked.
func (l *ledger) rows(ctx context.Context, lo, hi string, ascending bool) iter.Seq2[movement, error] {
	first, end := microsAt(lo), microsAt(hi)
	within := func(m *movement) bool {
		if first < m.At && m.At < end {
			return true
		}
		order := m.order()
		return lo <= order && order < hi
	}
	return func(yield func(movement, error) bool) {
		open, last := &runs{ascending: ascending}, movement{}
		// Those that come before what is still to be read are handed on; one that is there twice, once.
		pass := func(all bool, settled func(m *movement) bool) bool {
			for open.Len() > 0 && (all || settled(&open.all[0].rows[0])) {
				m := open.next()
				if m.Pos == last.Pos && m.Product == last.Product {
					continue
				}
				if last = m; !yield(m, nil) {
					return false
				}
			}
			return true
		}
		for s, err := range l.segments(ctx, lo, later(hi), ascending) {
			if err != nil {
				yield(movement{}, err)
				return
			}
			ended := s.rows[len(s.rows)-1].At // rows of segments that follow are no earlier than a span before, or no later
			settled := func(m *movement) bool { return m.At > ended }
			if ascending {
				settled = func(m *movement) bool { return m.At < ended-segmentSpan.Microseconds() }
			}
			if !pass(false, settled) {
				return
			}
			if s.rows = slices.DeleteFunc(s.rows, func(m movement) bool { return !within(&m) }); len(s.rows) == 0 {
				continue
			}
			if !ascending {
				slices.Reverse(s.rows)
			}
			heap.Push(open, s)
		}
		pass(true, nil)
	}
}

// segments reads those whose order is from lo up to but without hi.
func (l *ledger) segments(ctx context.Context, lo, hi string, ascending bool) iter.Seq2[run, error] {
	return func(yield func(run, error) bool) {
		for packed, err := range l.packed(ctx, l.within(lo, hi), ascending) {
			var rows []movement
			if err == nil {
				rows, err = unpackSegment(packed)
			}
			if !yield(run{rows}, err) || err != nil {
				return
			}
		}
	}
}

func (l *ledger) within(lo, hi string) bson.D {
	return bson.D{{Key: l.field, Value: bson.D{{Key: "$gte", Value: lo}, {Key: "$lt", Value: hi}}}}
}

func unpackSegment(packed []byte) ([]movement, error) {
	rows := make([]movement, 0, len(packed)/64)
	for len(packed) > 0 {
		var m movement
		var err error
		if packed, err = unpackID(packed, &m.Product); err == nil {
			packed, err = m.unpack(packed)
		}
		if err != nil {
			return nil, fmt.Errorf("a segment of the journal: %w", err)
		}
		rows = append(rows, m)
	}
	return rows, nil
}

// count counts the movements of some types from lo up to but without hi: segments that lie between by what they say they hold, others one by one.
func (l *ledger) count(ctx context.Context, lo, hi string, types []MovementType) (int64, error) {
	inner := later(lo)
	if inner >= hi || !l.reader.store.server.sums {
		return countRows(l.rows(ctx, lo, hi, true), types)
	}
	n, err := sumCounts(ctx, l.in, l.within(inner, hi), types)
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
func (l *ledger) countEdge(ctx context.Context, from, to, lo, hi string, types []MovementType) (n int64, err error) {
	for s, err := range l.segments(ctx, from, to, true) {
		if err != nil {
			return 0, err
		}
		for i := range s.rows {
			if order := s.rows[i].order(); lo <= order && order < hi && slices.Contains(types, s.rows[i].Type) {
				n++
			}
		}
	}
	return n, nil
}
