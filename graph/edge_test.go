package graph

import (
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"product-service/integration/inventory"
)

// Ensure that an answer is kept no longer than the least lasting claim in it holds.
func TestAnswersAreKeptAsLongAsTheyHold(t *testing.T) {
	c := newCatalogue(1)
	aged := func(age time.Duration, stale bool) inventory.Result {
		return inventory.Result{Outcome: inventory.Known, Stale: stale, Level: inventory.Level{FetchedAt: time.Now().Add(-age)}}
	}
	const levels = `{productVariants(ids:["0000000b-0000-7000-8000-000000000000","0000000b-0000-7000-8000-000000000001"]){inventory`
	for _, test := range []struct {
		name, query  string
		one, another inventory.Result
		token        string
		control      string
	}{
		{name: "no level", query: `{product(id:"` + c[0].ID.String() + `"){name stock{available}}}`, control: "public, max-age=60"},
		{name: "nothing found", query: `{product(id:"` + idA + `"){name}}`, control: "public, max-age=60"},
		{name: "fresh levels", query: levels + `{availableQuantity}}}`, one: aged(time.Second, false), another: aged(3500*time.Millisecond, false), control: "public, max-age=6"},
		{name: "a level about to age", query: levels + `{availableQuantity}}}`, one: aged(time.Second, false), another: aged(9500*time.Millisecond, false), control: "public, no-cache"},
		{name: "a stale level", query: levels + `{availableQuantity}}}`, one: aged(time.Second, false), another: aged(2*time.Second, true), control: "public, no-cache"},
		{name: "an absent level", query: levels + `{availableQuantity}}}`, one: aged(time.Second, false), another: inventory.Result{Outcome: inventory.Absent}, control: "public, no-cache"},
		{name: "an unknown level", query: levels + `{availableQuantity}}}`, one: aged(time.Second, false), control: "no-store"},
		{name: "an asked for staleness", query: levels + `(maxStaleness:4){availableQuantity}}}`, one: aged(time.Second, false), another: aged(0, false), control: "public, max-age=2"},
		{name: "an age", query: levels + `{...F}}} fragment F on InventoryLevel{a:ageSeconds}`, one: aged(0, false), another: aged(0, false), control: "public, no-cache"},
		{name: "when it was fetched", query: levels + `{...{fetchedAt}}}}`, one: aged(0, false), another: aged(0, false), control: "public, no-cache"},
		{name: "for a token", query: `{product(id:"` + c[0].ID.String() + `"){name}}`, token: "Bearer x", control: "private, max-age=60"},
		{name: "levels for a token", query: levels + `{ageSeconds}}}`, one: aged(0, false), another: aged(0, false), token: "Bearer x", control: "private, no-cache"},
		{name: "an error", query: `{products(first:0){totalCount}}`, control: "no-store"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := fakesOf(c)
			f.level = func(_ context.Context, id uuid.UUID) inventory.Result {
				if id == c[0].Variants[0].ID {
					return test.one
				}
				return test.another
			}
			h, err := Handler(testConfig(t, "GRAPHQL_MAX_AGE", "60s"), Services{Reads: f, Levels: f, Commands: f, Gate: everybody(t), LevelsFresh: 10 * time.Second},
				slog.New(slog.DiscardHandler), prometheus.NewRegistry())
			if err != nil {
				t.Fatal(err)
			}
			get := exchange{method: "GET", url: "/graphql?query=" + url.QueryEscape(test.query), header: []string{"Authorization", test.token}}
			got := send(t, h, get.request())
			if control := got.header.Get("Cache-Control"); control != test.control {
				t.Errorf("Cache-Control is %q, want %q: %s", control, test.control, got.body)
			}
			if vary := strings.Join(got.header.Values("Vary"), ", "); vary != "Accept-Encoding, Accept, Authorization" {
				t.Errorf("Vary is %q", vary)
			}
			post := exchange{body: `{"query":"{__typename}"}`}.request()
			if control := send(t, h, post).header.Get("Cache-Control"); control != "no-store" {
				t.Errorf("of a POST: %q", control)
			}
		})
	}
}

// Ensure that 304 has the headers that the answer would have.
func TestAnUnchangedAnswerHasItsHeaders(t *testing.T) {
	h := newTestHandler(t, &fakes{}, "CORS_ORIGINS", "https://shop.example")
	get := func(header ...string) reply {
		return send(t, h, exchange{method: "GET", url: "/graphql?query=%7B__typename%7D", header: append(header, "Origin", "https://shop.example", "Accept-Encoding", "gzip")}.request())
	}
	first := get()
	again := get("If-None-Match", strings.TrimPrefix(first.header.Get("ETag"), "W/"))
	if again.status != http.StatusNotModified || again.body != "" {
		t.Fatalf("%d %s", again.status, again.body)
	}
	for _, name := range []string{"ETag", "Cache-Control", "Vary", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers"} {
		if want, got := first.header.Values(name), again.header.Values(name); strings.Join(got, ", ") != strings.Join(want, ", ") || len(got) == 0 {
			t.Errorf("%s is %q, of the answer it was %q", name, got, want)
		}
	}
	if changed := get("If-None-Match", `W/"another"`); changed.status != http.StatusOK {
		t.Errorf("%d for another tag", changed.status)
	}
}

func TestAnswersAreCompressedForWhoAsksForIt(t *testing.T) {
	c := newCatalogue(20)
	h := newTestHandler(t, fakesOf(c))
	const long, short = `{"query":"{products{nodes{id name variants{id sku}}}}"}`, `{"query":"{__typename}"}`
	for _, test := range []struct {
		accepted, body string
		encoding       string
		status         int
	}{
		{"gzip", long, "gzip", 200}, {"br, GZIP;q=0.5", long, "gzip", 200}, {"x-gzip", long, "gzip", 200}, {"*", long, "gzip", 200}, {"identity;q=0.5, gzip;q=0.8", long, "gzip", 200},
		{"gzip, deflate, br, zstd", long, "gzip", 200}, {"gzip", short, "", 200},
		{"", long, "", 200}, {"identity", long, "", 200}, {"br", long, "", 200}, {"gzip;q=0", long, "", 200}, {"gzip; q=0.000, br", long, "", 200}, {"*, gzip;q=0", long, "", 200},
		{"notgzip", long, "", 200}, {"gzip;q=x", long, "", 200}, {"gzip;q=0.2, identity;q=0.3", long, "", 200},
		{"gzip, identity;q=0", short, "gzip", 200}, {"gzip;q=0.1, *;q=0", short, "gzip", 200},
		{"*;q=0", long, "", 406}, {"identity;q=0", short, "", 406}, {"identity;q=0, br", short, "", 406},
	} {
		r := exchange{body: test.body, header: []string{"Accept-Encoding", test.accepted}}.request()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var body io.Reader = w.Body
		if w.Header().Get("Content-Encoding") == "gzip" {
			var err error
			if body, err = gzip.NewReader(w.Body); err != nil {
				t.Errorf("%q: %v", test.accepted, err)
				continue
			}
		}
		text, err := io.ReadAll(body)
		if err != nil || w.Code != test.status || w.Header().Get("Content-Encoding") != test.encoding || !strings.HasPrefix(string(text), "{") {
			t.Errorf("%q: %d, encoding %q, want %d and %q: %.80s (%v)", test.accepted, w.Code, w.Header().Get("Content-Encoding"), test.status, test.encoding, text, err)
		}
		if !strings.Contains(strings.Join(w.Header().Values("Vary"), ","), "Accept-Encoding") {
			t.Errorf("%q: Vary is %q", test.accepted, w.Header().Values("Vary"))
		}
	}
}

// Ensure that the pages of allowed origins may send what GraphQL clients and tracers send, and what
// the setting names; for the export too.
func TestPagesOfAllowedOriginsMayAsk(t *testing.T) {
	settings := []string{"CORS_ORIGINS", "https://shop.example", "CORS_HEADERS", "x-tenant,X-Shop"}
	for path, h := range map[string]http.Handler{
		"/graphql":                newTestHandler(t, &fakes{}, settings...),
		"/export/stock-movements": Export(testConfig(t, settings...), everybody(t), nil, slog.New(slog.DiscardHandler)),
		"/export/stock-days":      ExportDays(testConfig(t, settings...), everybody(t), nil, slog.New(slog.DiscardHandler)),
	} {
		ask := func(origin string) http.Header {
			r := httptest.NewRequest(http.MethodOptions, path, nil)
			r.Header.Set("Origin", origin)
			r.Header.Set("Access-Control-Request-Method", http.MethodGet)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != http.StatusNoContent {
				t.Errorf("%s: a preflight is answered with %d", path, w.Code)
			}
			return w.Header()
		}
		header := ask("https://shop.example")
		allowed := strings.Split(strings.ToLower(header.Get("Access-Control-Allow-Headers")), ", ")
		for _, name := range []string{
			"content-type", "authorization", "apollographql-client-name", "apollographql-client-version", "apollo-require-preflight", "graphql-require-preflight",
			"x-requested-with", "x-correlation-id", "traceparent", "tracestate", "baggage", "sentry-trace", "x-apollo-operation-name", "if-none-match", "x-tenant", "x-shop",
		} {
			if !slices.Contains(allowed, name) {
				t.Errorf("%s: %s isn't allowed", path, name)
			}
		}
		if header.Get("Access-Control-Allow-Origin") != "https://shop.example" || header.Get("Access-Control-Max-Age") == "" || !strings.Contains(header.Get("Access-Control-Allow-Methods"), "GET") {
			t.Errorf("%s: %v", path, header)
		}
		for _, name := range []string{"ETag", "X-Correlation-ID", "Retry-After"} {
			if !strings.Contains(header.Get("Access-Control-Expose-Headers"), name) {
				t.Errorf("%s: %s can't be read", path, name)
			}
		}
		for _, origin := range []string{"https://shop.example.evil", "http://shop.example", "https://shop.example:8443", "null", ""} {
			if header := ask(origin); header.Get("Access-Control-Allow-Origin") != "" || header.Get("Access-Control-Allow-Headers") != "" || header.Get("Vary") != "Origin" {
				t.Errorf("%s: %q is answered with %v", path, origin, header)
			}
		}
	}
}
