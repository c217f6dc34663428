package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"product-service/dev/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

// full says whether to run the counts that are quoted.
func full() bool { return os.Getenv("E2E_FULL") == "1" }

// counts is a number that differs between a quick and a full run.
func counts(quick, whole int) int {
	if full() {
		return whole
	}
	return quick
}

// builtIn holds the server. Its lock is what keeps other runs from sweeping it away; a later one
// does, because these tests end without a chance to.
var builtIn *stack.Temporary

var built = sync.OnceValues(func() (string, error) {
	dir, err := stack.NewTemporary()
	if err != nil {
		return "", err
	}
	builtIn = dir
	binary := filepath.Join(dir.Dir, "product-service")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "crash", "-o", binary, "product-service")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, bytes.TrimSpace(out))
	}
	return binary, nil
})

// binary is the server, built with its crash points, once.
func binary(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// within waits until the check passes, and ends the test with its last complaint where it doesn't in time.
func within(t testing.TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	begun := time.Now()
	if err := passes(limit, check); err != nil {
		t.Fatalf("%s: not within %v: %v", what, limit, err)
	}
	if took := time.Since(begun); took > time.Second {
		t.Logf("%s: after %v", what, took.Round(10*time.Millisecond))
	}
}

func passes(limit time.Duration, check func() error) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		err := check()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
