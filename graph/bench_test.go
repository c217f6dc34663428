package graph

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A page of 20 products with 2 variants each and their levels, from memory: what the API itself costs.
func BenchmarkPage(b *testing.B) {
	h := newTestHandler(b, fakesOf(newCatalogue(20)))
	body := `{"query":"{products(first:20){nodes{id name isOrderable stockStatus stock{total reserved available} variants{id sku inventory{availableQuantity status isStale}}} pageInfo{hasNextPage endCursor}}}"}`
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK || w.Body.Len() < 1000 {
			b.Fatalf("%d %s", w.Code, w.Body)
		}
	}
}
