package projection

import (
	"math"

	"github.com/google/uuid"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// entry is what the projector knows of a product: its document as it will be written, and what the database holds of it.
type entry struct {
	doc     document
	loaded  int64  // the position the document has in the database; -1 where it isn't there
	whole   bool   // more than the stock changed since
	changed bool   // anything did
	ended   []hour // since, in order
	blocks  []block
	cost    int
}

func newEntry(id uuid.UUID) *entry { return &entry{doc: document{ID: id.String()}, loaded: -1} }

// written notes that the database holds what the entry holds.
func (e *entry) written() {
	e.whole, e.changed, e.ended, e.blocks = false, false, nil, nil
	if e.doc.Version > 0 {
		e.loaded = e.doc.Pos
	}
	e.cost = e.doc.size()
}

// cache keeps entries between pages, the least recently used going first. It belongs to one worker.
type cache struct {
	lru   *simplelru.LRU[uuid.UUID, *entry]
	limit int // bytes, estimated
	used  int
}

func newCache(limit int) *cache {
	c := &cache{limit: limit}
	c.lru, _ = simplelru.NewLRU(math.MaxInt32, func(_ uuid.UUID, e *entry) { c.used -= e.cost }) // fails only for a size below 1
	return c
}

// take removes an entry: what is being changed isn't in the cache until it is written.
func (c *cache) take(id uuid.UUID) *entry {
	e, _ := c.lru.Peek(id)
	c.lru.Remove(id)
	return e
}

func (c *cache) put(id uuid.UUID, e *entry) {
	c.lru.Remove(id)
	c.lru.Add(id, e)
	for c.used += e.cost; c.used > c.limit; {
		if _, _, ok := c.lru.RemoveOldest(); !ok {
			return
		}
	}
}

func (c *cache) purge() { c.lru.Purge() }
