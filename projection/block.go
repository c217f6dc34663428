package projection

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"strconv"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// blockSize is how many versions of a product a block holds: 1 to 16, 17 to 32, and so on. Up to so many movements are written again with
// each change of a product.
const blockSize = 16

// block holds the movements of some versions of a product. It is written when it is full; until then its movements are in the product, as its
// tail. Whoever writes it has folded all of it, so it is always the same and needs no guard. A cancelled reservation, which makes no
// version, has one of its own.
type block struct {
	ID           string                 `bson:"_id"` // of its first movement
	Product      string                 `bson:"product"`
	From         int64                  `bson:"from"`                   // when its first movement was
	Counts       map[MovementType]int64 `bson:"counts"`                 // of those that people see
	Rare         string                 `bson:"rare,omitempty"`         // the ID again, where it has rare ones
	Reservations []int64                `bson:"reservations,omitempty"` // that are named in it, shortened
	Rows         []byte                 `bson:"rows"`                   // packed
}

// blockStart is the first version of the block that a version is in.
func blockStart(version int64) int64 { return (version-1)/blockSize*blockSize + 1 }

// tailStart is the first version that isn't in a full block.
func (d *document) tailStart() int64 { return d.Version/blockSize*blockSize + 1 }

// cancelledID names the block of a cancelled reservation.
func cancelledID(product string, pos int64) string { return fmt.Sprintf("%s/%012d", product, pos) }

// blockNamed reads the name of a block of a product: the last version in it, or the position of a cancellation. Both are 0 where it names none.
func blockNamed(product, name string) (last, pos int64) {
	if len(name) < len(product)+2 {
		return 0, 0
	}
	switch n, err := strconv.ParseInt(name[len(product)+1:], 10, 64); {
	case err != nil || n < 1:
		return 0, 0
	case name == cancelledID(product, n):
		return 0, n
	case name == movementID(product, n) && n == blockStart(n):
		return n + blockSize - 1, 0
	}
	return 0, 0
}

// newBlock makes the block of some packed movements.
func newBlock(id string, product uuid.UUID, packed []byte) (b block, err error) {
	b = block{ID: id, Product: product.String(), Counts: map[MovementType]int64{}, Rows: packed}
	rows, err := unpackAll(product, packed)
	if err != nil {
		return b, err
	}
	if last := rows[len(rows)-1].Version; last > 0 && (len(rows) != blockSize || id != movementID(b.Product, rows[0].Version) || last != rows[0].Version+blockSize-1) {
		return b, fmt.Errorf("movements of product %s: %d up to version %d aren't block %s: %w", product, len(rows), last, id, errCut)
	}
	for i, m := range rows {
		if i == 0 {
			b.From = m.At
		}
		if m.Type.visible() {
			b.Counts[m.Type]++
		}
		if m.Type.rare() {
			b.Rare = id
		}
		if m.Reservation == uuid.Nil {
			continue
		}
		if short := shortened(m.Reservation); !slices.Contains(b.Reservations, short) {
			b.Reservations = append(b.Reservations, short)
		}
	}
	return b, nil
}

// shortened is what of a reservation's id is in an index: enough to find it among billions, in a quarter of the space. It takes in all of the id:
// the halves by themselves can be the same in many, such as those that count up or begin with a time.
func shortened(id uuid.UUID) int64 {
	return int64(binary.BigEndian.Uint64(id[:8]) ^ binary.BigEndian.Uint64(id[8:]))
}

// unpackAll reads packed movements of one product.
func unpackAll(product uuid.UUID, packed []byte) ([]movement, error) {
	rows := make([]movement, 0, blockSize)
	for len(packed) > 0 {
		m := movement{Product: product}
		var err error
		if packed, err = m.unpack(packed); err != nil {
			return rows, fmt.Errorf("movements of product %s: %w", product, err)
		}
		rows = append(rows, m)
	}
	return rows, nil
}

// keep adds a movement to the product's tail, or to the blocks that are to be written.
func (e *entry) keep(m *movement) error {
	packed := m.pack(e.doc.Tail)
	var id string
	switch {
	case m.Type == cancelled:
		packed, id = m.pack(nil), cancelledID(e.doc.ID, m.Pos)
	case m.Version%blockSize == 0:
		id = movementID(e.doc.ID, blockStart(m.Version))
		e.doc.Tail = nil
	default:
		e.doc.Tail = packed
		return nil
	}
	b, err := newBlock(id, m.Product, packed)
	if err != nil {
		return err
	}
	e.blocks = append(e.blocks, b)
	return nil
}

// stream is the history of one product, read from its blocks and its tail.
type stream struct {
	shelf // its field is "_id", or "rare"
	d     *document
	id    uuid.UUID
	tail  []movement
}

func (r *Reader) stream(g generation, id uuid.UUID, d *document) (*stream, error) {
	tail, err := unpackAll(id, d.Tail)
	return &stream{shelf: shelf{reader: r, in: g.movements, field: "_id"}, d: d, id: id, tail: tail}, err
}

// version reads the lowest version of the movements from a key on: an id, or what is just above one.
func (s *stream) version(key string) (v int64) {
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
func (s *stream) rows(ctx context.Context, lo, hi string, ascending bool) iter.Seq2[movement, error] {
	first, end := s.version(lo), s.version(hi)
	within := func(rows []movement) []movement {
		rows = slices.DeleteFunc(rows, func(m movement) bool { return m.Version < first || m.Version >= end })
		if !ascending {
			slices.Reverse(rows)
		}
		return rows
	}
	return func(yield func(movement, error) bool) {
		tail := within(slices.Clone(s.tail))
		if !ascending && !each(tail, yield) {
			return
		}
		for rows, err := range s.blocks(ctx, first, min(end, s.d.tailStart()), ascending) {
			if err != nil {
				yield(movement{}, err)
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

func each(rows []movement, yield func(movement, error) bool) bool {
	for _, m := range rows {
		if !yield(m, nil) {
			return false
		}
	}
	return true
}

// span is the condition for the blocks that hold versions from first up to but without end.
func (s *stream) span(first, end int64) bson.D {
	bounds := bson.D{{Key: "$gte", Value: movementID(s.d.ID, blockStart(first))}, {Key: "$lt", Value: movementID(s.d.ID, end)}}
	return bson.D{{Key: s.field, Value: bounds}, {Key: "product", Value: s.d.ID}}
}

// blocks reads the full blocks that hold versions from first up to but without end.
func (s *stream) blocks(ctx context.Context, first, end int64, ascending bool) iter.Seq2[[]movement, error] {
	return func(yield func([]movement, error) bool) {
		if first >= end {
			return
		}
		for packed, err := range s.packed(ctx, s.span(first, end), ascending) {
			var rows []movement
			if err == nil {
				rows, err = unpackAll(s.id, packed)
			}
			if !yield(rows, err) || err != nil {
				return
			}
		}
	}
}

func direction(ascending bool) int {
	if ascending {
		return 1
	}
	return -1
}

// count counts the movements of some types from lo up to but without hi: whole blocks by what they say they hold, the rest one by one.
func (s *stream) count(ctx context.Context, lo, hi string, types []MovementType) (int64, error) {
	first, end := s.version(lo), s.version(hi)
	inner, outer := min(blockStart(first+blockSize-1), end), min(max(blockStart(end), first), s.d.tailStart()) // whole blocks from inner to outer
	if inner >= outer || !s.reader.store.server.sums {
		return countRows(s.rows(ctx, lo, hi, true), types)
	}
	whole := s.span(inner, outer)
	n, err := sumCounts(ctx, s.in, whole, types)
	for _, part := range [][2]int64{{first, inner}, {outer, end}} {
		if err != nil {
			return 0, err
		}
		var more int64
		more, err = countRows(s.rows(ctx, movementID(s.d.ID, part[0]), movementID(s.d.ID, part[1]), true), types)
		n += more
	}
	return n, err
}

func countRows(rows iter.Seq2[movement, error], types []MovementType) (n int64, err error) {
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

// sumCounts adds up what documents say they hold.
func sumCounts(ctx context.Context, in *mongo.Collection, filter bson.D, types []MovementType) (n int64, err error) {
	group := bson.D{{Key: "_id", Value: nil}}
	for _, t := range types {
		group = append(group, bson.E{Key: string(t), Value: bson.D{{Key: "$sum", Value: "$counts." + string(t)}}})
	}
	c, err := in.Aggregate(ctx, mongo.Pipeline{{{Key: "$match", Value: filter}}, {{Key: "$group", Value: group}}})
	if err != nil {
		return 0, fmt.Errorf("count movements: %w", err)
	}
	var sums []map[MovementType]any
	if err := c.All(ctx, &sums); err != nil {
		return 0, fmt.Errorf("count movements: %w", err)
	}
	for _, sum := range sums {
		for _, t := range types {
			switch v := sum[t].(type) {
			case int32:
				n += int64(v)
			case int64:
				n += v
			}
		}
	}
	return n, nil
}

// at finds the movement of a version, in the tail or in its block.
func (s *stream) at(ctx context.Context, version int64) (m movement, ok bool, err error) {
	for m, err := range s.rows(ctx, movementID(s.d.ID, version), movementID(s.d.ID, version+1), true) {
		return m, err == nil, err
	}
	return movement{}, false, nil
}
