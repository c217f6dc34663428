package stack

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestHelperServesUntilKilled is the program that [TestPostgresDiesWithItsProgram] kills.
func TestHelperServesUntilKilled(t *testing.T) {
	if os.Getenv("STACK_HELPER") == "" {
		return
	}
	if err := process.startPostgres(t.Context()); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("serving %s %s\n", process.postgres.URL("postgres"), process.tmp.Dir)
	select {}
}

func TestPostgresDiesWithItsProgram(t *testing.T) {
	ctx := testContext(t)
	helper := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestHelperServesUntilKilled$")
	helper.Env = append(os.Environ(), "STACK_HELPER=1")
	out, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	var url, dir string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if n, _ := fmt.Sscanf(lines.Text(), "serving %s %s", &url, &dir); n == 2 {
			break
		}
		t.Log(lines.Text())
	}
	query[int](t, url, "SELECT 1")
	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = helper.Wait()
	awaitRefusal(ctx, t, url)
	pid := filepath.Join(dir, "postgres", "data", "postmaster.pid")
	for _, err := os.Stat(pid); err == nil; _, err = os.Stat(pid) {
		if ctx.Err() != nil {
			t.Fatalf("%s is still there: PostgreSQL was not shut down in order", pid)
		}
		time.Sleep(10 * time.Millisecond)
	}
	sweepTemporary()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s was not swept: %v", dir, err)
	}
}

func awaitRefusal(ctx context.Context, t *testing.T, url string) {
	t.Helper()
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			_ = conn.Close(ctx)
		} else if strings.Contains(err.Error(), "connection refused") {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("PostgreSQL outlived its program: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A file that names a process which isn't a server any more is in nobody's way; one that names a
// server is respected.
func TestAPostmasterFileThatWasLeftBehind(t *testing.T) {
	ctx := testContext(t)
	as, err := unprivileged()
	if err != nil {
		t.Fatal(err)
	}
	tmp, err := NewTemporary()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tmp.Remove() })
	first, err := StartPostgres(ctx, tmp.Dir, false)
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(tmp.Dir, "postgres", "data")
	pidFile := filepath.Join(data, "postmaster.pid")
	left, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	if serving, err := servesPostgres(first.process.PID(), data); err != nil || !serving {
		t.Errorf("a server isn't taken for one: %v, %v", serving, err)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	other := exec.CommandContext(ctx, "sleep", "1000") // of the same user: PostgreSQL ignores others
	other.SysProcAttr = as.attributes()
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	_, rest, _ := strings.Cut(string(left), "\n")
	if err := os.WriteFile(pidFile, fmt.Appendf(nil, "%d\n%s", other.Process.Pid, rest), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := as.own(pidFile); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	second, err := StartPostgres(ctx, tmp.Dir, false)
	if err != nil {
		t.Fatalf("after %s: %v", time.Since(began), err)
	}
	defer func() { _ = second.Stop() }()
	if took := time.Since(began); took > stopTimeout-time.Second {
		t.Errorf("it waited %s for a process that is no server", took)
	}
	query[int](t, second.URL("postgres"), "SELECT 1")

	gone, leave := context.WithCancel(ctx)
	leave()
	if err := awaitPredecessor(gone, data); err == nil {
		t.Error("a running server isn't waited for")
	}
	if text, err := os.ReadFile(pidFile); err != nil || !strings.HasPrefix(string(text), fmt.Sprint(second.process.PID(), "\n")) {
		t.Errorf("the file of a running server is %q, %v", text, err)
	}
}
