// Command dev runs product-service with everything it needs on embedded parts: `go run ./dev`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"product-service/dev/stack"
)

const usage = `Runs product-service on embedded parts: PostgreSQL (the machine's own, else one is fetched), a Kafka broker, a MongoDB
server (the machine's mongod, else FerretDB), a simulated Inventory Service, and the server itself. Ctrl-C stops all of it.

usage: go run ./dev [flags]

  -addr HOST:PORT  where the server listens (default 127.0.0.1:8080)
  -data DIR        where data live and survive a restart (default %s)
  -ephemeral       throw-away data instead, gone after the stop
  -no-demo         no demo catalogue
  -auth            callers need tokens for histories and changes; some are printed
  -env-file FILE   gets KEY=value lines of the server's settings and of the addresses, once everything is ready
  -stack-only      the parts without the server

The environment is handed on to the server, so its other settings work as usual: LOG_LEVEL=debug go run ./dev
MONGODB_URL, if set, is used instead of an embedded MongoDB server.
`

const insistence = time.Second

// flags is the command line.
type flags struct {
	addr, data, envFile          string
	ephemeral, noDemo, stackOnly bool
	auth                         bool
}

func main() {
	f, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "dev:", err)
		os.Exit(2)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	stopWithSignal(cancel)
	stopWithGoRun(cancel)
	if err := run(ctx, f, newConsole(os.Stdout)); err != nil {
		fmt.Fprintln(os.Stderr, "dev:", err)
		os.Exit(1)
	}
}

// stopWithSignal stops this program in order, and at once if somebody insists: the children die
// with it then. Signals right after the first are the same one, which a terminal and a wrapper both
// sent.
func stopWithSignal(cancel context.CancelCauseFunc) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		cancel(errors.New((<-signals).String()))
		begun := time.Now()
		for range signals {
			if time.Since(begun) > insistence {
				fmt.Fprintln(os.Stderr, "dev: did not wait for everything to stop")
				os.Exit(1)
			}
		}
	}()
}

func parse(args []string) (flags, error) {
	defaultData := "none"
	cache, cacheErr := stack.CacheDir()
	if cacheErr == nil {
		defaultData = filepath.Join(cache, "dev")
	}
	f := flags{}
	set := flag.NewFlagSet("dev", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&f.addr, "addr", "127.0.0.1:8080", "")
	set.StringVar(&f.data, "data", "", "")
	set.StringVar(&f.envFile, "env-file", "", "")
	set.BoolVar(&f.ephemeral, "ephemeral", false, "")
	set.BoolVar(&f.noDemo, "no-demo", false, "")
	set.BoolVar(&f.auth, "auth", false, "")
	set.BoolVar(&f.stackOnly, "stack-only", false, "")
	err := set.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Printf(usage, defaultData)
		return f, err
	case err != nil:
		return f, fmt.Errorf("%w; -h shows what there is", err)
	case set.NArg() > 0:
		return f, fmt.Errorf("unexpected argument %q; -h shows what there is", set.Arg(0))
	case f.ephemeral && f.data != "":
		return f, errors.New("-ephemeral and -data exclude each other")
	case f.auth && f.stackOnly:
		return f, errors.New("-auth is for the server, which -stack-only leaves out")
	case f.data == "" && !f.ephemeral:
		if cacheErr != nil {
			return f, fmt.Errorf("no place for data, give one with -data or use -ephemeral: %w", cacheErr)
		}
		f.data = defaultData
	}
	if _, _, err := net.SplitHostPort(f.addr); err != nil {
		return f, fmt.Errorf("-addr %q: want HOST:PORT, such as 127.0.0.1:8080", f.addr)
	}
	return f, nil
}

// run starts everything, waits until it is told to stop or a part fails, and stops everything in
// the opposite order.
func run(ctx context.Context, f flags, out *console) (err error) {
	var started unwinding
	defer func() { err = errors.Join(err, started.unwind(out)) }()

	env := &environment{}
	if f.envFile != "" {
		if err := os.Remove(f.envFile); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove the previous -env-file: %w", err)
		}
	}
	dir, err := claimData(f, &started)
	if err != nil {
		return err
	}
	out.linef("data: %s", dir)
	failed, err := start(ctx, f, dir, env, &started, out)
	if err != nil {
		if ctx.Err() != nil {
			return stopped(ctx) // what failed did so because of the signal
		}
		return err
	}
	if f.envFile != "" {
		if err := env.write(f.envFile); err != nil {
			return fmt.Errorf("write -env-file: %w", err)
		}
	}
	out.summary(f, env, dir)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return stopped(ctx)
	}
}

// stopped is nil for a signal: that is how the program is meant to end.
func stopped(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), errGoRunEnded) {
		return errGoRunEnded
	}
	return nil
}

// unwinding remembers how to stop what was started.
type unwinding []struct {
	name string
	stop func() error
}

func (u *unwinding) add(name string, stop func() error) {
	*u = append(*u, struct {
		name string
		stop func() error
	}{name, stop})
}

func (u *unwinding) unwind(out *console) error {
	out.settle()
	if len(*u) > 0 {
		out.linef("stopping")
	}
	var errs []error
	for len(*u) > 0 {
		last := (*u)[len(*u)-1]
		*u = (*u)[:len(*u)-1]
		if err := last.stop(); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", last.name, err))
		}
	}
	out.linef("stopped")
	return errors.Join(errs...)
}

// environment is the settings of the server and the addresses, in the order they were set.
type environment struct{ lines []string }

func (e *environment) set(name, value string) { e.lines = append(e.lines, name+"="+value) }

func (e *environment) get(name string) string {
	for _, line := range e.lines {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			return value
		}
	}
	return ""
}

// write replaces the file in one step, so that who waits for it never reads half.
func (e *environment) write(file string) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(strings.Join(e.lines, "\n") + "\n")
	if err := errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}
