package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"product-service/dev/issuer"
	"product-service/graph"
	"product-service/graph/auth"
)

// decidedRoutes says of every route which scope a caller needs; "" is none. /graphql has its own
// table, of fields. A new route has to be put here, so that nobody forgets to decide.
var decidedRoutes = map[string]string{
	"/graphql":                "",
	"/export/stock-movements": auth.StockHistory,
	"/export/stock-days":      auth.StockHistory,
	"GET /{$}":                "",
	"GET /explorer/":          "",
	"GET /console":            "",
	"GET /console/":           "",
}

func TestEveryRouteNeedsWhatWasDecided(t *testing.T) {
	from, err := issuer.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Stop()
	callers, err := auth.New(auth.Config{Mode: auth.ModeJWT, Issuer: from.URL(), Audience: issuer.Audience, JWKSURL: from.KeysURL()},
		slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	go callers.Run(t.Context())
	s := &server{log: slog.New(slog.DiscardHandler)}
	mux := http.NewServeMux()
	served := s.routes(http.NotFoundHandler(), &graph.Gate{Verifier: callers}, nil)
	for pattern, handler := range served {
		mux.Handle(pattern, handler)
	}
	ask := func(method, path string, scopes ...string) int {
		r := httptest.NewRequest(method, path+"?no=parameter", nil) // so that nothing is read
		if scopes != nil {
			token, err := from.Token("ann", time.Hour, scopes...)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w.Code
	}
	all := []string{auth.CatalogWrite, auth.StockHistory, auth.Operations}
	for pattern := range served {
		scope, ok := decidedRoutes[pattern]
		if !ok {
			t.Errorf("%s: decide whether it needs a scope, and put it into the table of this test", pattern)
			continue
		}
		path := strings.TrimSuffix(pattern[strings.Index(pattern, "/"):], "{$}")
		others := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == scope })
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			anonymous, other, right := ask(method, path), ask(method, path, others...), ask(method, path, scope)
			closed := anonymous == http.StatusUnauthorized && other == http.StatusForbidden
			open := anonymous == other && anonymous == right
			if right == http.StatusUnauthorized || right == http.StatusForbidden || closed != (scope != "") || open != (scope == "") {
				t.Errorf("%s %s: %d without a token, %d without the scope, %d with it", method, pattern, anonymous, other, right)
			}
		}
	}
	if len(served) != len(decidedRoutes) {
		t.Errorf("%d routes are served; %d are decided about", len(served), len(decidedRoutes))
	}
}
