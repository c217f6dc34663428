package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// audited has the service compare its own books.
func (w *world) audited() {
	w.t.Helper()
	if out, errs, code := w.run(nil, "audit"); code != 0 || !strings.Contains(out, `"differences":0`) {
		w.t.Errorf("audit ends with %d: %s%s", code, out, errs)
	}
}

// The read model is built anew while commands go on: readers never find it empty, and in the end it
// is the fold of the log.
func TestRebuild(t *testing.T) {
	w := newWorld(t)
	s := w.start()
	p := newPlan(uint64(time.Now().UnixNano()), counts(1000, 10_000), w.newProducts(6, counts(150, 1000)))
	stop := w.load(p)
	within(t, startLimit, "the load is under way", func() error {
		if n := w.sagas().answered(); n < 50 {
			return fmt.Errorf("%d commands are answered", n)
		}
		return nil
	})
	watched, quit := make(chan int), make(chan struct{})
	go func() {
		reads := 0
		for {
			select {
			case <-quit:
				watched <- reads
				return
			default:
				w.reads()
				reads++
			}
		}
	}()
	out, errs, code := w.run(nil, "rebuild")
	if code != 0 || !strings.Contains(out, `"rebuilt":true`) {
		t.Errorf("rebuild ends with %d: %s%s", code, out, errs)
	}
	close(quit)
	if reads := <-watched; reads == 0 {
		t.Error("nobody read meanwhile")
	}
	stop()
	w.finished(p)
	if err := p.check(w.sagas().seen(), w.checked(time.Minute)); err != nil {
		t.Fatal(err)
	}
	w.audited()
	if err := s.ready(); err != nil {
		t.Errorf("the server isn't ready: %v", err)
	}
}

// A difference between the books ends the audit with 1, and it is named.
func TestAudit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	product, variant := w.newProduct(10)
	within(t, 20*time.Second, "the variant becomes orderable", func() error { return w.orderable(variant, true) })
	m := reserve(product, uuid.NewString(), 4)
	w.sagas().send(m)
	w.sagas().await(m.CommandID, 20*time.Second)
	w.settled(time.Minute)
	w.checked(time.Minute)
	w.audited()
	if _, err := w.sql().Exec(context.Background(), `update product_head set reserved = reserved - 1 where product_id = $1`, product); err != nil {
		t.Fatal(err)
	}
	out, errs, code := w.run(nil, "audit")
	if code != 1 || !strings.Contains(out, product) || !strings.Contains(out, `"differences":1`) {
		t.Errorf("audit ends with %d: %s%s", code, out, errs)
	}
	extra, stranger := uuid.NewString(), uuid.NewString()
	for _, sql := range []string{
		`insert into reservation values ('` + product + `', '` + extra + `', 's', 1, 1, 'ACTIVE', null)`,
		`insert into product_head values ('` + stranger + `', 1, 2, 10, 0, 1, 0)`,
	} {
		if _, err := w.sql().Exec(context.Background(), sql); err != nil {
			t.Fatal(err)
		}
	}
	out, errs, code = w.run(nil, "audit")
	if code != 1 || !strings.Contains(out, extra) || !strings.Contains(out, stranger) || !strings.Contains(out, `"differences":3`) {
		t.Errorf("audit ends with %d: %s%s", code, out, errs)
	}
}
