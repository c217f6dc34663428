package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "product-service"

// layer is what a package, and those below it, may import, besides the standard library and the
// layer itself: layers of this module by their names, and other modules by the beginning of an
// import path.
type layer struct {
	name          string
	ours, foreign []string
}

// everyday is what any package but the rules may use.
var everyday = []string{
	"github.com/caarlos0/env/v11", "github.com/google/uuid", "github.com/prometheus/client_golang", "golang.org/x/sync",
	"github.com/hashicorp/golang-lru/v2", "github.com/klauspost/compress", "go.opentelemetry.io/otel",
}

// layers are the arrows of the architecture. The longest name that fits a package counts.
var layers = []layer{
	{name: "ijson", foreign: []string{"github.com/go-json-experiment/json"}},
	{name: "product", ours: []string{"ijson"}, foreign: []string{"github.com/google/uuid", "golang.org/x/text"}},
	{name: "wait"},
	{name: "correlation", foreign: []string{"go.opentelemetry.io/otel"}},
	{name: "eventstore", foreign: with("github.com/jackc/pgx/v5", "github.com/pressly/goose/v3")},
	{
		name: "command", ours: []string{"product", "eventstore", "correlation", "ijson", "wait"},
		foreign: with("github.com/IBM/sarama", "github.com/xdg-go/scram"),
	},
	{
		name: "projection", ours: []string{"product", "eventstore", "projection/view", "projection/store", "wait"},
		foreign: with("go.mongodb.org/mongo-driver/v2"),
	},
	{
		name: "projection/view", ours: []string{"product", "eventstore"},
		foreign: []string{
			"github.com/google/uuid", "golang.org/x/text", "go.mongodb.org/mongo-driver/v2/bson", "go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore",
		},
	},
	{
		name: "projection/store", ours: []string{"eventstore", "projection/view", "wait"},
		foreign: with("go.mongodb.org/mongo-driver/v2"),
	},
	{
		name: "projection/read", ours: []string{"product", "eventstore", "integration/inventory", "projection/view", "projection/store", "wait"},
		foreign: with("go.mongodb.org/mongo-driver/v2"),
	},
	{
		name: "projection/audit", ours: []string{"product", "eventstore", "projection", "projection/view", "projection/store", "wait"},
		foreign: with("go.mongodb.org/mongo-driver/v2"),
	},
	{name: "projection/projectiontest", ours: []string{"*"}, foreign: []string{"*"}}, // only for tests
	{
		name: "integration/inventory", ours: []string{"correlation", "ijson", "wait"},
		foreign: with("github.com/hashicorp/go-retryablehttp", "github.com/sony/gobreaker/v2", "github.com/dgraph-io/ristretto/v2",
			"golang.org/x/oauth2"),
	},
	{
		name: "graph", ours: []string{"graph/auth", "product", "projection/read", "projection/view", "integration/inventory", "correlation", "ijson"},
		foreign: with("github.com/99designs/gqlgen", "github.com/vektah/gqlparser/v2",
			"github.com/coder/websocket", "github.com/gorilla/websocket", "golang.org/x/time", "github.com/parquet-go/parquet-go", "github.com/parquet-go/parquet-go/compress/zstd"),
	},
	{name: "graph/auth", ours: []string{"wait"}, foreign: with("github.com/golang-jwt/jwt/v5", "github.com/MicahParks/jwkset")},
	{
		name: "", foreign: []string{"*"},
		ours: []string{
			"product", "eventstore", "command", "projection", "projection/store", "projection/read", "projection/audit", "integration/inventory",
			"graph", "graph/auth", "correlation", "ijson",
		},
	},
	{name: "dev", ours: []string{"*"}, foreign: []string{"*"}},
	{name: "dev/stack", foreign: []string{"*"}}, // serves every package's tests, so it may know none
	{name: "dev/upstream", ours: []string{"dev/simulator"}, foreign: []string{"*"}},
	{name: "dev/issuer", foreign: []string{"*"}},    // another service too
	{name: "dev/simulator", foreign: []string{"*"}}, // another service: it knows nothing of this one
}

func with(foreign ...string) []string { return append(foreign, everyday...) }

// notInServer is what must not even be reachable from the server.
var notInServer = []string{
	module + "/dev", "testing", "github.com/FerretDB", "github.com/twmb/franz-go", "github.com/fergusstrange/embedded-postgres",
}

// goPackage is what `go list -json` tells of a package.
type goPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Standard,Imports,Deps", "./...")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestPackagesKeepToTheirLayers(t *testing.T) {
	packages := listPackages(t)
	if len(packages) < len(layers)-1 {
		t.Fatalf("go list found only %d packages", len(packages))
	}
	for _, p := range packages {
		for _, complaint := range complaints(p.ImportPath, p.Imports) {
			t.Error(complaint)
		}
	}
}

func TestServerLinksNothingOfDevelopment(t *testing.T) {
	for _, p := range listPackages(t) {
		if p.ImportPath != module {
			continue
		}
		for _, dep := range p.Deps {
			if under(dep, notInServer) {
				t.Errorf("the server links %s, which is for development and tests only", dep)
			}
		}
		return
	}
	t.Fatal("go list does not know the server's package")
}

// complaints says which of a package's imports its layer doesn't allow.
func complaints(path string, imports []string) []string {
	name := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
	var found []string
	for _, segment := range []string{"internal", "pkg", "util", "common"} {
		if slices.Contains(strings.Split(name, "/"), segment) {
			found = append(found, path+": a package is named for what it holds, not "+segment)
		}
	}
	l := layerOf(name)
	if l == nil {
		return append(found, path+" belongs to no layer: add it to the table in layers_test.go, with what it may import")
	}
	for _, imported := range imports {
		target, isOurs := strings.CutPrefix(imported, module+"/")
		switch {
		case isOurs && layerOf(target) != l && !slices.Contains(l.ours, "*") && !slices.Contains(l.ours, layerName(target)):
			found = append(found, path+" imports "+imported+", but of ours may import only: "+list(l.ours))
		case !isOurs && isForeign(imported) && !under(imported, l.foreign):
			found = append(found, path+" imports "+imported+", but of other modules may import only: "+list(l.foreign))
		}
	}
	return found
}

// layerOf is the layer with the longest name that fits. The root's fits nothing but the root.
func layerOf(name string) *layer {
	var best *layer
	for i := range layers {
		l := &layers[i]
		if (name == l.name || l.name != "" && under(name, []string{l.name})) && (best == nil || len(l.name) > len(best.name)) {
			best = l
		}
	}
	return best
}

// layerName is the name of a package's layer; "?" where it belongs to none.
func layerName(name string) string {
	if l := layerOf(name); l != nil {
		return l.name
	}
	return "?"
}

func under(path string, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		return name == "*" || path == name || strings.HasPrefix(path, name+"/")
	})
}

// isForeign tells other modules from the standard library by the dot in their first element.
func isForeign(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".")
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// The check itself is checked: each of these imports has to be noticed or let through.
func TestLayersNoticeAWrongImport(t *testing.T) {
	for _, c := range []struct {
		path, imported string
		wrong          bool
	}{
		{"product-service/product", "time", false},
		{"product-service/product", "github.com/google/uuid", false},
		{"product-service/product", "github.com/jackc/pgx/v5", true},
		{"product-service/product", "product-service/eventstore", true},
		{"product-service/eventstore", "product-service/product", true},
		{"product-service/eventstore", "github.com/jackc/pgx/v5/pgxpool", false},
		{"product-service/command", "product-service/projection", true},
		{"product-service/graph", "product-service/graph/model", false},
		{"product-service/graph/model", "product-service/product", false},
		{"product-service/graph", "product-service/command", true},
		{"product-service/graph", "product-service/projection/read", false},
		{"product-service/graph", "product-service/projection/store", true},
		{"product-service/projection", "product-service/projection/store", false},
		{"product-service/projection", "product-service/projection/read", true},
		{"product-service/projection/view", "product-service/projection/store", true},
		{"product-service/projection/view", "go.mongodb.org/mongo-driver/v2/mongo", true},
		{"product-service/projection/store", "product-service/projection/read", true},
		{"product-service/projection/read", "product-service/projection", true},
		{"product-service/projection/audit", "product-service/projection", false},
		{"product-service", "product-service/projection/projectiontest", true},
		{"product-service/integration/inventory", "product-service/projection", true},
		{"product-service/dev/stack", "product-service/eventstore", true},
		{"product-service/dev/e2e", "product-service/eventstore", false},
		{"product-service", "product-service/dev/stack", true},
		{"product-service", "product-service/graph", false},
		{"product-service/helpers", "time", true},
		{"product-service/graph/util", "time", true},
	} {
		if found := complaints(c.path, []string{c.imported}); (len(found) > 0) != c.wrong {
			t.Errorf("%s importing %s: %v", c.path, c.imported, found)
		}
	}
}
