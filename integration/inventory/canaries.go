package inventory

import (
	"cmp"
	"slices"
	"sync"

	"github.com/google/uuid"
)

const (
	canariesHeld   = 64
	canariesACall  = 4 // taken over from one answered call
	canariesAreFew = 8 // so few that the one asked for may well be the one at fault
)

// canaries are the variants that control calls and probes ask for: some that were wanted lately, with how
// the service answered for each. Bounded; safe for concurrent use.
type canaries struct {
	mu   sync.Mutex
	now  uint64 // counts what is noted
	byID map[uuid.UUID]*canary
}

// canary says when the service last answered for a variant, and when it last failed to; 0: never.
type canary struct {
	id               uuid.UUID
	answered, failed uint64
	noted            uint64
}

func newCanaries() *canaries { return &canaries{byID: map[uuid.UUID]*canary{}} }

// answered notes that the service answered for ids.
func (c *canaries) answered(ids []uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, id := range ids {
		if held := c.byID[id]; held != nil || i < canariesACall {
			c.note(id).answered = c.now
		}
	}
}

// failed notes that a call for ids failed.
func (c *canaries) failed(ids []uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, id := range ids {
		if held := c.byID[id]; held != nil || i < canariesACall {
			c.note(id).failed = c.now
		}
	}
}

// wanted notes that a reader wants a variant while the breaker lets no call through.
func (c *canaries) wanted(id uuid.UUID) {
	c.mu.Lock()
	c.note(id)
	c.mu.Unlock()
}

// note returns the variant's canary, making room for it; c.mu is held.
func (c *canaries) note(id uuid.UUID) *canary {
	c.now++
	held := c.byID[id]
	if held == nil {
		if len(c.byID) >= canariesHeld {
			c.drop()
		}
		held = &canary{id: id}
		c.byID[id] = held
	}
	held.noted = c.now
	return held
}

// drop lets go of one that never answered, else of the one noted longest ago.
func (c *canaries) drop() {
	var worst *canary
	for _, held := range c.byID {
		if worst == nil || cmp.Or(cmp.Compare(min(held.answered, 1), min(worst.answered, 1)), cmp.Compare(held.noted, worst.noted)) < 0 {
			worst = held
		}
	}
	delete(c.byID, worst.id)
}

// forControl is a variant that the service answered for when it was asked last, the latest such.
func (c *canaries) forControl() (uuid.UUID, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var best *canary
	for _, held := range c.byID {
		if held.answered > held.failed && (best == nil || held.answered > best.answered) {
			best = held
		}
	}
	if best == nil {
		return uuid.Nil, false
	}
	return best.id, true
}

// any says whether the service has ever answered for one of them.
func (c *canaries) any() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, held := range c.byID {
		if held.answered > 0 {
			return true
		}
	}
	return false
}

// forProbe are the variants to probe with: first those that haven't failed since they were answered for
// or wanted, then those that were ever answered for, and of these the one whose failure is longest ago,
// so that each probe asks for others than the last. One is enough, unless few are known.
func (c *canaries) forProbe() []uuid.UUID {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*canary, 0, len(c.byID))
	for _, held := range c.byID {
		all = append(all, held)
	}
	slices.SortFunc(all, func(a, b *canary) int {
		return cmp.Or(
			cmp.Compare(min(a.failure(), 1), min(b.failure(), 1)), -cmp.Compare(min(a.answered, 1), min(b.answered, 1)),
			cmp.Compare(a.failure(), b.failure()), -cmp.Compare(a.answered, b.answered), -cmp.Compare(a.noted, b.noted),
		)
	})
	n := 1
	if len(all) < canariesAreFew {
		n = 2
	}
	ids := make([]uuid.UUID, 0, n)
	for _, held := range all[:min(n, len(all))] {
		ids = append(ids, held.id)
	}
	return ids
}

// failure is when it failed last, 0 if it was answered for since.
func (c *canary) failure() uint64 {
	if c.answered > c.failed {
		return 0
	}
	return c.failed
}
