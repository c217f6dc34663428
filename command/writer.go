package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"product-service/eventstore"
)

// WriterConfig says how commands are gathered into transactions.
type WriterConfig struct {
	// Tuning.

	// Lanes is how many transactions are under way at once. A shard always goes to the same lane.
	Lanes int `env:"WRITER_LANES" envDefault:"1"`

	// Batch is the largest number of commands in one transaction.
	Batch int `env:"WRITER_BATCH" envDefault:"2000"`

	// Linger is how long the first command of a batch waits for others.
	Linger time.Duration `env:"WRITER_LINGER" envDefault:"3ms"`
}

// Validate returns every fault of the configuration.
func (c WriterConfig) Validate() error {
	var faults []error
	if c.Lanes < 1 || c.Lanes > eventstore.Shards {
		faults = append(faults, fmt.Errorf("WRITER_LANES: it is %d; it must be 1 to %d", c.Lanes, eventstore.Shards))
	}
	if c.Batch < 1 || c.Batch > 10_000 {
		faults = append(faults, fmt.Errorf("WRITER_BATCH: it is %d; it must be 1 to 10000", c.Batch))
	}
	if c.Linger < 0 || c.Linger > time.Second {
		faults = append(faults, fmt.Errorf("WRITER_LINGER: it is %s; it must be 0s to 1s", c.Linger))
	}
	return errors.Join(faults...)
}

// Writer decides requests, in batches, each in one transaction. Requests about one product are
// decided in the order in which they were submitted.
//
// A transaction that loses a race is decided anew; one that the database can't take now waits until
// it can; one that the database refuses because of its content is halved until the request at fault
// is alone, and that one is settled with the error.
type Writer struct {
	store   *eventstore.Store
	config  WriterConfig
	metrics *WriterMetrics
	log     *slog.Logger
	lanes   []chan *Request
	ended   chan struct{} // closed when Run has returned
}

// NewWriter prepares a writer; Run starts it.
func NewWriter(store *eventstore.Store, c WriterConfig, m *WriterMetrics, log *slog.Logger) *Writer {
	w := &Writer{store: store, config: c, metrics: m, log: log, ended: make(chan struct{})}
	for range c.Lanes {
		w.lanes = append(w.lanes, make(chan *Request, c.Batch))
	}
	return w
}

// ErrStopped says that the service is going down and takes no more commands.
var ErrStopped = errors.New("the service is stopping")

// Submit hands a request over; it blocks while as many requests wait as fit into a batch. It fails
// when the context ends, and with [ErrStopped] once the writer has ended; a request that was taken
// is settled, or the writer ends before it is.
func (w *Writer) Submit(ctx context.Context, r *Request) error {
	if r.ID != uuid.Nil {
		var err error
		if r.fingerprint, err = fingerprint(r.ProductID, r.Command); err != nil {
			return err
		}
	}
	select {
	case w.lanes[int(eventstore.ShardOf(r.ProductID))%len(w.lanes)] <- r:
		return nil
	case <-w.ended:
		return ErrStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Run decides what is submitted until the context ends. Requests still waiting then are not
// settled: whoever submitted them asks again.
func (w *Writer) Run(ctx context.Context) error {
	defer close(w.ended)
	group, ctx := errgroup.WithContext(ctx)
	for _, lane := range w.lanes {
		group.Go(func() error {
			for {
				batch := w.gather(ctx, lane)
				if batch == nil {
					return nil
				}
				w.process(ctx, batch)
			}
		})
	}
	return group.Wait()
}

// gather takes the first request that comes and what follows it within the linger.
func (w *Writer) gather(ctx context.Context, lane chan *Request) []*Request {
	var batch []*Request
	select {
	case <-ctx.Done():
		return nil
	case r := <-lane:
		batch = append(make([]*Request, 0, min(w.config.Batch, len(lane)+64)), r)
	}
	linger := time.NewTimer(w.config.Linger)
	defer linger.Stop()
	for len(batch) < w.config.Batch {
		select {
		case r := <-lane:
			batch = append(batch, r)
		case <-linger.C:
			return batch
		case <-ctx.Done():
			return nil
		}
	}
	return batch
}

// process returns when every request of the batch is settled, or the context has ended.
func (w *Writer) process(ctx context.Context, batch []*Request) {
	started := time.Now()
	var before *decider
	for attempt := 0; ctx.Err() == nil; attempt++ {
		d := newDecider(batch, before)
		err := w.store.Transact(ctx, d.keys(), d.decide)
		if errors.Is(err, errCommitted) {
			d, err = before, nil
		}
		if err == nil {
			err = d.recall(ctx, w.store)
		}
		switch {
		case err == nil:
			eventstore.CrashPoint("committed")
			d.settle(w.metrics, w.log)
			w.metrics.took(len(batch), time.Since(started))
			return
		case ctx.Err() != nil:
			return
		case errors.Is(err, eventstore.ErrCommitUnknown):
			before = d
			w.log.WarnContext(ctx, "the connection was lost during a commit; the log will tell what became of it", "commands", len(batch), "error", err)
		case eventstore.Faulty(err) || errors.Is(err, errUndecidable):
			w.halve(ctx, batch, err)
			return
		case eventstore.Retryable(err):
			w.metrics.conflicts.Inc()
			if attempt >= 3 {
				w.log.WarnContext(ctx, "a batch keeps losing races", "commands", len(batch), "attempt", attempt, "error", err)
			}
		default:
			w.log.ErrorContext(ctx, "a batch of commands could not be written; it will be tried again", "commands", len(batch), "attempt", attempt, "error", err)
		}
		w.metrics.retries.Inc()
		pause(ctx, attempt)
	}
}

// halve finds the request at fault.
func (w *Writer) halve(ctx context.Context, batch []*Request, err error) {
	if len(batch) == 1 {
		w.log.ErrorContext(ctx, "a command can't be written", "command_id", batch[0].ID, "product_id", batch[0].ProductID,
			"correlation_id", batch[0].From.CorrelationID, "error", err)
		batch[0].Settle(Answer{Err: err})
		return
	}
	w.process(ctx, batch[:len(batch)/2])
	w.process(ctx, batch[len(batch)/2:])
}
