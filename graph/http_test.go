package graph

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"product-service/correlation"
	"product-service/projection/read"
)

const (
	plainQuery    = `{"query":"{__typename}"}`
	plainMutation = `mutation { adjustStock(input: {productId: "0190f3a4-5b6c-7d8e-9f00-112233445566", delta: 1, reason: "count"}) { version } }`
)

// exchange is one HTTP request and what must come of it.
type exchange struct {
	name    string
	method  string // POST where absent
	url     string // /graphql where absent
	header  []string
	body    string
	status  int
	code    Code // of the error; "" where there is data
	answers map[string]string
}

func (e exchange) request() *http.Request {
	method, target := e.method, e.url
	if method == "" {
		method = http.MethodPost
	}
	if target == "" {
		target = "/graphql"
	}
	r := httptest.NewRequest(method, target, strings.NewReader(e.body))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(e.header); i += 2 {
		r.Header.Set(e.header[i], e.header[i+1])
		if e.header[i+1] == "" {
			r.Header.Del(e.header[i])
		}
	}
	return r
}

var exchanges = []exchange{
	{name: "plain", body: plainQuery, status: 200, answers: map[string]string{"Content-Type": "application/json; charset=utf-8"}},
	{name: "charset", header: []string{"Content-Type", "application/json; charset=UTF-8"}, body: plainQuery, status: 200},
	{name: "response media type", header: []string{"Accept", "application/graphql-response+json"}, body: plainQuery, status: 200,
		answers: map[string]string{"Content-Type": "application/graphql-response+json; charset=utf-8"}},
	{name: "weights", header: []string{"Accept", "application/json;q=0.5, application/graphql-response+json;q=0.9"}, body: plainQuery, status: 200,
		answers: map[string]string{"Content-Type": "application/graphql-response+json; charset=utf-8"}},
	{name: "weights the other way", header: []string{"Accept", "application/json, application/graphql-response+json;q=0.9"}, body: plainQuery, status: 200,
		answers: map[string]string{"Content-Type": "application/json; charset=utf-8"}},
	{name: "anything", header: []string{"Accept", "*/*"}, body: plainQuery, status: 200,
		answers: map[string]string{"Content-Type": "application/json; charset=utf-8"}},
	{name: "refused by weight", header: []string{"Accept", "application/json;q=0, application/graphql-response+json;q=0"}, body: plainQuery, status: 406, code: BadUserInput},
	{name: "only html", header: []string{"Accept", "text/html"}, body: plainQuery, status: 406, code: BadUserInput},
	{name: "get", method: "GET", url: "/graphql?query=%7B__typename%7D", status: 200},
	{name: "head", method: "HEAD", url: "/graphql?query=%7B__typename%7D", status: 200, answers: map[string]string{"Cache-Control": "public, max-age=1"}},
	{name: "head of a mutation", method: "HEAD", url: "/graphql?query=" + url.QueryEscape(plainMutation), status: 405, code: BadUserInput, answers: map[string]string{"Allow": "POST"}},
	{name: "get with variables", method: "GET", url: "/graphql?query=" + url.QueryEscape(`query Q($id: ID!) { product(id: $id) { id } }`) +
		"&operationName=Q&variables=" + url.QueryEscape(`{"id":"0190f3a4-5b6c-7d8e-9f00-112233445566"}`), status: 200},
	{name: "get of a mutation", method: "GET", url: "/graphql?query=" + url.QueryEscape(plainMutation), status: 405, code: BadUserInput,
		answers: map[string]string{"Allow": "POST"}},
	{name: "get without a query", method: "GET", status: 400, code: BadUserInput},
	{name: "get with a parameter twice", method: "GET", url: "/graphql?query=%7B__typename%7D&query=%7Bx%7D", status: 400, code: BadUserInput},
	{name: "get with variables that aren't an object", method: "GET", url: "/graphql?query=%7B__typename%7D&variables=%5B%5D", status: 400, code: BadUserInput},
	{name: "put", method: "PUT", body: plainQuery, status: 405, code: BadUserInput, answers: map[string]string{"Allow": "GET, HEAD, POST, OPTIONS"}},
	{name: "delete", method: "DELETE", status: 405, code: BadUserInput, answers: map[string]string{"Allow": "GET, HEAD, POST, OPTIONS"}},
	{name: "form", header: []string{"Content-Type", "application/x-www-form-urlencoded"}, body: "query=%7B__typename%7D", status: 415, code: BadUserInput},
	{name: "text", header: []string{"Content-Type", "text/plain"}, body: plainQuery, status: 415, code: BadUserInput},
	{name: "multipart", header: []string{"Content-Type", "multipart/form-data; boundary=x"}, body: plainQuery, status: 415, code: BadUserInput},
	{name: "no content type", header: []string{"Content-Type", ""}, body: plainQuery, status: 415, code: BadUserInput},
	{name: "latin", header: []string{"Content-Type", "application/json; charset=iso-8859-1"}, body: plainQuery, status: 415, code: BadUserInput},
	{name: "gzip", header: []string{"Content-Encoding", "gzip"}, body: plainQuery, status: 415, code: BadUserInput},
	{name: "too long a body", body: `{"query":"{__typename}","variables":{"x":"` + strings.Repeat("x", 102400) + `"}}`, status: 413, code: QueryTooLarge},
	{name: "no body", status: 400, code: BadUserInput},
	{name: "null", body: "null", status: 400, code: BadUserInput},
	{name: "not JSON", body: "{", status: 400, code: BadUserInput},
	{name: "a list of operations", body: "[" + plainQuery + "," + plainQuery + "]", status: 400, code: BadUserInput},
	{name: "no query", body: `{"operationName":"Q"}`, status: 400, code: BadUserInput},
	{name: "query of a wrong type", body: `{"query":1}`, status: 400, code: BadUserInput},
	{name: "operationName of a wrong type", body: `{"query":"{__typename}","operationName":{}}`, status: 400, code: BadUserInput},
	{name: "variables of a wrong type", body: `{"query":"{__typename}","variables":"x"}`, status: 400, code: BadUserInput},
	{name: "extensions of a wrong type", body: `{"query":"{__typename}","extensions":1}`, status: 400, code: BadUserInput},
	{name: "nulls", body: `{"query":"{__typename}","operationName":null,"variables":null,"extensions":null}`, status: 200},
	{name: "unknown operation", body: `{"query":"query A{__typename}","operationName":"B"}`, status: 200, code: BadUserInput},
	{name: "which operation", body: `{"query":"query A{__typename} query B{__typename}"}`, status: 200, code: BadUserInput},
	{name: "one of two operations", body: `{"query":"query A{__typename} query B{__typename}","operationName":"B"}`, status: 200},
	{name: "syntax, plain", body: `{"query":"{"}`, status: 200, code: ParseFailed},
	{name: "syntax, response", header: []string{"Accept", "application/graphql-response+json"}, body: `{"query":"{"}`, status: 400, code: ParseFailed},
	{name: "invalid, plain", body: `{"query":"{nothing}"}`, status: 200, code: ValidationFailed},
	{name: "invalid, response", header: []string{"Accept", "application/graphql-response+json"}, body: `{"query":"{nothing}"}`, status: 400, code: ValidationFailed},
	{name: "variable missing", body: `{"query":"query($id:ID!){product(id:$id){id}}"}`, status: 200, code: BadUserInput},
	{name: "too deep", body: `{"query":"{a{a{a{a{a{a{a{a{a{a{a}}}}}}}}}}}"}`, status: 400, code: QueryTooDeep},
	{name: "cross-site get", method: "GET", url: "/graphql?query=%7B__typename%7D", header: []string{"Sec-Fetch-Site", "cross-site"}, status: 403, code: Forbidden},
	{name: "cross-site get that asked first", method: "GET", url: "/graphql?query=%7B__typename%7D",
		header: []string{"Sec-Fetch-Site", "cross-site", "GraphQL-Require-Preflight", "1"}, status: 200},
	{name: "cross-site get with a content type that browsers ask for", method: "GET", url: "/graphql?query=%7B__typename%7D",
		header: []string{"Sec-Fetch-Site", "cross-site", "Content-Type", "application/json"}, status: 200},
	{name: "cross-site get with a content type that they don't ask for", method: "GET", url: "/graphql?query=%7B__typename%7D",
		header: []string{"Sec-Fetch-Site", "cross-site", "Content-Type", "text/plain; charset=utf-8"}, status: 403, code: Forbidden},
	{name: "cross-site get with an empty header", method: "GET", url: "/graphql?query=%7B__typename%7D",
		header: []string{"Sec-Fetch-Site", "cross-site", "GraphQL-Require-Preflight", ""}, status: 403, code: Forbidden},
	{name: "cross-site head", method: "HEAD", url: "/graphql?query=%7B__typename%7D", header: []string{"Sec-Fetch-Site", "cross-site"}, status: 403, code: Forbidden},
	{name: "same-origin get", method: "GET", url: "/graphql?query=%7B__typename%7D", header: []string{"Sec-Fetch-Site", "same-origin"}, status: 200},
	{name: "preflight of an allowed origin", method: "OPTIONS", header: []string{"Origin", "https://shop.example", "Access-Control-Request-Method", "POST"},
		status: 204, answers: map[string]string{"Access-Control-Allow-Origin": "https://shop.example", "Access-Control-Allow-Methods": "GET, HEAD, POST", "Vary": "Origin"}},
	{name: "preflight of another origin", method: "OPTIONS", header: []string{"Origin", "https://shop.example.evil", "Access-Control-Request-Method", "POST"},
		status: 204, answers: map[string]string{"Access-Control-Allow-Origin": "", "Access-Control-Allow-Methods": ""}},
	{name: "allowed origin", header: []string{"Origin", "https://shop.example"}, body: plainQuery, status: 200,
		answers: map[string]string{"Access-Control-Allow-Origin": "https://shop.example", "Vary": "Origin"}},
	{name: "another origin", header: []string{"Origin", "null"}, body: plainQuery, status: 200, answers: map[string]string{"Access-Control-Allow-Origin": ""}},
}

func TestHTTP(t *testing.T) {
	h := newTestHandler(t, &fakes{}, "CORS_ORIGINS", "https://shop.example,http://localhost:3000")
	for _, e := range exchanges {
		t.Run(e.name, func(t *testing.T) {
			got := send(t, h, e.request())
			if got.status != e.status {
				t.Errorf("status %d, want %d: %s", got.status, e.status, got.body)
			}
			for name, want := range e.answers {
				if value := got.header.Get(name); value != want {
					t.Errorf("%s: %q, want %q", name, value, want)
				}
			}
			if e.method == http.MethodOptions {
				return
			}
			if e.code == "" {
				if got.Data == nil || len(got.Errors) != 0 {
					t.Errorf("want data alone, got %s", got.body)
				}
				return
			}
			if strings.Contains(got.body, `"data"`) {
				t.Errorf("a request that isn't executed has no data key: %s", got.body)
			}
			if diff := cmp.Diff([]string{string(e.code)}, got.codes()); diff != "" {
				t.Errorf("codes (-want +got):\n%s", diff)
			}
			if id := got.header.Get(correlation.Header); id == "" || got.Errors[0].Extensions["correlationId"] != id {
				t.Errorf("the error has correlation id %v, the header %q", got.Errors[0].Extensions["correlationId"], id)
			}
		})
	}
}

// What a GET answered can be kept, and asked about; what a POST answered, or an error, can't.
func TestAnswersOfGetCanBeKept(t *testing.T) {
	c := newCatalogue(1)
	h := newTestHandler(t, fakesOf(c))
	get := func(query, tag string) reply {
		e := exchange{method: "GET", url: "/graphql?query=" + url.QueryEscape(query)}
		if tag != "" {
			e.header = []string{"If-None-Match", tag}
		}
		return send(t, h, e.request())
	}
	query := `{product(id:"` + c[0].ID.String() + `"){name version}}`
	first := get(query, "")
	tag := first.header.Get("ETag")
	if first.status != 200 || tag == "" || first.header.Get("Cache-Control") != "public, max-age=1" {
		t.Fatalf("%d %v", first.status, first.header)
	}
	for _, given := range []string{tag, `"other", ` + tag, "*"} {
		if again := get(query, given); again.status != http.StatusNotModified || again.body != "" {
			t.Errorf("If-None-Match %s: %d %s", given, again.status, again.body)
		}
	}
	c[0].Version++
	if changed := get(query, tag); changed.status != 200 || changed.header.Get("ETag") == tag {
		t.Errorf("%d %s", changed.status, changed.header.Get("ETag"))
	}
	for _, r := range []reply{get(`{products(first:0){totalCount}}`, "*"), get(`{nothing}`, "*"), post(t, h, query, "")} {
		if r.header.Get("ETag") != "" || r.header.Get("Cache-Control") != "no-store" || r.status == http.StatusNotModified {
			t.Errorf("%d %v", r.status, r.header)
		}
	}
}

func TestCorrelationIDIsTakenOver(t *testing.T) {
	h := newTestHandler(t, &fakes{})
	for given, taken := range map[string]bool{
		"order-17.a:b_C": true, strings.Repeat("x", 128): true, strings.Repeat("x", 129): false, "": false,
		"new\nline": false, "<script>": false, "sp ace": false,
	} {
		r := exchange{body: plainQuery}.request()
		r.Header[correlation.Header] = nil
		r.Header.Set(correlation.Header, given)
		got := send(t, h, r).header.Get(correlation.Header)
		if (got == given) != taken || got == "" {
			t.Errorf("X-Correlation-ID %q is answered with %q", given, got)
		}
	}
}

// Ensure that no more requests are executed at once than allowed: the next waits its turn, and one
// whose time is up in line is told to come again.
func TestRequestsWaitInLine(t *testing.T) {
	var inside, most atomic.Int64
	goOn := make(chan struct{})
	f := &fakes{byIDs: func(ids []uuid.UUID) ([]*read.Product, error) {
		most.Store(max(most.Load(), inside.Add(1))) // one at a time, if all is well
		<-goOn
		inside.Add(-1)
		return make([]*read.Product, len(ids)), nil
	}}
	h := newTestHandler(t, f, "GRAPHQL_CONCURRENCY", "1", "GRAPHQL_TIMEOUT", "200ms")
	ask := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, exchange{body: `{"query":"{product(id:\"0190f3a4-5b6c-7d8e-9f00-112233445566\"){name}}"}`}.request())
		return w
	}
	answers := make(chan *httptest.ResponseRecorder, 3)
	for range 3 {
		go func() { answers <- ask() }()
	}
	for range 2 { // one has the place, and keeps it
		w := <-answers
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "waited in line") {
			t.Errorf("%d, %v, %s", w.Code, w.Header(), w.Body)
		}
	}
	close(goOn)
	<-answers
	if w := ask(); w.Code != http.StatusOK {
		t.Errorf("after that: %d, %s", w.Code, w.Body)
	}
	if n := most.Load(); n != 1 {
		t.Errorf("%d were executed at once", n)
	}
}

// Ensure that a request which waits for a version has no place meanwhile, and needs one to go on;
// that it has one as long as any part of it works.
func TestWhoWaitsForAVersionHoldsUpNobody(t *testing.T) {
	waiting, projected := make(chan struct{}), make(chan struct{})
	working, worked := make(chan struct{}), make(chan struct{})
	f := &fakes{
		waitFor: func(context.Context, uuid.UUID, int64) error {
			waiting <- struct{}{}
			<-projected
			return nil
		},
		page: func(read.ProductFilter, read.ProductOrder, read.Range) (p read.Page[read.Product], err error) {
			working <- struct{}{}
			<-worked
			return p, nil
		},
	}
	h := newTestHandler(t, f, "GRAPHQL_CONCURRENCY", "1")
	ask := func(query string) string {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, exchange{body: `{"query":"` + query + `"}`}.request())
		return w.Body.String()
	}
	const id = `id:\"0190f3a4-5b6c-7d8e-9f00-112233445566\"`
	late := make(chan string)
	go func() {
		late <- ask(`{ a: product(` + id + `, minVersion:7) { name } b: product(` + id + `, minVersion:8) { name } }`)
	}()
	<-waiting
	<-waiting
	for range 2 {
		if got, want := ask(`{ product(`+id+`) { name } }`), `{"data":{"product":null}}`; got != want {
			t.Errorf("while another waits: %s", got)
		}
	}
	half := make(chan string)
	go func() { half <- ask(`{ a: product(` + id + `, minVersion:7) { name } b: products { nodes { id } } }`) }()
	<-waiting
	<-working
	next := make(chan string)
	go func() { next <- ask(`{ products { nodes { id } } }`) }()
	select {
	case <-working:
		t.Error("two work in one place")
	case <-time.After(50 * time.Millisecond): // a fault would show at once
	}
	worked <- struct{}{}
	<-working // the first one only waits now
	worked <- struct{}{}
	if got, want := <-next, `{"data":{"products":{"nodes":[]}}}`; got != want {
		t.Errorf("who came after half of a request was done got %s", got)
	}
	close(projected)
	<-half
	if got, want := <-late, `{"data":{"a":null,"b":null}}`; got != want {
		t.Errorf("who waited got %s", got)
	}
}
