package projection

import (
	"math"

	"github.com/google/uuid"
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"product-service/projection/view"
)

// cache keeps entries between pages. The least recently used goes first. It belongs to one goroutine.
type cache struct {
	lru   *simplelru.LRU[uuid.UUID, *view.Entry]
	limit int // bytes, estimated
	used  int
}

func newCache(limit int) *cache {
	c := &cache{limit: limit}
	// It fails only for a size below 1.
	c.lru, _ = simplelru.NewLRU(math.MaxInt32, func(_ uuid.UUID, e *view.Entry) { c.used -= e.Cost })
	return c
}

// take removes an entry, which isn't in the cache while it is being changed.
func (c *cache) take(id uuid.UUID) *view.Entry {
	e, _ := c.lru.Peek(id)
	c.lru.Remove(id)
	return e
}

func (c *cache) put(id uuid.UUID, e *view.Entry) {
	c.lru.Remove(id)
	c.lru.Add(id, e)
	for c.used += e.Cost; c.used > c.limit; {
		if _, _, ok := c.lru.RemoveOldest(); !ok {
			return
		}
	}
}

func (c *cache) purge() { c.lru.Purge() }
