package read

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
)

// MaxNodes is how many nodes a page of a list can have.
const MaxNodes = 100

// Errors of lists.
var (
	// ErrBadCursor says that a cursor wasn't made for this list, or was changed.
	ErrBadCursor = errors.New("the cursor doesn't belong to this list")
	// ErrBadRange says that a page or a span of time isn't one this package reads; its text says
	// what is allowed.
	ErrBadRange = errors.New("bad range")
)

// Range is a part of a list: First nodes after the cursor After, or Last nodes before the cursor
// Before. One of First and Last is 1 to [MaxPage], the other 0; the cursors, which may be empty,
// bound both.
type Range struct {
	First, Last   int
	After, Before string
	Count         bool // the whole list is to be counted too
}

func (r Range) check() error {
	if (r.First == 0) == (r.Last == 0) || r.First < 0 || r.Last < 0 || r.First > MaxNodes || r.Last > MaxNodes {
		return fmt.Errorf("first is %d, last is %d: give one of them, 1 to %d: %w", r.First, r.Last, MaxNodes, ErrBadRange)
	}
	return nil
}

// backward says that the page is counted from the end of the list.
func (r Range) backward() bool { return r.Last > 0 }

func (r Range) size() int { return max(r.First, r.Last) }

// Edge is a node of a list and its place there.
type Edge[T any] struct {
	Cursor string
	Node   T
}

// Page is a part of a list, in the list's order.
type Page[T any] struct {
	Edges                []Edge[T]
	HasNext, HasPrevious bool
	Total                int64 // of the whole list, where it was asked for
}

// paged makes a page of what was read: up to one node more than asked for, from the end the page is
// counted from.
func paged[T any](r Range, read []Edge[T]) Page[T] {
	more := len(read) > r.size()
	if more {
		read = read[:r.size()]
	}
	if r.backward() {
		slices.Reverse(read)
		return Page[T]{Edges: read, HasPrevious: more, HasNext: r.Before != ""}
	}
	return Page[T]{Edges: read, HasNext: more, HasPrevious: r.After != ""}
}

// cursor writes a place in a list: what list it is, and the values it is ordered by. A checksum
// tells a changed one.
func cursor(list string, values ...string) string {
	text := strings.Join(append([]string{list}, values...), "\x00")
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32([]byte(text), crc32.ChecksumIEEE([]byte(text))))
}

// parseCursor is the inverse of cursor, for a list that is ordered by n values.
func parseCursor(list, c string, n int) ([]string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(c)
	if err != nil || len(raw) < 4 {
		return nil, ErrBadCursor
	}
	text, sum := raw[:len(raw)-4], binary.BigEndian.Uint32(raw[len(raw)-4:])
	values := strings.SplitN(string(text), "\x00", n+1)
	if crc32.ChecksumIEEE(text) != sum || len(values) != n+1 || values[0] != list {
		return nil, ErrBadCursor
	}
	return values[1:], nil
}
