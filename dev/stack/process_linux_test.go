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
