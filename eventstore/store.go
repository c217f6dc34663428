package eventstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed sql/*.sql migrations/*.sql
var files embed.FS

// Config is how the store is reached.
type Config struct {
	// URL is a libpq URL of the database. TLS is set by its sslmode, sslrootcert, sslcert and
	// sslkey.
	URL string `env:"POSTGRES_URL,required,notEmpty"`

	// Tuning.

	// MaxConnections bounds the connections of one process.
	MaxConnections int32 `env:"POSTGRES_MAX_CONNECTIONS" envDefault:"12"`

	// Timeout bounds one statement, one batch, or one wait for a connection. A connection that died
	// silently is given up after it, and its work is done again.
	Timeout time.Duration `env:"POSTGRES_TIMEOUT" envDefault:"15s"`
}

// Validate returns every fault of the configuration, without the secrets in it.
func (c Config) Validate() error {
	var faults []error
	if _, err := pgxpool.ParseConfig(c.URL); err != nil {
		faults = append(faults, errors.New("POSTGRES_URL: not a PostgreSQL URL; it looks like postgres://user:password@host:5432/database?sslmode=verify-full"))
	}
	if c.MaxConnections < 4 || c.MaxConnections > 1000 {
		faults = append(faults, fmt.Errorf("POSTGRES_MAX_CONNECTIONS: it is %d; it must be 4 to 1000", c.MaxConnections))
	}
	if c.Timeout < time.Second || c.Timeout > 10*time.Minute {
		faults = append(faults, fmt.Errorf("POSTGRES_TIMEOUT: it is %s; it must be 1s to 10m", c.Timeout))
	}
	return errors.Join(faults...)
}

// Store is the log and what belongs to it. It is safe for concurrent use.
type Store struct {
	pool *pgxpool.Pool

	mu      sync.Mutex
	waiting []chan struct{} // told after each commit of this process
}

// Open connects to the database; it does not migrate it.
func Open(ctx context.Context, c Config) (*Store, error) {
	config, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, errors.New("POSTGRES_URL is not a PostgreSQL URL") // the error of the driver may quote the password
	}
	config.MaxConns = c.MaxConnections
	config.MaxConnLifetimeJitter = time.Minute
	config.ConnConfig.ConnectTimeout = 5 * time.Second
	config.ConnConfig.Tracer = deadlines{c.Timeout}
	config.PingTimeout = pingTimeout
	setDefault(config.ConnConfig.RuntimeParams, "application_name", "product-service")
	setDefault(config.ConnConfig.RuntimeParams, "idle_in_transaction_session_timeout", "30s")
	for name, value := range keyedPlans {
		setDefault(config.ConnConfig.RuntimeParams, name, value)
	}
	config.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		types := conn.TypeMap()
		types.TryWrapEncodePlanFuncs = append([]pgtype.TryWrapEncodePlanFunc{wrapSized}, types.TryWrapEncodePlanFuncs...)
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL: %w", err)
	}
	return &Store{pool: pool}, nil
}

// keyedPlans are the planner's settings: every statement looks its rows up by key, whatever its
// parameters are, so one plan is made of each and kept. On a new database it is made when the
// tables are empty, where the planner takes scanning them for cheaper; by the time PostgreSQL makes
// it anew they may hold a hundred thousand rows, and every batch has read them all.
var keyedPlans = map[string]string{
	"plan_cache_mode": "force_generic_plan", "jit": "off",
	"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "enable_material": "off",
}

func setDefault(params map[string]string, name, value string) {
	if _, given := params[name]; !given {
		params[name] = value
	}
}

// Close waits for the connections in use and closes all.
func (s *Store) Close() { s.pool.Close() }

// Ping says whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.pool.Ping(ctx) }

// Migrate brings the schema up to date, under an advisory lock: instances that start together wait
// for each other. It returns the schema's version.
func (s *Store) Migrate(ctx context.Context) (int64, error) {
	migrations, err := fs.Sub(files, "migrations")
	if err != nil {
		return 0, err
	}
	ctx = unbounded(ctx)
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300)) // tried every second, for five minutes
	if err != nil {
		return 0, err
	}
	db := stdlib.OpenDBFromPool(s.pool)
	defer func() { _ = db.Close() }()
	goose, err := goose.NewProvider(goose.DialectPostgres, db, migrations, goose.WithSessionLocker(locker))
	if err != nil {
		return 0, fmt.Errorf("read the migrations: %w", err)
	}
	if _, err := goose.Up(ctx); err != nil {
		return 0, fmt.Errorf("migrate PostgreSQL: %w", err)
	}
	return goose.GetDBVersion(ctx)
}

// Committed returns a channel that gets a value after commits of this process: a hint to read on,
// which may come too often or, for commits of other processes, not at all. Each call returns a
// channel of its own, which is kept: call it once a reader.
func (s *Store) Committed() <-chan struct{} {
	c := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, c)
	return c
}

func (s *Store) committed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.waiting {
		select {
		case c <- struct{}{}:
		default: // it has a hint already
		}
	}
}

// statement returns the text of a file in sql/, which is there: the names are constants of this
// package.
func statement(name string) string {
	text, err := files.ReadFile("sql/" + name + ".sql")
	if err != nil {
		panic(err)
	}
	return string(text)
}

// collect runs a query and scans all of its rows.
func collect[T any](ctx context.Context, s *Store, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}
