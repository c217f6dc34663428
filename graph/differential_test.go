package graph

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"product-service/integration/inventory"
	"product-service/product"
	"product-service/projection/read"
	"product-service/projection/view"
)

// Whatever is asked, and whatever the reads and the levels come to, a plan answers as the generated
// code does: with the same data, byte for byte, and the same errors.
func TestPlansAnswerAsTheGeneratedCodeDoes(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(1500) {
		differ(t, seed, seen)
		if t.Failed() {
			return
		}
	}
	t.Log(seen)
	for what, least := range map[string]int{"planned": 600, "generated": 100, "partial": 300, "null data": 100, "refused": 50, "levels": 300} {
		if seen[what] < least {
			t.Errorf("only %d of the operations were of the kind %q: %v", seen[what], what, seen)
		}
	}
}

func FuzzPlans(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed * 0x9e3779b97f4a7c15)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { differ(t, seed, map[string]int{}) })
}

// differ runs one operation both ways. Time stands still meanwhile, so that levels have the same age.
func differ(t *testing.T, seed uint64, seen map[string]int) {
	synctest.Test(t, func(t *testing.T) {
		g := newGenerator(generatedSchema, seed)
		g.admission = newTestAdmission(t)
		query := g.operation()
		variables, err := json.Marshal(g.variables)
		if err != nil {
			t.Fatal(err)
		}
		settings := []string{"GRAPHQL_MAX_ALIASES", "100", "GRAPHQL_MAX_COST", "1000000", "GRAPHQL_PLAN"}
		f := oddities(seed)
		planned := askOnce(t, newTestHandler(t, f, append(settings, "on")...), query, variables)
		generated := askOnce(t, newTestHandler(t, f, append(settings, "off")...), query, variables)
		if planned.status != generated.status || string(planned.data) != string(generated.data) || !slices.Equal(planned.errors, generated.errors) {
			t.Errorf("seed %d\n%s\n%s\nby plan:   %s\ngenerated: %s\nerrors by plan:   %q\nerrors generated: %q", seed, query, variables,
				planned.data, generated.data, planned.errors, generated.errors)
		}
		seen[g.kind(query, planned)]++
		switch {
		case len(planned.data) == 0:
			seen["refused"]++
		case string(planned.data) == "null":
			seen["null data"]++
		case len(planned.errors) > 0:
			seen["partial"]++
		}
		if strings.Contains(query, "inventory") {
			seen["levels"]++
		}
	})
}

// compared is an answer, its errors in an order of their own: root fields and the elements of lists
// run side by side.
type compared struct {
	status int
	data   json.RawMessage
	errors []string
}

func askOnce(t *testing.T, h http.Handler, query string, variables []byte) compared {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": json.RawMessage(variables)})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Correlation-ID", "one-and-the-same")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var got struct {
		Data   json.RawMessage
		Errors []json.RawMessage
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s\n%s", err, w.Body, query)
	}
	c := compared{status: w.Code, data: got.Data}
	for _, e := range got.Errors {
		c.errors = append(c.errors, string(e))
	}
	slices.Sort(c.errors)
	return c
}

// oddities are services that have something of everything, and fail in some places.
func oddities(seed uint64) *fakes {
	c := newCatalogue(6)
	c[0].Name, c[0].Description = "quote \" slash \\ tab \t nul \x00 del \x7f é 🎈 \u2028", "not UTF-8: \xff\xfe"
	c[1].Variants, c[1].StockStatus = nil, product.OutOfStock
	c[2].Total, c[2].Version = 1<<31, 1<<40
	c[2].CreatedAt = time.Date(1, 1, 1, 0, 0, 0, 1000, time.FixedZone("", 3600))
	c[3].Variants[0].Attributes = nil
	c[4].Variants = append(c[4].Variants, c[4].Variants[1])
	f := fakesOf(c)
	faulty := func(what uint64) bool { return seed>>8%7 == what && seed%3 == 0 }
	byIDs, page, variants := f.byIDs, f.page, f.variants
	f.byIDs = func(ids []uuid.UUID) ([]*read.Product, error) {
		switch {
		case faulty(1):
			return nil, errors.New("dial tcp 10.0.0.7:27017: refused")
		case faulty(2):
			panic("a nil map")
		case faulty(3):
			return make([]*read.Product, len(ids)), nil // gone meanwhile
		}
		return byIDs(ids)
	}
	f.page = func(w read.ProductFilter, o read.ProductOrder, r read.Range) (read.Page[read.Product], error) {
		switch {
		case faulty(1):
			return read.Page[read.Product]{}, read.ErrBadCursor
		case faulty(2):
			panic("a nil map")
		case faulty(4):
			return read.Page[read.Product]{}, nil
		}
		got, err := page(w, o, r)
		if !r.Count {
			got.Total = -1 // what isn't asked for isn't counted
		}
		for i := range got.Edges { // what was asked for shows in the answer
			got.Edges[i].Cursor = fmt.Sprintf("%+v %+v %+v", describe(w), o, r)
		}
		return got, err
	}
	f.variants = func(ids []uuid.UUID) ([]*read.Variant, error) {
		if faulty(5) {
			return nil, context.DeadlineExceeded
		}
		return variants(ids)
	}
	f.waitFor = func(_ context.Context, _ uuid.UUID, version int64) error {
		if version > 5 {
			return read.ErrNotYet
		}
		return nil
	}
	f.movement = func(id uuid.UUID, version int64) (read.Movement, bool, error) {
		return read.Movement{ProductID: id, Version: version, Type: view.Reserved, Quantity: 4, Delta: -4, OccurredAt: noon}, version < 4, nil
	}
	f.reservation = func(productID, id uuid.UUID) (read.Reservation, bool, error) {
		return read.Reservation{ProductID: productID, ID: id, Quantity: 4, Held: 2, State: product.StateActive, CreatedAt: noon, UpdatedAt: noon}, true, nil
	}
	level := f.level
	f.level = func(ctx context.Context, id uuid.UUID) inventory.Result {
		r := level(ctx, id)
		switch (seed + uint64(id[15])) % 6 {
		case 0:
			return inventory.Result{Outcome: inventory.Absent}
		case 1:
			return inventory.Result{Err: inventory.ErrUnavailable}
		case 2:
			r.Stale, r.Level.Source, r.Level.FetchedAt = true, inventory.StaleFallback, noon
		case 3:
			r.Level.Available = 1 << 33
		}
		if faulty(6) {
			panic("a level")
		}
		return r
	}
	return f
}

// describe writes a filter with what its pointers point to.
func describe(w read.ProductFilter) string {
	text, _ := json.Marshal(w)
	return string(text)
}

// kind says which way an operation runs.
func (g *generator) kind(query string, c compared) string {
	doc, refused := g.admission.admit(query)
	if refused != nil || len(c.data) == 0 {
		return "not run"
	}
	op := operationOf(doc, g.variables)
	return cmp.Or(map[bool]string{true: "planned"}[doc.plan(g.admission.schema, op).Runs()], "generated")
}
