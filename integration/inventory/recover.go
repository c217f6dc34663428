package inventory

import (
	"context"
	"time"

	"product-service/correlation"

	"github.com/google/uuid"
)

// isQuiet says whether the variant isn't to be asked for: the service failed to answer for it a moment ago.
func (r *Reader) isQuiet(found *slot, now time.Time) bool {
	return found.failedAfter(now.Add(-r.client.cfg.FailureQuiet))
}

// settleFailures makes the variants that got no answer quiet for a while, and says whether there are any.
func (r *Reader) settleFailures(f *flight) bool {
	now := r.now().UnixNano()
	failed, logged := false, false
	for _, id := range f.ids {
		err := f.answers[id].err
		if err == nil {
			continue
		}
		failed = true
		r.metrics.lost.WithLabelValues(reason(err)).Inc()
		if f.refused != nil || reason(err) == "shed" {
			continue // says nothing about this variant: ask as soon as asking is possible
		}
		if reason(err) == "undecodable" && !logged {
			logged = true
			r.log.Warn("inventory item cannot be read", "variant", id, "error", err)
		}
		at, _, _ := r.store.change(id, true, func(*entry) *entry { return nil })
		at.failed.Store(now)
	}
	return failed
}

// loadKnown reads the durable levels of the flight's variants that memory knows nothing about, once a flight, and once
// a variant and process if there is none.
func (r *Reader) loadKnown(f *flight) {
	f.load.Do(func() {
		defer close(f.loaded)
		if r.known == nil {
			return
		}
		var unknown []uuid.UUID
		for i := range f.ids {
			found := r.store.find(&f.ids[i])
			if found.known() == nil && (found == nil || !found.checked.Load()) {
				unknown = append(unknown, f.ids[i])
			}
		}
		if len(unknown) > 0 {
			r.load(unknown)
		}
	})
}

func (r *Reader) load(ids []uuid.UUID) {
	ctx, cancel := context.WithTimeout(r.ctx, r.client.cfg.LastKnownTimeout)
	defer cancel()
	levels, err := r.known.Load(ctx, ids)
	if err != nil {
		r.metrics.saves.WithLabelValues("load", "failed").Inc()
		r.log.Warn("last known levels cannot be read", "levels", len(ids), "error", err)
		now := r.now().UnixNano()
		for _, id := range ids {
			at, _, _ := r.store.change(id, true, func(*entry) *entry { return nil })
			at.failed.Store(now)
		}
		return
	}
	r.metrics.saves.WithLabelValues("load", "ok").Inc()
	for _, level := range levels {
		if !level.Status.known() || level.FetchedAt.IsZero() {
			continue
		}
		r.store.change(level.VariantID, true, func(cur *entry) *entry {
			return merge(cur, entry{level: level}, time.Time{})
		})
	}
	for _, id := range ids {
		at, _, _ := r.store.change(id, true, func(*entry) *entry { return nil })
		at.checked.Store(true)
	}
}

// probeWhileOpen asks, behind and at the breaker's pace, whether the service is back whenever the breaker has opened:
// no user's request is ever the probe. What it asks for are the variants wanted last.
func (r *Reader) probeWhileOpen() {
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.client.reads.opened:
		}
		episode := correlation.WithID(r.ctx, uuid.NewString()) // nobody's request, but its calls belong together
		for !r.client.reads.closed() {
			if !r.client.reads.halfOpen() {
				if !sleep(r.ctx, r.client.reads.open/20+time.Millisecond) {
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

// probe makes one call without retries and takes in what it brings. It returns false once the reader is closed.
func (r *Reader) probe(ctx context.Context) bool {
	wanted := r.hottest.Load()
	if wanted == nil || r.client.held() != nil {
		return sleep(ctx, r.client.reads.open/4)
	}
	r.metrics.probes.Inc()
	ctx, cancel := context.WithTimeout(ctx, r.client.cfg.AttemptTimeout)
	defer cancel()
	f := &flight{ids: wanted.ids, answers: make(map[uuid.UUID]learnt, len(wanted.ids))}
	splits := 0
	r.fetchPart(ctx, f, f.ids, 0, &splits)
	return r.ctx.Err() == nil
}

// sleep waits and returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
