package read

import (
	"context"
	"fmt"
	"iter"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"product-service/projection/view"
)

// packedReader is a collection of packed movements: blocks or segments.
type packedReader struct {
	reader *Reader
	in     *mongo.Collection
	field  string                      // that they are looked for by
	ended  func(context.Context) error // of an export: called when a query came to its end, before what follows is handed on
}

// watch makes an export of what is read.
func (s *packedReader) watch(ended func(context.Context) error) { s.ended = ended }

// The sizes of what is in memory of a query: of the first batch, and about those of later ones, and of what an export reads ahead of it.
const (
	firstBatch = 100 // blocks or segments
	batchBytes = 1 << 20
	aheadBytes = 64 << 10
)

// packed reads what the blocks or segments that match have packed. It holds for as long as the body of the loop.
func (s *packedReader) packed(ctx context.Context, filter bson.D, ascending bool) iter.Seq2[[]byte, error] {
	if s.ended == nil {
		return s.query(ctx, filter, ascending)
	}
	return s.ahead(ctx, filter, ascending)
}

func (s *packedReader) query(ctx context.Context, filter bson.D, ascending bool) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		o := s.reader.many(ctx).SetSort(bson.D{{Key: s.field, Value: direction(ascending)}}).SetProjection(bson.D{{Key: "rows", Value: 1}}).SetBatchSize(firstBatch)
		c, err := s.in.Find(ctx, filter, o)
		if err != nil {
			yield(nil, fmt.Errorf("read movements: %w", err))
			return
		}
		defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
		read, size := 0, 0
		for c.Next(ctx) {
			_, packed, ok := c.Current.Lookup("rows").BinaryOK()
			if !ok {
				yield(nil, fmt.Errorf("read movements: %s of %s has none: %w", c.Current.Lookup("_id"), s.in.Name(), view.ErrDamaged))
				return
			}
			if read, size = read+1, size+len(c.Current); c.RemainingBatchLength() == 0 {
				c.SetBatchSize(int32(max(1, min(1<<14, read*batchBytes/size)))) // one row or hundreds are in a segment
				read, size = 0, 0
			}
			if !yield(packed, nil) {
				return
			}
		}
		err = c.Err()
		if err == nil && s.ended != nil {
			err = s.ended(ctx)
		}
		if err != nil {
			yield(nil, fmt.Errorf("read movements: %w", err))
		}
	}
}

// ahead queries while what was read before is handed on: to write an export takes about as long as to read it.
func (s *packedReader) ahead(ctx context.Context, filter bson.D, ascending bool) iter.Seq2[[]byte, error] {
	type piece struct {
		all [][]byte
		err error // after them
	}
	return func(yield func([]byte, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		pieces := make(chan piece)
		defer func() {
			cancel()
			for range pieces { // until the query has ended
			}
		}()
		go func() {
			defer close(pieces)
			var all [][]byte
			var room []byte
			for packed, err := range s.query(ctx, filter, ascending) {
				if err != nil {
					pieces <- piece{all, err}
					return
				}
				at := len(room)
				room = append(room, packed...)
				all = append(all, room[at:])
				if len(room) >= aheadBytes {
					pieces <- piece{all: all}
					all, room = make([][]byte, 0, len(all)), make([]byte, 0, aheadBytes+len(packed))
				}
			}
			pieces <- piece{all: all}
		}()
		for p := range pieces {
			for _, packed := range p.all {
				if !yield(packed, nil) {
					return
				}
			}
			if p.err != nil {
				yield(nil, p.err)
				return
			}
		}
	}
}
