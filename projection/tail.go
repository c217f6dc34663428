package projection

import (
	"context"
	"math"
	"slices"
	"time"

	"product-service/eventstore"
)

// batch is a page of the log: its rows, and where they were read from.
type batch struct {
	cursors []eventstore.Cursor // where it began in each shard, in the order it was read in
	limit   int
	records []eventstore.Record
	// Up to when shards were settled before it was read: it has all rows up to then of those that
	// it came to the end of.
	settled map[int16]time.Time
	err     error
}

// full says whether the log may have more.
func (r *batch) full() bool { return len(r.records) >= r.limit }

// ended are the cursors of the shards that the page came to the end of.
func (r *batch) ended() []eventstore.Cursor {
	if !r.full() {
		return r.cursors
	}
	last := r.records[len(r.records)-1].Shard
	return r.cursors[:slices.IndexFunc(r.cursors, func(c eventstore.Cursor) bool { return c.Shard == last })]
}

// following are the cursors after it, beginning with the next shard.
func (r *batch) following() []eventstore.Cursor {
	last := make(map[int16]int64, len(r.cursors))
	for i := range r.records {
		last[r.records[i].Shard] = r.records[i].Pos
	}
	cursors := slices.Concat(r.cursors[1:], r.cursors[:1])
	for i, c := range cursors {
		cursors[i].Pos = max(c.Pos, last[c.Shard])
	}
	return cursors
}

// cursors are where to read on, beginning with another shard each time.
func (sub *subscription) cursors() []eventstore.Cursor {
	var cursors []eventstore.Cursor
	for n := range int16(eventstore.Shards) {
		if s := sub.shards[n]; s != nil && s.folds() {
			cursors = append(cursors, eventstore.Cursor{Shard: n, Pos: s.at.Pos})
		}
	}
	if len(cursors) == 0 {
		return nil
	}
	sub.turn++
	first := sub.turn % len(cursors)
	return slices.Concat(cursors[first:], cursors[:first])
}

// read reads a page of what follows in the shards that are leased. While a full page is written the
// next one is read, because PostgreSQL and MongoDB can work at the same time.
func (sub *subscription) read(ctx context.Context) *batch {
	cursors := sub.cursors()
	var r *batch
	if sub.ahead != nil {
		r, sub.ahead = <-sub.ahead, nil
	}
	// Shards may have come or gone, or the page before it couldn't be written.
	if r == nil || !slices.Equal(r.cursors, cursors) {
		r = sub.readFrom(ctx, cursors, sub.limit, sub.due())
	}
	if r.err != nil {
		return r
	}
	sub.resize(r)
	if r.full() {
		ahead, next, limit, due := make(chan *batch, 1), r.following(), sub.limit, sub.due()
		go func() { ahead <- sub.readFrom(ctx, next, limit, due) }()
		sub.ahead = ahead
	}
	return r
}

func (sub *subscription) readFrom(ctx context.Context, cursors []eventstore.Cursor, limit int, due bool) *batch {
	r := &batch{cursors: cursors, limit: limit}
	if len(cursors) == 0 {
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, sub.store.Config.WriteTimeout)
	defer cancel()
	if due {
		shards := make([]int16, len(cursors))
		for i, c := range cursors {
			shards[i] = c.Shard
		}
		r.settled, r.err = sub.log.Settled(ctx, shards)
	}
	if r.err == nil {
		r.records, r.err = sub.log.Tail(ctx, cursors, limit)
	}
	return r
}

// due says whether to ask up to when the shards are settled: a heartbeat has passed, or lists over all
// products don't show yet what is projected.
func (sub *subscription) due() bool {
	latest, complete := int64(0), int64(math.MaxInt64)
	for _, s := range sub.shards {
		if s.folds() {
			latest, complete = max(latest, s.at.At), min(complete, s.at.Complete)
		}
	}
	if latest <= complete && sub.now().Sub(sub.beat) < sub.store.Config.Heartbeat {
		return false
	}
	sub.beat = sub.now()
	return true
}

func (sub *subscription) resize(r *batch) {
	switch {
	case r.full():
		sub.limit = min(sub.limit*2, sub.store.Config.MaxPage)
	case len(r.records) < sub.limit/4:
		sub.limit = max(sub.limit/2, sub.store.Config.MinPage)
	}
}
