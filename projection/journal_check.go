package projection

import (
	"context"
	"fmt"
	"iter"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
	"product-service/projection/view"
)

// JournalCheck holds the journal of a shard against its log. Up to the checkpoint the journal must
// have everything. What lies beyond is left to the projector, but for the rows of segments that begin
// before the checkpoint and end after it.
type JournalCheck struct {
	builder *builder
	shard   int16
	upTo    int64                          // the checkpoint
	pages   func(rows []eventstore.Record) // is given every page of the log
	broken  map[uuid.UUID]bool             // products whose log can't be read to its end

	advance func() error  // reads the next segment
	ahead   *view.Segment // which is this; nil: there is none
	open    *view.Merge   // what is left of those that have begun
	now     Gap
	bad     []Gap
}

// Gap is a part of a journal in which something is wrong. No segment reaches over its ends.
type Gap struct {
	from, to int64           // it begins behind from, and to is the last of it
	beyond   []view.Movement // rows of its segments that are beyond the checkpoint, as the log has them
	faults   int
	Product  uuid.UUID // that the first fault is about
	what     string    // the first one is, in words
}

// Words says what is wrong.
func (s *Gap) Words(shard int16) string {
	words := fmt.Sprintf("shard %d, positions %d to %d: %s", shard, s.from+1, s.to, s.what)
	if s.faults > 1 {
		words += fmt.Sprintf(", and %d more", s.faults-1)
	}
	return words
}

// checkJournal compares the journal of a shard with what its log comes to. It hands every page of
// the log to pages.
func (b *builder) checkJournal(ctx context.Context, shard int16, pages func(rows []eventstore.Record)) (*JournalCheck, error) {
	shards, err := b.store.LoadCheckpoints(ctx, b.into.Name)
	if err != nil {
		return nil, err
	}
	c := &JournalCheck{builder: b, shard: shard, upTo: shards[shard].Pos, pages: pages,
		broken: map[uuid.UUID]bool{}, open: view.NewMerge(true)}
	next, stop := iter.Pull2(b.segments(ctx, view.SegmentID(shard, 0), view.SegmentID(shard, c.upTo+1)))
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
	if err := c.begin(c.upTo); err != nil {
		return nil, err
	}
	c.surplus(nil)
	c.bound(c.upTo)
	return c, nil
}

// movements are the movements that belong in the journal, made from the log alone.
func (c *JournalCheck) movements(ctx context.Context) iter.Seq2[view.Movement, error] {
	return func(yield func(view.Movement, error) bool) {
		stocks, at := map[uuid.UUID]product.Product{}, eventstore.Cursor{Shard: c.shard}
		for {
			rows, err := c.builder.log.Tail(ctx, []eventstore.Cursor{at}, c.builder.store.Config.MaxPage)
			if err != nil {
				yield(view.Movement{}, err)
				return
			}
			if len(rows) == 0 {
				return
			}
			c.pages(rows)
			for i := range rows {
				r := &rows[i]
				if at.Pos = r.Pos; r.Version == 0 || c.builder.skips(r) || c.broken[r.ProductID] {
					continue
				}
				e, err := product.Decode(r.Type, r.Data)
				if err != nil {
					c.broken[r.ProductID] = true
					continue
				}
				p := stocks[r.ProductID].Apply(e)
				stocks[r.ProductID] = p
				m := view.NewMovement(&view.Document{Total: p.StockTotal, Reserved: p.Reserved}, *r, e)
				if m.Type.Visible() && !yield(m, nil) {
					return
				}
			}
		}
	}
}

func (c *JournalCheck) fault(id uuid.UUID, format string, args ...any) {
	if c.now.faults++; c.now.faults == 1 {
		c.now.Product, c.now.what = id, fmt.Sprintf(format, args...)
	}
}

// begin opens the segments that begin at a position or before it.
func (c *JournalCheck) begin(pos int64) error {
	for c.ahead != nil && c.ahead.ID < view.SegmentID(c.shard, pos+1) {
		rows, err := c.ahead.Movements()
		if err != nil {
			c.fault(uuid.Nil, "segment %s: %v", c.ahead.ID, err)
		}
		if len(rows) > 0 {
			c.open.Add(rows)
		}
		if err := c.advance(); err != nil {
			return err
		}
	}
	return nil
}

// meet compares a movement of the log with the next of the journal.
func (c *JournalCheck) meet(m *view.Movement) error {
	if err := c.begin(m.Pos); err != nil {
		return err
	}
	c.surplus(m)
	found := 0
	for next := c.open.Peek(); next != nil && next.Pos == m.Pos; next = c.open.Peek() {
		found++
		if got := c.open.Next(); got != *m {
			c.fault(m.Product, "the log comes to %+v, the journal has %+v", *m, got)
		}
	}
	switch {
	case found > 1:
		c.fault(m.Product, "version %d is there %d times", m.Version, found)
	case found == 0 && m.Pos <= c.upTo:
		c.fault(m.Product, "version %d is missing", m.Version)
	}
	if found > 0 && m.Pos > c.upTo {
		c.now.beyond = append(c.now.beyond, *m)
	}
	if c.open.Peek() == nil && m.Pos <= c.upTo {
		c.bound(m.Pos)
	}
	return nil
}

// surplus takes what the journal has before a movement of the log, or all that it has left: the log
// comes to none of that. Movements of products that are parked, or whose log can't be read, aren't
// judged.
func (c *JournalCheck) surplus(before *view.Movement) {
	for next := c.open.Peek(); next != nil && (before == nil || next.Pos < before.Pos); next = c.open.Peek() {
		m := c.open.Next()
		if from := c.builder.parked[m.Product]; !c.broken[m.Product] && (from == 0 || m.Pos < from) {
			c.fault(m.Product, "the log has no version %d of it at position %d", m.Version, m.Pos)
		}
	}
}

// bound ends a part where no segment is open. The part is a gap if something is wrong in it.
func (c *JournalCheck) bound(pos int64) {
	if s := c.now; s.faults > 0 {
		s.to = pos
		if n := len(c.bad); n > 0 && c.bad[n-1].to == s.from { // one with the stretch before it
			before := &c.bad[n-1]
			before.to, before.beyond, before.faults = s.to, s.beyond, before.faults+s.faults
		} else {
			c.bad = append(c.bad, s)
		}
	}
	c.now = Gap{from: pos}
}

// Gaps are the parts in which something is wrong.
func (c *JournalCheck) Gaps() []Gap { return c.bad }

// Readable says whether the log could be read to its end, and so whether it says what belongs in
// the gaps.
func (c *JournalCheck) Readable() bool { return len(c.broken) == 0 }
