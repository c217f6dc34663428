package graph

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// hostileRequests are requests that try to cost more than they are worth in other ways than by their documents, for which see attacks.
func hostileRequests() map[string]exchange {
	const most = 100_000
	id := `"` + idA + `",`
	get := func(params string) exchange { return exchange{method: http.MethodGet, url: "/graphql?" + params} }
	return map[string]exchange{
		"nested variables":       {body: `{"query":"query($a:[ID!]!){nodes(ids:$a){id}}","variables":{"a":` + strings.Repeat("[", most/2) + strings.Repeat("]", most/2-100) + `}}`},
		"nested body":            {body: strings.Repeat(`{"query":`, most/9)},
		"many variables":         {body: `{"query":"{__typename}","variables":{` + strings.TrimSuffix(times(3000, `"a%d":"some text",`), ",") + `}}`},
		"many ids":               {body: `{"query":"query($a:[ID!]!){nodes(ids:$a){id}}","variables":{"a":[` + strings.TrimSuffix(strings.Repeat(id, 2500), ",") + `]}}`},
		"many rows":              {body: `{"query":"mutation($a:[AdjustStockInput!]!){bulkAdjustStock(input:{items:$a}){results{index}}}","variables":{"a":[` + strings.TrimSuffix(strings.Repeat(`{"productId":"x","reason":"x"},`, 3000), ",") + `]}}`},
		"many representations":   {body: `{"query":"query($a:[_Any!]!){_entities(representations:$a){__typename}}","variables":{"a":[` + strings.TrimSuffix(strings.Repeat(`{"__typename":1},`, 5000), ",") + `]}}`},
		"a long number":          {body: `{"query":"query($a:Int){products(first:$a){totalCount}}","variables":{"a":` + strings.Repeat("9", most-100) + `}}`},
		"a far exponent":         {body: `{"query":"query($a:Int){products(first:$a){totalCount}}","variables":{"a":1e999999999}}`},
		"a long text":            {body: `{"query":"query($a:String){products(where:{search:$a}){totalCount}}","variables":{"a":"` + strings.Repeat("a ", most/2-100) + `"}}`},
		"a long operation name":  {body: `{"query":"{__typename}","operationName":"` + strings.Repeat("a", most-100) + `"}`},
		"a long document id":     {body: `{"documentId":"` + strings.Repeat("a", most-100) + `"}`},
		"a long hash":            {body: `{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + strings.Repeat("0", most-100) + `"}}}`},
		"a list of operations":   {body: "[" + strings.TrimSuffix(strings.Repeat(plainQuery+",", 3000), ",") + "]"},
		"many parameters":        get(strings.Repeat("a=1&", 4000)),
		"many escapes":           get("query=" + strings.Repeat("%7B", 5000)),
		"a parameter many times": get(strings.Repeat("query=%7B__typename%7D&", 500)),
		"variables in a URL":     get("query=%7B__typename%7D&variables=" + url.QueryEscape(strings.Repeat("[", 5000))),
		"much that is accepted":  {header: []string{"Accept", strings.Repeat("a/b;q=0.1,", 1400)}, body: plainQuery},
		"many encodings":         {header: []string{"Accept-Encoding", strings.Repeat("br;q=0.1,", 1500)}, body: plainQuery},
		"many tags":              {method: http.MethodGet, url: "/graphql?query=%7B__typename%7D", header: []string{"If-None-Match", strings.Repeat(`W/"a",`, 2500)}},
		"a long origin":          {header: []string{"Origin", "https://" + strings.Repeat("a.", 7000)}, body: plainQuery},
		"a long content type":    {header: []string{"Content-Type", "application/json;" + strings.Repeat("a=b;", 3500)}, body: plainQuery},
	}
}

// Ensure that no hostile request costs much, or gets a long answer. A request is timed as a whole, at its best of fifteen.
func TestHostileRequestsAreAnsweredCheaply(t *testing.T) {
	const most = 20 * time.Millisecond // 5 ms of a core that does nothing else; others run beside these tests
	h := newTestHandler(t, &fakes{}, "CORS_ORIGINS", "https://shop.example")
	for name, e := range hostileRequests() {
		t.Run(name, func(t *testing.T) {
			best, w := time.Hour, httptest.NewRecorder()
			for range 15 {
				r := e.request()
				w = httptest.NewRecorder()
				began := time.Now()
				h.ServeHTTP(w, r)
				best = min(best, time.Since(began))
			}
			if best > most*slowdown {
				t.Errorf("it took %s, at most %s is allowed", best, most*slowdown)
			}
			if w.Code >= http.StatusInternalServerError || w.Body.Len() > 20_000 {
				t.Errorf("%d, %d bytes: %.200s", w.Code, w.Body.Len(), w.Body)
			}
		})
	}
}
