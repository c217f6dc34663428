package clients

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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
	products     = 25
	installLimit = 5 * time.Minute
	startLimit   = 3 * time.Minute
	scriptLimit  = 2 * time.Minute
)

func TestRealClients(t *testing.T) {
	modules := install(t)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	schema, err := os.ReadFile("../../schema.graphqls")
	if err != nil {
		t.Fatal(err)
	}
	documents := filepath.Join(dir, "documents.json") // written by Relay's compiler later on
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "schema.graphql"), schema, 0o600), os.WriteFile(documents, []byte("{}"), 0o600),
		os.Symlink(modules, filepath.Join(dir, "node_modules"))); err != nil {
		t.Fatal(err)
	}
	url := start(t, "GRAPHQL_DOCUMENTS="+documents)
	fill(t, url)
	scripts, err := filepath.Glob("*.mjs")
	if err != nil || len(scripts) < 2 {
		t.Fatal(scripts, err)
	}
	for _, script := range scripts {
		if script == "lib.mjs" {
			continue
		}
		t.Run(strings.TrimSuffix(script, ".mjs"), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), scriptLimit)
			defer cancel()
			cmd := exec.CommandContext(ctx, "node", script)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "GRAPHQL_URL="+url, fmt.Sprint("PRODUCTS=", products), "NODE_ENV=production", "APOLLO_TELEMETRY_DISABLED=1")
			out, err := cmd.CombinedOutput()
			if t.Logf("%s", out); err != nil {
				t.Error(err)
			}
		})
	}
}

// install returns the folder of the packages that the lock file names, which is kept from run to
// run. The test is left out where they can't be had.
func install(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("left out: there is no %s here", program)
		}
	}
	lock, err := os.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(lock)
	kept := filepath.Join(cache, "product-service-clients", hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(kept); err == nil {
		return filepath.Join(kept, "node_modules")
	}
	if err := os.MkdirAll(filepath.Dir(kept), 0o755); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(kept), "installing-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	for _, name := range []string{"package.json", "package-lock.json"} {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(fresh, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), installLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = fresh
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("left out: the packages can't be installed: %v\n%s", err, bytes.TrimSpace(out))
	}
	if err := os.Rename(fresh, kept); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) { // another run was quicker
		t.Fatal(err)
	}
	return filepath.Join(kept, "node_modules")
}

// start runs the server on embedded parts, as go run ./dev does, and returns the address of its API.
func start(t *testing.T, settings ...string) string {
	t.Helper()
	dir := t.TempDir()
	binary, envFile, logFile := filepath.Join(dir, "dev"), filepath.Join(dir, "env"), filepath.Join(dir, "log")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "product-service/dev").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	log, err := os.Create(logFile)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(binary, "-addr", "127.0.0.1:0", "-ephemeral", "-no-demo", "-env-file", envFile)
	cmd.Env = append(os.Environ(), settings...)
	cmd.Stdout, cmd.Stderr = log, log
	process, err := stack.StartProcess(cmd, syscall.SIGTERM)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.Stop(syscall.SIGTERM, time.Minute); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			said, _ := os.ReadFile(logFile)
			t.Logf("%s", said)
		}
	})
	for deadline := time.Now().Add(startLimit); ; time.Sleep(50 * time.Millisecond) {
		content, _ := os.ReadFile(envFile) // it comes once everything is ready
		for line := range strings.Lines(string(content)) {
			if url, ok := strings.CutPrefix(strings.TrimSpace(line), "GRAPHQL_URL="); ok {
				return url
			}
		}
		select {
		case <-process.Done():
			t.Fatalf("dev ended: %v", process.Err())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("dev isn't ready in time")
		}
	}
}

// fill makes products with two variants each.
func fill(t *testing.T, url string) {
	t.Helper()
	const create = `mutation($input: CreateProductInput!) { createProduct(input: $input) { product { id } userErrors { message } } }`
	for i := range products {
		body, err := json.Marshal(map[string]any{"query": create, "variables": map[string]any{"input": map[string]any{
			"name": fmt.Sprintf("Product %02d", i), "initialStock": 50, "variants": []any{
				map[string]any{"sku": fmt.Sprintf("P-%02d-S", i), "name": "Small", "initialQuantity": 20}, map[string]any{"sku": fmt.Sprintf("P-%02d-L", i), "name": "Large", "initialQuantity": 30},
			}}}})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post(url, "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Data struct {
				CreateProduct struct{ Product *struct{ ID string } }
			}
			Errors []struct{ Message string }
		}
		err = json.NewDecoder(resp.Body).Decode(&answer)
		_ = resp.Body.Close()
		if err != nil || answer.Data.CreateProduct.Product == nil {
			t.Fatalf("create a product: %+v, %v", answer, err)
		}
	}
}
