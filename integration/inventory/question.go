package inventory

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
)

var (
	errQuiet    = errors.New("the service gave no answer for this variant a moment ago")
	errNoTime   = errors.New("no answer in time")
	errClosed   = errors.New("reader closed")
	errNotKnown = errors.New("no answer")
)

// question is the part of one read that memory alone could not answer.
type question struct {
	reader *Reader
	ids    []uuid.UUID
	wanted []int // positions in ids and out
	limits ages
	out    []Result
	counts tally

	flights []*flight // by place in wanted; nil: settled without one
}

func (q *question) answer(ctx context.Context) {
	r := q.reader
	refused := r.client.available()
	q.flights = make([]*flight, len(q.wanted))
	var ask []int // places in wanted
	now := r.now()
	for k, i := range q.wanted {
		found := r.store.find(&q.ids[i])
		switch {
		case r.isQuiet(found, now):
			q.fallBack(i, errQuiet)
		case refused == nil:
			ask = append(ask, k)
		case q.mayServeStale(found, now), r.known == nil, found != nil && found.checked.Load():
			q.fallBack(i, refused)
		default:
			ask = append(ask, k) // not for the service's answer: for the durable level
		}
	}
	if len(ask) == 0 {
		return
	}
	r.flights.join(ctx, q, ask, refused)
	q.wait(ctx, ask)
}

// wait collects the flights' answers. Variants with a stale level to show wait for StaleWait, the others for Budget.
func (q *question) wait(ctx context.Context, ask []int) {
	cfg := q.reader.client.cfg
	patience := cfg.Budget
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, max(0, time.Until(deadline)-answerMargin))
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	short, cancelShort := context.WithTimeout(bounded, cfg.StaleWait)
	defer cancelShort()

	var unsettled []int
	for _, k := range ask {
		f, i := q.flights[k], q.wanted[k]
		if f == nil {
			continue
		}
		select {
		case <-f.done:
			q.take(i, f)
			continue
		case <-short.Done():
		}
		switch {
		case f.isDone():
			q.take(i, f)
		case q.mayServeStale(q.reader.store.find(&q.ids[i]), q.reader.now()):
			q.fallBack(i, errNoTime)
		default:
			unsettled = append(unsettled, k)
		}
	}
	for _, k := range unsettled {
		q.waitLong(bounded, q.wanted[k], q.flights[k])
	}
}

// waitLong waits for a variant with nothing in memory: the service or the durable level, whichever comes first.
func (q *question) waitLong(ctx context.Context, i int, f *flight) {
	loaded := f.loaded
	for {
		select {
		case <-f.done:
			q.take(i, f)
			return
		case <-loaded:
			if q.mayServeStale(q.reader.store.find(&q.ids[i]), q.reader.now()) {
				q.fallBack(i, errNoTime)
				return
			}
			loaded = nil
		case <-ctx.Done():
			q.fallBack(i, errNoTime)
			return
		}
	}
}

// take turns the flight's answer for position i into the result.
func (q *question) take(i int, f *flight) {
	got := f.answers[q.ids[i]]
	switch {
	case got.err != nil:
		q.fallBack(i, got.err)
	case got.entry == nil:
		q.fallBack(i, errNotKnown)
	case got.entry.absent:
		q.out[i] = Result{Outcome: Absent}
		q.counts[outAbsent]++
	default:
		q.out[i] = Result{Level: got.entry.level, Outcome: Known}
		q.counts[outLive]++
	}
}

func (q *question) mayServeStale(found *slot, now time.Time) bool {
	known := found.known()
	verdict := q.limits.judge(known, now)
	return verdict != ask && verdict != serveAbsent
}

// fallBack serves what is held, within the reader's tolerance, or says that nothing is known.
func (q *question) fallBack(i int, cause error) {
	now := q.reader.now()
	known := q.reader.store.find(&q.ids[i]).known()
	switch q.limits.judge(known, now) {
	case ask:
		q.out[i] = unavailable(cause)
		q.counts[outUnavailable]++
		q.reader.metrics.missing.Inc()
	case serveAbsent:
		q.out[i] = Result{Outcome: Absent}
		q.counts[outAbsent]++
	case serve: // another read or an event brought it meanwhile
		q.out[i] = served(known.level, false)
		q.counts[outHit]++
	default:
		level := known.level
		level.Source = StaleFallback
		q.out[i] = Result{Level: level, Outcome: Known, Stale: true}
		q.counts[outStale]++
		q.reader.metrics.staleAge(level.Age(now))
	}
}
