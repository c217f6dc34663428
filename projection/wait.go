package projection

import "sync"

// waiters are the reads that wait for a product to change.
type waiters struct {
	came chan struct{} // told when one joins; the projector hears it

	mu        sync.Mutex
	byProduct map[string]map[chan struct{}]bool
}

func newWaiters() waiters {
	return waiters{came: make(chan struct{}, 1), byProduct: map[string]map[chan struct{}]bool{}}
}

// join returns a channel that gets a value when this process has written the product, and a function that ends the waiting.
func (w *waiters) join(product string) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byProduct[product] == nil {
		w.byProduct[product] = map[chan struct{}]bool{}
	}
	w.byProduct[product][c] = true
	select {
	case w.came <- struct{}{}:
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
