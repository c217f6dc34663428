// Package stack starts the servers that product-service needs, embedded: for its tests and for `go
// run ./dev`. It is never linked into the server.
//
// Tests ask [Postgres], [Kafka] and [Mongo] for something of their own; the servers behind them
// start on the first request, once a process. With TEST_REAL=1 the same functions hand out
// databases and topic prefixes on the servers that POSTGRES_URL, KAFKA_BROKERS and MONGODB_URL
// name.
package stack

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const callTimeout = 2 * time.Minute

// Real says whether the tests run on real servers: TEST_REAL=1.
func Real() bool { return os.Getenv("TEST_REAL") == "1" }

// Main runs a package's tests, stops what they started, and fails where a goroutine is left; call
// it from TestMain. Without it the servers die with the process as well, but their temporary files
// stay until the next process sweeps them.
func Main(m *testing.M) {
	const metersOfSarama = "github.com/rcrowley/go-metrics.(*meterArbiter).tick" // one goroutine for all, for good
	process.hasMain = true
	code := m.Run()
	if err := process.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stack:", err)
		code = max(code, 1)
	}
	if code == 0 { // a test that failed may have left some
		if err := goleak.Find(goleak.IgnoreAnyFunction(metersOfSarama)); err != nil {
			fmt.Fprintln(os.Stderr, "stack:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// shared is what the tests of one process share.
type shared struct {
	hasMain   bool
	mu        sync.Mutex // one start, one CREATE DATABASE at a time
	tmp       *Temporary
	postgres  *PostgresServer
	kafka     *KafkaBroker
	mongo     *MongoServer
	templates map[uintptr]string // by prepare function
}

var process = &shared{templates: map[uintptr]string{}}

// Postgres is the connection string of a database of the test's own, dropped when the test ends.
// prepare (migrations, say; may be nil) has run on it: once a process, on a template that the
// others are copied from, so it must be the same function each time (a closure is told from another
// only by its code) and must leave no connection open.
func Postgres(t testing.TB, prepare func(url string) error) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	process.mu.Lock()
	defer process.mu.Unlock()
	admin, err := process.postgresAdmin(ctx)
	if err != nil {
		t.Fatalf("stack: %v", err)
	}
	template := ""
	if prepare != nil && (!Real() || process.hasMain) { // without Main nobody would drop it from a real server
		if template, err = process.template(ctx, admin, prepare); err != nil {
			t.Fatalf("stack: %v", err)
		}
	}
	name := unique()
	own, err := createDatabase(ctx, admin, name, template)
	if err == nil && prepare != nil && template == "" {
		err = prepare(own)
	}
	if err != nil {
		t.Fatalf("stack: create database: %v", err)
	}
	t.Cleanup(func() {
		if err := dropDatabase(admin, name); err != nil {
			t.Errorf("stack: %v", err)
		}
	})
	return own
}

// Kafka is a bootstrap list and a prefix that makes the test's topics and groups its own; the
// topics that carry it are deleted when the test ends.
func Kafka(t testing.TB) (brokers []string, prefix string) {
	t.Helper()
	process.mu.Lock()
	defer process.mu.Unlock()
	if Real() {
		brokers = strings.Split(mustEnv(t, "KAFKA_BROKERS"), ",")
	} else {
		if process.kafka == nil {
			broker, err := StartKafka("")
			if err != nil {
				t.Fatalf("stack: %v", err)
			}
			process.kafka = broker
		}
		brokers = process.kafka.Brokers()
	}
	prefix = unique() + "-"
	t.Cleanup(func() {
		if err := deleteTopics(brokers, prefix); err != nil {
			t.Errorf("stack: %v", err)
		}
	})
	return brokers, prefix
}

// Mongo is the connection string of a server and the name of a database on it that is the test's
// own, dropped when the test ends.
func Mongo(t testing.TB) (url, database string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	process.mu.Lock()
	defer process.mu.Unlock()
	if Real() {
		url = mustEnv(t, "MONGODB_URL")
	} else {
		if err := process.startMongo(ctx); err != nil {
			t.Fatalf("stack: %v", err)
		}
		url = process.mongo.URL()
	}
	database = unique()
	t.Cleanup(func() {
		if err := DropMongo(url, database); err != nil {
			t.Errorf("stack: %v", err)
		}
	})
	return url, database
}

func mustEnv(t testing.TB, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("stack: TEST_REAL=1 needs %s", name)
	}
	return value
}

func unique() string {
	var b [6]byte
	_, _ = rand.Read(b[:])
	return "t" + hex.EncodeToString(b[:])
}

func (s *shared) postgresAdmin(ctx context.Context) (string, error) {
	if Real() {
		if admin := os.Getenv("POSTGRES_URL"); admin != "" {
			return admin, nil
		}
		return "", errors.New("TEST_REAL=1 needs POSTGRES_URL")
	}
	if err := s.startPostgres(ctx); err != nil {
		return "", err
	}
	return s.postgres.URL("postgres"), nil
}

func (s *shared) startPostgres(ctx context.Context) (err error) {
	if s.postgres != nil {
		return nil
	}
	if s.tmp == nil {
		if s.tmp, err = NewTemporary(); err != nil {
			return err
		}
	}
	s.postgres, err = StartPostgres(ctx, s.tmp.Dir, false)
	return err
}

func (s *shared) startMongo(ctx context.Context) (err error) {
	if s.mongo != nil {
		return nil
	}
	if err := s.startPostgres(ctx); err != nil {
		return err
	}
	s.mongo, err = StartMongo(ctx, s.tmp.Dir, s.postgres, slog.New(slog.DiscardHandler))
	return err
}

func (s *shared) template(ctx context.Context, admin string, prepare func(url string) error) (string, error) {
	key := reflect.ValueOf(prepare).Pointer()
	if name, ok := s.templates[key]; ok {
		return name, nil
	}
	name := unique()
	own, err := createDatabase(ctx, admin, name, "")
	if err != nil {
		return "", fmt.Errorf("create template: %w", err)
	}
	s.templates[key] = name // also if it fails: it is there and has to be dropped
	if err := prepare(own); err != nil {
		delete(s.templates, key)
		return "", errors.Join(fmt.Errorf("prepare template: %w", err), dropDatabase(admin, name))
	}
	return name, nil
}

// stop ends what the tests started, in the order of dependence.
func (s *shared) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if Real() {
		for _, name := range s.templates {
			errs = append(errs, dropDatabase(os.Getenv("POSTGRES_URL"), name))
		}
	}
	if s.mongo != nil {
		errs = append(errs, s.mongo.Stop())
	}
	if s.kafka != nil {
		s.kafka.Close()
	}
	if s.postgres != nil {
		errs = append(errs, s.postgres.Stop())
	}
	if s.tmp != nil {
		errs = append(errs, s.tmp.Remove())
	}
	s.mongo, s.kafka, s.postgres, s.tmp, s.templates = nil, nil, nil, nil, map[uintptr]string{}
	return errors.Join(errs...)
}
