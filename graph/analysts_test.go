package graph

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"product-service/product"
	"product-service/projection"
	"product-service/projection/projectiontest"
	"product-service/projection/read"
	"product-service/projection/store"
)

// question is one of those that the page for analysts answers.
type question struct {
	text, on               string
	pipeline, sql, graphql string // graphql may be empty
}

var questionShape = regexp.MustCompile("(?s)### \\d+\\. ([^\\n]+)\\n\\nOn `(stock_[a-z]+)`:\\n\\n```json\\n(.*?)```\\n\\n```sql\\n(.*?)```\\n(?:\\n```graphql\\n(.*?)```\\n)?")

func questions(t *testing.T) (all []question) {
	t.Helper()
	page, err := os.ReadFile("../docs/analysts.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range questionShape.FindAllStringSubmatch(string(page), -1) {
		all = append(all, question{found[1], found[2], found[3], found[4], found[5]})
	}
	if titles := strings.Count(string(page), "\n### "); titles != len(all) || len(all) < 10 {
		t.Fatalf("the page has %d questions, %d of them with answers", titles, len(all))
	}
	return all
}

// answerRows are the rows of an answer, in order: what each column says.
type answerRows []map[string]string

// said writes a value as every way writes it.
func said(v any) string {
	switch v := v.(type) {
	case int32:
		return strconv.Itoa(int(v))
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', 12, 64)
	}
	return fmt.Sprint(v)
}

// marchOfStock is a log of a dozen products in March 2026, with some days of April: they sell out,
// requests are refused, holds expire, are released in whole and in part, and stock is counted. In
// the end all have some again.
func marchOfStock() *projectiontest.Log {
	l, r := projectiontest.NewLog(), rand.New(rand.NewPCG(15, 4))
	l.Clock = time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)
	const products, commands = 12, 800
	for n := range products {
		l.Do(projectiontest.ID(0xaa, n), time.Minute, product.Create{Name: fmt.Sprint("Product ", n), InitialStock: int64(5 + 3*n), LowStockThreshold: 3})
	}
	var held []struct{ id, reservation uuid.UUID }
	for n := range commands {
		id, reservation := projectiontest.ID(0xaa, int(float64(products)*r.Float64()*r.Float64())), projectiontest.ID(0xcc, n)
		later := time.Duration(r.ExpFloat64() * float64(time.Hour))
		switch k := r.IntN(10); {
		case k < 6:
			l.Do(id, later, product.Reserve{ReservationID: reservation, SagaID: "s", Quantity: 1 + r.Int64N(4), ExpiresAt: l.Clock.Add(later + time.Hour)})
			held = append(held, struct{ id, reservation uuid.UUID }{id, reservation})
		case k < 9 && len(held) > 0:
			h := held[r.IntN(len(held))]
			if k == 8 {
				l.Do(h.id, later+time.Hour, product.Expire{ReservationID: h.reservation})
			} else {
				l.Do(h.id, later, product.Release{ReservationID: h.reservation, Quantity: r.Int64N(3)})
			}
		default:
			l.Do(id, later, product.AdjustStock{Delta: r.Int64N(9) - 2, Reason: []string{"counted", "delivery", "damaged"}[r.IntN(3)]})
		}
	}
	for n := range products {
		l.Do(projectiontest.ID(0xaa, n), time.Hour, product.AdjustStock{Delta: 9, Reason: "delivery"})
	}
	return l
}

// Ensure that the page's pipelines, SQL and GraphQL run as they stand there, and that their answers
// are the same. Where the database has no views the pipelines are left out, and SQL where there is
// no DuckDB.
func TestTheWaysOfAnalystsAgree(t *testing.T) {
	all, l := questions(t), marchOfStock()
	if l.Clock.Before(time.Date(2026, 4, 2, 0, 0, 0, 0, time.UTC)) {
		t.Fatalf("the log ends at %s, within the month", l.Clock)
	}
	s := projectiontest.Open(t)
	p, err := projection.NewProjector(s, l, &projectiontest.Leases{Epoch: 1}, projectiontest.Quiet, prometheus.NewRegistry())
	if err == nil {
		err = projectiontest.Drain(t.Context(), p)
	}
	if err != nil {
		t.Fatal(err)
	}
	projectiontest.Settle(t, s, l)
	reader, log := read.NewReader(s, nil), slog.New(slog.DiscardHandler)
	f := fakesOf(newCatalogue(1))
	h, err := Handler(testConfig(t), Services{Reads: reader, Levels: f, Commands: f, Changes: f, LevelChanges: f, Gate: everybody(t)}, log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ways := map[string]func(t *testing.T, q question) answerRows{
		"GraphQL": func(t *testing.T, q question) answerRows { return byGraphQL(t, h, q) },
	}
	if s.Server.Views {
		ways["a pipeline"] = func(t *testing.T, q question) answerRows { return byPipeline(t, s, q) }
	} else {
		t.Log("the pipelines are left out: this database has no views")
	}
	if exec.CommandContext(t.Context(), "python3", "-c", "import duckdb").Run() == nil {
		dir := exportedFiles(t, reader)
		ways["SQL"] = func(t *testing.T, q question) answerRows { return bySQL(t, dir, q) }
	} else {
		t.Log("SQL is left out: python3 has no duckdb here (pip install duckdb)")
	}
	for _, q := range all {
		t.Run(q.text, func(t *testing.T) {
			var first string
			var want answerRows
			for way, ask := range ways {
				if way == "GraphQL" && q.graphql == "" {
					continue
				}
				got := ask(t, q)
				if len(got) == 0 {
					t.Fatalf("%s has no answer", way)
				}
				if first == "" {
					first, want = way, got
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-%s +%s)\n%s", first, way, diff)
				}
			}
			if s.Server.Views || ways["SQL"] != nil {
				checkTelling(t, q, want)
			}
		})
	}
}

// checkTelling fails where all rows of an answer have the same: a wrong query could have that too.
func checkTelling(t *testing.T, q question, a answerRows) {
	different := map[string]map[string]bool{}
	for _, row := range a {
		for column, value := range row {
			if different[column] == nil {
				different[column] = map[string]bool{}
			}
			different[column][value] = true
		}
	}
	for column, values := range different {
		if len(values) < 2 {
			t.Errorf("%s: all rows say %v of %s", q.text, values, column)
		}
	}
}

func byPipeline(t *testing.T, s *store.Store, q question) (a answerRows) {
	var asked struct{ P mongo.Pipeline }
	if err := bson.UnmarshalExtJSON([]byte(`{"p":`+q.pipeline+`}`), false, &asked); err != nil {
		t.Fatal(err)
	}
	c, err := s.Database().Collection(q.on).Aggregate(t.Context(), asked.P)
	if err != nil {
		t.Fatal(err)
	}
	var rows []bson.M
	if err := c.All(t.Context(), &rows); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		columns := map[string]string{}
		for name, value := range row {
			if name != "_id" {
				columns[name] = said(value)
			}
		}
		a = append(a, columns)
	}
	return a
}

func byGraphQL(t *testing.T, h http.Handler, q question) (a answerRows) {
	var got struct {
		Data   map[string]struct{ Nodes []map[string]any }
		Errors []any
	}
	resp := httptest.NewRecorder()
	body, err := json.Marshal(map[string]string{"query": q.graphql})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(resp, r)
	if err := json.Unmarshal(resp.Body.Bytes(), &got); err != nil || len(got.Errors) > 0 || len(got.Data) != 1 {
		t.Fatalf("%v: %s", err, resp.Body)
	}
	for _, list := range got.Data {
		for _, node := range list.Nodes {
			columns := map[string]string{}
			for name, value := range node {
				columns[name] = said(value)
			}
			a = append(a, columns)
		}
	}
	return a
}

// exportedFiles writes the exports to files, as the page says.
func exportedFiles(t *testing.T, reader *read.Reader) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, handler := range map[string]http.Handler{
		"stock-days":      ExportDays(Config{}, everybody(t), reader, slog.New(slog.DiscardHandler)),
		"stock-movements": Export(Config{}, everybody(t), reader, slog.New(slog.DiscardHandler)),
	} {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		resp, body, err := fetch(t, server.URL+"?format=parquet")
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(err, body)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".parquet"), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const askDuckDB = `import duckdb, json, sys
r = duckdb.sql(sys.stdin.read())
print(json.dumps([dict(zip(r.columns, row)) for row in r.fetchall()]))`

func bySQL(t *testing.T, dir string, q question) (a answerRows) {
	cmd := exec.CommandContext(t.Context(), "python3", "-c", askDuckDB)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(q.sql)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var rows []map[string]any
	if err := json.Unmarshal(out, &rows); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	for _, row := range rows {
		columns := map[string]string{}
		for name, value := range row {
			columns[name] = said(value)
		}
		a = append(a, columns)
	}
	return a
}
