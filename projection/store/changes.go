package store

import (
	"sync"
	"time"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"

	"product-service/projection/view"
)

// Changes tells whoever wants to know of changes of the products that are read.
type Changes struct {
	mu          sync.Mutex
	subscribers map[int]func([]view.Change)
	hearers     []func([]view.Change)
	last        int
	begun       chan struct{}                // gets a value when somebody wants to know
	asked       time.Time                    // when a hearer last wanted to know of other instances
	told        *lru.Cache[uuid.UUID, int64] // up to which position of a product: what this process writes comes to it again
}

// rememberedChanges is of how many products it is remembered what was told of them.
const rememberedChanges = 4096

func newChanges() *Changes {
	told, err := lru.New[uuid.UUID, int64](rememberedChanges)
	if err != nil {
		panic(err) // the size is one there can be
	}
	return &Changes{subscribers: map[int]func([]view.Change){}, begun: make(chan struct{}, 1), told: told}
}

// Subscribe has changes told from now on, after they show in reads, until stop is called. No
// changes stand for any: some may have been missed, so that what is held of any product may be old.
// changed must not block, and is called by one at a time.
func (c *Changes) Subscribe(changed func([]view.Change)) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	n := c.last
	c.subscribers[n] = changed
	select {
	case c.begun <- struct{}{}:
	default: // it is known that there is somebody
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.subscribers, n)
	}
}

// Followed says whether anybody has subscribed.
func (c *Changes) Followed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.subscribers) > 0
}

// Hear has changes told as Subscribe does, for good, and before subscribers are told of them: what
// these then read is no older. For its sake alone nobody asks what other instances do, unless it
// wants to know.
func (c *Changes) Hear(changed func([]view.Change)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hearers = append(c.hearers, changed)
}

// TellChanges tells subscribers of changes that this process made to a generation, where that is
// the one that is read.
func (s *Store) TellChanges(in Generation, changes ...view.Change) {
	s.mu.Lock()
	read := s.known.read.Generation == in.Name
	s.mu.Unlock()
	if !read || len(changes) == 0 {
		return
	}
	s.Changes.tell(changes)
}

// tell tells of changes, but of those that were told; nil stands for any.
func (c *Changes) tell(changes []view.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var news []view.Change
	for _, change := range changes {
		if known, ok := c.told.Get(change.ProductID); ok && change.Pos > 0 && change.Pos <= known {
			continue
		}
		c.told.Add(change.ProductID, change.Pos)
		news = append(news, change)
	}
	switch {
	case changes == nil:
		c.told.Purge()
	case len(news) == 0:
		return
	}
	for _, changed := range c.hearers {
		changed(news)
	}
	for _, changed := range c.subscribers {
		changed(news)
	}
}

// wantedFor is how long a hearer's wish lasts.
const wantedFor = 10 * time.Second

// want says that a hearer wants to know what other instances do.
func (c *Changes) want() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = time.Now()
	select {
	case c.begun <- struct{}{}:
	default:
	}
}

// wanted says whether anybody wants to know what other instances do.
func (c *Changes) wanted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.subscribers) > 0 || time.Since(c.asked) < wantedFor
}
