package store

import (
	"sync"

	"product-service/projection/view"
)

// Changes tells whoever wants to know of changes of the products that are read.
type Changes struct {
	mu          sync.Mutex
	subscribers map[int]func([]view.Change)
	last        int
	begun       chan struct{} // gets a value with a subscriber
}

func newChanges() *Changes {
	return &Changes{subscribers: map[int]func([]view.Change){}, begun: make(chan struct{}, 1)}
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

// TellChanges tells subscribers of changes that this process made to a generation, where that is
// the one that is read.
func (s *Store) TellChanges(in Generation, changes ...view.Change) {
	s.mu.Lock()
	read := s.known.read.Generation == in.Name
	s.mu.Unlock()
	if read && len(changes) > 0 {
		s.Changes.tell(changes)
	}
}

func (c *Changes) tell(changes []view.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, changed := range c.subscribers {
		changed(changes)
	}
}

// wanted says whether anybody wants to know.
func (c *Changes) wanted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.subscribers) > 0
}
