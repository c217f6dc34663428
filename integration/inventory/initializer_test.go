package inventory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/dev/simulator"
)

// queue is a Queue in memory that keeps what a durable one would.
type queue struct {
	mu      sync.Mutex
	jobs    map[uuid.UUID]*queued
	loseAck bool // Done fails: as if the process died before it
}

type queued struct {
	Job
	since, due time.Time
	stopped    bool
}

func newQueue() *queue { return &queue{jobs: map[uuid.UUID]*queued{}} }

func (q *queue) add(id uuid.UUID, initial int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	q.jobs[id] = &queued{Job: Job{
		Record: Record{VariantID: id, InitialQuantity: initial, LowStockThreshold: 10}, CorrelationID: "made-" + id.String()[:8], Traceparent: traceOf(id),
	}, since: now, due: now}
}

func (q *queue) Due(_ context.Context, limit int, lease time.Duration) (jobs []Job, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, job := range q.jobs {
		if len(jobs) < limit && !job.stopped && !job.due.After(time.Now()) {
			jobs = append(jobs, job.Job)
			job.due = time.Now().Add(lease)
		}
	}
	return jobs, nil
}

func (q *queue) Backlog(context.Context) (b Backlog, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, job := range q.jobs {
		if job.stopped {
			continue
		}
		b.Depth++
		if b.Oldest.IsZero() || job.since.Before(b.Oldest) {
			b.Oldest = job.since
		}
		if b.Next.IsZero() || job.due.Before(b.Next) {
			b.Next = job.due
		}
	}
	return b, nil
}

func (q *queue) Done(_ context.Context, id uuid.UUID) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.loseAck {
		if q.jobs[id] != nil {
			q.jobs[id].due = time.Now() // the lease of who died has ended
		}
		return errors.New("lost")
	}
	delete(q.jobs, id)
	return nil
}

func (q *queue) Failed(_ context.Context, f Failure) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if job := q.jobs[f.VariantID]; job != nil {
		job.Tries, job.due, job.stopped = f.Tries, f.Next, f.Stopped
	}
	return nil
}

func (q *queue) GiveBack(_ context.Context, id uuid.UUID) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if job := q.jobs[id]; job != nil {
		job.due = time.Now()
	}
	return nil
}

// leased is how many jobs are taken.
func (q *queue) leased() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, job := range q.jobs {
		if time.Until(job.due) > time.Second {
			n++
		}
	}
	return n
}

func (q *queue) left() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.jobs)
}

func (q *queue) job(id uuid.UUID) queued {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.jobs[id] == nil {
		return queued{}
	}
	return *q.jobs[id]
}

// initialize runs an initializer on the fixture until the test ends.
func (f *fixture) initialize(q Queue) *Initializer {
	i := NewInitializer(f.client, q, f.reader.Put, nil)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { i.Run(ctx) })
	f.t.Cleanup(func() { cancel(); done.Wait() })
	return i
}

func quick(f *fixture) {
	f.cfg.InitBackoff, f.cfg.InitBackoffMax, f.cfg.InitPoll = 2*time.Millisecond, 20*time.Millisecond, 20*time.Millisecond
	f.cfg.BreakerOpen, f.cfg.InitTimeout = 50*time.Millisecond, 200*time.Millisecond
}

// TestInitializerWorksOffTheQueue has every kind of trouble on the way, also answers lost after the
// record was made.
func TestInitializerWorksOffTheQueue(t *testing.T) {
	for _, fault := range []simulator.Fault{
		{Mode: simulator.None}, {Mode: simulator.Fail, Rate: 0.5}, {Mode: simulator.Lost, Rate: 0.5},
		{Mode: simulator.Away, Rate: 0.3}, {Mode: simulator.Wrong}, {Mode: simulator.Truncated, Rate: 0.3},
	} {
		t.Run(name(fault), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, quick)
			q := newQueue()
			const n = 100
			for range n {
				q.add(uuid.New(), 3)
			}
			f.fault(fault)
			f.initialize(q)
			if fault.Mode == simulator.Wrong { // 200 and nonsense is no record
				eventually(t, "the breaker has noticed", func() bool { return !f.client.writes.closed() })
				if left := q.left(); left != n {
					t.Fatalf("%d of %d variants wait, and none has a record", left, n)
				}
				f.fault(simulator.Fault{Mode: simulator.None})
			}
			eventually(t, "the queue is empty", func() bool { return q.left() == 0 })
			if stats := f.sim.Stats(); stats.Created != n || stats.Records != n {
				t.Fatalf("%d creations and %d records for %d variants", stats.Created, stats.Records, n)
			}
		})
	}
}

func TestCreatedLevelIsKnownAtOnce(t *testing.T) {
	f := newFixture(t, quick)
	q, id := newQueue(), uuid.New()
	if got := f.read(id)[0]; got.Outcome != Absent {
		t.Fatalf("got %+v", got)
	}
	q.add(id, 30)
	f.initialize(q).Kick()
	eventually(t, "created", func() bool { return q.left() == 0 })
	if got := f.read(id)[0]; got.Outcome != Known || got.Level.Available != 30 {
		t.Fatalf("got %+v", got)
	}
}

func TestLostAcknowledgementMakesNoSecondRecord(t *testing.T) {
	f := newFixture(t, quick)
	q := newQueue()
	q.loseAck = true
	q.add(uuid.New(), 1)
	f.initialize(q)
	eventually(t, "asked for twice", func() bool { return f.sim.Stats().Replays > 0 })
	if stats := f.sim.Stats(); stats.Created != 1 || stats.Records != 1 {
		t.Fatalf("stats: %+v", stats)
	}
}

func TestPolicies(t *testing.T) {
	for _, policy := range []Policy{PolicyRetry, PolicyRollback, PolicyNotOrderable} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(f *fixture) { quick(f); f.cfg.InitPolicy = policy })
			q, id := newQueue(), uuid.New()
			q.add(id, 1)
			f.fault(simulator.Fault{Mode: simulator.Fail})
			f.initialize(q)
			if policy == PolicyNotOrderable {
				eventually(t, "stopped", func() bool { return q.job(id).stopped })
				if tries, posts := q.job(id).Tries, f.sim.Stats().Calls["create"]; tries != 10 || posts != 10 {
					t.Fatalf("%d tries, %d calls, want 10", tries, posts)
				}
				f.fault(simulator.Fault{Mode: simulator.None})
				q.add(id, 1) // an operator replays
			} else {
				eventually(t, "more than 10 tries", func() bool { return q.job(id).Tries > 12 })
				f.fault(simulator.Fault{Mode: simulator.None})
			}
			eventually(t, "the record exists", func() bool { _, ok := f.sim.Get(id); return ok && q.left() == 0 })
		})
	}
}

// TestOutageSparesTries: while the breaker is open only probes are made, so a long queue isn't used up.
func TestOutageSparesTries(t *testing.T) {
	f := newFixture(t, func(f *fixture) { quick(f); f.cfg.InitPolicy = PolicyNotOrderable; f.cfg.BreakerOpen = time.Hour })
	q := newQueue()
	for range 50 {
		q.add(uuid.New(), 1)
	}
	f.fault(simulator.Fault{Mode: simulator.Away})
	i := f.initialize(q)
	eventually(t, "breaker open", func() bool { return !f.client.writes.closed() })
	eventually(t, "the queue is looked at, and nothing kept", func() bool { return i.depth.Load() == 50 && q.leased() == 0 })
	if posts := f.sim.Stats().Calls["create"]; posts > f.cfg.BreakerRow+f.cfg.InitConcurrency {
		t.Errorf("%d calls", posts)
	}
	if !f.client.reads.closed() {
		t.Error("failing creations closed reads too")
	}
	if age := i.oldestAge(); age <= 0 || age > 30 {
		t.Errorf("age of the oldest is %f s", age)
	}
}

func TestKickWakes(t *testing.T) {
	f := newFixture(t, func(f *fixture) { quick(f); f.cfg.InitPoll = time.Hour })
	q := newQueue()
	i := f.initialize(q)
	eventually(t, "created", func() bool {
		if q.left() == 0 && len(f.sim.All()) == 0 {
			q.add(uuid.New(), 1)
		}
		i.Kick()
		return f.sim.Stats().Created > 0 && q.left() == 0
	})
}

// TestShortOutageDelaysNobody: what the breaker refused is tried as soon as it lets calls through,
// not after the lease.
func TestShortOutageDelaysNobody(t *testing.T) {
	f := newFixture(t, quick)
	q := newQueue()
	for range 60 {
		q.add(uuid.New(), 1)
	}
	f.fault(simulator.Fault{Mode: simulator.Fail, Seconds: 0.2})
	f.initialize(q)
	start := time.Now()
	eventually(t, "the queue is empty", func() bool { return q.left() == 0 })
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("all done after %s", took)
	}
}

// TestSlowCreationsHoldUpNobody: each is reported as it ends, and what is added meanwhile begins at once.
func TestSlowCreationsHoldUpNobody(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.cfg.InitPoll = time.Hour })
	q := newQueue()
	const n = 100 // as many as a product may have
	for range n {
		q.add(uuid.New(), 1)
	}
	f.fault(simulator.Fault{Mode: simulator.Slow, DelayMs: 200})
	start := time.Now()
	i := f.initialize(q)
	eventually(t, "the first are reported", func() bool { return q.left() < n })
	if left := q.left(); left < n-2*f.cfg.InitConcurrency {
		t.Errorf("%d of %d are left when the first are reported", left, n)
	}
	eventually(t, "the queue is empty", func() bool { return q.left() == 0 })
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("%d records of 200 ms each took %s", n, took)
	}
	// One that takes its time, and another that is kicked meanwhile.
	f.fault(simulator.Fault{Mode: simulator.Slow, DelayMs: 1500})
	q.add(uuid.New(), 1)
	i.Kick()
	eventually(t, "the slow one is under way", func() bool { return f.sim.Stats().InFlight == 1 })
	f.fault(simulator.Fault{Mode: simulator.None})
	quick := uuid.New()
	q.add(quick, 1)
	i.Kick()
	eventually(t, "the quick one is done", func() bool { _, made := f.sim.Get(quick); return made && q.job(quick).VariantID == uuid.Nil })
	if q.left() != 1 {
		t.Error("the quick one waited for the slow one")
	}
}

// TestShutdownGivesBack: what was under way is free for the next instance at once.
func TestShutdownGivesBack(t *testing.T) {
	f := newFixture(t, nil)
	q := newQueue()
	q.add(uuid.New(), 1)
	f.fault(simulator.Fault{Mode: simulator.Slow, DelayMs: 1500})
	i := NewInitializer(f.client, q, nil, nil)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { i.Run(ctx) })
	eventually(t, "under way", func() bool { return f.sim.Stats().InFlight == 1 && q.leased() == 1 })
	cancel()
	done.Wait()
	if q.leased() != 0 || q.left() != 1 {
		t.Errorf("%d of %d jobs are kept", q.leased(), q.left())
	}
}

// traceOf is the traceparent of what made a variant.
func traceOf(id uuid.UUID) string {
	return fmt.Sprintf("00-%s-b7ad6b7169203331-01", strings.ReplaceAll(id.String(), "-", ""))
}
