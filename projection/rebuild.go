package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"product-service/eventstore"
	"product-service/projection/store"
	"product-service/projection/view"
	"product-service/wait"
)

// RebuildOptions say what to rebuild. The zero value is everything.
type RebuildOptions struct {
	Product uuid.UUID // only this one, in place
	Shard   *int16    // only the products of this shard, in place
}

// Progress is how far a rebuild is.
type Progress struct {
	Phase       string // "fill", "index", "switch" or "clean up"; "fold" for products in place
	Done, Total int64  // rows of the log, or products in place
	PerSecond   float64
	Left        time.Duration // at this rate; 0 where there is none yet
}

// Rebuild makes documents anew from the log. A rebuild of everything fills a new generation beside
// the one that is read, with checkpoints of its own, follows the log until it has caught up, and
// names the new generation. Readers and projectors then change over to it, and see no less than
// before (see package store). The levels of the Inventory Service stay. A rebuild that was
// interrupted goes on where it was. Single products are repaired in place, and with them what is
// wrong with the journal of their shard. Rebuild returns [store.ErrRebuilding] while another process
// rebuilds.
func Rebuild(
	ctx context.Context, s *store.Store, log Log, logger *slog.Logger, o RebuildOptions, progress func(Progress),
) error {
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		return err
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	r := &rebuild{store: s, log: log, logger: logger, metrics: m, report: progress, began: time.Now()}
	if o.Product != uuid.Nil || o.Shard != nil {
		return r.inPlace(ctx, o)
	}
	return r.everything(ctx)
}

type rebuild struct {
	store   *store.Store
	log     Log
	logger  *slog.Logger
	metrics *metrics
	report  func(Progress)
	began   time.Time
	skipped int64 // rows an earlier, interrupted rebuild did
	lock    store.RebuildLock
}

// indexTime is how long the indexes of a filled generation may take: minutes for millions of rows.
const indexTime = 12 * time.Hour

func (r *rebuild) everything(ctx context.Context) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	g := r.store.Collections(r.lock.Generation)
	if err := r.store.CreateGeneration(ctx, g.Name); err != nil {
		return err
	}
	sub := newSubscription(r.store, g, r.log, r.logger, r.metrics)
	sub.limit = r.store.Config.MaxPage
	target, err := r.log.Positions(ctx)
	if err != nil {
		return err
	}
	if err := r.fill(ctx, sub, target); errors.Is(err, errOtherLog) {
		return errors.Join(err, r.store.Unlock(ctx, r.lock))
	} else if err != nil {
		return err
	}
	r.report(Progress{Phase: "index"})
	if err := r.indexed(ctx, g); err != nil {
		return err
	}
	if err := r.fill(ctx, sub, target); err != nil { // what came meanwhile
		return err
	}
	r.report(Progress{Phase: "switch"})
	if err := r.catchUp(ctx, sub); err != nil {
		return err
	}
	old, err := r.change(ctx)
	if err != nil {
		return err
	}
	r.report(Progress{Phase: "clean up"})
	return r.handOver(ctx, sub, old)
}

// everyShard are leases older than any: whoever projects takes over from them.
func everyShard() []eventstore.Lease {
	all := make([]eventstore.Lease, eventstore.Shards)
	for n := range all {
		all[n] = eventstore.Lease{Role: Role, Shard: int16(n)}
	}
	return all
}

// fill polls until nothing is left of the log but what is being written just now.
func (r *rebuild) fill(ctx context.Context, sub *subscription, target [eventstore.Shards]int64) error {
	for first := true; ; first = false {
		if err := r.renew(ctx); err != nil {
			return err
		}
		_, full, err := sub.poll(ctx, everyShard())
		if err != nil {
			return fmt.Errorf("fill generation %s: %w", sub.into.Name, err)
		}
		p := Progress{Phase: "fill"}
		for n, last := range target {
			p.Total += last
			switch s := sub.shards[int16(n)]; {
			case s.lost: // somebody projects it already
			case s.stopped:
				return fmt.Errorf("shard %d: %w", n, errOtherLog)
			default:
				p.Done += min(last, s.at.Pos)
			}
		}
		if first && r.skipped == 0 && p.Done > int64(sub.limit) {
			r.skipped = p.Done
		}
		r.report(r.rated(p))
		if !full {
			return nil
		}
	}
}

// catchUp polls until the new generation holds all that readers see now. It then lacks a page at most
// when projectors turn to it, and a process that hasn't looked for long may read it at once. Under
// load the new generation may always lack a page: catchUp tries five times.
func (r *rebuild) catchUp(ctx context.Context, sub *subscription) error {
	for range 5 {
		behind, err := r.behind(ctx, sub)
		if err != nil || !behind {
			return err
		}
		if err := r.renew(ctx); err != nil {
			return err
		}
		if _, _, err := sub.poll(ctx, everyShard()); err != nil {
			return fmt.Errorf("fill generation %s: %w", sub.into.Name, err)
		}
	}
	return nil
}

// behind says whether the generation that is read holds rows of the log that the new one lacks. After
// a restore of PostgreSQL the checkpoints of the former can lie beyond the log.
func (r *rebuild) behind(ctx context.Context, sub *subscription) (bool, error) {
	current, err := r.store.LoadMeta(ctx)
	if err != nil {
		return false, err
	}
	live, err := r.store.LoadCheckpoints(ctx, current.Generation)
	if err != nil {
		return false, err
	}
	last, err := r.log.Positions(ctx)
	if err != nil {
		return false, err
	}
	for n, c := range live {
		if s := sub.shards[n]; s == nil || s.at.Pos < min(c.Pos, last[n]) {
			return true, nil
		}
	}
	return false, nil
}

func (r *rebuild) rated(p Progress) Progress {
	p.PerSecond = float64(p.Done-r.skipped) / time.Since(r.began).Seconds()
	if p.PerSecond > 0 {
		p.Left = time.Duration(float64(p.Total-p.Done) / p.PerSecond * float64(time.Second)).Round(time.Second)
	}
	return p
}

// indexed makes the indexes that the generation was filled without, and keeps the lock meanwhile.
func (r *rebuild) indexed(ctx context.Context, g store.Generation) error {
	done := make(chan error, 1)
	go func() {
		// Without a deadline of its own it would get that of one command.
		ctx, cancel := context.WithTimeout(ctx, indexTime)
		defer cancel()
		done <- r.store.IndexHistory(ctx, g)
	}()
	tick := time.NewTicker(r.store.Times.Lock / 3)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			if err := r.renew(ctx); err != nil {
				return errors.Join(err, <-done)
			}
		}
	}
}

// change names the new generation as the one that is read, and returns the one that was.
func (r *rebuild) change(ctx context.Context) (old string, err error) {
	if err := r.renewNow(ctx); err != nil { // nobody else may drop the old one before all have changed over
		return "", err
	}
	current, err := r.store.LoadMeta(ctx)
	if err != nil {
		return "", err
	}
	if err := r.store.ChangeOver(ctx, current.Generation, r.lock.Generation); err != nil {
		return "", err
	}
	r.logger.InfoContext(ctx, "changed over to a new generation of the projection",
		"generation", r.lock.Generation, "generation_before", current.Generation)
	return current.Generation, nil
}

// errOtherLog says that the log isn't the one the interrupted rebuild read.
var errOtherLog = errors.New("the log has changed since the rebuild was interrupted; begin again")

// handOver follows the log until every reader and projector has changed over, and then drops the old
// generation.
func (r *rebuild) handOver(ctx context.Context, sub *subscription, old string) error {
	for end := time.Now().Add(r.store.Times.Change + r.store.Config.ReadTimeout); time.Now().Before(end); {
		if err := r.renew(ctx); err != nil {
			return err
		}
		if _, _, err := sub.poll(ctx, everyShard()); err != nil {
			clear(sub.shards) // owners may have come meanwhile
			if !errors.Is(err, store.ErrFenced) && !errors.Is(err, errStale) && ctx.Err() == nil {
				r.logger.WarnContext(ctx, "a page was left to the projectors, which have taken over", "error", err)
			}
		}
		wait.For(ctx, 50*time.Millisecond)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if err := r.renewNow(ctx); err != nil {
		return err
	}
	r.logger.InfoContext(ctx, "dropping the old generation of the projection", "generation", old)
	if err := r.store.DropOthers(ctx, &r.lock, sub.into.Name); err != nil {
		return err
	}
	return r.store.Unlock(ctx, r.lock)
}

// begin locks a new rebuild, or goes on with an interrupted one. An interrupted rebuild that was of
// another shape of documents, or had only to drop the old generation, begins again.
func (r *rebuild) begin(ctx context.Context) error {
	current, err := r.store.LoadMeta(ctx)
	if err != nil {
		return err
	}
	if current.Schema > view.Schema {
		return errNewer
	}
	found, interrupted, err := r.store.Locked(ctx)
	if err != nil {
		return err
	}
	r.lock = r.store.NewRebuildLock(store.NextGeneration(current.Generation, found.Generation))
	keep := []string{current.Generation}
	if interrupted {
		if found.Schema == view.Schema && found.Generation != current.Generation {
			r.lock.Generation, keep = found.Generation, append(keep, found.Generation)
			r.logger.InfoContext(ctx, "going on with an interrupted rebuild", "generation", found.Generation)
		}
		return r.store.TakeOver(ctx, found, &r.lock, keep...)
	}
	if err := r.store.Lock(ctx, r.lock); err != nil {
		return err
	}
	// Look again, under the lock: another rebuild may have come and gone before it.
	if now, err := r.store.LoadMeta(ctx); err != nil || now.Generation != current.Generation {
		return errors.Join(err, store.ErrRebuilding, r.store.Unlock(ctx, r.lock))
	}
	return r.store.DropOthers(ctx, &r.lock, keep...)
}

func (r *rebuild) renew(ctx context.Context) error { return r.store.Renew(ctx, &r.lock) }

// renewNow renews the lock for all of its time: nobody else may rebuild during what is done next.
func (r *rebuild) renewNow(ctx context.Context) error {
	r.lock.Until = 0
	return r.renew(ctx)
}
