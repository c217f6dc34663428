package projection

import (
	"context"
	"fmt"
	"iter"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"product-service/projection/view"
)

// journal says up to which position of each shard the movements are in the journal. That is where a
// segment ends. Two processes that add the next segment at the same time give it the same name, so
// that only one of them can.
type journal map[int16]int64

// begin finds out how far the journal of shards is. That may be further than their checkpoints, which
// are given as from: an owner before may have added to it and not have moved the checkpoint.
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

// journalEnd reads the segments of a shard from the last one back to the one that a position is in, or
// that ends before the position. It returns the id of that segment, and the position where the last
// one ends. It goes back in ever longer steps, for servers that sort all of a range.
func journalEnd(ctx context.Context, in *mongo.Collection, shard int16, pos int64) (first string, end int64, err error) {
	first, end = view.SegmentID(shard, 0), pos
	from, until := pos, view.SegmentID(shard+1, 0)
	for step := int64(2 * view.SegmentRows); ; step *= 8 {
		from = max(0, from-step)
		found, last, err := lastSegments(ctx, in, view.SegmentID(shard, from), until, view.SegmentID(shard, pos+1))
		if end = max(end, last); err != nil || found != "" || from == 0 {
			return max(first, found), end, err
		}
		until = view.SegmentID(shard, from)
	}
}

// lastSegments reads the segments between two ids from the last one back to the first that comes
// before a third. It returns the id of that segment, and the last position in any.
func lastSegments(ctx context.Context, in *mongo.Collection, from, until, before string) (found string, last int64, err error) {
	span := bson.D{{Key: "_id", Value: bson.D{{Key: "$gte", Value: from}, {Key: "$lt", Value: until}}}}
	o := options.Find().SetSort(bson.D{{Key: "_id", Value: -1}}).SetProjection(bson.D{{Key: "last", Value: 1}}).SetBatchSize(100)
	c, err := in.Find(ctx, span, o)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	for c.Next(ctx) {
		s := view.Segment{ID: c.Current.Lookup("_id").StringValue()}
		s.Last, _ = c.Current.Lookup("last").AsInt64OK() // what is damaged doesn't count
		last = max(last, s.Last)
		if s.ID < before && !s.Added() {
			return s.ID, last, nil
		}
	}
	return "", last, c.Err()
}

// segments reads the segments with an id from lo up to but without hi, in order. A segment that can't
// be decoded comes without rows.
func (b *builder) segments(ctx context.Context, lo, hi string) iter.Seq2[*view.Segment, error] {
	const page = 200
	return func(yield func(*view.Segment, error) bool) {
		for from := "$gte"; ; from = "$gt" {
			between := bson.D{{Key: "_id", Value: bson.D{{Key: from, Value: lo}, {Key: "$lt", Value: hi}}}}
			cursor, err := b.into.Journal.Find(ctx, between, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetLimit(page))
			var found []bson.Raw
			if err == nil {
				err = cursor.All(ctx, &found)
			}
			if err != nil {
				yield(nil, fmt.Errorf("read the journal: %w", err))
				return
			}
			for _, raw := range found {
				lo = raw.Lookup("_id").StringValue() // it is in the span of them
				s := &view.Segment{}
				if bson.Unmarshal(raw, s) != nil {
					s = &view.Segment{ID: lo}
				}
				if !yield(s, nil) {
					return
				}
			}
			if len(found) < page {
				return
			}
		}
	}
}
