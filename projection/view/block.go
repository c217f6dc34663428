package view

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"github.com/google/uuid"
)

// BlockSize is how many versions of a product a block holds: 1 to 8, 9 to 16, and so on. With each
// change of a product the database handles up to so many movements of its tail anew, which costs
// more than twice as many blocks.
const BlockSize = 8

// BlockSizeOf is how many versions a block holds in documents of a shape: 16 up to shape 6.
func BlockSizeOf(schema int) int64 {
	if schema <= 6 {
		return 16
	}
	return BlockSize
}

// Block holds the movements of some versions of a product. It is written when it is full; until
// then its movements are in the product, as its tail. Whoever writes it has folded all of it, so it
// is always the same and needs no guard. A cancelled reservation, which makes no version, has one
// of its own.
type Block struct {
	ID           string                 `bson:"_id"` // of its first movement
	Product      string                 `bson:"product"`
	From         int64                  `bson:"from"`                   // when its first movement was, in microseconds
	Counts       map[MovementType]int64 `bson:"counts"`                 // of those that people see
	Rare         string                 `bson:"rare,omitempty"`         // the ID again, where it has rare ones
	Reservations []int64                `bson:"reservations,omitempty"` // that are named in it, shortened
	Rows         Rows                   `bson:"rows"`
}

// BlockStart is the first version of the block that a version is in.
func BlockStart(version int64) int64 { return BlockStartOf(version, BlockSize) }

// BlockStartOf is the same where blocks hold so many versions.
func BlockStartOf(version, size int64) int64 { return (version-1)/size*size + 1 }

// TailStart is the first version that isn't in a full block.
func (d *Document) TailStart() int64 { return BlockStart(d.Version + 1) }

// CancelledID names the block of a cancelled reservation.
func CancelledID(product string, pos int64) string { return fmt.Sprintf("%s/%012d", product, pos) }

// BlockNamed reads the name of a block of a product: the last version in it, or the position of a
// cancellation. Both are 0 where it names none.
func BlockNamed(product, name string) (last, pos int64) {
	if len(name) < len(product)+2 {
		return 0, 0
	}
	switch n, err := strconv.ParseInt(name[len(product)+1:], 10, 64); {
	case err != nil || n < 1:
		return 0, 0
	case name == CancelledID(product, n):
		return 0, n
	case name == MovementID(product, n) && n == BlockStart(n):
		return n + BlockSize - 1, 0
	}
	return 0, 0
}

// NewBlock makes the block of some movements, of which there is one at least.
func NewBlock(id string, product uuid.UUID, stored Rows) (Block, error) {
	b := Block{ID: id, Product: product.String(), Counts: map[MovementType]int64{}, Rows: stored}
	rows, first, last := 0, int64(0), int64(0) // versions
	err := stored.each(product, (*Movement).takeOutline, func(m *Movement) {
		if rows == 0 {
			b.From, first = m.At, m.Version
		}
		rows, last = rows+1, m.Version
		b.note(m)
	})
	if err == nil && last > 0 && (rows != BlockSize || id != MovementID(b.Product, first) || last != first+BlockSize-1) {
		err = fmt.Errorf("movements of product %s: %d up to version %d aren't block %s: %w", product, rows, last, id, ErrDamaged)
	}
	return b, err
}

// note adds a movement to what the block says of itself.
func (b *Block) note(m *Movement) {
	if m.Type.Visible() {
		b.Counts[m.Type]++
	}
	if m.Type.rare() {
		b.Rare = b.ID
	}
	if m.Reservation == uuid.Nil {
		return
	}
	if short := Shortened(m.Reservation); !slices.Contains(b.Reservations, short) {
		b.Reservations = append(b.Reservations, short)
	}
}

// Shortened is what of a reservation's id is in an index: enough to find it among billions, in a
// quarter of the space. It takes in all of the id: the halves by themselves can be the same in
// many, such as those that count up or begin with a time.
func Shortened(id uuid.UUID) int64 {
	return int64(binary.BigEndian.Uint64(id[:8]) ^ binary.BigEndian.Uint64(id[8:]))
}
