package read

import (
	"context"
	"iter"
	"slices"

	"product-service/projection/view"
)

// source is where movements are read from: the stream of a product, by id, or the journal of all, by order.
type source interface {
	rows(ctx context.Context, lo, hi string, ascending bool) iter.Seq2[view.Movement, error]
	count(ctx context.Context, lo, hi string, types []view.MovementType) (int64, error)
	watch(ended func(context.Context) error)
}

// keyRange is a stretch of history between two keys, from lo up to but without hi, and a list of it
// with the highest first.
//
// It is read in pieces from one of its ends, each some times as wide as the one before: what a read
// costs then depends on what it returns, also on a server that reads and sorts all of a range
// before it returns the first of it.
type keyRange struct {
	source
	list   string // its name in cursors
	lo, hi string
	types  []view.MovementType
	key    func(*view.Movement) string
	shape  string // of a key, for telling a cursor of another list; empty: the list is
	fixed  int    // how many of its first bytes are the same in all keys

	bound  func(at int64) string // the lowest key at a place: a version, or a microsecond
	at     func(key string) int64
	width  int64 // of the first piece, in places
	growth int64
	most   int64 // what width may grow to
}

// part is what lies between the page's cursors.
func (s keyRange) part(page Range) (keyRange, error) {
	after, err := s.parse(page.After)
	if err != nil {
		return s, err
	}
	before, err := s.parse(page.Before)
	if err != nil {
		return s, err
	}
	if after != "" {
		s.hi = min(s.hi, after)
	}
	if before != "" {
		s.lo = max(s.lo, before+"!") // just above it: no key is the beginning of another
	}
	return s, nil
}

func (s keyRange) parse(c string) (string, error) {
	if c == "" || s.shape == "" {
		return "", nil
	}
	values, err := parseCursor(s.list, c, 1)
	if err != nil {
		return "", err
	}
	// The shape is a key of the list with digits where keys differ.
	key := values[0]
	if len(key) != len(s.shape) {
		return "", ErrBadCursor
	}
	for i := range len(key) {
		if digit := key[i] >= '0' && key[i] <= '9'; key[i] != s.shape[i] && (i < s.fixed || !digit || s.shape[i] == '.') {
			return "", ErrBadCursor
		}
	}
	return key, nil
}

// read returns up to one row more than the page has, from the end the page is counted from.
func (s keyRange) read(ctx context.Context, page Range) ([]view.Movement, error) {
	var rows []view.Movement
	for m, err := range s.walk(ctx, page.backward()) {
		if err != nil {
			return nil, err
		}
		if rows = append(rows, m); len(rows) > page.size() {
			break
		}
	}
	return rows, nil
}

// walk goes through the list from one of its ends, piece by piece.
func (s keyRange) walk(ctx context.Context, ascending bool) iter.Seq2[view.Movement, error] {
	return func(yield func(view.Movement, error) bool) {
		for s.lo < s.hi {
			piece, read := s.piece(ascending), int64(0)
			for m, err := range s.rows(ctx, piece.lo, piece.hi, ascending) {
				read++
				if err == nil && !slices.Contains(s.types, m.Type) {
					continue
				}
				if !yield(m, err) || err != nil {
					return
				}
			}
			s.widen(read)
		}
	}
}

// piece cuts the next piece off the range.
func (s *keyRange) piece(ascending bool) keyRange {
	piece := *s
	if ascending {
		piece.hi = min(s.hi, s.bound(s.at(s.lo)+s.width+1))
		s.lo = piece.hi
	} else {
		piece.lo = max(s.lo, s.bound(s.at(s.hi)-s.width))
		s.hi = piece.lo
	}
	return piece
}

// fullPiece is how many movements a piece may have before the next one is no wider: enough to be
// worth a query, few enough for a server that sorts all of them first.
const fullPiece = 20_000

// widen fits the width to how many movements the last piece had.
func (s *keyRange) widen(read int64) {
	switch {
	case read < fullPiece/4:
		s.width = min(s.width*s.growth, s.most)
	case read > fullPiece && s.width < s.most:
		s.width = max(1, s.width*fullPiece/read)
	}
}

// total counts the movements of the range.
func (s keyRange) total(ctx context.Context) (int64, error) {
	if s.lo >= s.hi {
		return 0, nil
	}
	return s.count(ctx, s.lo, s.hi, s.types)
}
