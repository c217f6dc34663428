package inventory

import (
	"context"
	"time"

	"github.com/google/uuid"

	"product-service/correlation"
	"product-service/wait"
)

// probeWhileOpen asks, behind and at the breaker's pace, whether the service is back whenever the breaker
// has opened: no user's request is ever the probe.
func (r *Reader) probeWhileOpen() {
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.client.reads.opened:
		}
		episode := correlation.WithID(r.ctx, uuid.NewString()) // no request made these calls, but they belong together
		for !r.client.reads.closed() {
			if !r.client.reads.halfOpen() {
				if !wait.For(r.ctx, r.client.reads.open/20+time.Millisecond) {
					return
				}
				continue
			}
			if !r.probe(episode) {
				return
			}
		}
	}
}

// probe lets the breaker know whether the service answers for any of a few variants. It returns false
// once the reader is closed.
func (r *Reader) probe(ctx context.Context) bool {
	ids := r.canaries.forProbe()
	if len(ids) == 0 || r.client.held() != nil {
		return wait.For(ctx, r.client.reads.open/4)
	}
	_ = r.client.reads.do(func() (whose blame) {
		for _, id := range ids {
			if whose = r.callFor(ctx, "probe", id); whose != blameUnclear {
				break
			}
		}
		return whose
	})
	return r.ctx.Err() == nil
}

// control makes a control call: it says whether the service answers for a variant that it answered for
// before.
func (r *Reader) control() bool {
	id, ok := r.canaries.forControl()
	return ok && r.callFor(correlation.WithID(r.ctx, uuid.NewString()), "control", id).answered()
}

// callFor makes one call without retries, past the breaker, and takes in what it brings.
func (r *Reader) callFor(ctx context.Context, operation string, id uuid.UUID) blame {
	r.metrics.probes.Inc()
	ctx, cancel := context.WithTimeout(ctx, r.client.cfg.AttemptTimeout)
	defer cancel()
	f := &flight{ids: []uuid.UUID{id}, answers: map[uuid.UUID]learnt{}}
	r.ask(ctx, f, f.ids, asking{own: operation})
	if err := f.answers[id].err; err != nil {
		return blameOf(0, err)
	}
	return blameNobody
}
