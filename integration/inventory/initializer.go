package inventory

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/errgroup"
)

// Job is a queued creation.
type Job struct {
	Record
	Tries         int       // made so far
	QueuedAt      time.Time // when the variant came into being
	CorrelationID string    // of what created the variant; may be empty
}

// Backlog is what the queue says when asked for work.
type Backlog struct {
	Jobs   []Job     // due now, the longest due first
	Depth  int       // all that are neither done nor stopped
	Oldest time.Time // QueuedAt of the oldest of those; zero if none
	Next   time.Time // when the next job that isn't due yet will be; zero if none
}

// Failure is a try that did not create the record.
type Failure struct {
	VariantID uuid.UUID
	Tries     int       // made so far, this one included
	Next      time.Time // not due before; zero when Stopped
	Stopped   bool      // an operator has to replay it
	Reason    string    // for people; holds no secret
}

// Queue is the durable list of variants that need a record, written with the event that created them. Several instances
// may take the same job: creation is idempotent. A job is the queue's until it is reported; unreported ones stay due.
type Queue interface {
	// Due returns up to limit jobs whose time has come.
	Due(ctx context.Context, limit int) (Backlog, error)
	// Done removes jobs whose record exists.
	Done(ctx context.Context, variants []uuid.UUID) error
	// Failed keeps when each is to be tried again. One that is gone meanwhile (discarded, done elsewhere) is ignored.
	Failed(ctx context.Context, failures []Failure) error
}

const (
	initBatch   = 64
	commitLimit = 5 * time.Second
)

// Initializer works off a Queue. Under PolicyRetry and PolicyRollback a job is tried until it is done or gone, under
// PolicyNotOrderable Config.InitTries times. While the breaker is open jobs wait without being tried, so that an outage
// uses up no tries beyond the probes.
type Initializer struct {
	client  *Client
	queue   Queue
	created func(Level)
	log     *slog.Logger
	kick    chan struct{}
	now     func() time.Time

	results *prometheus.CounterVec
	depth   atomic.Int64
	oldest  atomic.Int64 // unix nanoseconds, 0: none
}

// NewInitializer makes an initializer; Run makes it work. created, if not nil, gets the level of each record made here
// (Reader.Put shows it at once). reg may be nil.
func NewInitializer(client *Client, queue Queue, created func(Level), reg prometheus.Registerer) *Initializer {
	i := &Initializer{
		client: client, queue: queue, created: created, log: client.log, kick: make(chan struct{}, 1), now: client.cfg.clock(),
	}
	f := promauto.With(reg)
	i.results = counter(f, "init_total", "Tries to have a variant's record created, by outcome.", "outcome")
	gauge(f, "init_queue_depth", "Variants that wait for their record.", nil, func() float64 { return float64(i.depth.Load()) })
	gauge(f, "init_queue_oldest_age_seconds", "Age of the variant that waits longest for its record.", nil, i.oldestAge)
	return i
}

func (i *Initializer) oldestAge() float64 {
	oldest := i.oldest.Load()
	if oldest == 0 {
		return 0
	}
	return max(0, i.now().Sub(time.Unix(0, oldest)).Seconds())
}

// Kick makes Run look at the queue at once. It never blocks.
func (i *Initializer) Kick() {
	select {
	case i.kick <- struct{}{}:
	default:
	}
}

// Run works until ctx ends. Jobs under way then are finished or stay due.
func (i *Initializer) Run(ctx context.Context) {
	for ctx.Err() == nil {
		wait := i.pass(ctx)
		if wait <= 0 {
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-i.kick:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// pass takes what is due, tries it and reports, and returns how long to wait for the next pass.
func (i *Initializer) pass(ctx context.Context) time.Duration {
	cfg := i.client.cfg
	limit := initBatch
	switch writes := i.client.writes; {
	case i.client.held() != nil || (!writes.closed() && !writes.halfOpen()):
		limit = 0 // what is taken and not tried would have to wait until others may take it
	case !writes.closed():
		limit = 1 // a probe
	}
	backlog, err := i.queue.Due(ctx, limit)
	if err != nil {
		if ctx.Err() == nil {
			i.log.Warn("initialization queue cannot be read, will try again", "error", err)
		}
		return cfg.InitPoll
	}
	i.observe(backlog)
	if limit == 0 {
		return min(cfg.InitPoll, i.client.writes.open/10+time.Millisecond)
	}
	done, failed, refused := i.try(ctx, backlog.Jobs)
	i.report(ctx, done, failed)
	switch {
	case refused:
		return min(cfg.InitPoll, i.client.writes.open/10+time.Millisecond)
	case len(backlog.Jobs) == limit:
		return 0
	case !backlog.Next.IsZero():
		return min(cfg.InitPoll, max(time.Millisecond, backlog.Next.Sub(i.now())))
	default:
		return cfg.InitPoll
	}
}

func (i *Initializer) observe(b Backlog) {
	i.depth.Store(int64(b.Depth))
	if b.Oldest.IsZero() {
		i.oldest.Store(0)
	} else {
		i.oldest.Store(b.Oldest.UnixNano())
	}
}

// try makes one attempt for each job, a few at a time. Jobs that the breaker or a shutdown kept from being tried are in
// neither list.
func (i *Initializer) try(ctx context.Context, jobs []Job) (done []uuid.UUID, failed []Failure, refused bool) {
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(i.client.cfg.InitConcurrency)
	for _, job := range jobs {
		group.Go(func() error {
			ctx := WithCorrelationID(ctx, job.CorrelationID)
			level, err := i.client.create(ctx, job.Record)
			if err == nil && level.Status != "" && i.created != nil {
				i.created(level)
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				done = append(done, job.VariantID)
				i.results.WithLabelValues("created").Inc()
			case ctx.Err() != nil:
			case errors.Is(err, gobreaker.ErrOpenState), errors.Is(err, gobreaker.ErrTooManyRequests), errors.Is(err, errHeld):
				refused = true
			default:
				failed = append(failed, i.failure(ctx, job, err))
			}
			return nil
		})
	}
	_ = group.Wait() // no function above returns an error
	return done, failed, refused
}

// failure decides when the job is due again, or that it stops.
func (i *Initializer) failure(ctx context.Context, job Job, err error) Failure {
	cfg := i.client.cfg
	f := Failure{VariantID: job.VariantID, Tries: job.Tries + 1, Reason: err.Error()}
	if cfg.InitPolicy == PolicyNotOrderable && f.Tries >= cfg.InitTries {
		f.Stopped = true
		i.results.WithLabelValues("stopped").Inc()
		i.log.ErrorContext(ctx, "inventory record not created: given up until replayed",
			"variant", job.VariantID, "tries", f.Tries, "error", err)
		return f
	}
	wait := cfg.InitBackoff/2 + fullJitter(cfg.InitBackoff, cfg.InitBackoffMax, job.Tries)
	f.Next = i.now().Add(wait)
	outcome := "temporary"
	if errors.Is(err, ErrRefused) {
		outcome = "permanent"
	}
	i.results.WithLabelValues(outcome).Inc()
	i.log.WarnContext(ctx, "inventory record not created, will try again",
		"variant", job.VariantID, "tries", f.Tries, "fault", outcome, "in", wait, "error", err)
	return f
}

// report tells the queue, even while shutting down: what isn't told is tried again, which is harmless but wasteful.
func (i *Initializer) report(ctx context.Context, done []uuid.UUID, failed []Failure) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitLimit)
	defer cancel()
	if len(done) > 0 {
		if err := i.queue.Done(ctx, done); err != nil {
			i.log.Warn("created inventory records not marked, will be asked for again", "records", len(done), "error", err)
		}
	}
	if len(failed) > 0 {
		if err := i.queue.Failed(ctx, failed); err != nil {
			i.log.Warn("failed tries not recorded", "records", len(failed), "error", err)
		}
	}
}
