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
)

// answerMargin is what a read leaves of its caller's deadline, so that a stale answer still gets out in
// time.
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
	bulkhead *gate
	suspects *gate // the share of the bulkhead for variants that failed before
	running  atomic.Int64

	refreshes *refreshQueue
	canaries  *canaries
	watchers  watchers

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
		bulkhead: newGate(cfg.Concurrency), suspects: newGate(max(1, cfg.Concurrency/4)),
		refreshes: newRefreshQueue(), canaries: newCanaries(),
		watchers: watchers{byID: map[uuid.UUID]map[*watcher]struct{}{}},
	}
	client.reads.control = r.control
	r.metrics = newReaderMetrics(reg, r)
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.tasks.Go(r.probeWhileOpen)
	r.tasks.Go(r.refreshPending)
	if known != nil {
		r.saver = newSaver(known, cfg.SaveDelay, client.log, r.metrics)
		r.tasks.Go(func() { r.saver.run(r.ctx) })
	}
	return r, nil
}

// Close ends what runs behind and saves what is not durable yet, which takes at most 10 s. Reads that
// come later are answered Unavailable, events are ignored. Closing again does nothing.
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

// Levels returns one Result for each of ids, in their order. It returns within Config.Budget and a little
// before ctx's deadline; a ctx that ends early yields stale or unavailable results, to this caller only.
// maxStaleness bounds the age of what may be served without the service's answer, known absence too (0:
// as configured; use 1 ns for "only what was just asked").
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
		known := r.store.find(&ids[i]).known()
		switch limits.judge(known, now) {
		case serve:
			out[i] = served(known.level, false)
			counts[outHit]++
		case serveAndRefresh:
			out[i] = served(known.level, true)
			counts[outRefreshing]++
			refresh = append(refresh, i)
		case serveStale:
			out[i] = fallback(known.level)
			counts[outStale]++
		case serveAbsent:
			out[i].Outcome = Absent
			counts[outAbsent]++
		case ask, askElseStale:
			wanted = append(wanted, i)
		}
	}
	if refresh != nil {
		r.refreshBehind(ctx, ids, refresh, out)
	}
	if wanted != nil {
		p := &pendingRead{reader: r, ids: ids, limits: limits, out: out}
		p.answer(ctx, wanted)
		r.metrics.add(p.counts)
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

// fallback is the result for a level that is shown because there is no answer.
func fallback(level Level) Result {
	level.Source = StaleFallback
	return Result{Level: level, Outcome: Known, Stale: true}
}

// refreshBehind refreshes levels that were served already. Where the breaker lets no call through, or the
// last call got no answer, the results say so.
func (r *Reader) refreshBehind(ctx context.Context, ids []uuid.UUID, positions []int, out []Result) {
	refused, now := r.client.available() != nil, r.now()
	wanted := make([]uuid.UUID, 0, len(positions))
	for _, i := range positions {
		failure := r.failureOf(r.store.find(&ids[i]))
		if refused || (failure != nil && failure.at.After(out[i].Level.FetchedAt)) {
			out[i].Level.Source = StaleFallback
		}
		if !refused && !failure.resting(now) {
			wanted = append(wanted, ids[i])
		}
	}
	r.refreshes.add(ctx, false, wanted...)
}

// learn merges what was learnt about one variant into the store and tells watchers. A variant of which
// nothing is held is left so unless create; then at is nil.
func (r *Reader) learn(id uuid.UUID, create bool, merge func(*entry) *entry) (at *slot, after *entry, changed bool) {
	at, before, after := r.store.change(id, create, merge)
	if at == nil || after == nil || !after.known {
		return at, after, false
	}
	changed = before == nil || !before.known || !before.level.sameFacts(after.level)
	if changed {
		r.watchers.tell(after.level)
	}
	return at, after, changed
}

// putAnswer takes in a level that the service answered with, makes it durable, and returns what is known
// now.
func (r *Reader) putAnswer(level Level, askedAt time.Time) *entry {
	at, after, changed := r.learn(level.VariantID, true, func(cur *entry) *entry {
		return mergeAnswer(cur, r.inOurTime(level, cur), askedAt)
	})
	at.answered()
	if after.known {
		r.save(at, after.level, changed)
	}
	return after
}

// putAbsence takes in that the service answered that it has no record, and returns what is known now.
func (r *Reader) putAbsence(id uuid.UUID, askedAt time.Time) *entry {
	at, after, _ := r.learn(id, true, func(cur *entry) *entry { return mergeAbsence(cur, id, askedAt, r.ages.absentFor) })
	at.answered()
	return after
}

// inOurTime keeps a clock that runs ahead from winning for ever: what comes from it is as new as now, and
// no newer than what is held where it says the same.
func (r *Reader) inOurTime(level Level, held *entry) Level {
	now := r.now()
	if !level.UpdatedAt.After(now.Add(clockSkew)) {
		return level
	}
	level.UpdatedAt = now
	if held != nil && held.known && held.level.sameStock(level) {
		level.UpdatedAt = held.level.UpdatedAt
	}
	return level
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
		r.putAnswer(level, level.FetchedAt)
	}
}

// unavailable is the result for a variant of which nothing may be said.
func unavailable(cause error) Result {
	return Result{Err: fmt.Errorf("%w: %w", ErrUnavailable, cause)}
}
