package store

import "testing"

// Ensure that those who wait for a product are told when it has changed, that the projector hears
// of them, and that none is left behind.
func TestWaiters(t *testing.T) {
	w := newWaiters()
	told, leave := w.Join("a")
	other, leaveOther := w.Join("b")
	<-w.Came
	w.Wake("a")
	w.Wake("a") // it isn't kept up by who doesn't listen
	select {
	case <-told:
	default:
		t.Error("nobody told it")
	}
	select {
	case <-other:
		t.Error("it was told of another product")
	default:
	}
	leave()
	leaveOther()
	if len(w.byProduct) > 0 {
		t.Errorf("left behind: %v", w.byProduct)
	}
}
