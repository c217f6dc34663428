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

	"product-service/correlation"
	"product-service/wait"
)

// Job is a queued creation.
type Job struct {
	Record
	Tries         int    // made so far
	CorrelationID string // of what created the variant; may be empty
	Traceparent   string // of the same
}

// Backlog is how long the queue is.
type Backlog struct {
	Depth  int       // all that are neither done nor stopped
	Oldest time.Time // since when the oldest of those has been waiting; zero if none
	Next   time.Time // when the next of those will be due; zero if none
}

// Failure is a try that did not create the record.
type Failure struct {
	VariantID uuid.UUID
	Tries     int       // made so far, this one included
	Next      time.Time // not due before; zero when Stopped
	Stopped   bool      // an operator has to replay it
	Reason    string    // for people; holds no secret
}

// Queue is the durable list of variants that need a record, written with the event that created
// them. Several instances may take the same job: creation is idempotent.
type Queue interface {
	// Due takes up to limit jobs whose time has come: they are due again after the lease unless
	// they are reported before.
	Due(ctx context.Context, limit int, lease time.Duration) ([]Job, error)
	// Backlog counts.
	Backlog(ctx context.Context) (Backlog, error)
	// Done removes a job whose record exists.
	Done(ctx context.Context, variant uuid.UUID) error
	// Failed keeps when a job is to be tried again. One that is gone meanwhile (discarded, done
	// elsewhere) is ignored.
	Failed(ctx context.Context, f Failure) error
	// GiveBack makes a job that was taken and not tried due at once.
	GiveBack(ctx context.Context, variant uuid.UUID) error
}

// commitLimit bounds a report to the queue.
const commitLimit = 5 * time.Second

// Initializer works off a Queue. Under PolicyRetry and PolicyRollback a job is tried until it is
// done or gone, under PolicyNotOrderable Config.InitTries times. While the breaker is open jobs
// wait without being tried, so that an outage uses up no tries beyond the probes.
type Initializer struct {
	client  *Client
	queue   Queue
	created func(Level)
	log     *slog.Logger
	kick    chan struct{}
	now     func() time.Time

	ended   chan ending
	results *prometheus.CounterVec
	depth   atomic.Int64
	oldest  atomic.Int64 // unix nanoseconds, 0: none
}

// NewInitializer makes an initializer; Run makes it work. created, if not nil, gets the level of
// each record made here (Reader.Put shows it at once). reg may be nil.
func NewInitializer(client *Client, queue Queue, created func(Level), reg prometheus.Registerer) *Initializer {
	i := &Initializer{
		client: client, queue: queue, created: created, log: client.log, now: client.cfg.clock(),
		kick: make(chan struct{}, 1), ended: make(chan ending, client.cfg.InitConcurrency),
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

// Run works until ctx ends. It gives back the jobs under way then. The next initializer that takes such
// a job repeats it, which is harmless.
func (i *Initializer) Run(ctx context.Context) {
	var tries sync.WaitGroup
	defer tries.Wait()
	w := worker{Initializer: i}
	for ctx.Err() == nil {
		if !time.Now().Before(w.look) {
			for _, job := range w.take(ctx) {
				w.running++
				tries.Go(func() { i.ended <- i.try(ctx, job) })
			}
		}
		timer := time.NewTimer(time.Until(w.look))
		select {
		case <-ctx.Done():
		case <-i.kick:
			w.look = time.Time{}
		case e := <-i.ended:
			w.end(e)
		case <-timer.C:
		}
		timer.Stop()
		for len(i.ended) > 0 {
			w.end(<-i.ended)
		}
	}
}

// ending is how a try ended, as far as it says when to look at the queue again.
type ending struct {
	refused bool          // it was not made at all
	again   time.Duration // it is to be made again after this; 0: it isn't
}

// worker is what Run knows between two looks at the queue.
type worker struct {
	*Initializer
	running  int
	look     time.Time // when to look again
	more     bool      // there was no room for all that is due: a try that ends makes some
	pause    time.Time // nothing is taken before: the breaker let something through and then refused
	observed time.Time // when the backlog was counted
}

func (w *worker) end(e ending) {
	w.running--
	now := time.Now()
	switch {
	case e.refused:
		w.pause = now.Add(w.breakerPoll())
		w.look = w.pause
	case w.more:
		w.look = now
	case e.again > 0 && w.look.After(now.Add(e.again)):
		w.look = now.Add(e.again)
	}
}

// breakerPoll is how often an open breaker is looked at.
func (w *worker) breakerPoll() time.Duration {
	return min(w.client.cfg.InitPoll, w.client.writes.open/10+time.Millisecond)
}

// room is how many jobs may be taken now, and when to look again if none.
func (w *worker) room() (limit int, wait time.Duration) {
	cfg, writes := w.client.cfg, w.client.writes
	switch paused := time.Until(w.pause); {
	case paused > 0:
		return 0, paused
	case w.client.held() != nil || (!writes.closed() && !writes.halfOpen()):
		return 0, w.breakerPoll()
	case !writes.closed(): // a probe
		return max(0, 1-w.running), w.breakerPoll()
	}
	return cfg.InitConcurrency - w.running, cfg.InitPoll
}

// take takes as many jobs as may be tried now, and decides when to look again if nothing happens before.
func (w *worker) take(ctx context.Context) (jobs []Job) {
	cfg := w.client.cfg
	limit, wait := w.room()
	defer func() { w.look = time.Now().Add(wait) }()
	if limit > 0 {
		var err error
		if jobs, err = w.queue.Due(ctx, limit, cfg.InitTimeout+2*commitLimit); err != nil {
			w.complain(ctx, err)
			wait = cfg.InitPoll
			return nil
		}
	}
	// While there is more to do than room for it, when the next is due doesn't matter.
	if w.more = len(jobs) == limit; w.more && time.Since(w.observed) < cfg.InitPoll {
		return jobs
	}
	backlog, err := w.queue.Backlog(ctx)
	if err != nil {
		w.complain(ctx, err)
		return jobs
	}
	w.observed = time.Now()
	w.observe(backlog)
	if !w.more && !backlog.Next.IsZero() {
		wait = min(wait, max(minPoll, backlog.Next.Sub(w.now())))
	}
	return jobs
}

// minPoll keeps jobs that are due but being taken elsewhere from being asked for without a rest.
const minPoll = 5 * time.Millisecond

func (i *Initializer) complain(ctx context.Context, err error) {
	if ctx.Err() == nil {
		i.log.Warn("initialization queue cannot be read, will try again", "error", err)
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

// try makes one attempt and reports what came of it.
func (i *Initializer) try(ctx context.Context, job Job) (e ending) {
	ctx = correlation.WithTraceparent(correlation.WithID(ctx, job.CorrelationID), job.Traceparent)
	level, err := i.client.create(ctx, job.Record)
	ended := ctx.Err() != nil
	// Even while shutting down: what isn't told waits for the lease to end.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitLimit)
	defer cancel()
	switch {
	case err == nil:
		i.results.WithLabelValues("created").Inc()
		if level.Status != "" && i.created != nil {
			i.created(level)
		}
		err = i.queue.Done(ctx, job.VariantID)
	case refusedByBreaker(err), errors.Is(err, errHeld):
		e.refused = true
		err = i.queue.GiveBack(ctx, job.VariantID)
	case ended:
		err = i.queue.GiveBack(ctx, job.VariantID)
	default:
		f := i.failure(ctx, job, err)
		if !f.Stopped {
			e.again = max(minPoll, f.Next.Sub(i.now()))
		}
		err = i.queue.Failed(ctx, f)
	}
	if err != nil {
		i.log.WarnContext(ctx, "what came of an inventory record isn't noted, it will be asked for again", "variant_id", job.VariantID, "error", err)
	}
	return e
}

// failure decides when the job is due again, or that it stops.
func (i *Initializer) failure(ctx context.Context, job Job, err error) Failure {
	cfg := i.client.cfg
	f := Failure{VariantID: job.VariantID, Tries: job.Tries + 1, Reason: err.Error()}
	if cfg.InitPolicy == PolicyNotOrderable && f.Tries >= cfg.InitTries {
		f.Stopped = true
		i.results.WithLabelValues("stopped").Inc()
		i.log.ErrorContext(ctx, "inventory record not created: given up until replayed",
			"variant_id", job.VariantID, "attempt", f.Tries, "error", err)
		return f
	}
	retryIn := cfg.InitBackoff/2 + wait.Jitter(cfg.InitBackoff, cfg.InitBackoffMax, job.Tries)
	f.Next = i.now().Add(retryIn)
	outcome := "temporary"
	if errors.Is(err, ErrRefused) {
		outcome = "permanent"
	}
	i.results.WithLabelValues(outcome).Inc()
	i.log.WarnContext(ctx, "inventory record not created, will try again",
		"variant_id", job.VariantID, "attempt", f.Tries, "fault", outcome, "retry_in", retryIn, "error", err)
	return f
}
