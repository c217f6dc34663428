package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"product-service/dev/stack"
)

const (
	startLimit = time.Minute
	stopLimit  = 40 * time.Second
)

// server is an instance: a child process.
type server struct {
	t           *testing.T
	process     *stack.Process
	http, admin string // host:port
	log         string
	token       string // what requests come with; "" is none
}

// launch starts an instance and doesn't wait for it. It dies with the test.
func (w *world) launch(extra ...string) *server {
	w.t.Helper()
	s := &server{t: w.t, http: port(w.t), admin: port(w.t)}
	log, err := os.CreateTemp(w.t.TempDir(), "server-*.log")
	if err != nil {
		w.t.Fatal(err)
	}
	defer log.Close() // the child has its own
	s.log = log.Name()
	cmd := exec.Command(binary(w.t), "serve")
	cmd.Dir = w.t.TempDir()
	cmd.Env = append(w.environment(extra...), "HTTP_ADDR="+s.http, "ADMIN_ADDR="+s.admin)
	cmd.Stdout, cmd.Stderr = log, log
	if s.process, err = stack.StartProcess(cmd, syscall.SIGKILL); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		s.kill()
		if w.t.Failed() && (s == w.latest || !w.many) {
			w.t.Logf("log of %s:\n%s", s.http, s.complaints())
		}
	})
	w.latest = s
	return s
}

// start starts an instance and waits until it says that it is ready.
func (w *world) start(extra ...string) *server {
	w.t.Helper()
	s := w.launch(extra...)
	s.awaitReady()
	return s
}

func (s *server) awaitReady() {
	s.t.Helper()
	within(s.t, startLimit, "the server is ready", func() error {
		select {
		case <-s.process.Done():
			s.t.Fatalf("the server ended: %v", s.process.Err())
		default:
		}
		return s.ready()
	})
}

// ready is nil where /readyz says yes, else what it says.
func (s *server) ready() error {
	status, body, err := get("http://" + s.admin + "/readyz")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, strings.TrimSpace(body))
	}
	return err
}

// kill ends it as kill -9 does, and returns when it is gone.
func (s *server) kill() {
	_ = s.process.Signal(syscall.SIGKILL)
	<-s.process.Done()
}

// stop ends it gently and returns its exit code.
func (s *server) stop() int {
	s.t.Helper()
	if err := s.process.Stop(syscall.SIGTERM, stopLimit); err != nil {
		s.t.Fatalf("the server got SIGTERM: %v", err)
	}
	return exitCode(s.process.Err())
}

// awaitDeath waits until it has ended by itself.
func (s *server) awaitDeath(limit time.Duration) {
	s.t.Helper()
	select {
	case <-s.process.Done():
	case <-time.After(limit):
		s.t.Fatalf("the server still runs after %v", limit)
	}
}

// exitCode is that of a process, -1 where a signal ended it.
func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// complaints is what its log says that isn't everyday, and its end.
func (s *server) complaints() string {
	file, err := os.Open(s.log)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	const most = 40
	var said, last []string
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		everyday := strings.Contains(line, `"level":"INFO"`) || strings.Contains(line, "came again with another content")
		if !everyday && len(said) < most {
			said = append(said, line)
		}
		if last = append(last, line); len(last) > 10 {
			last = last[1:]
		}
	}
	return strings.Join(append(append(said, "  … its end:"), last...), "\n")
}

// says tells whether its log has a line with all of these texts.
func (s *server) says(texts ...string) bool {
	log, err := os.ReadFile(s.log)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(log)) {
		all := true
		for _, text := range texts {
			all = all && strings.Contains(line, text)
		}
		if all {
			return true
		}
	}
	return false
}

// run runs another of the program's commands to its end.
func (w *world) run(extra []string, args ...string) (stdout, stderr string, code int) {
	w.t.Helper()
	return run(w.t, w.environment(extra...), args...)
}

func run(t testing.TB, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(t), args...)
	cmd.Env, cmd.Dir = env, filepath.Dir(binary(t))
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("%v did not end: %s", args, errs.String())
	}
	return out.String(), errs.String(), exitCode(err)
}

var web = &http.Client{Timeout: 20 * time.Second}

func get(url string) (status int, body string, err error) {
	resp, err := web.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}
