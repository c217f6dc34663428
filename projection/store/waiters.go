package store

import "sync"

// Waiters are the reads that wait for a product to change.
type Waiters struct {
	Came chan struct{} // told when one joins; the projector hears it

	mu        sync.Mutex
	byProduct map[string]map[chan struct{}]bool
}

func newWaiters() Waiters {
	return Waiters{Came: make(chan struct{}, 1), byProduct: map[string]map[chan struct{}]bool{}}
}

// Join returns a channel that gets a value when this process has written the product, and a
// function that ends the waiting.
func (w *Waiters) Join(product string) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byProduct[product] == nil {
		w.byProduct[product] = map[chan struct{}]bool{}
	}
	w.byProduct[product][c] = true
	select {
	case w.Came <- struct{}{}:
	default: // it hasn't heard of the last one yet
	}
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.byProduct[product], c)
		if len(w.byProduct[product]) == 0 {
			delete(w.byProduct, product)
		}
	}
}

// Wake tells those who wait for a product.
func (w *Waiters) Wake(product string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.byProduct[product] {
		select {
		case c <- struct{}{}:
		default: // it knows already
		}
	}
}
