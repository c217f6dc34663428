package read

import (
	"context"
	"iter"
	"slices"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/projection/store"
	"product-service/projection/view"
)

// streamReader is the history of one product, read from its blocks and its tail.
type streamReader struct {
	rowsReader // its field is "_id", or "rare"
	d          *view.Document
	id         uuid.UUID
	tail       []view.Movement
	size       int64 // versions in a block
}

func (r *Reader) stream(g store.Generation, id uuid.UUID, d *view.Document) (*streamReader, error) {
	tail, err := d.Tail.Movements(id)
	return &streamReader{rowsReader: rowsReader{reader: r, in: g.Movements, field: "_id"}, d: d, id: id, tail: tail, size: view.BlockSizeOf(g.Schema)}, err
}

// blockStart is the first version of the block that a version is in.
func (s *streamReader) blockStart(version int64) int64 { return view.BlockStartOf(version, s.size) }

// tailStart is the first version that isn't in a full block.
func (s *streamReader) tailStart() int64 { return s.blockStart(s.d.Version + 1) }

// version reads the lowest version of the movements from a key on: an id, or what is just above one.
func (s *streamReader) version(key string) (v int64) {
	digits := key[len(s.d.ID)+1:] // it has the shape
	for _, digit := range []byte(digits[:12]) {
		v = v*10 + int64(digit-'0')
	}
	if len(digits) > 12 {
		v++
	}
	return v
}

// rows are the movements from lo up to but without hi, ids both, in the direction asked.
func (s *streamReader) rows(ctx context.Context, lo, hi string, ascending bool) iter.Seq2[view.Movement, error] {
	first, end := s.version(lo), s.version(hi)
	within := func(rows []view.Movement) []view.Movement {
		rows = slices.DeleteFunc(rows, func(m view.Movement) bool { return m.Version < first || m.Version >= end })
		if !ascending {
			slices.Reverse(rows)
		}
		return rows
	}
	return func(yield func(view.Movement, error) bool) {
		tail := within(slices.Clone(s.tail))
		if !ascending && !each(tail, yield) {
			return
		}
		for rows, err := range s.blocks(ctx, first, min(end, s.tailStart()), ascending) {
			if err != nil {
				yield(view.Movement{}, err)
				return
			}
			if !each(within(rows), yield) {
				return
			}
		}
		if ascending {
			each(tail, yield)
		}
	}
}

func each(rows []view.Movement, yield func(view.Movement, error) bool) bool {
	for _, m := range rows {
		if !yield(m, nil) {
			return false
		}
	}
	return true
}

// span is the condition for the blocks that hold versions from first up to but without end.
func (s *streamReader) span(first, end int64) bson.D {
	bounds := bson.D{{Key: "$gte", Value: view.MovementID(s.d.ID, s.blockStart(first))}, {Key: "$lt", Value: view.MovementID(s.d.ID, end)}}
	return bson.D{{Key: s.field, Value: bounds}, {Key: "product", Value: s.d.ID}}
}

// blocks reads the full blocks that hold versions from first up to but without end.
func (s *streamReader) blocks(ctx context.Context, first, end int64, ascending bool) iter.Seq2[[]view.Movement, error] {
	return func(yield func([]view.Movement, error) bool) {
		if first >= end {
			return
		}
		for stored, err := range s.stored(ctx, s.span(first, end), ascending) {
			var rows []view.Movement
			if err == nil {
				rows, err = stored.Movements(s.id)
			}
			if !yield(rows, err) || err != nil {
				return
			}
		}
	}
}

// count counts the movements of some types from lo up to but without hi: whole blocks by what they
// say they hold, the rest one by one.
func (s *streamReader) count(ctx context.Context, lo, hi string, types []view.MovementType) (int64, error) {
	first, end := s.version(lo), s.version(hi)
	inner, outer := min(s.blockStart(first+s.size-1), end), min(max(s.blockStart(end), first), s.tailStart()) // whole blocks from inner to outer
	if inner >= outer || !s.reader.store.Server.Sums {
		return countRows(s.rows(ctx, lo, hi, true), types)
	}
	whole := s.span(inner, outer)
	n, err := store.SumCounts(ctx, s.in, whole, types)
	for _, part := range [][2]int64{{first, inner}, {outer, end}} {
		if err != nil {
			return 0, err
		}
		var more int64
		more, err = countRows(s.rows(ctx, view.MovementID(s.d.ID, part[0]), view.MovementID(s.d.ID, part[1]), true), types)
		n += more
	}
	return n, err
}

func countRows(rows iter.Seq2[view.Movement, error], types []view.MovementType) (n int64, err error) {
	for m, err := range rows {
		if err != nil {
			return 0, err
		}
		if slices.Contains(types, m.Type) {
			n++
		}
	}
	return n, nil
}

// at finds the movement of a version, in the tail or in its block.
func (s *streamReader) at(ctx context.Context, version int64) (m view.Movement, ok bool, err error) {
	for m, err := range s.rows(ctx, view.MovementID(s.d.ID, version), view.MovementID(s.d.ID, version+1), true) {
		return m, err == nil, err
	}
	return view.Movement{}, false, nil
}

func direction(ascending bool) int {
	if ascending {
		return 1
	}
	return -1
}
