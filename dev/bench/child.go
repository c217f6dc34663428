package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"product-service/dev/stack"
)

// child is the server under test, as a process of its own.
type child struct {
	process     *stack.Process
	http, admin string // base URLs
	logFile     string
}

const (
	readyWithin = 30 * time.Second
	stopWithin  = 30 * time.Second
)

// startChild runs the server with these settings over those of the environment, and waits until it
// is ready.
func startChild(ctx context.Context, b *bench, settings map[string]string) (*child, error) {
	httpAddr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	adminAddr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	c := &child{http: "http://" + httpAddr, admin: "http://" + adminAddr, logFile: filepath.Join(b.servers.dir, "server.log")}
	log, err := os.OpenFile(c.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the child has its own
	cmd := exec.Command(b.servers.binary, "serve")
	cmd.Env = append(os.Environ(), "HTTP_ADDR="+httpAddr, "ADMIN_ADDR="+adminAddr, "AUTH_MODE=none", "LOG_LEVEL=warn",
		"INVENTORY_URL=http://127.0.0.1:9") // where nobody listens: these products have no variants, so nobody is asked
	for name, value := range settings {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if c.process, err = stack.StartProcess(cmd, syscall.SIGKILL); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	if err := c.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (c *child) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		_, err := get(ctx, c.admin+"/readyz")
		if err == nil {
			return nil
		}
		select {
		case <-c.process.Done():
			return fmt.Errorf("the server ended (%w)\n%s", c.process.Err(), c.lastLines())
		case <-ctx.Done():
			return fmt.Errorf("the server was not ready within %s: %w\n%s", readyWithin, err, c.lastLines())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the server in order; that it has to be killed, or ends with another code than 0, is an error.
func (c *child) stop() error {
	err := c.process.Stop(syscall.SIGTERM, stopWithin)
	if err == nil {
		err = c.process.Err()
	}
	if err != nil {
		return fmt.Errorf("the server did not end well: %w\n%s", err, c.lastLines())
	}
	return nil
}

func (c *child) lastLines() string {
	text, err := os.ReadFile(c.logFile)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

func get(ctx context.Context, url string) (body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// projected is how many rows of the log this server has folded into documents.
func (c *child) projected(ctx context.Context) (int, error) {
	body, err := get(ctx, c.admin+"/metrics")
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(strings.NewReader(string(body)))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "product_service_projection_rows_total "); ok {
			rows, err := strconv.ParseFloat(value, 64)
			return int(rows), err
		}
	}
	return 0, lines.Err() // without a projector there is no such metric
}

var fileName = strings.NewReplacer(" ", "-", "/", "-", ",", "")

// profile writes a CPU profile of the next seconds, and a heap profile after half of them, where
// profiles are asked for. The function it returns waits for their end.
func (c *child) profile(ctx context.Context, b *bench, name string, seconds int) func() error {
	if b.flags.profile == "" {
		return func() error { return nil }
	}
	save := func(what, query string) error {
		body, err := get(ctx, c.admin+"/debug/pprof/"+what+query)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(b.flags.profile, fileName.Replace(name)+"."+what), body, 0o644)
	}
	var group errgroup.Group
	group.Go(func() error { return save("profile", fmt.Sprintf("?seconds=%d", seconds)) })
	group.Go(func() error {
		time.Sleep(time.Duration(seconds) * time.Second / 2)
		return save("heap", "")
	})
	return group.Wait
}
