package view

import (
	"container/heap"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"product-service/eventstore"
)

// The journal holds the movements of all products once more, for lists over all of them, by time.
// Its segments hold up to segmentRows movements of one shard, as the log has them, and never reach
// over more than segmentSpan: so what happened in a span of time is in the segments that end in it
// or that much later.
const (
	SegmentRows = 500
	SegmentSpan = 100 * time.Millisecond
)

// Segment is a piece of the journal. Its name is the place of its first movement, and it follows
// from the log and from where the segment before ended: two who write the same piece at once meet
// on it.
type Segment struct {
	ID     string                 `bson:"_id"`
	Last   int64                  `bson:"last"`  // the position of its last movement
	Order  string                 `bson:"order"` // of its last movement
	Counts map[MovementType]int64 `bson:"counts"`
	Rare   string                 `bson:"rare,omitempty"` // the order again, where it has rare ones
	Rows   Rows                   `bson:"rows"`

	rows  int
	began int64
}

// SegmentID names the segment that begins with the movement at a position.
func SegmentID(shard int16, pos int64) string { return fmt.Sprintf("%02d.%012d", shard, pos) }

// AddedID names a segment of one product's movements between those of the others, which were added later.
func AddedID(id string, product uuid.UUID) string { return id + "/" + product.String() }

// Added says that it is one of those.
func (s *Segment) Added() bool { return strings.Contains(s.ID, "/") }

// Segments cut the movements of a shard, in order, into segments.
type Segments []*Segment

// Add adds the next movement, to the last segment or to a new one.
func (s *Segments) Add(m *Movement) {
	var last *Segment
	if n := len(*s); n > 0 {
		last = (*s)[n-1]
	}
	if last == nil || last.rows == SegmentRows || m.At-last.began > SegmentSpan.Microseconds() {
		last = &Segment{ID: SegmentID(eventstore.ShardOf(m.Product), m.Pos), Counts: map[MovementType]int64{}, began: m.At}
		*s = append(*s, last)
	}
	last.rows++
	last.Counts[m.Type]++
	last.Last, last.Order = m.Pos, m.Order()
	if m.Type.rare() || last.Rare != "" {
		last.Rare = last.Order
	}
	if cap(last.Rows)-len(last.Rows) < rowRoom {
		last.Rows = slices.Grow(last.Rows, max(4*rowRoom, len(last.Rows))) // it gets long
	}
	last.Rows = last.Rows.Append(m, true)
}

// Merge hands the movements of several runs on in order. Each run is in that order itself.
type Merge struct{ heap runs }

// NewMerge returns a merge without runs, by time and in the order of the log, or the other way round.
func NewMerge(ascending bool) *Merge { return &Merge{runs{ascending: ascending}} }

// Add adds a run, which isn't empty.
func (m *Merge) Add(run []Movement) { heap.Push(&m.heap, run) }

// Peek is the next movement; nil: there is none. It holds until the next call of another method.
func (m *Merge) Peek() *Movement {
	if m.heap.Len() == 0 {
		return nil
	}
	return &m.heap.all[0][0]
}

// Next takes the next movement, of which there is one.
func (m *Merge) Next() Movement {
	next := m.heap.all[0][0]
	if m.heap.all[0] = m.heap.all[0][1:]; len(m.heap.all[0]) == 0 {
		heap.Pop(&m.heap)
	} else {
		heap.Fix(&m.heap, 0)
	}
	return next
}

// runs is a heap of runs, by their next movement.
type runs struct {
	all       [][]Movement
	ascending bool
}

func (h *runs) Len() int { return len(h.all) }

func (h *runs) Less(i, j int) bool {
	c := inOrder(&h.all[i][0], &h.all[j][0])
	return c < 0 == h.ascending && c != 0
}

func (h *runs) Swap(i, j int) { h.all[i], h.all[j] = h.all[j], h.all[i] }

func (h *runs) Push(x any) { h.all = append(h.all, x.([]Movement)) }

func (h *runs) Pop() any {
	last := h.all[len(h.all)-1]
	h.all = h.all[:len(h.all)-1]
	return last
}

// inOrder compares movements as their orders do.
func inOrder(a, b *Movement) int {
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

// Movements are the segment's rows. One that is described otherwise than it is has rows and an error.
func (s *Segment) Movements() ([]Movement, error) {
	rows, err := s.Rows.Movements(uuid.Nil)
	var again Segments
	for i := range rows {
		again.Add(&rows[i])
	}
	id, _, _ := strings.Cut(s.ID, "/")
	switch {
	case err != nil:
		return nil, err
	case len(again) != 1 || again[0].ID != id:
		return nil, fmt.Errorf("it has the movements of %d segments, or of another", len(again))
	case again[0].Last != s.Last || again[0].Order != s.Order || again[0].Rare != s.Rare || !maps.Equal(again[0].Counts, s.Counts):
		return rows, fmt.Errorf("it is described as ending at %d (%s) with %v", s.Last, s.Order, s.Counts)
	}
	return rows, nil
}
