package projection

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"product-service/eventstore"
	"product-service/product"
)

// journalCheck holds the journal of a shard against its log, up to the checkpoint: there it must have everything. What lies beyond is left to the
// projector, but for the rows of segments that begin before it and end after it.
type journalCheck struct {
	folder  *folder
	shard   int16
	settled int64                          // the checkpoint
	pages   func(rows []eventstore.Record) // is given every page of the log
	broken  map[uuid.UUID]bool             // products whose log can't be read to its end

	advance func() error // reads the next segment
	ahead   *segment     // which is this; nil: there is none
	open    runs         // what is left of those that have begun
	now     stretch
	bad     []stretch
}

// stretch is a part of a journal. No segment reaches over its ends.
type stretch struct {
	from, to int64      // it begins behind from, and to is the last of it
	beyond   []movement // rows of its segments that are beyond the checkpoint, as the log has them
	faults   int
	product  uuid.UUID // that the first fault is about
	what     string    // the first one is, in words
}

func (s *stretch) words(shard int16) string {
	words := fmt.Sprintf("shard %d, positions %d to %d: %s", shard, s.from+1, s.to, s.what)
	if s.faults > 1 {
		words += fmt.Sprintf(", and %d more", s.faults-1)
	}
	return words
}

// checkJournal compares the journal of a shard with what its log comes to. It hands every page of the log to pages.
func (f *folder) checkJournal(ctx context.Context, shard int16, pages func(rows []eventstore.Record)) (*journalCheck, error) {
	shards, err := f.store.loadCheckpoints(ctx, f.into.name)
	if err != nil {
		return nil, err
	}
	c := &journalCheck{folder: f, shard: shard, settled: shards[shard].Pos, pages: pages, broken: map[uuid.UUID]bool{}, open: runs{ascending: true}}
	next, stop := iter.Pull2(f.segments(ctx, segmentID(shard, 0), segmentID(shard, c.settled+1)))
	defer stop()
	c.advance = func() error {
		s, err, _ := next()
		c.ahead = s
		return err
	}
	if err := c.advance(); err != nil {
		return nil, err
	}
	for m, err := range c.movements(ctx) {
		if err == nil {
			err = c.meet(&m)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := c.begin(c.settled); err != nil {
		return nil, err
	}
	c.surplus(nil)
	c.bound(c.settled)
	return c, nil
}

// movements are those that belong in the journal, made from the log alone.
func (c *journalCheck) movements(ctx context.Context) iter.Seq2[movement, error] {
	return func(yield func(movement, error) bool) {
		stocks, at := map[uuid.UUID]product.Product{}, eventstore.Cursor{Shard: c.shard}
		for {
			rows, err := c.folder.log.Tail(ctx, []eventstore.Cursor{at}, c.folder.store.config.MaxPage)
			if err != nil {
				yield(movement{}, err)
				return
			}
			if len(rows) == 0 {
				return
			}
			c.pages(rows)
			for i := range rows {
				r := &rows[i]
				if at.Pos = r.Pos; r.Version == 0 || c.folder.skips(r) || c.broken[r.ProductID] {
					continue
				}
				e, err := product.Decode(r.Type, r.Data)
				if err != nil {
					c.broken[r.ProductID] = true
					continue
				}
				p := stocks[r.ProductID].Apply(e)
				stocks[r.ProductID] = p
				m := move(&document{Total: p.StockTotal, Reserved: p.Reserved}, *r, e)
				if m.Type.visible() && !yield(m, nil) {
					return
				}
			}
		}
	}
}

// segments reads those with an id from lo up to but without hi, in order. One that can't be decoded has no rows.
func (f *folder) segments(ctx context.Context, lo, hi string) iter.Seq2[*segment, error] {
	const page = 200
	return func(yield func(*segment, error) bool) {
		for from := "$gte"; ; from = "$gt" {
			between := bson.D{{Key: "_id", Value: bson.D{{Key: from, Value: lo}, {Key: "$lt", Value: hi}}}}
			cursor, err := f.into.journal.Find(ctx, between, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetLimit(page))
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
				s := &segment{}
				if bson.Unmarshal(raw, s) != nil {
					s = &segment{ID: lo}
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

// unpacked are the segment's rows. One that is described otherwise than it is has rows and an error.
func (s *segment) unpacked() ([]movement, error) {
	rows, err := unpackSegment(s.Rows)
	var again segments
	for i := range rows {
		again.add(&rows[i])
	}
	id, _, _ := strings.Cut(s.ID, "/")
	switch {
	case err != nil:
		return nil, err
	case len(again) != 1 || again[0].ID != id:
		return nil, fmt.Errorf("it has the movements of %d segments, or of another", len(again))
	case again[0].Last != s.Last || again[0].Order != s.Order || again[0].Rare != s.Rare || !maps.Equal(again[0].Counts, s.Counts):
		return rows, fmt.Errorf("it is described as ending at %d (%s) with %v", s.Last, s.Order, s.Counts)
	}
	return rows, nil
}

func (c *journalCheck) fault(id uuid.UUID, format string, args ...any) {
	if c.now.faults++; c.now.faults == 1 {
		c.now.product, c.now.what = id, fmt.Sprintf(format, args...)
	}
}

// begin opens the segments that begin at a position or before it.
func (c *journalCheck) begin(pos int64) error {
	for c.ahead != nil && c.ahead.ID < segmentID(c.shard, pos+1) {
		rows, err := c.ahead.unpacked()
		if err != nil {
			c.fault(uuid.Nil, "segment %s: %v", c.ahead.ID, err)
		}
		if len(rows) > 0 {
			c.open.push(rows)
		}
		if err := c.advance(); err != nil {
			return err
		}
	}
	return nil
}

// meet compares a movement of the log with the next of the journal.
func (c *journalCheck) meet(m *movement) error {
	if err := c.begin(m.Pos); err != nil {
		return err
	}
	c.surplus(m)
	found := 0
	for ; c.open.Len() > 0 && c.open.all[0].rows[0].Pos == m.Pos; found++ {
		if got := c.open.next(); got != *m {
			c.fault(m.Product, "the log comes to %+v, the journal has %+v", *m, got)
		}
	}
	switch {
	case found > 1:
		c.fault(m.Product, "version %d is there %d times", m.Version, found)
	case found == 0 && m.Pos <= c.settled:
		c.fault(m.Product, "version %d is missing", m.Version)
	}
	if found > 0 && m.Pos > c.settled {
		c.now.beyond = append(c.now.beyond, *m)
	}
	if c.open.Len() == 0 && m.Pos <= c.settled {
		c.bound(m.Pos)
	}
	return nil
}

// surplus takes what comes before a movement of the log, or all that is left: the log has none of it. What a product that is parked, or whose log
// can't be read, has there isn't judged.
func (c *journalCheck) surplus(before *movement) {
	for c.open.Len() > 0 && (before == nil || c.open.all[0].rows[0].Pos < before.Pos) {
		m := c.open.next()
		if from := c.folder.parked[m.Product]; !c.broken[m.Product] && (from == 0 || m.Pos < from) {
			c.fault(m.Product, "the log has no version %d of it at position %d", m.Version, m.Pos)
		}
	}
}

// bound ends a stretch where no segment is open.
func (c *journalCheck) bound(pos int64) {
	if s := c.now; s.faults > 0 {
		s.to = pos
		if n := len(c.bad); n > 0 && c.bad[n-1].to == s.from { // one with the stretch before it
			before := &c.bad[n-1]
			before.to, before.beyond, before.faults = s.to, s.beyond, before.faults+s.faults
		} else {
			c.bad = append(c.bad, s)
		}
	}
	c.now = stretch{from: pos}
}

// pause waits between two pages, if there is a pace to keep: nobody is to feel it.
func (a *audit) pause(ctx context.Context, since time.Time) {
	if a.options.PerSecond > 0 {
		wait(ctx, nil, 4*time.Since(since))
	}
}

// journal compares the journal of a shard, and returns the products that the shard's log names.
func (a *audit) journal(ctx context.Context, shard int16) (ids []uuid.UUID, err error) {
	known, last := map[uuid.UUID]bool{}, time.Now()
	c, err := a.checkJournal(ctx, shard, func(rows []eventstore.Record) {
		for i := range rows {
			if id := rows[i].ProductID; !known[id] {
				known[id], ids = true, append(ids, id)
			}
		}
		a.pause(ctx, last)
		last = time.Now()
	})
	if err != nil || len(c.bad) == 0 {
		return ids, err
	}
	if err := a.store.still(ctx, a.into); err != nil {
		return ids, err
	}
	// Once more: a product may have been parked or released meanwhile.
	a.parked = map[uuid.UUID]int64{}
	if _, err := a.loadParked(ctx); err != nil {
		return ids, err
	}
	if c, err = a.checkJournal(ctx, shard, func([]eventstore.Record) {}); err != nil {
		return ids, err
	}
	heal := a.options.Heal && len(c.bad) > 0 && len(c.broken) == 0
	if heal {
		if err := a.rewriteJournal(ctx, c); err != nil {
			return ids, err
		}
		a.result.Healed += int64(len(c.bad))
	}
	for i := range c.bad {
		a.note(Difference{Product: c.bad[i].product, Where: "journal", What: c.bad[i].words(shard), Healed: heal})
	}
	return ids, nil
}
