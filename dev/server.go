package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"product-service/dev/stack"
)

const (
	readyTimeout  = 2 * time.Minute
	serverStop    = 45 * time.Second
	shownLogLines = 20
)

func logFile(dir string) string { return filepath.Join(dir, "server.log") }

// build compiles the server as users get it; the embedded parts are no part of it.
func build(ctx context.Context, binary string) error {
	module, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(module)))
	if root == "." || root == filepath.Dir(os.DevNull) {
		return errors.New("run it inside the repository: go run ./dev")
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, bytes.TrimSpace(out))
	}
	return nil
}

// startServer runs the binary until it says that it is ready, and fills it on its first start.
func startServer(ctx context.Context, f flags, dir, binary string, env *environment, started *unwinding, out *console, ends chan<- error) error {
	editor, err := startIssuer(f, env, started)
	if err != nil {
		return fmt.Errorf("start the issuer of tokens: %w", err)
	}
	env.set("GRAPHQL_INTROSPECTION", "on")
	err = out.step("start the server", func() (string, error) {
		log, err := os.Create(logFile(dir))
		if err != nil {
			return "", err
		}
		defer log.Close() // the child has its own
		cmd := exec.Command(binary, "serve")
		cmd.Env = append(os.Environ(), env.lines...)
		cmd.Stdout, cmd.Stderr = log, log
		server, err := stack.StartProcess(cmd, syscall.SIGKILL)
		if err != nil {
			return "", err
		}
		stopping := make(chan struct{})
		started.add("the server", func() error {
			close(stopping)
			return server.Stop(syscall.SIGTERM, serverStop)
		})
		if err := awaitReady(ctx, "http://"+reachable(env.get("HTTP_ADDR"))+"/readyz", server); err != nil {
			return "", fmt.Errorf("%w\n%s", err, tail(logFile(dir)))
		}
		go func() {
			select {
			case <-stopping:
			case <-server.Done():
				ends <- fmt.Errorf("%w\n%s", ended(server), tail(logFile(dir)))
			}
		}()
		return env.get("HTTP_ADDR"), nil
	})
	if err != nil {
		return err
	}
	if !f.noDemo {
		if err := out.step("create the demo catalogue", func() (string, error) { return createDemo(ctx, env.get("GRAPHQL_URL"), editor, dir) }); err != nil {
			return err
		}
	}
	return tryQuery(ctx, env.get("GRAPHQL_URL"))
}

func awaitReady(ctx context.Context, url string, server *stack.Process) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	var last error
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		switch {
		case err != nil:
			last = err
		case resp.StatusCode == http.StatusOK:
			return resp.Body.Close()
		default:
			last = errors.Join(errors.New(resp.Status), resp.Body.Close())
		}
		select {
		case <-server.Done():
			return ended(server)
		case <-ctx.Done():
			return fmt.Errorf("the server was not ready within %v: %w", readyTimeout, last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// ended says how the server ended by itself.
func ended(server *stack.Process) error {
	if err := server.Err(); err != nil {
		return fmt.Errorf("the server ended by itself: %w", err)
	}
	return errors.New("the server ended by itself: exit code 0")
}

func tail(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	if len(lines) > shownLogLines {
		lines = lines[len(lines)-shownLogLines:]
	}
	return file + ":\n  " + strings.Join(lines, "\n  ")
}
