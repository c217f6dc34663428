package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"product-service/dev/simulator"
	"product-service/dev/stack"
)

// world is what one test's servers have around them.
type world struct {
	t                         *testing.T
	postgres, mongo, database string
	brokers                   []string
	prefix                    string
	simulator                 *simulator.Simulator
	inventory                 string // the simulator's address
	settings                  []string

	pool   *pgxpool.Pool
	saga   *saga
	latest *server
	many   bool // servers die here: show only the last one's log
}

// newWorld is a world of the test's own. Settings are KEY=value and win over the usual ones.
func newWorld(t *testing.T, settings ...string) *world {
	t.Helper()
	w := &world{t: t, settings: settings}
	w.postgres = stack.Postgres(t, nil)
	w.brokers, w.prefix = stack.Kafka(t)
	w.mongo, w.database = stack.Mongo(t)
	w.simulate()
	return w
}

func (w *world) simulate() {
	w.t.Helper()
	sim, err := simulator.New(simulator.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.simulator = sim
	listening := httptest.NewUnstartedServer(sim)
	listening.Config.ConnState = func(c net.Conn, s http.ConnState) { sim.ConnState(c, s) }
	listening.Start()
	w.t.Cleanup(listening.Close)
	w.inventory = listening.URL
}

func (w *world) group() string { return w.prefix + "product-service" }

// environment is the settings of one instance.
func (w *world) environment(extra ...string) []string {
	usual := []string{
		"POSTGRES_URL=" + w.postgres, "MONGODB_URL=" + w.mongo, "MONGODB_DATABASE=" + w.database,
		"KAFKA_BROKERS=" + strings.Join(w.brokers, ","), "KAFKA_TOPIC_PREFIX=" + w.prefix, "KAFKA_GROUP=" + w.group(),
		"INVENTORY_URL=" + w.inventory, "AUTH_MODE=none", "LOG_FORMAT=json", "LOG_LEVEL=info", "LEASE_TTL=1s",
	}
	return append(append(usual, w.settings...), extra...)
}

// sql is a pool on the service's database.
func (w *world) sql() *pgxpool.Pool {
	w.t.Helper()
	if w.pool == nil {
		pool, err := pgxpool.New(context.Background(), w.postgres)
		if err != nil {
			w.t.Fatal(err)
		}
		w.pool = pool
		w.t.Cleanup(pool.Close)
	}
	return w.pool
}

// value is one number from the service's database.
func (w *world) value(query string, args ...any) (n int64, err error) {
	err = w.sql().QueryRow(context.Background(), query, args...).Scan(&n)
	return n, err
}

// newProduct makes a product with one variant and returns the ids of both.
func (w *world) newProduct(stock int) (product, variant string) {
	w.t.Helper()
	product, variant = uuid.NewString(), uuid.NewString()
	payload, err := w.latest.createProduct(product, variant, stock)
	if err != nil {
		w.t.Fatalf("create a product: %v", err)
	}
	if len(payload.UserErrors) > 0 {
		w.t.Fatalf("create a product: %+v", payload.UserErrors)
	}
	return product, variant
}

// newProducts makes n of them and returns their ids.
func (w *world) newProducts(n, stock int) []string {
	w.t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i], _ = w.newProduct(stock)
	}
	return ids
}

func port(t testing.TB) string {
	t.Helper()
	p, err := stack.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", p)
}
