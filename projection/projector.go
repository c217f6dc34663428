// Package projection keeps the documents of the read model up to date with the log of the event store.
//
// A [Projector] reads the shards it has leases for by position, and writes page by page: first the
// blocks of movements, the journal and the hours that ended, then the products, then how far it
// got. Every product carries the position of the last row folded into it, and a write of it applies
// only to the state that it was computed from. A page may therefore be folded twice, by two
// processes, or in part, and each row counts once. A row that can't be folded in parks its product,
// and not its shard.
//
// [Rebuild] fills a new generation of documents beside the one that is read. A [Repairer] writes
// single products again, in place. The documents are described in package view, kept in package
// store and answered from in package read.
package projection

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"product-service/eventstore"
	"product-service/projection/store"
	"product-service/projection/view"
	"product-service/wait"
)

// Role is the leases' name for projecting.
const Role = "projector"

const (
	slowestPoll  = 250 * time.Millisecond // the slowest pace of asking an idle log for news
	longestRetry = time.Second            // the longest pause before a failed page is tried again
)

// Log is what the projector reads: [eventstore.Store] implements it.
type Log interface {
	Tail(ctx context.Context, cursors []eventstore.Cursor, limit int) ([]eventstore.Record, error)
	At(ctx context.Context, places []eventstore.Cursor) ([]eventstore.Record, error)
	ProductRecords(ctx context.Context, productID uuid.UUID) iter.Seq2[eventstore.Record, error]
	Positions(ctx context.Context) ([eventstore.Shards]int64, error)
	Settled(ctx context.Context, shards []int16) (map[int16]time.Time, error)
	Committed() <-chan struct{}
}

// Leases says which shards are this process's to project: [eventstore.Leases] implements it.
type Leases interface {
	Held(role string) []eventstore.Lease
}

// Projector keeps the documents up to date with the log.
type Projector struct {
	store   *store.Store
	log     Log
	leases  Leases
	logger  *slog.Logger
	metrics *metrics
	live    *subscription
	held    atomic.Pointer[holding]
	pace    wait.Pace

	rebuilds sync.WaitGroup
}

// NewProjector prepares to project; Run does it.
func NewProjector(
	s *store.Store, log Log, leases Leases, logger *slog.Logger, registry prometheus.Registerer,
) (*Projector, error) {
	m, err := newMetrics(registry)
	if err != nil {
		return nil, err
	}
	p := &Projector{store: s, log: log, leases: leases, logger: logger, metrics: m,
		pace: wait.Pace{Least: 5 * time.Millisecond, Most: slowestPoll}}
	s.SetSole(p.sole)
	return p, nil
}

// holding is what a projector folds in: all shards of a generation, each under the epoch of its lease.
type holding struct {
	generation string
	epochs     [eventstore.Shards]int64
}

// sole says whether this projector alone writes a generation: it has taken every shard over, and
// its leases hold.
func (p *Projector) sole(generation string) bool {
	h := p.held.Load()
	if h == nil || h.generation != generation {
		return false
	}
	leases := p.leases.Held(Role)
	for _, l := range leases {
		if h.epochs[l.Shard] != l.Epoch {
			return false
		}
	}
	return len(leases) == eventstore.Shards
}

// hold notes what is folded in from now on.
func (p *Projector) hold() {
	h := &holding{generation: p.live.into.Name}
	for n, s := range p.live.shards {
		if !s.folds() {
			p.held.Store(nil)
			return
		}
		h.epochs[n] = s.at.Epoch
	}
	if len(p.live.shards) < eventstore.Shards {
		h = nil
	}
	p.held.Store(h)
}

// Run projects until the context ends, and finishes its page first. It logs whatever fails meanwhile
// and tries it again.
func (p *Projector) Run(ctx context.Context) error {
	hints := p.log.Committed()
	work := context.WithoutCancel(ctx)
	defer p.rebuilds.Wait()
	failures := 0
	for ctx.Err() == nil {
		if err := p.upgrade(ctx); err != nil {
			p.metrics.failures.Inc()
			p.logger.ErrorContext(ctx, "the projection could not be made ready for this version of the program; it is tried again",
				"error", err)
			wait.For(ctx, longestRetry)
			continue
		}
		began := time.Now()
		rows, full, err := p.Poll(work)
		switch {
		case err != nil:
			failures++
			p.metrics.failures.Inc()
			p.logger.ErrorContext(ctx, "projecting failed; it is tried again", "error", err, "failures", failures)
			wait.For(ctx, wait.Backoff(20*time.Millisecond, longestRetry, failures))
		case full:
			failures = 0
			p.giveWay(ctx, hints, time.Since(began))
		default:
			failures = 0
			p.rest(ctx, time.Since(began))
			wait.ForHint(ctx, p.pace.Next(rows > 0), hints)
		}
	}
	return nil
}

// longestRest is the longest time between two pages for the sake of the cost of a page.
const longestRest = 400 * time.Millisecond

// rest waits after a page, the longer the more time the page took. A page writes each product once,
// however often it changed: so the more a page costs, the more rows are to share the next one. A
// read that waits for a version ends the rest, and where somebody follows changes there is none.
func (p *Projector) rest(ctx context.Context, took time.Duration) {
	least := max(0, p.store.Config.Pace-took)
	wait.For(ctx, least)
	if p.store.Changes.Followed() {
		return
	}
	wait.ForHint(ctx, min(2*took, longestRest)-least, p.store.Waiting.Came)
}

// giveWay waits after a full page as long as that took, if this process has decided commands
// meanwhile: while they come faster than they can be projected, they have the machine for half of the
// time. A read that waits for a version ends it, and where somebody follows changes there is none.
func (p *Projector) giveWay(ctx context.Context, hints <-chan struct{}, took time.Duration) {
	select {
	case <-hints:
		if !p.store.Changes.Followed() {
			wait.ForHint(ctx, took, p.store.Waiting.Came)
		}
	default:
	}
}

// errNewer says that the documents are those of a newer version of this program, as in the middle of
// an upgrade.
var errNewer = errors.New("the documents have the shape of a newer version of this program, to which they are left")

// ErrShape says that the documents have the shape of an older version of this program, and have yet
// to be rebuilt, or that of a newer one.
var ErrShape = errors.New("the documents have the shape of another version of this program; " +
	"run that one, or wait for their rebuild")

// upgrade rebuilds a generation of an older shape, or waits for the process that does. Nothing is
// added to that generation meanwhile: documents of two shapes in one generation would be worse than
// late ones.
func (p *Projector) upgrade(ctx context.Context) error {
	for {
		g, err := p.store.FedGeneration(ctx)
		if err != nil {
			return err
		}
		switch by := g.Schema - view.Schema; {
		case by > 0:
			return errNewer
		case ctx.Err() != nil, by == 0:
			return nil
		}
		err = p.rebuild(ctx)
		if errors.Is(err, store.ErrRebuilding) {
			wait.For(ctx, p.store.Times.Look)
		} else if err != nil {
			return err
		}
	}
}

// rebuild fills a generation of this program's shape and returns when that is named. The rest of the
// rebuild goes on beside, because readers change over only when this projector, too, has caught up.
func (p *Projector) rebuild(ctx context.Context) error {
	said := time.Now()
	named, failed := make(chan struct{}), make(chan error, 1)
	p.rebuilds.Go(func() {
		err := Rebuild(ctx, p.store, p.log, p.logger, RebuildOptions{}, func(at Progress) {
			if at.Phase == "clean up" {
				close(named)
			}
			if time.Since(said) > 5*time.Second {
				said = time.Now()
				p.logger.InfoContext(ctx, "rebuilding the projection",
					"phase", at.Phase, "done", at.Done, "total", at.Total, "left", at.Left)
			}
		})
		if failed <- err; err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrRebuilding) {
			p.logger.ErrorContext(ctx, "a rebuild of the projection ended early; what it left is dropped by the next one, or at a start",
				"error", err)
		}
	})
	select {
	case <-named:
		return nil
	case err := <-failed:
		return err
	}
}

// Poll folds one page of the shards that are leased into the generation that is fed. It says how many
// rows that were, and whether there may be more. Documents of another shape it leaves alone: such a
// generation may have been named since the last look.
func (p *Projector) Poll(ctx context.Context) (rows int, full bool, err error) {
	g, err := p.store.FedGeneration(ctx)
	if err != nil {
		return 0, false, err
	}
	if g.Schema != view.Schema {
		return 0, false, nil
	}
	if p.live == nil || p.live.into.Name != g.Name {
		p.live = newSubscription(p.store, g, p.log, p.logger, p.metrics)
	}
	rows, full, err = p.live.poll(ctx, p.leases.Held(Role))
	p.hold()
	return rows, full, err
}
