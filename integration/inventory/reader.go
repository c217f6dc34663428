package inventory

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
)

// answerMargin is what a read leaves of its caller's deadline, so that a stale answer still gets out in time.
const answerMargin = 20 * time.Millisecond

// Reader answers what is known about the stock of variants. Safe for concurrent use.
type Reader struct {
	client  *Client
	ages    ages
	store   *store
	known   LastKnown // nil: levels don't outlive the process
	saver   *saver    // nil with known
	log     *slog.Logger
	metrics *readerMetrics
	now     func() time.Time

	flights  flights
	bulkhead *semaphore.Weighted
	queued   atomic.Int64 // flights that wait for the bulkhead
	behind   *behind
	running  atomic.Int64
	hottest  atomic.Pointer[flight] // the ids asked for last: what a probe asks for
	watchers watchers

	open   sync.RWMutex // held for reading while the store is in use: a closed hot cache must not be written to
	closed bool

	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	tasks sync.WaitGroup
}

// NewReader starts a reader on client. known may be nil: then nothing outlives the process. reg may be nil.
// Close it before the client.
func NewReader(client *Client, known LastKnown, reg prometheus.Registerer) (*Reader, error) {
	cfg := client.cfg
	levels, err := newStore(cfg.CacheSize)
	if err != nil {
		return nil, err
	}
	r := &Reader{
		client: client, store: levels, known: known, log: client.log, now: cfg.clock(),
		ages:     ages{cfg.Fresh, cfg.Revalidate, cfg.StaleMax, cfg.AbsentFor},
		flights:  flights{byID: map[uuid.UUID]*flight{}},
		bulkhead: semaphore.NewWeighted(int64(cfg.Concurrency)),
		behind:   newBehind(),
		watchers: watchers{byID: map[uuid.UUID]map[*watcher]struct{}{}},
	}
	r.metrics = newReaderMetrics(reg, r)
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.tasks.Go(r.probeWhileOpen)
	r.tasks.Go(r.askBehind)
	if known != nil {
		r.saver = newSaver(known, cfg.SaveDelay, client.log, r.metrics)
		r.tasks.Go(func() { r.saver.run(r.ctx) })
	}
	return r, nil
}

// Close ends what runs behind and saves what is not durable yet, which takes at most 10 s. Reads that come later are
// answered Unavailable, events are ignored. Closing again does nothing.
func (r *Reader) Close() {
	r.flights.close()
	r.stop()
	r.tasks.Wait()
	r.open.Lock()
	defer r.open.Unlock()
	if r.closed {
		return
	}
	r.closed = true
	r.store.close()
}

// Level is Levels for one variant.
func (r *Reader) Level(ctx context.Context, id uuid.UUID, maxStaleness time.Duration) Result {
	return r.Levels(ctx, []uuid.UUID{id}, maxStaleness)[0]
}

// Levels returns one Result for each of ids, in their order. It returns within Config.Budget and a little before ctx's
// deadline; a ctx that ends early yields stale or unavailable results, to this caller only. maxStaleness bounds the age
// of what may be served without the service's answer, known absence too (0: as configured; use 1 ns for "only what was just asked").
func (r *Reader) Levels(ctx context.Context, ids []uuid.UUID, maxStaleness time.Duration) []Result {
	out := make([]Result, len(ids))
	r.open.RLock()
	defer r.open.RUnlock()
	if r.closed {
		for i := range out {
			out[i] = unavailable(errClosed)
		}
		return out
	}
	now := r.now()
	limits := r.ages.within(maxStaleness)
	var counts tally
	var refresh, wanted []int // positions in ids; both stay nil on a warm read
	for i := range ids {
		found := r.store.find(&ids[i])
		known := found.known()
		switch limits.judge(known, now) {
		case serve:
			out[i] = served(known.level, false)
			counts[outHit]++
		case serveAndRefresh:
			out[i] = served(known.level, true)
			counts[outRefreshing]++
			refresh = append(refresh, i)
		case serveAbsent:
			out[i].Outcome = Absent
			counts[outAbsent]++
		default:
			wanted = append(wanted, i)
		}
	}
	if refresh != nil {
		r.refreshBehind(ctx, ids, refresh, out)
	}
	if wanted != nil {
		q := &question{reader: r, ids: ids, wanted: wanted, limits: limits, out: out}
		q.answer(ctx)
		r.metrics.add(q.counts)
	}
	r.metrics.add(counts)
	return out
}

// served is the result for a level that needed no asking.
func served(level Level, stale bool) Result {
	if level.Source != FromEvent {
		level.Source = Cache
	}
	return Result{Level: level, Outcome: Known, Stale: stale}
}

// refreshBehind asks for levels that were served already. Where nobody may ask, or the last to ask got no answer, the
// results say so.
func (r *Reader) refreshBehind(ctx context.Context, ids []uuid.UUID, positions []int, out []Result) {
	refused, now := r.client.available() != nil, r.now()
	wanted := make([]uuid.UUID, 0, len(positions))
	for _, i := range positions {
		found := r.store.find(&ids[i])
		if refused || found.failedAfter(out[i].Level.FetchedAt) {
			out[i].Level.Source = StaleFallback
		}
		if !refused && !r.isQuiet(found, now) {
			wanted = append(wanted, ids[i])
		}
	}
	r.behind.add(ctx, false, wanted...)
}

// put merges what was learnt about one variant into the store, tells watchers and makes it durable, and returns
// what is known now.
func (r *Reader) put(next entry, askedAt time.Time) *entry {
	at, after, changed := r.takeIn(next, askedAt, true)
	if !after.absent {
		r.save(at, after.level, changed)
	}
	return after
}

// takeIn is put without the saving. A variant of which nothing is held is left so unless create; then at is nil.
func (r *Reader) takeIn(next entry, askedAt time.Time, create bool) (at *slot, after *entry, changed bool) {
	at, before, after := r.store.change(next.level.VariantID, create, func(cur *entry) *entry {
		return merge(cur, r.inOurTime(next, cur), askedAt)
	})
	if at == nil || after.absent {
		return at, after, false
	}
	changed = before == nil || before.absent || !before.level.sameFacts(after.level)
	if changed {
		r.watchers.tell(after.level)
	}
	return at, after, changed
}

// inOurTime keeps a clock that runs ahead from winning for ever: what comes from it is as new as now, and no newer than
// what is held where it says the same.
func (r *Reader) inOurTime(next entry, held *entry) entry {
	now := r.now()
	if !next.level.UpdatedAt.After(now.Add(clockSkew)) {
		return next
	}
	next.level.UpdatedAt = now
	if held != nil && !held.absent && held.level.sameStock(next.level) {
		next.level.UpdatedAt = held.level.UpdatedAt
	}
	return next
}

// clockSkew is how far ahead of ours the service's clock may run.
const clockSkew = time.Minute

func (r *Reader) save(at *slot, level Level, changed bool) {
	fetched := level.FetchedAt.UnixNano()
	if r.saver == nil || (!changed && fetched-at.savedAt.Load() < int64(r.client.cfg.SaveEvery)) {
		return
	}
	at.savedAt.Store(fetched)
	r.saver.add(level)
}

// Put takes in a level learnt in another way, such as the answer to a record's creation.
func (r *Reader) Put(level Level) {
	r.open.RLock()
	defer r.open.RUnlock()
	if !r.closed {
		r.put(entry{level: level}, level.FetchedAt)
	}
}

// unavailable is the result for a variant of which nothing may be said.
func unavailable(cause error) Result {
	return Result{Err: fmt.Errorf("%w: %w", ErrUnavailable, cause)}
}
