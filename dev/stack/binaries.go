package stack

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	embedded "github.com/fergusstrange/embedded-postgres"
)

const (
	oldestPostgres  = 13 // the oldest one that the server's SQL was written for
	fetchedPostgres = embedded.V17
	fetchedMajor    = 17
)

// binaries is the bin directory of a PostgreSQL, with its major version.
type binaries struct {
	dir   string
	major int
}

func (b binaries) path(name string) string { return filepath.Join(b.dir, name) }

// findBinaries looks for a PostgreSQL on the machine that the account can run, newest first, and
// fetches one if there is none. A major version other than 0 is asked for by existing data.
//
// FETCH_POSTGRES=1 skips the machine's own, so that the fetched one can be tried anywhere.
func findBinaries(ctx context.Context, as *account, major int) (binaries, error) {
	if os.Getenv("FETCH_POSTGRES") != "1" {
		for _, b := range installed(ctx, as) {
			if major == 0 || b.major == major {
				return b, nil
			}
		}
	}
	if major != 0 && major != fetchedMajor {
		return binaries{}, fmt.Errorf("the data were written by PostgreSQL %d, which is not on this machine: install it or remove the data", major)
	}
	return fetch(ctx, as)
}

func installed(ctx context.Context, as *account) []binaries {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin",
		"/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin",
	} {
		found, _ := filepath.Glob(pattern)
		dirs = append(dirs, found...)
	}
	slices.Sort(dirs)
	var all []binaries
	for _, dir := range slices.Compact(dirs) {
		if b, err := inspect(ctx, as, dir); err == nil && b.major >= oldestPostgres {
			all = append(all, b)
		}
	}
	slices.SortStableFunc(all, func(a, b binaries) int { return cmp.Compare(b.major, a.major) })
	return all
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// inspect runs both programs as the account that will, which also proves that it can.
func inspect(ctx context.Context, as *account, dir string) (binaries, error) {
	b := binaries{dir: dir}
	for _, program := range []string{"initdb", "postgres"} {
		cmd := exec.CommandContext(ctx, b.path(program), "--version")
		cmd.Dir, cmd.SysProcAttr = "/", as.attributes()
		out, err := cmd.CombinedOutput()
		if err != nil {
			return b, fmt.Errorf("%s --version: %w: %s", b.path(program), err, bytes.TrimSpace(out))
		}
		match := versionPattern.FindSubmatch(out)
		if match == nil {
			return b, fmt.Errorf("%s --version answered %q", b.path(program), out)
		}
		b.major, _ = strconv.Atoi(string(match[1]))
	}
	return b, nil
}

// fetch downloads and unpacks a PostgreSQL into the cache directory, once; processes at the same
// time wait for the first.
func fetch(ctx context.Context, as *account) (binaries, error) {
	cache, err := CacheDir()
	if err != nil {
		return binaries{}, err
	}
	dir := filepath.Join(cache, fmt.Sprintf("postgresql-%s-%s-%s", fetchedPostgres, runtime.GOOS, runtime.GOARCH))
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return binaries{}, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return binaries{}, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if b, err := inspect(ctx, as, filepath.Join(dir, "bin")); err == nil {
		return b, nil
	}
	unpackErr := unpack(cache, dir)
	http.DefaultClient.CloseIdleConnections() // the library downloads with it and would keep a connection open for nothing
	b, err := inspect(ctx, as, filepath.Join(dir, "bin"))
	if err != nil {
		return b, fmt.Errorf("no PostgreSQL %d or newer on this machine, and fetching one failed: %w", oldestPostgres, errors.Join(unpackErr, err))
	}
	return b, nil
}

// unpack borrows the library's download, checksum and archive handling, which it offers only as the
// first half of starting a server. The data directory it is given looks initialized but is not, so
// that the second half always ends before a server runs: the error it returns says nothing about
// the first.
func unpack(cache, dir string) error {
	scratch, err := os.MkdirTemp(cache, "unpack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	data := filepath.Join(scratch, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte(strconv.Itoa(fetchedMajor)+"\n"), 0o600); err != nil {
		return err
	}
	port, err := FreePort()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	var output bytes.Buffer
	config := embedded.DefaultConfig().Version(fetchedPostgres).Port(uint32(port)).Logger(&output).
		CachePath(cache).BinariesPath(dir).RuntimePath(filepath.Join(scratch, "runtime")).DataPath(data)
	return embedded.NewDatabase(config).Start()
}

// FreePort is a TCP port that was free on loopback a moment ago.
func FreePort() (int, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return int(netip.MustParseAddrPort(l.Addr().String()).Port()), nil
}
