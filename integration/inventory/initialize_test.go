package inventory

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"product-service/correlation"
	"product-service/dev/simulator"
)

func TestInitializeAnswers(t *testing.T) {
	f := newFixture(t, nil)
	ctx := correlation.WithID(context.Background(), "corr-1")
	record := Record{VariantID: uuid.New(), InitialQuantity: 25, LowStockThreshold: 5}
	for _, step := range []string{"created", "repeated"} {
		if _, err := f.client.create(ctx, record); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
	}
	if got, ok := f.sim.Get(record.VariantID); !ok || got.Available != 25 || got.LowStockThreshold != 5 {
		t.Fatalf("record: %+v", got)
	}
	stats := f.sim.Stats()
	if stats.Created != 1 || stats.Replays != 1 || stats.Last["X-Correlation-Id"] != "corr-1" ||
		stats.Last["Idempotency-Key"] != IdempotencyKey(record) {
		t.Fatalf("stats: %+v", stats)
	}
	record.InitialQuantity = 30 // taken back meanwhile, and added again with another quantity
	if _, err := f.client.create(ctx, record); err != nil {
		t.Fatalf("with another quantity: %v", err)
	}
	existing := f.stock(1)[0]
	if _, err := f.client.create(ctx, Record{VariantID: existing, InitialQuantity: 1}); err != nil {
		t.Fatalf("409 is success, got %v", err)
	}
	if _, err := f.client.create(ctx, Record{VariantID: uuid.New(), InitialQuantity: -1}); !errors.Is(err, ErrRefused) || errors.Is(err, ErrUnavailable) {
		t.Fatalf("422: got %v, want ErrRefused", err)
	}
	for _, fault := range []simulator.Fault{{Mode: simulator.Fail}, {Mode: simulator.Reset}, {Mode: simulator.Fail, Status: 429}} {
		f.fault(fault)
		before := f.calls()
		if _, err := f.client.create(ctx, Record{VariantID: uuid.New()}); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrRefused) {
			t.Errorf("%s: got %v, want ErrUnavailable", name(fault), err)
		}
		// net/http itself repeats a request that carries an Idempotency-Key when a pooled
		// connection was dead already.
		if calls := f.calls() - before; calls != 1 && (fault.Mode != simulator.Reset || calls > 2) {
			t.Errorf("%s: %d calls in one try", name(fault), calls)
		}
	}
}

// TestCreationIsBelievedByTheVariantItNames: a gateway's page is no record, a record whose level
// can't be read is one.
func TestCreationIsBelievedByTheVariantItNames(t *testing.T) {
	id := uuid.New()
	for _, c := range []struct {
		name, body string
		made       bool
		available  int64
	}{
		{"a page", "<html>welcome</html>", false, 0},
		{"nothing", "", false, 0},
		{"a list", "[]", false, 0},
		{"another variant's", fmt.Sprintf(`{"productVariantId":%q}`, uuid.New()), false, 0},
		{"only its name", fmt.Sprintf(`{"productVariantId":%q}`, id), true, 0},
		{"the name and nonsense", fmt.Sprintf(`{"productVariantId":%q,"availableQuantity":"few"}`, id), true, 0},
		{"whole", fmt.Sprintf(`{"productVariantId":%q,"availableQuantity":3,"status":"IN_STOCK","updatedAt":"2026-03-01T12:00:00Z"}`, id), true, 3},
	} {
		f := newFixture(t, nil)
		f.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(c.body)) })
		level, err := f.client.create(context.Background(), Record{VariantID: id, InitialQuantity: 3})
		if (err == nil) != c.made || level.Available != c.available {
			t.Errorf("%s: %+v, %v", c.name, level, err)
		}
		if !c.made && (!errors.Is(err, errUndecodable) || !errors.Is(err, ErrUnavailable)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestRedirectedCreation: moved within the host a POST must stay one; as a GET its answer would be
// another question's.
func TestRedirectedCreation(t *testing.T) {
	for _, code := range []int{301, 302, 303, 307, 308} {
		f := newFixture(t, nil)
		var gets atomic.Int64
		mux := http.NewServeMux()
		mux.Handle("POST /inventory", http.RedirectHandler("/moved/inventory", code))
		mux.Handle("POST /moved/inventory", http.StripPrefix("/moved", f.sim))
		mux.HandleFunc("GET /moved/inventory", func(http.ResponseWriter, *http.Request) { gets.Add(1) })
		f.server.Config.Handler = mux
		id := uuid.New()
		_, err := f.client.create(context.Background(), Record{VariantID: id})
		_, made := f.sim.Get(id)
		if follow := code > 303; made != follow || (err == nil) != follow || gets.Load() != 0 {
			t.Errorf("%d: made %v, %d GETs, %v", code, made, gets.Load(), err)
		}
		if err != nil && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), fmt.Sprintf("redirect refused: %d to /moved/inventory", code))) {
			t.Errorf("%d: %v", code, err)
		}
	}
}
