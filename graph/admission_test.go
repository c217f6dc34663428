package graph

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

func newTestAdmission(t testing.TB, settings ...string) *admission {
	t.Helper()
	a, err := newAdmission(testConfig(t, settings...), newMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func times(n int, format string) string {
	var b strings.Builder
	for i := range n {
		if strings.Contains(format, "%") {
			fmt.Fprintf(&b, strings.ReplaceAll(format, "%d", "%[1]d"), i)
		} else {
			b.WriteString(format)
		}
	}
	return b.String()
}

// attacks are documents that cost a server much more than they cost their sender. Where a code is
// given it is the one they are refused with; the others may be refused by the validation, or be
// harmless by now.
var attacks = []struct {
	name, document string
	code           Code
}{
	{"one field repeated", "{" + times(6000, `product(id:"1"){id name}`) + "}", QueryTooLarge},
	{"one field repeated within the tokens", "{" + times(90, `product(id:"1"){id}`) + "}", QueryTooComplex},
	{"__typename repeated", "{" + times(990, "__typename ") + "}", QueryTooComplex},
	{"unknown field repeated", "{" + times(990, "x ") + "}", QueryTooComplex},
	{"unknown fields", "{" + times(990, "x%d ") + "}", QueryTooComplex},
	{"unknown fields within the limit", "{product(id:1){" + times(298, "unknownField%d ") + "}}", ValidationFailed},
	{"aliases", "{" + times(100, "a%d:__typename ") + "}", QueryTooComplex},
	{"depth", times(300, "{product") + times(300, "}"), QueryTooDeep},
	{"depth by inline fragments", "{" + times(300, "...{") + "__typename" + times(300, "}") + "}", ""},
	{"deep list value", "{product(id:" + times(480, "[") + times(480, "]") + "){id}}", ""},
	{"deep object value", "{products(where:" + times(240, "{a:") + "1" + times(240, "}") + "){totalCount}}", ""},
	{"long list value", "{nodes(ids:[" + times(900, `"x" `) + "]){id}}", ""},
	{"object with one key repeated", "{products(where:{" + times(300, `search:"x" `) + "}){totalCount}}", ""},
	{"arguments", "{product(" + times(300, `a%d:1 `) + "){id}}", ""},
	{"argument repeated", "{product(" + times(300, `id:1 `) + "){id}}", ""},
	{"variables", "query(" + times(240, `$v%d:Int `) + "){product(id:1,minVersion:$v1){id}}", ""},
	{"variable repeated", "query(" + times(300, `$v:Int `) + "){product(id:1,minVersion:$v){id}}", ""},
	{"directives", "{__typename " + times(100, "@skip(if:false) ") + "}", QueryTooComplex},
	{"unknown directives", "{" + times(150, "a%d:__typename @d%d ") + "}", QueryTooComplex},
	{"fragment bomb", "query{...A0}" + times(19, "fragment A%d on Query{...B%d ...B%d ...B%d}") + "fragment A19 on Query{__typename}", ""},
	{"exponential fragments", "query{...F0} " + chain(19, 9), QueryTooComplex},
	{"exponential fragments that nothing spreads", "query{__typename} " + chain(19, 9), QueryTooComplex},
	{"fragment cycle", "{...A} fragment A on Query{...B} fragment B on Query{...A}", ValidationFailed},
	{"fragment in itself", "{product(id:1){...A}} fragment A on Product{variants{product{...A}}}", ValidationFailed},
	{"many fragments", "{__typename}" + times(140, "fragment F%d on Query{__typename}"), QueryTooComplex},
	{"one fragment spread often", "{product(id:1){" + times(290, "...F ") + "}} fragment F on Product{id}", ""},
	{"overlapping fragments", overlapping(19, "name "), ""},
	{"overlapping fragments with more fields", overlapping(14, "name id version description "), QueryTooComplex},
	{"overlapping fragments that nothing spreads", "query{__typename} fragment X on Query" + overlapping(14, "name id version description "), QueryTooComplex},
	{"operations", times(150, "query Q%d{__typename}"), QueryTooComplex},
	{"introspection in circles", "{__schema{types{fields{type{fields{type{fields{type{fields{name}}}}}}}}}}", ValidationFailed},
	{"deep introspection", "{__schema{types{" + times(30, "ofType{") + "name" + times(30, "}") + "}}}", QueryTooDeep},
	{"comment", "#" + strings.Repeat("x", 90_000) + "\n{__typename}", QueryTooLarge},
	{"comments", times(5000, "#\n") + "{__typename}", QueryTooLarge},
	{"block string", `{product(id:"""` + strings.Repeat("x\n", 8000) + `"""){id}}`, ""},
	{"name", "{" + strings.Repeat("x", 16_000) + "}", ValidationFailed},
	{"nothing", strings.Repeat(" ", 16_000), ""},
	{"braces", strings.Repeat("{", 16_000), ParseFailed},
	{"not a document", strings.Repeat("\x00", 16_000), ParseFailed},
	{"deferred", "{...@defer{__typename}}", ValidationFailed},
}

// chain is n fragments, each of which spreads the next some times.
func chain(n, spreads int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "fragment F%d on Query{", i)
		b.WriteString(strings.Repeat(fmt.Sprintf("...F%d ", i+1), spreads))
		b.WriteString("}")
	}
	fmt.Fprintf(&b, "fragment F%d on Query{__typename}", n)
	return b.String()
}

// overlapping is n fragments whose fields have to be compared with each other's, each as often as
// the limits let through.
func overlapping(n int, fields string) string {
	var b strings.Builder
	b.WriteString("{product(id:1){variants{")
	for i := range n {
		fmt.Fprintf(&b, "...F%d ", i)
	}
	b.WriteString("}}}")
	for i := range n {
		fmt.Fprintf(&b, "fragment F%d on ProductVariant{product{%s}}", i, strings.Repeat(fields, maxSameKey))
	}
	return b.String()
}

func codeOf(refused gqlerror.List) Code {
	if len(refused) == 0 {
		return ""
	}
	if known, ok := errors.AsType[*fault](refused[0]); ok {
		return known.code
	}
	return InternalServerError
}

func TestAttacksAreRefusedCheaply(t *testing.T) {
	const most = 5 * time.Millisecond
	for _, attack := range attacks {
		t.Run(attack.name, func(t *testing.T) {
			var refused gqlerror.List
			best := time.Hour
			for range 5 { // the machine may be busy with something else: the quickest run tells
				a := newTestAdmission(t)
				began := cpuTime(t)
				_, refused = a.admit(attack.document)
				best = min(best, cpuTime(t)-began)
			}
			if best > most*slowdown {
				t.Errorf("it took %s of CPU to admit or refuse, at most %s is allowed", best, most*slowdown)
			}
			if code := codeOf(refused); code != attack.code && attack.code != "" {
				t.Errorf("refused with %q, want %q: %v", code, attack.code, refused)
			}
			if len(refused) > maxErrors {
				t.Errorf("%d errors, at most %d are told", len(refused), maxErrors)
			}
			total := 0
			for _, e := range refused {
				total += len(e.Message)
			}
			if total > 20_000 {
				t.Errorf("the refusal has %d bytes", total)
			}
		})
	}
}

// What people and their tools ask for is admitted.
func TestUsualDocumentsAreAdmitted(t *testing.T) {
	a := newTestAdmission(t)
	for name, document := range map[string]string{
		"introspection": introspectionQuery,
		"a product page": `query Page($id: ID!, $v: Int) { product(id: $id, minVersion: $v) { ...Card description stockAt(at: "2026-01-01T00:00:00Z") { total }
			stockMovements(first: 10, types: [RESERVED]) { edges { cursor node { id type delta occurredAt } } pageInfo { hasNextPage endCursor } totalCount }
			stockTimeline(from: "2026-01-01T00:00:00Z", to: "2026-02-01T00:00:00Z", interval: DAY) { start opening closing } } }
			fragment Card on Product { id name isOrderable stockStatus version stock { total reserved available asOf }
			variants { id sku name attributes { name value } isOrderable inventory(maxStaleness: 60) { availableQuantity status isStale ageSeconds source fetchedAt updatedAt } } }`,
		"a deep one": `{products{edges{node{variants{product{variants{product{variants{inventory{status}}}}}}}}}}`,
	} {
		if _, refused := a.admit(document); refused != nil {
			t.Errorf("%s: %v", name, refused)
		}
	}
}

func TestSuggestionsAreOff(t *testing.T) {
	a := newTestAdmission(t)
	for _, document := range []string{
		`{produc(id:1){id}}`, `{product(idd:1,id:2){id}}`, `{product(id:1){...on Produc{id}}}`, `{products(orderBy:{field:NAM}){totalCount}}`,
		`{product(id:1)}`, `{products(where:{serch:"x"}){totalCount}}`, `query($x:Strin){product(id:$x){id}}`,
	} {
		_, refused := a.admit(document)
		if refused == nil || strings.Contains(refused.Error(), "Did you mean") {
			t.Errorf("%s: %v", document, refused)
		}
	}
}

func TestIntrospectionCanBeOff(t *testing.T) {
	a := newTestAdmission(t, "GRAPHQL_INTROSPECTION", "off")
	for _, document := range []string{introspectionQuery, `{a:__type(name:"Product"){name}}`, `{...F} fragment F on Query{__schema{types{name}}}`} {
		if _, refused := a.admit(document); codeOf(refused) != ValidationFailed {
			t.Errorf("%s is answered with %v", document, refused)
		}
	}
	if _, refused := a.admit("{__typename}"); refused != nil {
		t.Errorf("__typename is no introspection: %v", refused)
	}
}

// An admitted document is parsed once, and no more documents are kept than the bound says.
func TestDocumentsAreKept(t *testing.T) {
	a := newTestAdmission(t, "GRAPHQL_DOCUMENT_CACHE", "200000")
	first, _ := a.admit("{__typename}")
	again, _ := a.admit("{__typename}")
	if first == nil || first != again {
		t.Error("the same document is parsed twice")
	}
	for i := range 2000 {
		if _, refused := a.admit(fmt.Sprintf("{a%d:__typename}", i)); refused != nil {
			t.Fatal(refused)
		}
	}
	if n := a.kept.kept.Len(); a.kept.size > a.kept.most || n < 40 || n > 2000 {
		t.Errorf("%d documents are kept, of %d bytes", n, a.kept.size)
	}
	if later, _ := a.admit("{__typename}"); later == first {
		t.Error("the oldest document is still kept")
	}
}

func TestCostIsBounded(t *testing.T) {
	h := newTestHandler(t, &fakes{})
	for name, c := range map[string]struct {
		query, variables string
		refused          bool
	}{
		"a full page":       {`{products(first:100){nodes{id name variants{sku inventory{status}} stock{total}}}}`, "", false},
		"pages of products": {`query($n:Int){a:products(first:$n){...C} b:products(first:$n){...C} c:products(last:$n){...C} d:products(last:$n){...C}} fragment C on ProductConnection{nodes{variants{product{variants{id name sku}}}}}`, `{"n":100}`, true},
		"the same, short":   {`query($n:Int){a:products(first:$n){...C} b:products(first:$n){...C} c:products(last:$n){...C} d:products(last:$n){...C}} fragment C on ProductConnection{nodes{variants{product{variants{id name sku}}}}}`, `{"n":5}`, false},
		"history of a page": {`{products(first:100){nodes{stockTimeline(from:"2026-01-01T00:00:00Z",to:"2026-02-01T00:00:00Z",interval:HOUR){start opening}}}}`, "", true},
		"times of a page":   {`{products(first:100){nodes{stockAt(at:"2026-01-01T00:00:00Z"){available}}}}`, "", true},
		"of a short page":   {`{products{nodes{stockAt(at:"2026-01-01T00:00:00Z"){available}}}}`, "", false},
		"a product's year":  {`{product(id:"` + idA + `"){stockTimeline(from:"2025-01-01T00:00:00Z",to:"2026-01-01T00:00:00Z",interval:HOUR){start end opening closing minAvailable maxAvailable reservedQuantity releasedQuantity adjustedQuantity movements}}}`, "", false},
		"a year by hour":    {`{stockTimeline(productId:"` + idA + `",from:"2025-01-01T00:00:00Z",to:"2026-01-01T00:00:00Z",interval:HOUR){start end opening closing minAvailable maxAvailable reservedQuantity releasedQuantity adjustedQuantity movements}}`, "", false},
	} {
		got := post(t, h, c.query, c.variables)
		if refused := fmt.Sprint(got.codes()) == "[QUERY_TOO_COMPLEX]"; refused != c.refused || (refused && got.status != 400) {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}

// Every document ends in an answer: nothing in the request path panics.
func FuzzAdmission(f *testing.F) {
	for _, attack := range attacks {
		f.Add(attack.document)
	}
	f.Add(introspectionQuery)
	a, err := newAdmission(testConfig(f), newMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, document string) {
		doc, refused := a.admit(document)
		if (doc == nil) == (len(refused) == 0) {
			t.Fatalf("%q is neither admitted nor refused", document)
		}
		if doc == nil {
			return
		}
		for _, op := range doc.Operations {
			if _, err := coerceVariables(a.schema, op, map[string]any{"id": "x"}); err == nil && op.Operation == ast.Subscription {
				t.Fatalf("%q is a subscription", document)
			}
		}
	})
}

// introspectionQuery is what GraphiQL and code generators send.
const introspectionQuery = `query IntrospectionQuery {
  __schema {
    description
    queryType { name } mutationType { name } subscriptionType { name }
    types { ...FullType }
    directives { name description isRepeatable locations args(includeDeprecated: true) { ...InputValue } }
  }
}
fragment FullType on __Type {
  kind name description specifiedByURL
  fields(includeDeprecated: true) { name description args(includeDeprecated: true) { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason }
  inputFields(includeDeprecated: true) { ...InputValue }
  interfaces { ...TypeRef }
  enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
  possibleTypes { ...TypeRef }
}
fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue isDeprecated deprecationReason }
fragment TypeRef on __Type {
  kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name
    ofType { kind name ofType { kind name } } } } } } } } }
}`
