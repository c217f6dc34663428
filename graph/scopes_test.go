package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/vektah/gqlparser/v2/ast"

	"product-service/dev/issuer"
	"product-service/graph/auth"
	"product-service/graph/generated"
	"product-service/product"
	"product-service/projection/read"
	"product-service/projection/view"
)

// decided says of every field what a caller needs to see it: by type, then by scope, where "" is
// none. A new field of a type that isn't closed as a whole has to be put here, so that nobody
// forgets to decide.
var decided = map[string]map[string]string{
	"Query":    {"": "product products productVariants node nodes _entities _service", auth.StockHistory: "reservation stockMovements stockTimeline stockReport"},
	"Mutation": {auth.CatalogWrite: "createProduct updateProduct addProductVariant adjustStock bulkAdjustStock"},
	"Product": {
		"":                "id name description variants stock isOrderable stockStatus lowStockThreshold version createdAt updatedAt",
		auth.StockHistory: "stockMovements stockTimeline stockAt",
	},
	"Subscription":             {"": "stockChanged inventoryChanged"},
	"ProductStock":             {"": "productId total reserved available version asOf"},
	"ProductVariant":           {"": "id sku name attributes product isOrderable inventory"},
	"VariantAttribute":         {"": "name value"},
	"InventoryLevel":           {"": "productVariantId availableQuantity status updatedAt fetchedAt isStale ageSeconds source"},
	"ProductConnection":        {"": "edges nodes pageInfo totalCount"},
	"ProductEdge":              {"": "cursor node"},
	"PageInfo":                 {"": "hasNextPage hasPreviousPage startCursor endCursor"},
	"CreateProductPayload":     {"": "product version userErrors"},
	"UpdateProductPayload":     {"": "product version userErrors"},
	"AddProductVariantPayload": {"": "product version userErrors"},
	"AdjustStockPayload":       {"": "product version userErrors"},
	"BulkAdjustStockPayload":   {"": "results"},
	"BulkAdjustStockResult":    {"": "index product version userErrors"},
	"UserError":                {"": "field message code"},
	"_Service":                 {"": "sdl"},

	// Closed as a whole.
	"Reservation":             {auth.StockHistory: "*"},
	"StockMovement":           {auth.StockHistory: "*"},
	"StockMovementConnection": {auth.StockHistory: "*"},
	"StockMovementEdge":       {auth.StockHistory: "*"},
	"StockBucket":             {auth.StockHistory: "*"},
	"StockReportRow":          {auth.StockHistory: "*"},
	"StockReportConnection":   {auth.StockHistory: "*"},
	"StockReportEdge":         {auth.StockHistory: "*"},
}

// decision is the scope that a field was decided to need.
func decision(object, field string) (scope string, ok bool) {
	for scope, fields := range decided[object] {
		if fields == "*" || slices.Contains(strings.Fields(fields), field) {
			return scope, true
		}
	}
	return "", false
}

// eachField calls f with each field of each object type.
func eachField(schema *ast.Schema, f func(object *ast.Definition, field *ast.FieldDefinition)) {
	for _, def := range schema.Types {
		if def.Kind != ast.Object || strings.HasPrefix(def.Name, "__") {
			continue
		}
		for _, field := range def.Fields {
			if !strings.HasPrefix(field.Name, "__") {
				f(def, field)
			}
		}
	}
}

func testSchema() *ast.Schema {
	return generated.NewExecutableSchema(generated.Config{}).Schema()
}

func TestEveryFieldNeedsWhatWasDecided(t *testing.T) {
	schema := testSchema()
	s, err := scopesOf(schema)
	if err != nil {
		t.Fatal(err)
	}
	eachField(schema, func(object *ast.Definition, field *ast.FieldDefinition) {
		want, ok := decision(object.Name, field.Name)
		if !ok {
			t.Errorf("%s.%s: decide whether it needs a scope: @requiresScopes in the schema, and the table of this test", object.Name, field.Name)
			return
		}
		for _, r := range s.fields[fieldName{object.Name, field.Name}] {
			if len(r) != 1 || len(r[0]) != 1 || r[0][0] != want {
				t.Errorf("%s.%s needs %v; decided was %q", object.Name, field.Name, r, want)
			}
		}
		if has := len(s.fields[fieldName{object.Name, field.Name}]) > 0; has != (want != "") {
			t.Errorf("%s.%s: it needs a scope: %t; decided was %q", object.Name, field.Name, has, want)
		}
	})
	for object, scopes := range decided {
		for _, fields := range scopes {
			for field := range strings.FieldsSeq(fields) {
				if def := schema.Types[object]; def == nil || field != "*" && def.Fields.ForName(field) == nil {
					t.Errorf("the schema has no %s.%s any more", object, field)
				}
			}
		}
	}
}

// reached is how a query comes to a field: the text around it.
func reached(schema *ast.Schema, object *ast.Definition) (before, after string, ok bool) {
	switch {
	case object == schema.Query:
		return "{", "}", true
	case object == schema.Mutation:
		return "mutation {", "}", true
	case slices.Contains(object.Interfaces, "Node"):
		return fmt.Sprintf("{ node(id: %q) { ... on %s {", nodeIDs[object.Name], object.Name), "} } }", true
	}
	return "", "", false
}

const someID = "0190f3a4-5b6c-7d8e-9f00-112233445566"

var nodeIDs = map[string]string{
	"Product": someID, "ProductVariant": idB, "Reservation": someID + "." + idC, "StockMovement": someID + ".3",
}

// selected is a field with as few arguments and selections as it can have.
func selected(schema *ast.Schema, f *ast.FieldDefinition) string {
	text := f.Name
	var args []string
	for _, a := range f.Arguments {
		if a.Type.NonNull && a.DefaultValue == nil {
			args = append(args, a.Name+": "+literal(schema, a.Type))
		}
	}
	if len(args) > 0 {
		text += "(" + strings.Join(args, ", ") + ")"
	}
	if schema.Types[f.Type.Name()].IsCompositeType() {
		text += " { __typename }"
	}
	return text
}

func literal(schema *ast.Schema, of *ast.Type) string {
	if of.Elem != nil {
		return "[" + literal(schema, of.Elem) + "]"
	}
	switch def := schema.Types[of.Name()]; {
	case def.Kind == ast.Enum:
		return def.EnumValues[0].Name
	case def.Kind == ast.InputObject:
		var fields []string
		for _, f := range def.Fields {
			if f.Type.NonNull && f.DefaultValue == nil {
				fields = append(fields, f.Name+": "+literal(schema, f.Type))
			}
		}
		return "{" + strings.Join(fields, ", ") + "}"
	case def.Name == "ID":
		return `"` + someID + `"`
	case def.Name == "DateTime":
		return `"2026-03-01T00:00:00Z"`
	case def.Name == "Int":
		return "1"
	}
	return `"text"`
}

// guarded is an API that asks for tokens, over a catalogue of one product with a history.
type guarded struct {
	*API
	issuer  *issuer.Issuer
	touched atomic.Int64 // reads of histories, and commands
	actor   atomic.Value // of the last command
}

func newGuarded(t testing.TB) *guarded {
	t.Helper()
	from, err := issuer.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = from.Stop() })
	g := &guarded{issuer: from}
	g.API, err = Handler(testConfig(t), Services{Reads: g.fakes(), Levels: &fakes{}, Commands: g.fakes(), Changes: &fakes{}, LevelChanges: &fakes{}, Gate: gateFor(t, from)},
		slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// gateFor takes the issuer's tokens.
func gateFor(t testing.TB, from *issuer.Issuer) *Gate {
	t.Helper()
	v, err := auth.New(auth.Config{Mode: auth.ModeJWT, Issuer: from.URL(), Audience: issuer.Audience, JWKSURL: from.KeysURL()},
		slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		v.Run(ctx)
	}()
	t.Cleanup(func() { stop(); <-ended })
	return &Gate{Verifier: v}
}

func (g *guarded) fakes() *fakes {
	p := &read.Product{ID: uuid.MustParse(someID), Name: "Lamp", Version: 3}
	variant := &read.Variant{ID: uuid.MustParse(idB), ProductID: p.ID}
	p.Variants = []read.Variant{*variant}
	return &fakes{
		byIDs: func(ids []uuid.UUID) ([]*read.Product, error) {
			found := make([]*read.Product, len(ids))
			for i, id := range ids {
				if id == p.ID {
					found[i] = p
				}
			}
			return found, nil
		},
		variants: func(ids []uuid.UUID) ([]*read.Variant, error) {
			found := make([]*read.Variant, len(ids))
			for i, id := range ids {
				if id == variant.ID {
					found[i] = variant
				}
			}
			return found, nil
		},
		movements: func(read.MovementFilter, read.Range) (read.Page[read.Movement], error) {
			g.touched.Add(1)
			return read.Page[read.Movement]{}, nil
		},
		movement: func(id uuid.UUID, version int64) (read.Movement, bool, error) {
			g.touched.Add(1)
			return read.Movement{ProductID: id, Version: version, Type: view.Adjusted}, true, nil
		},
		reservation: func(of, id uuid.UUID) (read.Reservation, bool, error) {
			g.touched.Add(1)
			return read.Reservation{ProductID: of, ID: id, State: product.StateActive}, true, nil
		},
		stockAt: func(id uuid.UUID, _ time.Time) (read.Stock, bool, error) {
			g.touched.Add(1)
			return read.Stock{ProductID: id}, true, nil
		},
		timeline: func(uuid.UUID, time.Time, time.Time, read.Interval) ([]read.Bucket, error) {
			g.touched.Add(1)
			return nil, nil
		},
		execute: func(_ context.Context, _, _ uuid.UUID, from product.Origin, _ product.Command) (int64, *product.Refusal, error) {
			g.touched.Add(1)
			g.actor.Store(from.Actor)
			return 4, nil, nil
		},
	}
}

// ask sends an operation with a token for scopes; without any token where scopes is nil.
func (g *guarded) ask(t testing.TB, scopes []string, query string) reply {
	t.Helper()
	body, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	if scopes != nil {
		token, err := g.issuer.Token("ann", time.Hour, scopes...)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return send(t, g, r)
}

// Each field that needs a scope is asked for without a token, with a token that lacks the scope,
// and with one that has it.
func TestNoPathLeadsAroundAScope(t *testing.T) {
	g := newGuarded(t)
	schema := testSchema()
	all := []string{auth.CatalogWrite, auth.StockHistory, auth.Operations}
	tried := 0
	eachField(schema, func(object *ast.Definition, field *ast.FieldDefinition) {
		scope, _ := decision(object.Name, field.Name)
		if scope == "" {
			return
		}
		before, after, ok := reached(schema, object)
		if !ok {
			eachField(schema, func(from *ast.Definition, by *ast.FieldDefinition) {
				if by.Type.Name() != object.Name {
					return
				}
				if needed, _ := decision(from.Name, by.Name); needed != scope {
					t.Errorf("%s.%s leads to a %s, but needs %q", from.Name, by.Name, object.Name, needed)
				}
			})
			return
		}
		tried++
		query := before + selected(schema, field) + after
		others := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == scope })
		for _, x := range []struct {
			name   string
			scopes []string
			code   Code
		}{{"without a token", nil, Unauthenticated}, {"without the scope", others, Forbidden}, {"with the scope", []string{scope}, ""}} {
			g.touched.Store(0)
			got := g.ask(t, x.scopes, query)
			refused := slices.Contains(got.codes(), string(Unauthenticated)) || slices.Contains(got.codes(), string(Forbidden))
			switch {
			case got.status != http.StatusOK:
				t.Errorf("%s %s: %d %s", query, x.name, got.status, got.body)
			case x.code == "" && refused:
				t.Errorf("%s %s is refused: %s", query, x.name, got.body)
			case x.code != "" && (!slices.Equal(got.codes(), []string{string(x.code)}) || g.touched.Load() > 0):
				t.Errorf("%s %s: %s; %d reads and commands", query, x.name, got.body, g.touched.Load())
			}
		}
	})
	if tried < 20 {
		t.Errorf("only %d fields were tried", tried)
	}
}

func TestOtherFieldsAnswerBesideRefusedOnes(t *testing.T) {
	g := newGuarded(t)
	for _, x := range []struct{ name, query, want string }{
		{"below a product", `{product(id:"` + someID + `"){name stockMovements{totalCount} stockAt(at:"2026-03-01T00:00:00Z"){total}}}`,
			`{"product":{"name":"Lamp","stockMovements":null,"stockAt":null}}`},
		{"below a variant's product, under an alias, in a fragment", `{productVariants(ids:["` + idB + `"]){product{...f}}} fragment f on Product{id name h:stockTimeline(from:"2026-03-01T00:00:00Z",to:"2026-03-02T00:00:00Z",interval:DAY){start}}`,
			`{"productVariants":[{"product":{"id":"` + someID + `","name":"Lamp","h":null}}]}`},
		{"nodes of every kind", `{nodes(ids:["` + someID + `","` + nodeIDs["Reservation"] + `","` + nodeIDs["StockMovement"] + `","` + idB + `"]){__typename id ...on Reservation{held}}}`,
			`{"nodes":[{"__typename":"Product","id":"` + someID + `"},null,null,{"__typename":"ProductVariant","id":"` + idB + `"}]}`},
		{"a node, of which only the type is asked", `{node(id:"` + nodeIDs["Reservation"] + `"){__typename} product(id:"` + someID + `"){name}}`,
			`{"node":null,"product":{"name":"Lamp"}}`},
		{"one that is skipped", `{product(id:"` + someID + `"){name stockMovements @skip(if:true){totalCount}}}`, `{"product":{"name":"Lamp"}}`},
	} {
		got := g.ask(t, nil, x.query)
		data, err := json.Marshal(got.Data)
		if err != nil {
			t.Fatal(err)
		}
		var want map[string]any
		if err := json.Unmarshal([]byte(x.want), &want); err != nil {
			t.Fatal(err)
		}
		sorted, _ := json.Marshal(want)
		if string(data) != string(sorted) || g.touched.Load() > 0 {
			t.Errorf("%s: %s; %d reads of histories", x.name, got.body, g.touched.Load())
		}
		for i, code := range got.codes() {
			if code != string(Unauthenticated) || len(got.Errors[i].Path) == 0 {
				t.Errorf("%s: error %d is %s at %v", x.name, i, code, got.Errors[i].Path)
			}
		}
	}
	got := g.ask(t, nil, `{nodes(ids:["`+someID+`","`+nodeIDs["StockMovement"]+`"]){id}}`)
	if len(got.Errors) != 1 || fmt.Sprint(got.Errors[0].Path) != "[nodes 1]" {
		t.Errorf("the error of a node is at another place: %s", got.body)
	}
}

// A mutation is carried out or not at all, whatever of its answer the caller may see.
func TestAMutationNeedsItsOwnScopeAndItsAnswerThatOfEachField(t *testing.T) {
	g := newGuarded(t)
	const adjust = `mutation{adjustStock(input:{productId:"` + someID + `",delta:1,reason:"found"}){version product{name stockMovements{totalCount}}}}`
	if got := g.ask(t, []string{auth.StockHistory}, adjust); got.Data["adjustStock"] != nil || g.touched.Load() != 0 {
		t.Errorf("without its scope: %s; %d commands", got.body, g.touched.Load())
	}
	got := g.ask(t, []string{auth.CatalogWrite}, adjust)
	if !strings.Contains(got.body, `"data":{"adjustStock":{"version":4,"product":{"name":"Lamp","stockMovements":null}}}`) || g.touched.Load() != 1 {
		t.Errorf("with its scope: %s; %d commands", got.body, g.touched.Load())
	}
	if actor := g.actor.Load(); actor != "ann" {
		t.Errorf("the command is %v's, want ann's", actor)
	}
}

func TestATokenThatIsNotTakenIsNotIgnored(t *testing.T) {
	g := newGuarded(t)
	expired, err := g.issuer.Token("ann", -time.Hour, auth.CatalogWrite)
	if err != nil {
		t.Fatal(err)
	}
	for _, media := range []string{mediaJSON, mediaResponse} {
		for _, given := range []string{"Bearer " + expired, "Bearer x.y.z", "Basic YW5uOnB3", "Bearer"} {
			r := httptest.NewRequest(http.MethodGet, "/graphql?query=%7B__typename%7D", nil)
			r.Header.Set("Authorization", given)
			r.Header.Set("Accept", media)
			got := send(t, g, r)
			if got.status != http.StatusUnauthorized || !slices.Equal(got.codes(), []string{string(Unauthenticated)}) || got.Data != nil ||
				!strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer ") || strings.Contains(got.body, expired) {
				t.Errorf("%s: %d %s %v", given, got.status, got.body, got.header)
			}
		}
	}
}

func TestAnExportNeedsItsScope(t *testing.T) {
	g := newGuarded(t)
	server := httptest.NewServer(Export(testConfig(t, "CORS_ORIGINS", "https://shop.example"), gateFor(t, g.issuer), exporterFunc(
		func(read.MovementFilter, read.MovementID, func(*read.Movement) error) error {
			return nil
		}), slog.New(slog.DiscardHandler)))
	defer server.Close()
	token := func(scopes ...string) string {
		token, err := g.issuer.Token("ann", time.Hour, scopes...)
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + token
	}
	for _, x := range []struct {
		given, challenge string
		status           int
		code             Code
	}{
		{"", `Bearer realm="product-service", scope="stock:history"`, 401, Unauthenticated},
		{"Bearer x", `Bearer realm="product-service", error="invalid_token", error_description="the token isn't valid"`, 401, Unauthenticated},
		{token(auth.CatalogWrite), `Bearer realm="product-service", error="insufficient_scope", scope="stock:history"`, 403, Forbidden},
		{token(auth.StockHistory), "", 200, ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", "https://shop.example")
		if x.given != "" {
			r.Header.Set("Authorization", x.given)
		}
		got, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(got.Body)
		got.Body.Close()
		if err != nil || got.StatusCode != x.status || got.Header.Get("WWW-Authenticate") != x.challenge || !strings.Contains(string(body), string(x.code)) {
			t.Errorf("%q: %d %s %v\n%v", x.given, got.StatusCode, body, err, got.Header)
		}
		if got.Header.Get("Access-Control-Allow-Origin") == "" {
			t.Errorf("%q: the page that asked can't read why: %v", x.given, got.Header)
		}
	}
}
