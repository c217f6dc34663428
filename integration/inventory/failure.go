package inventory

import (
	"math/rand/v2"
	"time"
)

// failure is what is remembered of a variant that the service gave no answer for, until it gives one.
type failure struct {
	at    time.Time // when it was asked for in vain last
	until time.Time // it rests: nobody asks for it before
	alone int       // how often in a row the fault was its own: its item couldn't be read, or the call for it alone failed

	// among is how many variants the failed call asked for, any of which may be at fault; 0: this one
	// isn't suspected of failing calls. Next time it is asked for among half as many.
	among int

	outage uint32 // closes of the breaker so far: what failed before it closed last may have been the outage
}

// suspect says whether a call with the variant in it may fail because of it; f may be nil.
func (f *failure) suspect() bool { return f != nil && f.among > 0 }

// together is how many suspects like this one are asked for in one call.
func (f *failure) together() int { return max(1, (f.among+1)/2) }

// resting says whether the variant isn't to be asked for yet; f may be nil.
func (f *failure) resting(now time.Time) bool { return f != nil && now.Before(f.until) }

// failureOf is the variant's failure, or nil: none, or one of an outage that is over. at may be nil.
func (r *Reader) failureOf(at *slot) *failure {
	if at == nil {
		return nil
	}
	f := at.failure.Load()
	if f == nil || f.outage != r.client.reads.closes.Load() {
		return nil
	}
	return f
}

// fail notes that a variant was asked for in vain. ownFault: that says something about this variant, not
// about the service alone.
func (r *Reader) fail(at *slot, ownFault bool, among int) *failure {
	next := &failure{at: r.now(), among: among, outage: r.client.reads.closes.Load()}
	if before := r.failureOf(at); before != nil {
		next.alone = before.alone
	}
	if ownFault && among <= 1 {
		next.alone++
	}
	next.until = next.at.Add(r.client.cfg.rest(next.alone, among))
	at.failure.Store(next)
	return next
}

// rest is for how long a variant isn't asked for: up to FailureQuiet at first, twice as long with each
// further failure of its own, but not longer than the breaker would be open; with jitter, so that those
// that failed together come back apart. One that failed among others is most likely not at fault, and
// comes back soon.
func (c Config) rest(alone, among int) time.Duration {
	longest := c.FailureQuiet
	switch {
	case among > 1:
		longest /= 4
	case alone > 1:
		longest = min(c.FailureQuiet<<min(alone-1, 16), max(c.FailureQuiet, c.BreakerOpen))
	}
	return longest/2 + rand.N(longest/2+1)
}

// answered forgets the variant's failure.
func (s *slot) answered() {
	if s.failure.Load() != nil {
		s.failure.Store(nil)
	}
}
