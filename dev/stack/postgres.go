package stack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	startTimeout       = time.Minute
	stopTimeout        = 20 * time.Second
	postgresConnection = 500 // of which FerretDB may take ferretConnections
)

// PostgresServer is a running PostgreSQL on loopback, where anybody on this machine may log in as postgres.
type PostgresServer struct {
	process *Process
	product string
	port    int
	logFile string
}

// StartPostgres starts a PostgreSQL whose data live under dir (made if absent, kept if there) and
// waits until it answers. durable=false trades crash safety for speed: right for data that nobody
// will miss.
func StartPostgres(ctx context.Context, dir string, durable bool) (*PostgresServer, error) {
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	home, err := postgresHome(dir, as)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(home, "data")
	major, err := dataVersion(data)
	if err != nil {
		return nil, err
	}
	bin, err := findBinaries(ctx, as, major)
	if err != nil {
		return nil, err
	}
	if major == 0 {
		if err := initialize(ctx, as, bin, home, data); err != nil {
			return nil, err
		}
	}
	if err := awaitPredecessor(ctx, data); err != nil {
		return nil, err
	}
	return launch(ctx, as, bin, home, data, durable)
}

// postgresHome is dir/postgres, made so that the account can enter it. Where it can't, because a
// directory above is closed to it, dir/postgres becomes a link to a place of its own in the cache
// directory.
func postgresHome(dir string, as *account) (string, error) {
	home, err := filepath.Abs(filepath.Join(dir, "postgres"))
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(home), 0o711); err != nil {
		return "", err
	}
	if as != nil && !as.enters(filepath.Dir(home)) {
		_ = os.Chmod(filepath.Dir(home), 0o711) // enough where only the last step was closed
	}
	if _, err := os.Stat(home); errors.Is(err, os.ErrNotExist) {
		_ = os.Remove(home) // a link whose place was cleaned away
		if err := makeHome(home, as); err != nil {
			return "", err
		}
	}
	return filepath.EvalSymlinks(home)
}

func makeHome(home string, as *account) error {
	if as.enters(filepath.Dir(home)) {
		if err := os.Mkdir(home, 0o700); err != nil {
			return err
		}
		return as.own(home)
	}
	cache, err := CacheDir()
	if err != nil {
		return err
	}
	sweepPlaces(cache)
	place, err := os.MkdirTemp(cache, placePrefix)
	if err != nil {
		return err
	}
	if err := as.own(place); err != nil {
		return err
	}
	if err := os.Symlink(home, place+originSuffix); err != nil {
		return err
	}
	return os.Symlink(place, home)
}

const placePrefix, originSuffix = "postgres-at-", ".origin"

// sweepPlaces removes the places whose link was deleted, which is how a user throws such data away.
func sweepPlaces(cache string) {
	origins, _ := filepath.Glob(filepath.Join(cache, placePrefix+"*"+originSuffix))
	for _, origin := range origins {
		place := strings.TrimSuffix(origin, originSuffix)
		home, err := os.Readlink(origin)
		if err != nil {
			continue
		}
		if target, err := os.Readlink(home); err == nil && target == place {
			continue
		}
		if os.RemoveAll(place) == nil {
			_ = os.Remove(origin)
		}
	}
}

// dataVersion is the major version that wrote data, 0 if there are none.
func dataVersion(data string) (int, error) {
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read %s/PG_VERSION: %w", data, err)
	}
	return major, nil
}

// initialize makes the data under another name and renames them, so that an interrupted one is
// never taken for whole.
func initialize(ctx context.Context, as *account, bin binaries, home, data string) error {
	locale := "C.UTF-8"
	if runtime.GOOS != "linux" {
		locale = "C"
	}
	fresh := data + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, bin.path("initdb"), "--pgdata="+fresh, "--username=postgres", "--auth=trust",
		"--encoding=UTF8", "--locale="+locale, "--no-sync")
	cmd.Dir, cmd.Env, cmd.SysProcAttr = home, postgresEnv(), as.attributes()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return os.Rename(fresh, data)
}

func postgresEnv() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
}

func launch(ctx context.Context, as *account, bin binaries, home, data string, durable bool) (*PostgresServer, error) {
	var last error
	for range 3 { // the port was free when asked for, but somebody else may have been quicker
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		s := &PostgresServer{product: fmt.Sprintf("PostgreSQL %d of %s", bin.major, bin.dir), port: port, logFile: filepath.Join(home, "postgres.log")}
		if last = s.start(as, bin, home, data, durable); last != nil {
			return nil, last
		}
		if last = s.await(ctx); last == nil {
			return s, nil
		}
		_ = s.Stop()
		if !strings.Contains(last.Error(), "could not bind") {
			break
		}
	}
	return nil, last
}

func (s *PostgresServer) start(as *account, bin binaries, home, data string, durable bool) error {
	log, err := os.Create(s.logFile)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	settings := map[string]string{
		"listen_addresses": "127.0.0.1", "port": strconv.Itoa(s.port), "unix_socket_directories": "",
		"max_connections": strconv.Itoa(postgresConnection), "timezone": "UTC",
	}
	if !durable {
		for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
			settings[name] = "off"
		}
	}
	args := []string{"-D", data}
	for name, value := range settings {
		args = append(args, "-c", name+"="+value)
	}
	cmd := exec.Command(bin.path("postgres"), args...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = home, postgresEnv(), as.attributes()
	cmd.Stdout, cmd.Stderr = log, log
	s.process, err = StartProcess(cmd, syscall.SIGINT)
	return err
}

// await returns once a client gets in, or says what the server's log says.
func (s *PostgresServer) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.process.Done():
			log, _ := os.ReadFile(s.logFile)
			return fmt.Errorf("PostgreSQL ended at its start (%w):\n%s", s.process.Err(), log)
		case <-ctx.Done():
			return fmt.Errorf("wait for PostgreSQL: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// URL is the connection string of one of its databases.
func (s *PostgresServer) URL(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.port, url.PathEscape(database))
}

// Product is which PostgreSQL it is: its major version and where its programs are.
func (s *PostgresServer) Product() string { return s.product }

// EnsureDatabase creates the database if it is not there.
func (s *PostgresServer) EnsureDatabase(ctx context.Context, name string) error {
	return withConn(ctx, s.URL("postgres"), func(conn *pgx.Conn) error {
		var exists bool
		if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists); err != nil || exists {
			return err
		}
		_, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
		return err
	})
}

// Done is closed when the server has ended.
func (s *PostgresServer) Done() <-chan struct{} { return s.process.Done() }

// Stop ends the server, and with it every connection, and waits until it is gone.
func (s *PostgresServer) Stop() error {
	if err := s.process.Stop(syscall.SIGINT, stopTimeout); err != nil { // SIGINT: fast shutdown
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	return nil
}

func withConn(ctx context.Context, url string, do func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(do(conn), conn.Close(ctx))
}
