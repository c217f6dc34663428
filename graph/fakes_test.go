package graph

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"product-service/graph/auth"
	"product-service/integration/inventory"
	"product-service/product"
	"product-service/projection/read"
	"product-service/projection/view"
)

// fakes are the services of a handler under test. A function that is nil finds nothing.
type fakes struct {
	byIDs       func([]uuid.UUID) ([]*read.Product, error)
	variants    func([]uuid.UUID) ([]*read.Variant, error)
	page        func(read.ProductFilter, read.ProductOrder, read.Range) (read.Page[read.Product], error)
	waitFor     func(context.Context, uuid.UUID, int64) error
	movements   func(read.MovementFilter, read.Range) (read.Page[read.Movement], error)
	movement    func(uuid.UUID, int64) (read.Movement, bool, error)
	reservation func(productID, id uuid.UUID) (read.Reservation, bool, error)
	stockAt     func(uuid.UUID, time.Time) (read.Stock, bool, error)
	timeline    func(id uuid.UUID, from, to time.Time, every read.Interval) ([]read.Bucket, error)
	report      func(read.ReportFilter, read.ReportOrder, read.Range) (read.Page[read.ReportRow], error)
	level       func(context.Context, uuid.UUID) inventory.Result
	execute     func(ctx context.Context, productID, commandID uuid.UUID, from product.Origin, c product.Command) (int64, *product.Refusal, error)
	forgetful   bool // it doesn't note which levels were loaded

	mu       sync.Mutex
	loads    []load
	told     map[int]func([]view.Change) // of changes of products
	watching map[int]watching
	nth      int
}

// watching is one who is told of changes of a level.
type watching struct {
	id      uuid.UUID
	changed func(inventory.Level)
}

// load is one call of Levels.
type load struct {
	ids   []uuid.UUID
	bound time.Duration
}

func (f *fakes) Product(_ context.Context, id uuid.UUID) (read.Product, bool, error) {
	found, err := f.ProductsByIDs(context.Background(), []uuid.UUID{id})
	if err != nil || found[0] == nil {
		return read.Product{}, false, err
	}
	return *found[0], true, nil
}

func (f *fakes) ProductsByIDs(_ context.Context, ids []uuid.UUID) ([]*read.Product, error) {
	if f.byIDs == nil {
		return make([]*read.Product, len(ids)), nil
	}
	return f.byIDs(ids)
}

func (f *fakes) Variants(_ context.Context, ids []uuid.UUID) ([]*read.Variant, error) {
	if f.variants == nil {
		return make([]*read.Variant, len(ids)), nil
	}
	return f.variants(ids)
}

func (f *fakes) Products(_ context.Context, where read.ProductFilter, order read.ProductOrder, page read.Range) (read.Page[read.Product], error) {
	if f.page == nil {
		return read.Page[read.Product]{}, nil
	}
	return f.page(where, order, page)
}

func (f *fakes) WaitFor(ctx context.Context, id uuid.UUID, version int64) error {
	if f.waitFor == nil {
		return nil
	}
	return f.waitFor(ctx, id, version)
}

func (f *fakes) Movements(_ context.Context, where read.MovementFilter, page read.Range) (read.Page[read.Movement], error) {
	if f.movements == nil {
		return read.Page[read.Movement]{}, nil
	}
	return f.movements(where, page)
}

func (f *fakes) Movement(_ context.Context, id uuid.UUID, version int64) (m read.Movement, ok bool, err error) {
	if f.movement == nil {
		return m, false, nil
	}
	return f.movement(id, version)
}

func (f *fakes) Reservation(_ context.Context, productID, id uuid.UUID) (r read.Reservation, ok bool, err error) {
	if f.reservation == nil {
		return r, false, nil
	}
	return f.reservation(productID, id)
}

func (f *fakes) StockAt(_ context.Context, id uuid.UUID, at time.Time) (s read.Stock, ok bool, err error) {
	if f.stockAt == nil {
		return s, false, nil
	}
	return f.stockAt(id, at)
}

func (f *fakes) Timeline(_ context.Context, id uuid.UUID, from, to time.Time, every read.Interval) ([]read.Bucket, error) {
	if f.timeline == nil {
		return nil, nil
	}
	return f.timeline(id, from, to, every)
}

func (f *fakes) Report(_ context.Context, where read.ReportFilter, order read.ReportOrder, page read.Range) (read.Page[read.ReportRow], error) {
	if f.report == nil {
		return read.Page[read.ReportRow]{}, nil
	}
	return f.report(where, order, page)
}

func (f *fakes) Levels(ctx context.Context, ids []uuid.UUID, bound time.Duration) []inventory.Result {
	if !f.forgetful {
		f.mu.Lock()
		f.loads = append(f.loads, load{ids, bound})
		f.mu.Unlock()
	}
	results := make([]inventory.Result, len(ids))
	for i, id := range ids {
		if f.level != nil {
			results[i] = f.level(ctx, id)
		}
	}
	return results
}

func (f *fakes) Subscribe(changed func([]view.Change)) (stop func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.told == nil {
		f.told = map[int]func([]view.Change){}
	}
	f.nth++
	n := f.nth
	f.told[n] = changed
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.told, n)
	}
}

func (f *fakes) Watch(id uuid.UUID, changed func(inventory.Level)) (stop func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watching == nil {
		f.watching = map[int]watching{}
	}
	f.nth++
	n := f.nth
	f.watching[n] = watching{id, changed}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watching, n)
	}
}

// changed tells of a change of a product, or of a variant's level.
func (f *fakes) changed(id uuid.UUID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, tell := range f.told {
		tell([]view.Change{{ProductID: id}})
	}
	for _, w := range f.watching {
		if w.id == id {
			w.changed(inventory.Level{})
		}
	}
}

func (f *fakes) Execute(ctx context.Context, productID, commandID uuid.UUID, from product.Origin, c product.Command) (int64, *product.Refusal, error) {
	if f.execute == nil {
		return 1, nil, nil
	}
	return f.execute(ctx, productID, commandID, from, c)
}

func (f *fakes) Submit(ctx context.Context, productID, commandID uuid.UUID, from product.Origin, c product.Command) func() (int64, *product.Refusal, error) {
	version, refusal, err := f.Execute(ctx, productID, commandID, from, c)
	return func() (int64, *product.Refusal, error) { return version, refusal, err }
}

// testConfig is the default configuration with the settings given.
func testConfig(t testing.TB, settings ...string) Config {
	t.Helper()
	vars := map[string]string{"GRAPHQL_INTROSPECTION": "on"}
	if len(settings)%2 != 0 {
		t.Fatalf("settings are names and values by turns: %q", settings)
	}
	for i := 0; i < len(settings); i += 2 {
		vars[settings[i]] = settings[i+1]
	}
	c, err := env.ParseAsWithOptions[Config](env.Options{Environment: vars})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// everybody lets every caller do everything.
func everybody(t testing.TB) *Gate {
	t.Helper()
	v, err := auth.New(auth.Config{Mode: auth.ModeNone}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return &Gate{Verifier: v}
}

// newTestHandler serves the API on fakes.
func newTestHandler(t testing.TB, f *fakes, settings ...string) *API {
	t.Helper()
	h, err := Handler(testConfig(t, settings...), Services{Reads: f, Levels: f, Commands: f, Changes: f, LevelChanges: f, Gate: everybody(t)},
		slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// reply is a response as a client reads it.
type reply struct {
	Data   map[string]any
	Errors []struct {
		Message    string
		Path       []any
		Locations  []map[string]int
		Extensions map[string]any
	}
	body   string
	status int
	header http.Header
}

// codes are the codes of the errors, in order.
func (r reply) codes() []string {
	var codes []string
	for _, e := range r.Errors {
		code, _ := e.Extensions["code"].(string)
		codes = append(codes, code)
	}
	return codes
}

// post sends an operation with variables given as a JSON object, or "".
func post(t testing.TB, h http.Handler, query, variables string) reply {
	t.Helper()
	body := map[string]any{"query": query}
	if variables != "" {
		body["variables"] = json.RawMessage(variables)
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(string(encoded)))
	r.Header.Set("Content-Type", "application/json")
	return send(t, h, r)
}

func send(t testing.TB, h http.Handler, r *http.Request) reply {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	got := reply{body: w.Body.String(), status: w.Code, header: w.Header()}
	if got.body != "" {
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("the answer isn't JSON: %v\n%s", err, got.body)
		}
	}
	return got
}
