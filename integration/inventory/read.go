package inventory

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
)

var (
	errResting  = errors.New("the service gave no answer for this variant a moment ago")
	errNoTime   = errors.New("no answer in time")
	errClosed   = errors.New("reader closed")
	errNotKnown = errors.New("no answer")
)

// pendingRead is the part of one read that memory alone could not answer. Its steps: decide which
// variants to wait for, join the flights that will answer for them, wait, and fall back to what is held
// for those that bring nothing in time.
type pendingRead struct {
	reader *Reader
	ids    []uuid.UUID
	limits ages
	out    []Result
	counts tally
}

// awaited is a variant whose flight is waited for.
type awaited struct {
	at     int // in ids and out
	flight *flight
}

// answer fills the results at the positions wanted.
func (p *pendingRead) answer(ctx context.Context, wanted []int) {
	refused := p.reader.client.available()
	ask := make([]int, 0, len(wanted))
	for _, i := range wanted {
		if reason := p.notToAsk(i, refused); reason != nil {
			p.fallBack(i, reason)
		} else {
			ask = append(ask, i)
		}
	}
	if len(ask) > 0 {
		p.wait(ctx, p.reader.flights.join(ctx, p, ask, refused))
	}
	if refused != nil {
		p.want(wanted)
	}
}

// notToAsk says why position i is answered from what is held, nil if it isn't.
func (p *pendingRead) notToAsk(i int, refused error) error {
	r, now := p.reader, p.reader.now()
	found := r.store.find(&p.ids[i])
	switch {
	case r.failureOf(found).resting(now):
		return errResting
	case refused == nil, r.known != nil && !p.limits.mayServe(found.known(), now) && (found == nil || !found.checked.Load()):
		return nil // in the second case not for the service's answer, but for the durable level
	}
	return refused
}

// want notes for the next probe what is wanted while nobody may ask: of what was never asked for in vain,
// it has a chance.
func (p *pendingRead) want(wanted []int) {
	for _, i := range wanted {
		if p.reader.failureOf(p.reader.store.find(&p.ids[i])) == nil {
			p.reader.canaries.wanted(p.ids[i])
			return
		}
	}
}

// join gives each of the positions the flight that will answer it, starting those that nobody has
// started. What came in since the caller looked is not asked for again: a flight leaves its answer in the
// store before it leaves the table.
func (t *flights) join(ctx context.Context, p *pendingRead, positions []int, refused error) []awaited {
	r, now := p.reader, p.reader.now()
	var mine []uuid.UUID
	joined := make([]awaited, 0, len(positions))
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, i := range positions {
		id := p.ids[i]
		if t.byID[id] == nil {
			found := r.store.find(&p.ids[i])
			if t.closed {
				p.fallBack(i, errClosed)
				continue
			}
			if verdict := p.limits.judge(found.known(), now); (verdict != ask && verdict != askElseStale) || r.failureOf(found).resting(now) {
				p.fallBack(i, errResting)
				continue
			}
			mine = append(mine, id)
		}
		joined = append(joined, awaited{at: i})
	}
	t.start(ctx, r, unique(mine), refused)
	for k := range joined {
		joined[k].flight = t.byID[p.ids[joined[k].at]]
	}
	return joined
}

// wait collects the flights' answers. Variants with a stale level to show wait for StaleWait, the others
// for Budget.
func (p *pendingRead) wait(ctx context.Context, all []awaited) {
	cfg := p.reader.client.cfg
	patience := cfg.Budget
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, max(0, time.Until(deadline)-answerMargin))
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	short, cancelShort := context.WithTimeout(bounded, cfg.StaleWait)
	defer cancelShort()

	var unsettled []awaited
	for _, a := range all {
		select {
		case <-a.flight.done:
		case <-short.Done():
		}
		switch {
		case a.flight.isDone():
			p.take(a)
		case p.mayServe(a.at):
			p.fallBack(a.at, errNoTime)
		default:
			unsettled = append(unsettled, a)
		}
	}
	for _, a := range unsettled {
		p.waitLong(bounded, a)
	}
}

// waitLong waits for a variant with nothing in memory: the service or the durable level, whichever comes
// first.
func (p *pendingRead) waitLong(ctx context.Context, a awaited) {
	select {
	case <-a.flight.done:
	case <-a.flight.loaded:
		if p.mayServe(a.at) {
			break
		}
		select {
		case <-a.flight.done:
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
	if a.flight.isDone() {
		p.take(a)
	} else {
		p.fallBack(a.at, errNoTime)
	}
}

func (p *pendingRead) mayServe(i int) bool {
	return p.limits.mayServe(p.reader.store.find(&p.ids[i]).known(), p.reader.now())
}

// take turns the flight's answer for a variant into its result.
func (p *pendingRead) take(a awaited) {
	i := a.at
	got := a.flight.answers[p.ids[i]]
	known := got.entry
	if known != nil && !known.known { // the durable level may have come behind the answer
		if held := p.reader.store.find(&p.ids[i]).known(); held != nil && held.doubtful() {
			known = held
		}
	}
	switch {
	case got.err != nil:
		p.fallBack(i, got.err)
	case known == nil:
		p.fallBack(i, errNotKnown)
	case known.doubtful() && known.level.Age(p.reader.now()) < p.limits.staleMax:
		p.out[i] = fallback(known.level)
		p.counts[outStale]++
	case !known.absentAt.IsZero():
		p.out[i] = Result{Outcome: Absent}
		p.counts[outAbsent]++
	default:
		p.out[i] = Result{Level: known.level, Outcome: Known}
		p.counts[outLive]++
	}
}

// fallBack serves what is held, within the reader's tolerance, or says that nothing is known.
func (p *pendingRead) fallBack(i int, cause error) {
	now := p.reader.now()
	known := p.reader.store.find(&p.ids[i]).known()
	switch p.limits.judge(known, now) {
	case ask:
		p.out[i] = unavailable(cause)
		p.counts[outUnavailable]++
		p.reader.metrics.missing.Inc()
	case serveAbsent:
		p.out[i] = Result{Outcome: Absent}
		p.counts[outAbsent]++
	case serve: // another read or an event brought it meanwhile
		p.out[i] = served(known.level, false)
		p.counts[outHit]++
	case askElseStale, serveAndRefresh, serveStale:
		p.out[i] = fallback(known.level)
		p.counts[outStale]++
		p.reader.metrics.staleAge(known.level.Age(now))
	}
}
