package projection

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"product-service/eventstore"
)

// Role is the leases' name for projecting.
const Role = "projector"

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
	store   *Store
	log     Log
	leases  Leases
	logger  *slog.Logger
	metrics *metrics
	live    *follower
	pace    pace

	rebuilds sync.WaitGroup
}

// NewProjector prepares to project; Run does it.
func NewProjector(s *Store, log Log, leases Leases, logger *slog.Logger, registry prometheus.Registerer) (*Projector, error) {
	m, err := newMetrics(registry)
	if err != nil {
		return nil, err
	}
	return &Projector{store: s, log: log, leases: leases, logger: logger, metrics: m, pace: pace{least: 5 * time.Millisecond, most: s.config.MaxPoll}}, nil
}

// Run projects until the context ends; the page in hand is finished first. Whatever fails meanwhile is logged and tried again.
func (p *Projector) Run(ctx context.Context) error {
	hints := p.log.Committed()
	work := context.WithoutCancel(ctx)
	defer p.rebuilds.Wait()
	failures := 0
	for ctx.Err() == nil {
		if err := p.upgrade(ctx); err != nil {
			p.metrics.failures.Inc()
			p.logger.ErrorContext(ctx, "the projection could not be made ready for this version of the program; it is tried again", "error", err)
			wait(ctx, nil, p.store.config.Retry)
			continue
		}
		began := time.Now()
		rows, full, err := p.sweep(work)
		switch {
		case err != nil:
			failures++
			p.metrics.failures.Inc()
			p.logger.ErrorContext(ctx, "projecting failed; it is tried again", "error", err, "failures", failures)
			wait(ctx, nil, min(p.store.config.Retry, 20*time.Millisecond<<min(failures, 10)))
		case full:
			failures = 0
		default:
			failures = 0
			p.rest(ctx, time.Since(began))
			wait(ctx, hints, p.pace.next(rows > 0))
		}
	}
	return nil
}

// longestRest is as long as a page may let the log grow before the next one is begun.
const longestRest = 400 * time.Millisecond

// rest lets the log grow after a page that took some time: the more a page costs, the more rows are to share the cost of the next one, because a
// product is written once a page however often it changed. A read that waits for a version shortens it.
func (p *Projector) rest(ctx context.Context, took time.Duration) {
	least := max(0, p.store.config.Pace-took)
	wait(ctx, nil, least)
	wait(ctx, p.store.waiting.came, min(2*took, longestRest)-least)
}

// errNewer says that a newer version of this program has taken over the documents, as in the middle of an upgrade.
var errNewer = errors.New("the documents have the shape of a newer version of this program, to which they are left")

// errShape says that the documents have yet to be rebuilt, or are a newer version's.
var errShape = errors.New("the documents have the shape of another version of this program; run that one, or wait for their rebuild")

// upgrade rebuilds a generation of an older shape, or waits for who does. It isn't added to meanwhile: documents of two shapes in one generation
// would be worse than late ones.
func (p *Projector) upgrade(ctx context.Context) error {
	for {
		g, err := p.store.fed(ctx)
		if err != nil {
			return err
		}
		switch by := g.schema - schema; {
		case by > 0:
			return errNewer
		case ctx.Err() != nil, by == 0:
			return nil
		}
		err = p.rebuild(ctx)
		if errors.Is(err, ErrRebuilding) {
			wait(ctx, nil, staleMeta)
		} else if err != nil {
			return err
		}
	}
}

// rebuild fills a generation of this program's shape until it is named. Readers change over to it when this projector, too, has caught up in it: so the
// rest of the rebuild goes on beside.
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
				p.logger.InfoContext(ctx, "rebuilding the projection", "phase", at.Phase, "done", at.Done, "total", at.Total, "left", at.Left)
			}
		})
		if failed <- err; err != nil && ctx.Err() == nil && !errors.Is(err, ErrRebuilding) {
			p.logger.ErrorContext(ctx, "a rebuild of the projection ended early; what it left is dropped by the next one, or at a start", "error", err)
		}
	})
	select {
	case <-named:
		return nil
	case err := <-failed:
		return err
	}
}

// sweep folds one page of the shards held into the generation that is read, or about to be. It says whether there is more. Documents of another shape
// it leaves alone: they may have come since the last look.
func (p *Projector) sweep(ctx context.Context) (rows int, full bool, err error) {
	g, err := p.store.fed(ctx)
	if err != nil {
		return 0, false, err
	}
	if g.schema != schema {
		return 0, false, nil
	}
	if p.live == nil || p.live.into.name != g.name {
		p.live = newFollower(p.store, g, p.log, p.logger, p.metrics)
	}
	return p.live.sweep(ctx, p.leases.Held(Role))
}

// wait pauses until a hint comes, the time is up or the context ends.
func wait(ctx context.Context, hints <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-hints:
	case <-timer.C:
	}
}

// pace doubles the time between questions as long as nothing comes.
type pace struct{ least, most, now time.Duration }

func (p *pace) next(busy bool) time.Duration {
	p.now = min(p.most, max(p.least, p.now*2))
	if busy {
		p.now = p.least
	}
	return p.now
}
