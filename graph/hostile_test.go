package graph

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hostileRequests are requests that try to cost more than they are worth in other ways than by
// their documents, for which see attacks.
func hostileRequests() map[string]exchange {
	const most = 100_000
	id := `"` + idA + `",`
	get := func(params string) exchange { return exchange{method: http.MethodGet, url: "/graphql?" + params} }
	return map[string]exchange{
		"nested variables":               {body: `{"query":"query($a:[ID!]!){nodes(ids:$a){id}}","variables":{"a":` + strings.Repeat("[", most/2) + strings.Repeat("]", most/2-100) + `}}`},
		"nested body":                    {body: strings.Repeat(`{"query":`, most/9)},
		"many variables":                 {body: `{"query":"{__typename}","variables":{` + strings.TrimSuffix(times(3000, `"a%d":"some text",`), ",") + `}}`},
		"very many variables":            {body: `{"query":"{__typename}","variables":{` + strings.TrimSuffix(times(8000, `"a%d":1,`), ",") + `}}`},
		"as many variables as are taken": {body: `{"query":"{__typename}","variables":{` + strings.TrimSuffix(times(1990, `"a%d":"some text to fill it",`), ",") + `}}`},
		"as many ids as are taken":       {body: `{"query":"query($a:[ID!]!){nodes(ids:$a){id}}","variables":{"a":[` + strings.TrimSuffix(strings.Repeat(id, 1990), ",") + `]}}`},
		"many extensions":                {body: `{"query":"{__typename}","extensions":{` + strings.TrimSuffix(times(8000, `"a%d":1,`), ",") + `}}`},
		"many unknown members":           {body: `{` + times(8000, `"a%d":1,`) + `"query":"{__typename}"}`},
		"many objects":                   {body: `{"query":"{__typename}","variables":{"a":[` + strings.TrimSuffix(strings.Repeat(`{},`, 30_000), ",") + `]}}`},
		"many ids":                       {body: `{"query":"query($a:[ID!]!){nodes(ids:$a){id}}","variables":{"a":[` + strings.TrimSuffix(strings.Repeat(id, 2500), ",") + `]}}`},
		"many rows":                      {body: `{"query":"mutation($a:[AdjustStockInput!]!){bulkAdjustStock(input:{items:$a}){results{index}}}","variables":{"a":[` + strings.TrimSuffix(strings.Repeat(`{"productId":"x","reason":"x"},`, 3000), ",") + `]}}`},
		"many representations":           {body: `{"query":"query($a:[_Any!]!){_entities(representations:$a){__typename}}","variables":{"a":[` + strings.TrimSuffix(strings.Repeat(`{"__typename":1},`, 5000), ",") + `]}}`},
		"a long number":                  {body: `{"query":"query($a:Int){products(first:$a){totalCount}}","variables":{"a":` + strings.Repeat("9", most-100) + `}}`},
		"a far exponent":                 {body: `{"query":"query($a:Int){products(first:$a){totalCount}}","variables":{"a":1e999999999}}`},
		"a long text":                    {body: `{"query":"query($a:String){products(where:{search:$a}){totalCount}}","variables":{"a":"` + strings.Repeat("a ", most/2-100) + `"}}`},
		"a long operation name":          {body: `{"query":"{__typename}","operationName":"` + strings.Repeat("a", most-100) + `"}`},
		"a long document id":             {body: `{"documentId":"` + strings.Repeat("a", most-100) + `"}`},
		"a long hash":                    {body: `{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + strings.Repeat("0", most-100) + `"}}}`},
		"a list of operations":           {body: "[" + strings.TrimSuffix(strings.Repeat(plainQuery+",", 3000), ",") + "]"},
		"many parameters":                get(strings.Repeat("a=1&", 4000)),
		"many escapes":                   get("query=" + strings.Repeat("%7B", 5000)),
		"a parameter many times":         get(strings.Repeat("query=%7B__typename%7D&", 500)),
		"variables in a URL":             get("query=%7B__typename%7D&variables=" + url.QueryEscape(strings.Repeat("[", 5000))),
		"much that is accepted":          {header: []string{"Accept", strings.Repeat("a/b;q=0.1,", 1400)}, body: plainQuery},
		"many encodings":                 {header: []string{"Accept-Encoding", strings.Repeat("br;q=0.1,", 1500)}, body: plainQuery},
		"many tags":                      {method: http.MethodGet, url: "/graphql?query=%7B__typename%7D", header: []string{"If-None-Match", strings.Repeat(`W/"a",`, 2500)}},
		"a long origin":                  {header: []string{"Origin", "https://" + strings.Repeat("a.", 7000)}, body: plainQuery},
		"a long content type":            {header: []string{"Content-Type", "application/json;" + strings.Repeat("a=b;", 3500)}, body: plainQuery},
	}
}

// Ensure that no hostile request costs much, or gets a long answer. The cost is the CPU time of the
// process, collecting garbage included; at its best of twenty, as what other programs do to the
// caches of the machine is no cost of the request.
func TestHostileRequestsAreAnsweredCheaply(t *testing.T) {
	const most = 5 * time.Millisecond
	h := newTestHandler(t, &fakes{}, "CORS_ORIGINS", "https://shop.example")
	for name, e := range hostileRequests() {
		t.Run(name, func(t *testing.T) {
			best, w := time.Hour, httptest.NewRecorder()
			for range 20 {
				r := e.request()
				w = httptest.NewRecorder()
				began := cpuTime(t)
				h.ServeHTTP(w, r)
				best = min(best, cpuTime(t)-began)
			}
			t.Logf("%s of CPU: %d", best, w.Code)
			if best > most*slowdown {
				t.Errorf("it took %s of CPU, at most %s is allowed", best, most*slowdown)
			}
			if w.Code >= http.StatusInternalServerError || w.Body.Len() > 20_000 {
				t.Errorf("%d, %d bytes: %.200s", w.Code, w.Body.Len(), w.Body)
			}
		})
	}
}

// cpuTime is what this process has used of the CPU.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// Ensure that a body at the limit of its values is taken, and one above it is refused by that
// limit, whatever holds them.
func TestValuesOfABodyAreBounded(t *testing.T) {
	h := newTestHandler(t, &fakes{})
	list := func(n int) string { return strings.TrimSuffix(strings.Repeat("1,", n), ",") }
	const around = 5 // objects, lists and their neighbours in the bodies below
	for name, body := range map[string]string{
		"variables":      `{"query":"{__typename}","variables":{"a":[%s]}}`,
		"extensions":     `{"query":"{__typename}","extensions":{"a":[%s]}}`,
		"unknown member": `{"query":"{__typename}","other":{"a":[%s]}}`,
	} {
		if got := send(t, h, exchange{body: fmt.Sprintf(body, list(maxBodyValues-around))}.request()); len(got.Errors) > 0 {
			t.Errorf("%s: fewer than the limit: %s", name, got.body)
		}
		got := send(t, h, exchange{body: fmt.Sprintf(body, list(maxBodyValues))}.request())
		if fmt.Sprint(got.codes()) != "[QUERY_TOO_LARGE]" || got.status != http.StatusBadRequest || !strings.Contains(got.body, fmt.Sprint(maxBodyValues)) {
			t.Errorf("%s: more than the limit: %d %s", name, got.status, got.body)
		}
	}
	text, _ := json.Marshal(strings.Repeat(`,{["\`, 2*maxBodyValues)) // a string has no error
	if got := send(t, h, exchange{body: `{"query":"{__typename}","variables":{"a":` + string(text) + `}}`}.request()); len(got.Errors) > 0 {
		t.Errorf("what a string holds is counted: %.200s", got.body)
	}
}
