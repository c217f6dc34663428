package inventory

import (
	"bytes"
	"context"
	"errors"
	"io"
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
	"go.uber.org/goleak"

	"product-service/correlation"
	"product-service/dev/simulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is time that moves only when told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
}

// memory is a LastKnown that outlives the readers of a test.
type memory struct {
	mu     sync.Mutex
	levels map[uuid.UUID]Level
	loads  int
	saves  int
	broken bool
}

func newMemory() *memory { return &memory{levels: map[uuid.UUID]Level{}} }

func (m *memory) Load(_ context.Context, ids []uuid.UUID) ([]Level, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loads++
	if m.broken {
		return nil, errors.New("broken")
	}
	var found []Level
	for _, id := range ids {
		if level, ok := m.levels[id]; ok {
			found = append(found, level)
		}
	}
	return found, nil
}

func (m *memory) Save(_ context.Context, levels []Level) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.saves++
	if m.broken {
		return errors.New("broken")
	}
	for _, level := range levels {
		held, ok := m.levels[level.VariantID]
		if !ok || level.Supersedes(held) {
			m.levels[level.VariantID] = level
		}
	}
	return nil
}

func (m *memory) get(id uuid.UUID) (Level, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	level, ok := m.levels[id]
	return level, ok
}

func (m *memory) loadCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.loads
}

// fixture is a simulated service on a socket with a reader in front.
type fixture struct {
	t      *testing.T
	sim    *simulator.Simulator
	server *httptest.Server
	cfg    Config
	clock  *clock // nil: real time
	known  LastKnown
	client *Client
	reader *Reader
	logs   *syncBuffer
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// correlated names the context's correlation id on each line, as a program's handler does.
type correlated struct{ slog.Handler }

func (h correlated) Handle(ctx context.Context, r slog.Record) error {
	if id := correlation.ID(ctx); id != "" {
		r.AddAttrs(slog.String("correlation_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

func defaults(t testing.TB, url string) Config {
	t.Helper()
	cfg, err := env.ParseAsWithOptions[Config](env.Options{Environment: map[string]string{"INVENTORY_URL": url}})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// level is [Reader.Levels] for one variant.
func (r *Reader) level(ctx context.Context, id uuid.UUID, maxStaleness time.Duration) Result {
	return r.Levels(ctx, []uuid.UUID{id}, maxStaleness)[0]
}

func newFixture(t *testing.T, change func(*fixture)) *fixture {
	t.Helper()
	f := &fixture{t: t, logs: &syncBuffer{}}
	opts := simulator.Options{}
	f.cfg = defaults(t, "http://placeholder")
	if change != nil {
		change(f)
	}
	if f.clock != nil {
		opts.Now, f.cfg.Now = f.clock.Now, f.clock.Now
	}
	if f.sim == nil {
		sim, err := simulator.New(opts)
		if err != nil {
			t.Fatal(err)
		}
		f.sim = sim
	}
	f.server = httptest.NewUnstartedServer(f.sim)
	f.server.Config.ConnState = f.sim.ConnState
	f.server.Start()
	t.Cleanup(f.server.Close)
	f.cfg.URL = f.server.URL
	f.open()
	t.Cleanup(f.close)
	return f
}

func (f *fixture) open() {
	f.t.Helper()
	reg := prometheus.NewRegistry()
	log := slog.New(correlated{slog.NewJSONHandler(f.logs, &slog.HandlerOptions{Level: slog.LevelDebug})})
	client, err := NewClient(f.cfg, log, reg)
	if err != nil {
		f.t.Fatal(err)
	}
	reader, err := NewReader(client, f.known, reg)
	if err != nil {
		f.t.Fatal(err)
	}
	f.client, f.reader = client, reader
}

func (f *fixture) close() {
	if f.reader != nil {
		f.reader.Close()
		f.client.Close()
		f.reader = nil
	}
}

func (f *fixture) fault(fault simulator.Fault) {
	f.t.Helper()
	if err := f.sim.SetFault(fault); err != nil {
		f.t.Fatal(err)
	}
}

// stock creates n records of 100 each.
func (f *fixture) stock(n int) []uuid.UUID {
	f.t.Helper()
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = uuid.New()
		f.set(ids[i], 100)
	}
	return ids
}

func (f *fixture) set(id uuid.UUID, available int64) {
	f.t.Helper()
	if _, err := f.sim.Set(id, available); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) read(ids ...uuid.UUID) []Result {
	return f.reader.Levels(context.Background(), ids, 0)
}

func (f *fixture) calls() int { return f.sim.Stats().Total() }

// settle waits until nothing runs behind.
func (f *fixture) settle() {
	f.t.Helper()
	eventually(f.t, "nothing in flight", func() bool {
		f.reader.flights.mu.Lock()
		defer f.reader.flights.mu.Unlock()
		return len(f.reader.flights.byID) == 0 && f.reader.refreshes.idle()
	})
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("never came true: %s", what)
}

// poisoned refuses with 400 whatever mentions the word in its URL.
func poisoned(next http.Handler, word string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.String(), word) {
			http.Error(w, "poison", http.StatusBadRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// newHTTP serves a handler for the length of the test and returns its URL.
func newHTTP(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return server.URL
}

func readAll(t *testing.T, r *http.Request) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}
