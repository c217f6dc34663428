package projection

import "sync"

// waiters are the reads that wait for a product to change.
type waiters struct {
	mu        sync.Mutex
	byProduct map[string]map[chan struct{}]bool
}

// join returns a channel that gets a value when this process has written the product, and a function that ends the waiting.
func (w *waiters) join(product string) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byProduct == nil {
		w.byProduct = map[string]map[chan struct{}]bool{}
	}
	if w.byProduct[product] == nil {
		w.byProduct[product] = map[chan struct{}]bool{}
	}
	w.byProduct[product][c] = true
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.byProduct[product], c)
		if len(w.byProduct[product]) == 0 {
			delete(w.byProduct, product)
		}
	}
}

// wake tells those who wait for a product.
func (w *waiters) wake(product string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.byProduct[product] {
		select {
		case c <- struct{}{}:
		default: // it knows already
		}
	}
}
