package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestMain is the server, too: the tests start this binary in its place, as [pretend] serves.
func TestMain(m *testing.M) {
	if how := os.Getenv("PRETEND"); how != "" {
		pretend(how)
	}
	os.Exit(m.Run())
}

// pretend serves what dev asks of the server; it is ready at its second answer.
func pretend(how string) {
	if how == "broken" {
		fmt.Fprintln(os.Stderr, "KAFKA_BROKERS: missing")
		os.Exit(2)
	}
	var asked atomic.Int64
	http.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 2 {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("POST /graphql", func(w http.ResponseWriter, r *http.Request) {
		var request struct{ Query string }
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintln(os.Stderr, strings.Fields(request.Query)[0])
		fmt.Fprint(w, `{"data":{"createProduct":{"userErrors":[]}}}`)
	})
	http.HandleFunc("GET /exit", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Getenv("HTTP_ADDR"), nil))
	os.Exit(1)
}

func quiet(t *testing.T) *console {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = null.Close() })
	c := newConsole(null)
	c.terminal = false
	return c
}

func pretended(t *testing.T, how string) (env *environment, f flags, dir string) {
	t.Helper()
	t.Setenv("PRETEND", how)
	f, env = flags{addr: "127.0.0.1:0"}, &environment{}
	if err := settleAddresses(&f, env); err != nil {
		t.Fatal(err)
	}
	return env, f, t.TempDir()
}

func TestServerIsStartedFilledAndStopped(t *testing.T) {
	env, f, dir := pretended(t, "healthy")
	for start := range 2 {
		ends := make(chan error, 1)
		var started unwinding
		if err := startServer(t.Context(), f, dir, os.Args[0], env, &started, quiet(t), ends); err != nil {
			t.Fatal(err)
		}
		log, err := os.ReadFile(logFile(dir))
		if err != nil {
			t.Fatal(err)
		}
		want := len(demoCatalogue())
		if start > 0 {
			want = 0
		}
		if got := strings.Count(string(log), "mutation"); got != want {
			t.Errorf("start %d sent %d mutations, want %d", start, got, want)
		}
		if err := started.unwind(quiet(t)); err != nil {
			t.Error(err)
		}
		if conn, err := net.Dial("tcp", env.get("HTTP_ADDR")); err == nil {
			_ = conn.Close()
			t.Error("the server outlived its stop")
		}
		if len(ends) > 0 {
			t.Errorf("a server that was stopped was reported: %v", <-ends)
		}
	}
}

func TestServerThatFailsIsReportedWithItsLog(t *testing.T) {
	env, f, dir := pretended(t, "broken")
	var started unwinding
	err := startServer(t.Context(), f, dir, os.Args[0], env, &started, quiet(t), make(chan error, 1))
	if err == nil || !strings.Contains(err.Error(), "KAFKA_BROKERS: missing") {
		t.Errorf("got %v, want the server's last words", err)
	}
	if err := started.unwind(quiet(t)); err != nil {
		t.Error(err)
	}
}

func TestServerThatEndsLaterIsReported(t *testing.T) {
	env, f, dir := pretended(t, "healthy")
	f.noDemo = true
	ends := make(chan error, 1)
	var started unwinding
	if err := startServer(t.Context(), f, dir, os.Args[0], env, &started, quiet(t), ends); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.Get("http://" + env.get("HTTP_ADDR") + "/exit"); err == nil {
		_ = resp.Body.Close()
	}
	select {
	case err := <-ends:
		if !strings.Contains(err.Error(), "exit status 3") {
			t.Errorf("got %v, want its exit code", err)
		}
	case <-time.After(time.Minute):
		t.Error("nobody noticed that the server ended")
	}
	if err := started.unwind(quiet(t)); err != nil {
		t.Error(err)
	}
}

func TestStackOnlyStartsEverythingAndLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	file := filepath.Join(t.TempDir(), "env")
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, flags{ephemeral: true, stackOnly: true, envFile: file}, quiet(t)) }()
	var text []byte
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var err error
		if text, err = os.ReadFile(file); err == nil {
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("ended before it was ready: %v", err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("not ready in time")
		}
	}
	addresses := map[string]string{}
	for _, name := range []string{"POSTGRES_URL", "KAFKA_BROKERS", "MONGODB_URL", "INVENTORY_URL"} {
		env := &environment{lines: strings.Split(strings.TrimSpace(string(text)), "\n")}
		addresses[name] = env.get(name)
		if parsed, err := url.Parse(addresses[name]); err == nil && parsed.Host != "" {
			addresses[name] = parsed.Host
		}
		conn, err := net.Dial("tcp", addresses[name])
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_ = conn.Close()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for name, address := range addresses {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			t.Errorf("%s %s still listens", name, address)
		}
	}
}

func TestDataDirectoryServesOneAtATime(t *testing.T) {
	var first, second unwinding
	f := flags{data: t.TempDir()}
	if _, err := claimData(f, &first); err != nil {
		t.Fatal(err)
	}
	if _, err := claimData(f, &second); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second claim got %v", err)
	}
	if err := errors.Join(second.unwind(quiet(t)), first.unwind(quiet(t))); err != nil {
		t.Error(err)
	}
	if _, err := claimData(f, &first); err != nil {
		t.Errorf("a claim after the first was given back: %v", err)
	}
	_ = first.unwind(quiet(t))
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		says string
	}{
		{"-addr 127.0.0.1:1 -data d -no-demo -env-file f", ""},
		{"-ephemeral -stack-only", ""},
		{"-ephemeral -auth", ""},
		{"-auth -stack-only", "for the server"},
		{"-ephemeral -data d", "exclude"},
		{"-addr 8080", "HOST:PORT"},
		{"-what", "-h shows"},
		{"more", "unexpected argument"},
	} {
		_, err := parse(strings.Fields(c.args))
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", c.args, err, c.says)
		}
	}
	if _, err := parse([]string{"-h"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
	if lines := strings.Count(usage, "\n"); lines > 24 {
		t.Errorf("-h takes %d lines, more than a screen", lines)
	}
}

func TestDemoCatalogueIsValidAndAlwaysTheSame(t *testing.T) {
	seen := map[string]bool{}
	for _, product := range demoCatalogue() {
		ids := []string{product.ID, product.CommandID}
		for _, variant := range product.Variants {
			ids = append(ids, variant.ID)
			if seen[variant.SKU] {
				t.Errorf("SKU %s is not unique", variant.SKU)
			}
			seen[variant.SKU] = true
		}
		for _, id := range ids {
			if _, err := uuid.Parse(id); err != nil || seen[id] {
				t.Errorf("id %s of %s: invalid or not unique (%v)", id, product.Name, err)
			}
			seen[id] = true
		}
		if product.InitialStock < 0 || len(product.Variants) == 0 {
			t.Errorf("%s: stock %d, %d variants", product.Name, product.InitialStock, len(product.Variants))
		}
	}
	if a, b := fmt.Sprint(demoCatalogue()), fmt.Sprint(demoCatalogue()); a != b {
		t.Error("two catalogues differ")
	}
}
