package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"product-service/command"
	"product-service/correlation"
	"product-service/dev/issuer"
	"product-service/dev/stack"
	"product-service/eventstore"
	"product-service/graph/auth"
	"product-service/integration/inventory"
	"product-service/product"
	"product-service/projection"
	"product-service/projection/read"
	"product-service/projection/store"
)

func TestMain(m *testing.M) { stack.Main(m) }

// started runs a part of the service until the test ends.
func started(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func defaults[C any](t *testing.T, vars map[string]string) C {
	t.Helper()
	c, err := env.ParseAsWithOptions[C](env.Options{Environment: vars})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newServiceHandler serves the API and the export on the real write side and projection, to ann,
// who may do everything. Levels are invented.
func newServiceHandler(t *testing.T) (http.Handler, *command.Writer) {
	t.Helper()
	log, metrics := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	migrate := func(url string) error {
		store, err := eventstore.Open(context.Background(), eventstore.Config{URL: url, MaxConnections: 4})
		if err != nil {
			return err
		}
		defer store.Close()
		_, err = store.Migrate(context.Background())
		return err
	}
	events, err := eventstore.Open(t.Context(), eventstore.Config{URL: stack.Postgres(t, migrate), MaxConnections: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(events.Close)
	url, database := stack.Mongo(t)
	documents, err := store.Open(t.Context(), defaults[store.Config](t, map[string]string{"MONGODB_URL": url, "MONGODB_DATABASE": database}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := documents.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	writer := command.NewWriter(events, defaults[command.WriterConfig](t, nil), command.NewWriterMetrics(metrics), log)
	started(t, writer.Run)
	leaseConfig := defaults[eventstore.LeasesConfig](t, map[string]string{"INSTANCE_ID": t.Name()})
	leaseConfig.Roles = map[string]int{projection.Role: eventstore.Shards}
	leases := eventstore.NewLeases(events, leaseConfig, log)
	started(t, leases.Run)
	for changed := leases.Changed(); len(leases.Held(projection.Role)) < eventstore.Shards; changed = leases.Changed() {
		select {
		case <-changed:
		case <-time.After(20 * time.Second):
			t.Fatal("the shards aren't leased")
		}
	}
	projector, err := projection.NewProjector(documents, events, leases, log, metrics)
	if err != nil {
		t.Fatal(err)
	}
	started(t, projector.Run)
	levels := &fakes{level: func(_ context.Context, id uuid.UUID) inventory.Result {
		return inventory.Result{Outcome: inventory.Known, Level: inventory.Level{VariantID: id, Available: 1, Status: inventory.LowStock, UpdatedAt: noon, FetchedAt: noon, Source: inventory.Cache}}
	}}
	reader := read.NewReader(documents, correlation.ID)
	from, err := issuer.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = from.Stop() })
	token, err := from.Token("ann", time.Hour, auth.CatalogWrite, auth.StockHistory)
	if err != nil {
		t.Fatal(err)
	}
	callers := gateFor(t, from)
	h, err := Handler(testConfig(t), Services{
		Reads: reader, Levels: levels,
		Commands: &command.Service{Writer: writer, Store: events, Created: func() {}}, Gate: callers,
	}, log, metrics)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/graphql", h)
	mux.Handle("/export/stock-movements", Export(Config{}, callers, reader, log))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+token)
		mux.ServeHTTP(w, r)
	}), writer
}

// at follows a path of keys and indexes into decoded JSON.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch step := step.(type) {
		case string:
			v = v.(map[string]any)[step]
		case int:
			v = v.([]any)[step]
		}
	}
	return v
}

func TestTheAPIOnTheRealProjection(t *testing.T) {
	h, writer := newServiceHandler(t)
	const n = 23
	var ids []string
	for i := range n {
		created := post(t, h, fmt.Sprintf(`mutation{createProduct(input:{name:"Thing %c%d",initialStock:%d,lowStockThreshold:3,variants:[{sku:"T-%d",name:"Only"}]})
			{version product{id version variants{sku inventory{availableQuantity}}} userErrors{message}}}`, 'z'-rune(i%5), i, i%7, i), "")
		if len(created.Errors) > 0 || at(t, created.Data, "createProduct", "product") == nil {
			t.Fatal(created.body)
		}
		ids = append(ids, at(t, created.Data, "createProduct", "product", "id").(string))
	}

	t.Run("pages add up to the list, both ways and in every order", func(t *testing.T) { pagesAddUp(t, h, ids) })
	t.Run("cursors of another list are refused", func(t *testing.T) { cursorsOfAnotherListAreRefused(t, h) })
	t.Run("filters agree with what is shown", func(t *testing.T) { filtersAgree(t, h, ids) })
	t.Run("a product's history", func(t *testing.T) { historyOfAProduct(t, h, writer, ids) })
	t.Run("an export is the movements, oldest first", func(t *testing.T) { exportIsTheMovements(t, h, ids) })
	t.Run("a version that doesn't come", func(t *testing.T) { versionThatDoesNotCome(t, h, ids) })
}

func pagesAddUp(t *testing.T, h http.Handler, ids []string) {
	t.Helper()
	for _, field := range []string{"NAME", "CREATED_AT", "UPDATED_AT", "AVAILABLE", "STOCK_STATUS"} {
		for _, direction := range []string{"ASC", "DESC"} {
			order := fmt.Sprintf("orderBy:{field:%s,direction:%s}", field, direction)
			whole, _ := walk(t, h, order, "first", "after", 100)
			if len(whole) != len(ids) {
				t.Fatalf("%s: %d products, want %d", order, len(whole), len(ids))
			}
			forward, pages := walk(t, h, order, "first", "after", 4)
			if diff := cmp.Diff(whole, forward); diff != "" || pages != 6 {
				t.Errorf("%s forward in %d pages (-want +got):\n%s", order, pages, diff)
			}
			backward, pages := walk(t, h, order, "last", "before", 4)
			if diff := cmp.Diff(whole, backward); diff != "" || pages != 6 {
				t.Errorf("%s backward in %d pages (-want +got):\n%s", order, pages, diff)
			}
		}
	}
}

func cursorsOfAnotherListAreRefused(t *testing.T, h http.Handler) {
	t.Helper()
	got := post(t, h, `{products(first:1,orderBy:{field:NAME}){edges{cursor}}}`, "")
	cursor := at(t, got.Data, "products", "edges", 0, "cursor").(string)
	for _, c := range []string{cursor, cursor + "A", cursor[:len(cursor)-2], "x", strings.ToUpper(cursor)} {
		if got := post(t, h, `query($c:String!){products(first:1,after:$c,orderBy:{field:AVAILABLE}){nodes{id}}}`, `{"c":"`+c+`"}`); fmt.Sprint(got.codes()) != "[BAD_USER_INPUT]" {
			t.Errorf("cursor %q: %s", c, got.body)
		}
	}
}

func filtersAgree(t *testing.T, h http.Handler, ids []string) {
	t.Helper()
	got := post(t, h, `{low:products(first:100,where:{stockStatus:LOW_STOCK}){totalCount nodes{stockStatus stock{available}}}
		some:products(first:100,where:{available:{gte:2,lte:3}}){totalCount nodes{stock{available}}}
		one:products(where:{search:"t-7"}){nodes{id}} both:products(where:{ids:["`+ids[3]+`","`+ids[4]+`"]}){totalCount}}`, "")
	for _, node := range at(t, got.Data, "low", "nodes").([]any) {
		if available := at(t, node, "stock", "available").(float64); available < 1 || available > 3 || at(t, node, "stockStatus") != "LOW_STOCK" {
			t.Errorf("low: %v", node)
		}
	}
	if low, some := at(t, got.Data, "low", "totalCount"), at(t, got.Data, "some", "totalCount"); low != 10.0 || some != 6.0 || at(t, got.Data, "both", "totalCount") != 2.0 {
		t.Errorf("%v low, %v with 2 to 3: %s", low, some, got.body)
	}
	if diff := cmp.Diff(any(map[string]any{"id": ids[7]}), at(t, got.Data, "one", "nodes", 0)); diff != "" {
		t.Errorf("search (-want +got):\n%s", diff)
	}
}

func historyOfAProduct(t *testing.T, h http.Handler, writer *command.Writer, ids []string) {
	t.Helper()
	id := ids[6]
	reservation := uuid.New()
	reserve(t, writer, uuid.MustParse(id), product.Reserve{ReservationID: reservation, Quantity: 2})
	adjusted := post(t, h, `mutation{adjustStock(input:{productId:"`+id+`",delta:4,reason:"found",expectedVersion:3}){version product{updatedAt stock{total reserved available}} userErrors{message}}}`, "")
	if diff := cmp.Diff(any(map[string]any{"total": 10.0, "reserved": 2.0, "available": 8.0}), at(t, adjusted.Data, "adjustStock", "product", "stock")); diff != "" {
		t.Fatalf("stock (-want +got):\n%s\n%s", diff, adjusted.body)
	}
	got := post(t, h, `query($id:ID!,$then:DateTime!){product(id:$id,minVersion:4){stockMovements{totalCount nodes{id type delta availableAfter reason actor}} early:stockAt(at:"2020-01-01T00:00:00Z"){total} then:stockAt(at:$then){available version}}
		reservation(productId:$id,reservationId:"`+reservation.String()+`"){id held state} nodes(ids:["`+id+`.3","`+id+`.`+reservation.String()+`","`+id+`.2"]){__typename}}`,
		`{"id":"`+id+`","then":"`+at(t, adjusted.Data, "adjustStock", "product", "updatedAt").(string)+`"}`)
	want := map[string]any{
		"product": map[string]any{
			"stockMovements": map[string]any{"totalCount": 3.0, "nodes": []any{
				map[string]any{"id": id + ".4", "type": "ADJUSTED", "delta": 4.0, "availableAfter": 8.0, "reason": "found", "actor": "ann"},
				map[string]any{"id": id + ".3", "type": "RESERVED", "delta": -2.0, "availableAfter": 4.0, "reason": nil, "actor": nil},
				map[string]any{"id": id + ".1", "type": "INITIAL", "delta": 6.0, "availableAfter": 6.0, "reason": nil, "actor": "ann"},
			}},
			"early": nil, "then": map[string]any{"available": 8.0, "version": 4.0},
		},
		"reservation": map[string]any{"id": id + "." + reservation.String(), "held": 2.0, "state": "ACTIVE"},
		"nodes":       []any{map[string]any{"__typename": "StockMovement"}, map[string]any{"__typename": "Reservation"}, nil},
	}
	if diff := cmp.Diff(want, got.Data); diff != "" {
		t.Errorf("data (-want +got):\n%s\n%s", diff, got.body)
	}
}

func exportIsTheMovements(t *testing.T, h http.Handler, ids []string) {
	t.Helper()
	id := ids[6] // whose history the test before this one made
	server := httptest.NewServer(h)
	defer server.Close()
	got := post(t, h, `{stockMovements(productId:"`+id+`"){nodes{id productId type quantity delta totalAfter reservedAfter availableAfter version reservationId sagaId reason actor commandId correlationId occurredAt}}}`, "")
	want := slices.Clone(at(t, got.Data, "stockMovements", "nodes").([]any))
	slices.Reverse(want)
	for after, left := range map[string][]any{"": want, "&after=" + id + ".1": want[1:]} {
		_, body, err := fetch(t, server.URL+"/export/stock-movements?format=ndjson&productId="+id+after)
		if err != nil {
			t.Fatal(err)
		}
		var rows []any
		for line := range strings.Lines(body) {
			var row map[string]any
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				t.Fatal(err)
			}
			when, err := time.Parse(time.RFC3339Nano, row["occurredAt"].(string)) // with all six digits there, without ending zeros here
			if err != nil {
				t.Fatal(err)
			}
			row["occurredAt"] = when.Format(time.RFC3339Nano)
			rows = append(rows, row)
		}
		if diff := cmp.Diff(left, rows); diff != "" || len(rows) == 0 {
			t.Errorf("%d rows (-movements +export):\n%s", len(rows), diff)
		}
	}
	if resp, body, err := fetch(t, server.URL+"/export/stock-movements?productId="+id+"&after="+ids[5]+".1"); err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("after another product's movement: %d, %v: %s", resp.StatusCode, err, body)
	}
}

func versionThatDoesNotCome(t *testing.T, h http.Handler, ids []string) {
	t.Helper()
	got := post(t, h, `{product(id:"`+ids[0]+`",minVersion:99){id}}`, "")
	if fmt.Sprint(got.codes()) != "[NOT_YET_AVAILABLE]" {
		t.Error(got.body)
	}
}

// walk pages through all products and returns their ids in the list's order.
func walk(t *testing.T, h http.Handler, order, size, cursor string, each int) (ids []string, pages int) {
	t.Helper()
	more, info := "hasNextPage", "endCursor"
	if size == "last" {
		more, info = "hasPreviousPage", "startCursor"
	}
	var from any
	for pages < 50 {
		given := ""
		if from != nil {
			given = fmt.Sprintf(",%s:%q", cursor, from)
		}
		got := post(t, h, fmt.Sprintf(`{products(%s:%d%s,%s){nodes{id} edges{cursor node{id}} pageInfo{hasNextPage hasPreviousPage startCursor endCursor}}}`, size, each, given, order), "")
		if len(got.Errors) > 0 {
			t.Fatal(got.body)
		}
		pages++
		var page []string
		for _, node := range at(t, got.Data, "products", "nodes").([]any) {
			page = append(page, at(t, node, "id").(string))
		}
		if size == "last" {
			ids = append(page, ids...)
		} else {
			ids = append(ids, page...)
		}
		if at(t, got.Data, "products", "pageInfo", more) != true {
			return ids, pages
		}
		from = at(t, got.Data, "products", "pageInfo", info)
	}
	t.Fatal("the list doesn't end")
	return slices.Clip(ids), pages
}

// reserve lets the write side decide a saga's command.
func reserve(t *testing.T, w *command.Writer, productID uuid.UUID, c product.Reserve) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	answered := make(chan command.Answer, 1)
	if err := w.Submit(ctx, &command.Request{ID: uuid.New(), ProductID: productID, Command: c, Settle: func(a command.Answer) { answered <- a }}); err != nil {
		t.Fatal(err)
	}
	select {
	case a := <-answered:
		if a.Err != nil {
			t.Fatal(a.Err)
		}
	case <-ctx.Done():
		t.Fatal("no answer")
	}
}
