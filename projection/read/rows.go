package read

import (
	"context"
	"fmt"
	"iter"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"product-service/projection/view"
)

// rowsReader reads a collection of documents that hold rows: blocks or segments.
type rowsReader struct {
	reader  *Reader
	in      *mongo.Collection
	journal bool                        // the rows are of several products
	field   string                      // that they are looked for by
	ended   func(context.Context) error // of an export: called when a query came to its end, before what follows is handed on
}

// watch makes an export of what is read.
func (s *rowsReader) watch(ended func(context.Context) error) { s.ended = ended }

// The sizes of what is in memory of a query: of the first batch, and about those of later ones, and
// of what an export reads ahead of it.
const (
	firstBatch = 100 // blocks or segments
	batchBytes = 1 << 20
	aheadBytes = 64 << 10
)

// stored reads the rows of the blocks or segments that match. They hold for as long as the body of
// the loop.
func (s *rowsReader) stored(ctx context.Context, filter bson.D, ascending bool) iter.Seq2[view.Rows, error] {
	if s.ended == nil {
		return s.query(ctx, filter, ascending)
	}
	return s.ahead(ctx, filter, ascending)
}

func (s *rowsReader) query(ctx context.Context, filter bson.D, ascending bool) iter.Seq2[view.Rows, error] {
	return func(yield func(view.Rows, error) bool) {
		o := s.reader.many(ctx).SetSort(bson.D{{Key: s.field, Value: direction(ascending)}}).SetProjection(bson.D{{Key: "rows", Value: 1}}).SetBatchSize(firstBatch)
		c, err := s.in.Find(ctx, filter, o)
		if err != nil {
			yield(nil, fmt.Errorf("read movements: %w", err))
			return
		}
		defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
		read, size := 0, 0
		for c.Next(ctx) {
			rows, err := view.RowsOf(c.Current.Lookup("rows"), s.journal)
			if err != nil {
				yield(nil, fmt.Errorf("read movements: %s of %s: %w", c.Current.Lookup("_id"), s.in.Name(), err))
				return
			}
			if read, size = read+1, size+len(c.Current); c.RemainingBatchLength() == 0 {
				c.SetBatchSize(int32(max(1, min(1<<14, read*batchBytes/size)))) // one row or hundreds are in a segment
				read, size = 0, 0
			}
			if !yield(rows, nil) {
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

// ahead queries while what was read before is handed on: to write an export takes about as long as
// to read it.
func (s *rowsReader) ahead(ctx context.Context, filter bson.D, ascending bool) iter.Seq2[view.Rows, error] {
	type piece struct {
		all []view.Rows
		err error // after them
	}
	return func(yield func(view.Rows, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		pieces := make(chan piece)
		defer func() {
			cancel()
			for range pieces { // until the query has ended
			}
		}()
		go func() {
			defer close(pieces)
			var all []view.Rows
			var room view.Rows
			for rows, err := range s.query(ctx, filter, ascending) {
				if err != nil {
					pieces <- piece{all, err}
					return
				}
				at := len(room)
				room = append(room, rows...)
				all = append(all, room[at:])
				if len(room) >= aheadBytes {
					pieces <- piece{all: all}
					all, room = make([]view.Rows, 0, len(all)), make(view.Rows, 0, aheadBytes+len(rows))
				}
			}
			pieces <- piece{all: all}
		}()
		for p := range pieces {
			for _, rows := range p.all {
				if !yield(rows, nil) {
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
