package inventory

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/google/uuid"
)

// slot is the one place of a variant. The caches hold slots, not levels: whatever they lose or delay, a
// level read through them is never older than one read before.
type slot struct {
	id      uuid.UUID
	cur     atomic.Pointer[entry]   // nil: nothing known
	failure atomic.Pointer[failure] // nil: the service answered when it was asked last
	used    atomic.Bool             // read since the clock hand passed
	missed  atomic.Uint32           // reads that the hot cache did not answer
	dead    atomic.Bool             // evicted: a cache that still finds it must look again
	checked atomic.Bool             // the durable level was looked for
	savedAt atomic.Int64            // FetchedAt of the level made durable last, unix nanoseconds
}

const storeShards = 32

// hotEvery is how many reads that missed the hot cache offer it the slot once: it may be slow to take one
// or refuse it for hotter ones, and each offer allocates.
const hotEvery = 16

// store holds what is known of each variant: bounded and synchronous. Eviction is CLOCK (second chance),
// an LRU whose reads take no lock. A ristretto cache in front finds the slots of hot variants without the
// shard's lock.
type store struct {
	hot    *ristretto.Cache[[]byte, *slot]
	shards [storeShards]shard
}

type shard struct {
	mu    sync.RWMutex
	slots map[uuid.UUID]*slot
	ring  []*slot
	hand  int
	limit int
}

func newStore(size int) (*store, error) {
	hotSize := int64(min(size, 1<<14))
	hot, err := ristretto.NewCache(&ristretto.Config[[]byte, *slot]{
		NumCounters: 10 * hotSize, MaxCost: hotSize, BufferItems: 64, IgnoreInternalCost: true, KeyToHash: hashID,
	})
	if err != nil {
		return nil, fmt.Errorf("create the cache of hot levels: %w", err)
	}
	s := &store{hot: hot}
	for i := range s.shards {
		s.shards[i] = shard{slots: map[uuid.UUID]*slot{}, limit: max(1, (size+storeShards-1)/storeShards)}
	}
	return s, nil
}

// hashID maps the 128 bits of an id one to one onto ristretto's pair of hashes, so that no two ids are
// taken for each other.
func hashID(id []byte) (uint64, uint64) {
	high, low := binary.LittleEndian.Uint64(id), binary.LittleEndian.Uint64(id[8:])
	const odd = 0x9E3779B97F4A7C15
	return (low ^ high*odd) * odd, high
}

func (s *store) shardOf(id *uuid.UUID) *shard {
	hash, _ := hashID(id[:])
	return &s.shards[hash>>59]
}

// find returns the variant's slot or nil. id must not live on the caller's stack alone: it is the cache's
// key.
func (s *store) find(id *uuid.UUID) *slot {
	if found, ok := s.hot.Get(id[:]); ok && !found.dead.Load() {
		found.touch()
		return found
	}
	sh := s.shardOf(id)
	sh.mu.RLock()
	found := sh.slots[*id]
	sh.mu.RUnlock()
	if found != nil {
		found.touch()
		if found.missed.Add(1)%hotEvery == 1 {
			s.hot.Set(found.id[:], found, 1)
		}
	}
	return found
}

func (s *slot) touch() {
	if !s.used.Load() { // reading first keeps the cache line shared
		s.used.Store(true)
	}
}

// known is what the slot holds; s may be nil.
func (s *slot) known() *entry {
	if s == nil {
		return nil
	}
	return s.cur.Load()
}

// hasLevel says whether a level is known; s may be nil.
func (s *slot) hasLevel() bool {
	e := s.known()
	return e != nil && e.known
}

// change applies merge to the variant's entry under its shard's lock and returns the slot with the
// entries before and after. merge returning its argument leaves things as they are; a variant without a
// slot gets one only if create.
func (s *store) change(id uuid.UUID, create bool, merge func(*entry) *entry) (at *slot, before, after *entry) {
	sh := s.shardOf(&id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	at = sh.slots[id]
	if at == nil {
		if !create {
			return nil, nil, nil
		}
		at = sh.insert(id)
	}
	before = at.cur.Load()
	if after = merge(before); after != before {
		at.cur.Store(after)
	}
	return at, before, after
}

// slot returns the variant's slot, making one if there is none.
func (s *store) slot(id uuid.UUID) *slot {
	at, _, _ := s.change(id, true, func(e *entry) *entry { return e })
	return at
}

func (sh *shard) insert(id uuid.UUID) *slot {
	added := &slot{id: id}
	sh.slots[id] = added
	if len(sh.ring) < sh.limit {
		sh.ring = append(sh.ring, added)
		return added
	}
	for sh.ring[sh.hand].used.Swap(false) {
		sh.hand = (sh.hand + 1) % len(sh.ring)
	}
	evicted := sh.ring[sh.hand]
	evicted.dead.Store(true)
	delete(sh.slots, evicted.id)
	sh.ring[sh.hand] = added
	sh.hand = (sh.hand + 1) % len(sh.ring)
	return added
}

// len is the number of variants held.
func (s *store) len() int {
	total := 0
	for i := range s.shards {
		s.shards[i].mu.RLock()
		total += len(s.shards[i].slots)
		s.shards[i].mu.RUnlock()
	}
	return total
}

func (s *store) close() { s.hot.Close() }
