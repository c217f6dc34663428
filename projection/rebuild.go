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

// Rebuild folds the log anew. In whole it fills a new generation beside the one that is read, with
// checkpoints of its own, follows the log until it has caught up, and names it; readers and
// projectors then change over to it without seeing less than before (see package store), and the
// levels of the Inventory Service stay. A rebuild that was interrupted goes on where it was. Single
// products are folded anew in place, and what is wrong with the journal of their shard is mended.
// It returns [ErrRebuilding] while another process is at it.
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
	claim   store.RebuildLock
}

// indexTime is how long the indexes of a filled generation may take: minutes for millions of rows.
const indexTime = 12 * time.Hour

func (r *rebuild) everything(ctx context.Context) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	g := r.store.Collections(r.claim.Generation)
	if err := r.store.CreateGeneration(ctx, g.Name); err != nil {
		return err
	}
	f := newSubscription(r.store, g, r.log, r.logger, r.metrics)
	f.limit = r.store.Config.MaxPage
	target, err := r.log.Positions(ctx)
	if err != nil {
		return err
	}
	if err := r.fill(ctx, f, target); errors.Is(err, errOtherLog) {
		return errors.Join(err, r.store.Unlock(ctx, r.claim))
	} else if err != nil {
		return err
	}
	r.report(Progress{Phase: "index"})
	if err := r.indexed(ctx, g); err != nil {
		return err
	}
	if err := r.fill(ctx, f, target); err != nil { // what came meanwhile
		return err
	}
	r.report(Progress{Phase: "switch"})
	if err := r.catchUp(ctx, f); err != nil {
		return err
	}
	old, err := r.change(ctx)
	if err != nil {
		return err
	}
	r.report(Progress{Phase: "clean up"})
	return r.handOver(ctx, f, old)
}

// everyShard are leases older than any: whoever projects takes over from them.
func everyShard() []eventstore.Lease {
	all := make([]eventstore.Lease, eventstore.Shards)
	for n := range all {
		all[n] = eventstore.Lease{Role: Role, Shard: int16(n)}
	}
	return all
}

// fill polls until nothing is left but what is being written just now.
func (r *rebuild) fill(ctx context.Context, f *subscription, target [eventstore.Shards]int64) error {
	for first := true; ; first = false {
		if err := r.renew(ctx); err != nil {
			return err
		}
		_, full, err := f.poll(ctx, everyShard())
		if err != nil {
			return fmt.Errorf("fill generation %s: %w", f.into.Name, err)
		}
		p := Progress{Phase: "fill"}
		for n, last := range target {
			p.Total += last
			switch s := f.shards[int16(n)]; {
			case s.lost: // somebody projects it already
			case s.stopped:
				return fmt.Errorf("shard %d: %w", n, errOtherLog)
			default:
				p.Done += min(last, s.at.Pos)
			}
		}
		if first && r.skipped == 0 && p.Done > int64(f.limit) {
			r.skipped = p.Done
		}
		r.report(r.rated(p))
		if !full {
			return nil
		}
	}
}

// catchUp polls until the new generation holds all that readers see now, so that a page is all it
// lacks when projectors turn to it, and that whoever hasn't looked for long may read it at once.
// Under load it may never be at one with the live view: then a page is what it lacks.
func (r *rebuild) catchUp(ctx context.Context, f *subscription) error {
	for range 5 {
		behind, err := r.behind(ctx, f)
		if err != nil || !behind {
			return err
		}
		if err := r.renew(ctx); err != nil {
			return err
		}
		if _, _, err := f.poll(ctx, everyShard()); err != nil {
			return fmt.Errorf("fill generation %s: %w", f.into.Name, err)
		}
	}
	return nil
}

// behind says whether the generation that is read holds rows of the log that the new one lacks.
// After a restore its checkpoints can lie beyond the log.
func (r *rebuild) behind(ctx context.Context, f *subscription) (bool, error) {
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
		if s := f.shards[n]; s == nil || s.at.Pos < min(c.Pos, last[n]) {
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

// indexed builds the indexes the filling did without, and keeps the claim while that takes.
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
	if err := r.store.ChangeOver(ctx, current.Generation, r.claim.Generation); err != nil {
		return "", err
	}
	r.logger.InfoContext(ctx, "changed over to a new generation of the projection",
		"generation", r.claim.Generation, "before", current.Generation)
	return current.Generation, nil
}

// errOtherLog says that the log isn't the one the interrupted rebuild read.
var errOtherLog = errors.New("the log has changed since the rebuild was interrupted; begin again")

// handOver follows the log until every reader and projector has changed over, and then drops what
// nobody reads any more. See package store.
func (r *rebuild) handOver(ctx context.Context, f *subscription, old string) error {
	for end := time.Now().Add(r.store.Times.Change + r.store.Config.ReadTimeout); time.Now().Before(end); {
		if err := r.renew(ctx); err != nil {
			return err
		}
		if _, _, err := f.poll(ctx, everyShard()); err != nil {
			clear(f.shards) // owners may have come meanwhile
			if !errors.Is(err, store.ErrFenced) && !errors.Is(err, errStale) && ctx.Err() == nil {
				r.logger.WarnContext(ctx, "a page was left to the projectors, which have taken over", "error", err)
			}
		}
		store.Pause(ctx, nil, 50*time.Millisecond)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if err := r.renewNow(ctx); err != nil {
		return err
	}
	r.logger.InfoContext(ctx, "dropping the old generation of the projection", "generation", old)
	if err := r.store.DropOthers(ctx, &r.claim, f.into.Name); err != nil {
		return err
	}
	return r.store.Unlock(ctx, r.claim)
}

// begin claims the rebuild: a new one, or one that was interrupted. One of another shape of
// documents, or that was done but for cleaning up, begins again.
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
	r.claim = r.store.NewRebuildLock(store.NextGeneration(current.Generation, found.Generation))
	keep := []string{current.Generation}
	if interrupted {
		if found.Schema == view.Schema && found.Generation != current.Generation {
			r.claim.Generation, keep = found.Generation, append(keep, found.Generation)
			r.logger.InfoContext(ctx, "going on with an interrupted rebuild", "generation", found.Generation)
		}
		return r.store.TakeOver(ctx, found, &r.claim, keep...)
	}
	if err := r.store.Lock(ctx, r.claim); err != nil {
		return err
	}
	// Under the claim, as above. Another rebuild may have come and gone before it.
	if now, err := r.store.LoadMeta(ctx); err != nil || now.Generation != current.Generation {
		return errors.Join(err, store.ErrRebuilding, r.store.Unlock(ctx, r.claim))
	}
	return r.store.DropOthers(ctx, &r.claim, keep...)
}

func (r *rebuild) renew(ctx context.Context) error { return r.store.Renew(ctx, &r.claim) }

// renewNow keeps the claim for all of its time: what is done next must not be another's.
func (r *rebuild) renewNow(ctx context.Context) error {
	r.claim.Until = 0
	return r.renew(ctx)
}
