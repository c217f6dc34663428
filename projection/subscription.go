package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/projection/store"
)

// subscription follows the log in the shards that are leased, and brings one generation up to date
// with them.
type subscription struct {
	builder
	shards map[int16]*shard
	turn   int           // which shard is read first
	limit  int           // rows of the next page
	ahead  <-chan *batch // nil: the next page isn't read yet
	beat   time.Time
	gauged time.Time
}

// shard is a shard that is leased, and how far it has been folded.
type shard struct {
	at      store.Checkpoint
	stopped bool // the log isn't the one it was
	lost    bool // its checkpoint is of a newer lease than this one
}

// folds says whether this process folds the shard's rows.
func (s *shard) folds() bool { return !s.stopped && !s.lost }

func newSubscription(s *store.Store, into store.Generation, log Log, logger *slog.Logger, m *metrics) *subscription {
	return &subscription{
		builder: builder{store: s, into: into, log: log, logger: logger, metrics: m, now: time.Now,
			cache: newCache(s.Config.CacheBytes), journal: journal{}, parked: map[uuid.UUID]int64{}},
		shards: map[int16]*shard{}, limit: s.Config.MinPage,
	}
}

// poll reads a page of what follows in the shards of the leases, folds it and moves their
// checkpoints. It says how many rows that were, and whether there may be more.
func (sub *subscription) poll(ctx context.Context, leases []eventstore.Lease) (rows int, full bool, err error) {
	rows, full, err = sub.page(ctx, leases)
	return rows, full, errors.Join(err, sub.gauge(ctx)) // the lag grows while pages fail
}

func (sub *subscription) page(ctx context.Context, leases []eventstore.Lease) (rows int, full bool, err error) {
	if err := sub.adopt(ctx, leases); err != nil {
		return 0, false, err
	}
	r := sub.read(ctx)
	if r.err != nil {
		return 0, false, r.err
	}
	if err := sub.apply(ctx, r.records); err != nil {
		sub.cache.purge()
		return 0, false, err
	}
	eventstore.CrashPoint("projected")
	if err := sub.checkpoint(ctx, sub.progress(r)); err != nil {
		return 0, false, err
	}
	sub.metrics.rows.Add(float64(len(r.records)))
	if len(r.records) > 0 {
		sub.metrics.batches.Inc()
	}
	return len(r.records), r.full(), nil
}

// adopt takes up the shards whose leases have come to this process, where their checkpoints stand,
// and leaves those whose leases have gone.
func (sub *subscription) adopt(ctx context.Context, leases []eventstore.Lease) error {
	held, gained := make(map[int16]*shard, len(leases)), map[int16]int64{}
	for _, l := range leases {
		if known := sub.shards[l.Shard]; known != nil && known.at.Epoch == l.Epoch {
			held[l.Shard] = known
		} else {
			gained[l.Shard] = l.Epoch
		}
	}
	if len(gained) > 0 {
		begun, err := sub.takeUp(ctx, gained)
		if err != nil {
			return err
		}
		maps.Copy(held, begun)
		sub.store.TellMissed() // others may have written before
	}
	stopped := 0
	for _, s := range held {
		if s.stopped {
			stopped++
		}
	}
	sub.shards = held
	sub.metrics.stopped.Set(float64(stopped))
	return nil
}

// takeUp takes gained shards over from their owners before. Those may still fold a page, but can't
// move the checkpoints any more. takeUp reads where the shards stand, and stops those whose log has
// changed behind their checkpoints.
func (sub *subscription) takeUp(ctx context.Context, gained map[int16]int64) (map[int16]*shard, error) {
	saved, err := sub.store.Fence(ctx, sub.into.Name, gained)
	if err != nil {
		return nil, err
	}
	sub.cache.purge() // others wrote these documents
	sub.ahead = nil
	if _, err := sub.loadParked(ctx); err != nil {
		return nil, err
	}
	begun, journaled := map[int16]*shard{}, map[int16]int64{}
	for n, epoch := range gained {
		if c := saved[n]; c.Epoch > epoch {
			begun[n] = sub.lose(ctx, n, c, epoch)
		} else {
			begun[n], journaled[n] = &shard{at: c}, c.Pos
			delete(sub.journal, n)
		}
	}
	if err := sub.compareLog(ctx, begun); err != nil {
		return nil, err
	}
	if err := sub.journal.begin(ctx, sub.into.Journal, journaled); err != nil {
		return nil, err
	}
	return begun, sub.retryParked(ctx, begun)
}

// lose gives a shard up until its lease is another. A rebuild has no leases: it only looks after
// shards until they have an owner.
func (sub *subscription) lose(ctx context.Context, n int16, at store.Checkpoint, epoch int64) *shard {
	if epoch > 0 {
		sub.logger.WarnContext(ctx, "a shard isn't projected here: its checkpoint is of a newer lease; "+
			"if this process keeps the shard, PostgreSQL was restored: rebuild the projection",
			"shard", n, "epoch", epoch, "newer_epoch", at.Epoch)
	}
	at.Epoch = epoch
	return &shard{at: at, lost: true}
}

// compareLog stops the shards in which the log has another row at the checkpoint than it had when the
// checkpoint was written. A fact may have been pruned there, but not while it is the shard's last row.
func (b *builder) compareLog(ctx context.Context, held map[int16]*shard) error {
	var places []eventstore.Cursor
	for n, s := range held {
		if s.at.Pos > 0 {
			places = append(places, eventstore.Cursor{Shard: n, Pos: s.at.Pos})
		}
	}
	if len(places) == 0 {
		return nil
	}
	records, err := b.log.At(ctx, places)
	if err != nil {
		return err
	}
	last, err := b.log.Positions(ctx)
	if err != nil {
		return err
	}
	marks := map[int16]string{}
	for _, r := range records {
		marks[r.Shard] = r.CommandID.String()
	}
	for _, place := range places {
		s, mark := held[place.Shard], marks[place.Shard]
		if mark == s.at.CommandAt || (mark == "" && last[place.Shard] > place.Pos) {
			continue
		}
		s.stopped = true
		b.logger.ErrorContext(ctx, "a shard isn't projected: the log has another row at its checkpoint than when it was written, "+
			"as after a restore; rebuild the projection",
			"shard", place.Shard, "pos", place.Pos, "command_at_checkpoint", s.at.CommandAt, "command_in_log", mark)
	}
	return nil
}

// progress says where the shards stand after a page. A shard that was read to its end is complete up
// to the time at which it was settled before that.
func (sub *subscription) progress(r *batch) map[int16]store.Checkpoint {
	moved := map[int16]store.Checkpoint{}
	for i := range r.records {
		row := &r.records[i]
		c, ok := moved[row.Shard]
		if !ok {
			c = sub.shards[row.Shard].at
		}
		if c.Pos == 0 {
			c.First = row.At.UnixMicro()
		}
		c.Pos, c.CommandAt, c.At = row.Pos, row.CommandID.String(), row.At.UnixMicro()
		c.Complete = max(c.Complete, c.At-1) // others may come with the same time
		moved[row.Shard] = c
	}
	for _, cursor := range r.ended() {
		c, ok := moved[cursor.Shard]
		if !ok {
			c = sub.shards[cursor.Shard].at
		}
		before := c
		c.CaughtUp = c.Epoch
		if at, known := r.settled[cursor.Shard]; known {
			c.Complete = max(c.Complete, at.UnixMicro()-1) // others may come with this very time
		}
		if c != before {
			moved[cursor.Shard] = c
		}
	}
	return moved
}

// checkpoint moves the checkpoints, but those of shards that have gone to another owner.
func (sub *subscription) checkpoint(ctx context.Context, moved map[int16]store.Checkpoint) error {
	err := sub.store.SaveCheckpoints(ctx, sub.into.Name, moved)
	if errors.Is(err, store.ErrFenced) {
		saved, err := sub.store.LoadCheckpoints(ctx, sub.into.Name)
		if err != nil {
			return err
		}
		for n, c := range saved {
			if own, ok := moved[n]; ok && c.Epoch > own.Epoch {
				sub.shards[n] = sub.lose(ctx, n, c, own.Epoch)
				delete(moved, n)
			}
		}
		if err := sub.store.SaveCheckpoints(ctx, sub.into.Name, moved); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	for n, c := range moved {
		sub.shards[n].at = c
	}
	return nil
}

// gauge measures the lag, once a second.
func (sub *subscription) gauge(ctx context.Context) error {
	if sub.now().Sub(sub.gauged) < time.Second {
		return nil
	}
	sub.gauged = sub.now()
	last, err := sub.log.Positions(ctx)
	if err != nil {
		return fmt.Errorf("measure the lag: %w", err)
	}
	sub.metrics.lagEvents.Reset() // of shards that have gone
	sub.metrics.lagSeconds.Reset()
	for n, s := range sub.shards {
		sub.metrics.lag(n, last[n], s.at, sub.now())
	}
	if len(sub.parked) == 0 {
		return nil
	}
	released, err := sub.loadParked(ctx)
	for _, id := range released { // once more: what was skipped until now isn't in the journal
		err = errors.Join(err, sub.repairProduct(ctx, id))
	}
	return err
}
