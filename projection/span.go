package projection

import (
	"context"
	"errors"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// span is a stretch of history between two keys, from lo up to but without hi, and a list of it with the highest first.
//
// It is read in pieces from one of its ends, each some times as wide as the one before: what a read costs then depends on what it returns, also on
// a server that reads and sorts all of a range before it returns the first of it.
type span struct {
	list   string // its name in cursors
	in     *mongo.Collection
	field  string // that holds the key
	lo, hi string
	types  bson.D
	key    func(*movement) string
	shape  string // of a key, for telling a cursor of another list; empty: the list is
	fixed  int    // how many of its first bytes are the same in all keys

	bound  func(at int64) string // the lowest key at a place: a version, or a microsecond
	at     func(key string) int64
	width  int64 // of the first piece, in places
	growth int64
	most   int64 // what width may grow to
}

// only keeps the rows of some types, by the index that has the fewest others.
func (s *span) only(types []MovementType, rareField string) {
	s.types = bson.D{{Key: "type", Value: bson.D{{Key: "$in", Value: types}}}}
	if !slices.ContainsFunc(types, common) {
		s.field = rareField
	}
}

// part is what lies between the page's cursors.
func (s span) part(page Range) (span, error) {
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

func (s span) parse(c string) (string, error) {
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

func (s span) filter() bson.D {
	return append(bson.D{{Key: s.field, Value: bson.D{{Key: "$gte", Value: s.lo}, {Key: "$lt", Value: s.hi}}}}, s.types...)
}

// read returns up to one row more than the page has, from the end the page is counted from.
func (s span) read(ctx context.Context, r *Reader, page Range) ([]movement, error) {
	var rows []movement
	if err := s.start(ctx, page.backward()); err != nil {
		return nil, err
	}
	direction := -1
	if page.backward() {
		direction = 1
	}
	for s.lo < s.hi && len(rows) <= page.size() {
		piece := s
		if page.backward() {
			piece.hi = min(s.hi, s.bound(s.at(s.lo)+s.width+1))
			s.lo = piece.hi
		} else {
			piece.lo = max(s.lo, s.bound(s.at(s.hi)-s.width))
			s.hi = piece.lo
		}
		s.width = min(s.width*s.growth, s.most)
		limit := page.size() + 1 - len(rows)
		c, err := s.in.Find(ctx, piece.filter(), r.many(ctx).SetSort(bson.D{{Key: s.field, Value: direction}}).SetLimit(int64(limit)))
		if err != nil {
			return nil, err
		}
		var more []movement
		if err := c.All(ctx, &more); err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// start moves the low end of an open list to its first row: reading from there on takes a few steps, from the beginning of time many.
func (s *span) start(ctx context.Context, backward bool) error {
	if !backward || s.width == s.most || s.lo != s.bound(0) || s.lo >= s.hi {
		return nil
	}
	var first bson.Raw
	sort := options.FindOne().SetSort(bson.D{{Key: s.field, Value: 1}}).SetProjection(bson.D{{Key: s.field, Value: 1}})
	err := s.in.FindOne(ctx, s.filter(), sort).Decode(&first)
	if errors.Is(err, mongo.ErrNoDocuments) {
		s.lo = s.hi
		return nil
	}
	if err == nil {
		s.lo = first.Lookup(s.field).StringValue()
	}
	return err
}

// count counts the rows of the span.
func (s span) count(ctx context.Context) (int64, error) {
	if s.lo >= s.hi {
		return 0, nil
	}
	return s.in.CountDocuments(ctx, s.filter(), options.Count())
}
