package graph

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"

	"product-service/product"
)

// stringOf parses a document with one string as an argument, and returns what that says and where
// the argument behind it stands.
func stringOf(t *testing.T, literal string) (text string, column int) {
	t.Helper()
	unescaped, refused := unescape("{f(a:" + literal + ",b:1)}")
	if refused != nil {
		t.Fatalf("%s is refused: %v", literal, refused)
	}
	doc, err := parser.ParseQuery(&ast.Source{Input: unescaped})
	if err != nil {
		t.Fatalf("%s: %v in %s", literal, err, unescaped)
	}
	arguments := doc.Operations[0].SelectionSet[0].(*ast.Field).Arguments
	return arguments[0].Value.Raw, arguments[1].Position.Column
}

func TestEscapesOfADocumentAreRead(t *testing.T) {
	for literal, want := range map[string]string{
		`"Lamp \uD83D\uDCA1 warm"`: "Lamp 💡 warm", `"\ud83d\udca1"`: "💡", `"\uD83D\uDC69\u200D\uD83D\uDD2C"`: "👩\u200d🔬", `"\u{1F4A1}"`: "💡", `"\u{01f4a1}!"`: "💡!",
		`"\u{22}\u{5C}\u{a}\u{000041}"`: "\"\\\nA", `"\u0022\u005c"`: `"\`, `"\u{10FFFF}"`: "\U0010ffff", `"\uFFFD"`: "\ufffd", `"\u{FFFD}"`: "\ufffd",
		`"plain"`: "plain", `""`: "", `"\\u{1F4A1}"`: `\u{1F4A1}`, `"\\uD83D"`: `\uD83D`, `"\"\uD83D\uDCA1\""`: `"💡"`, `"#\uD83D\uDCA1"`: "#💡", `"\n\t\/"`: "\n\t/",
		`"""\uD83D and \u{1F4A1}"""`: `\uD83D and \u{1F4A1}`, `"""quoted \""" \uD83D"""`: `quoted """ \uD83D`,
	} {
		got, column := stringOf(t, literal)
		if got != want {
			t.Errorf("%s says %q, want %q", literal, got, want)
		}
		if begins := len([]rune("{f(a:"+literal+",")) + 1; column < begins || column > begins+1 {
			t.Errorf("behind %s the column is %d, want %d", literal, column, begins)
		}
	}
}

func TestHalfASurrogatePairIsAParseError(t *testing.T) {
	h := newTestHandler(t, &fakes{})
	for _, escape := range []string{`\uD83D`, `\uDCA1`, `\uDCA1\uD83D`, `\uD83D\u0041`, `\uD83D\uD83D\uDCA1`, `\u{D83D}`, `\u{D83D}\u{DCA1}`, `\uD83D\u{DCA1}`, `\u{D83D}\uDCA1`, `\uD83D \uDCA1`} {
		got := post(t, h, "{\n  product(id: \"x"+escape+`"){id}}`, "")
		if fmt.Sprint(got.codes()) != "[GRAPHQL_PARSE_FAILED]" || len(got.Errors[0].Locations) != 1 || got.Errors[0].Locations[0]["line"] != 2 || got.Errors[0].Locations[0]["column"] != 17 {
			t.Errorf("%s: %s", escape, got.body)
		}
	}
	for _, escape := range []string{`\u{110000}`, `\u{}`, `\u{1F4A1`, `\u{xyz}`, `\u12`, `\u`, `\u{00000000000000000000000000000001F4A1z}`} {
		if got := post(t, h, `{product(id:"x`+escape+`"){id}}`, ""); fmt.Sprint(got.codes()) != "[GRAPHQL_PARSE_FAILED]" {
			t.Errorf("%s: %s", escape, got.body)
		}
	}
}

// What isn't text is refused before anything of it is taken; what is text arrives as it was sent.
func TestTextsArriveAsTheyWereSent(t *testing.T) {
	var name string
	f := &fakes{}
	commands := recording(f)
	h := newTestHandler(t, f)
	create := `mutation($name:String!){createProduct(input:{name:$name,initialStock:1}){version userErrors{message}}}`
	raw := func(body string) reply {
		r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		return send(t, h, r)
	}
	quoted, _ := json.Marshal(create)
	for _, test := range []struct{ name, body, want string }{
		{"in a variable", `{"query":` + string(quoted) + `,"variables":{"name":"👩\u200d🔬 \uD83D\uDCA1"}}`, "👩\u200d🔬 💡"},
		{"the replacement character itself", `{"query":` + string(quoted) + `,"variables":{"name":"a\ufffdb"}}`, "a\ufffdb"},
		{"in a document", `{"query":"mutation{createProduct(input:{name:\"Lamp \\uD83D\\uDCA1 warm\",initialStock:1}){version}}"}`, "Lamp 💡 warm"},
		{"behind a byte order mark", "\ufeff" + `{"query":` + string(quoted) + `,"variables":{"name":"ok"}}`, "ok"},
		{"right to left", `{"query":` + string(quoted) + `,"variables":{"name":"\u2067שלום\u2069 1"}}`, "\u2067שלום\u2069 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			*commands = nil
			got := raw(test.body)
			if len(*commands) != 1 {
				t.Fatalf("it came to nothing: %s", got.body)
			}
			if name = (*commands)[0].Command.(product.Create).Name; name != test.want {
				t.Errorf("%q arrived as %q", test.want, name)
			}
		})
	}
	*commands = nil
	for _, test := range []struct{ name, body string }{
		{"a raw byte in a variable", `{"query":` + string(quoted) + ",\"variables\":{\"name\":\"caf\xe9\"}}"},
		{"a raw byte in the query", "{\"query\":\"mutation{createProduct(input:{name:\\\"caf\xe9\\\",initialStock:1}){version}}\"}"},
		{"a raw byte in what is ignored", `{"query":` + string(quoted) + ",\"variables\":{\"name\":\"x\"},\"other\":\"\xff\"}"},
		{"a surrogate in raw bytes", `{"query":` + string(quoted) + ",\"variables\":{\"name\":\"\xed\xa0\xbd\"}}"},
		{"half a pair in a variable", `{"query":` + string(quoted) + `,"variables":{"name":"\ud83d"}}`},
		{"half a pair in a variable that isn't declared", `{"query":` + string(quoted) + `,"variables":{"name":"x","other":["\udca1"]}}`},
		{"half a pair in a variable's name", `{"query":` + string(quoted) + `,"variables":{"name":"x","\ud83d":1}}`},
		{"half a pair in the query", `{"query":"mutation{createProduct(input:{name:\"\ud83d\",initialStock:1}){version}}"}`},
		{"half a pair in operationName", `{"query":` + string(quoted) + `,"operationName":"\ud83d","variables":{"name":"x"}}`},
		{"half a pair in the extensions", `{"query":` + string(quoted) + `,"variables":{"name":"x"},"extensions":{"a":"\ud83d"}}`},
		{"a name twice", `{"query":"{__typename}","query":` + string(quoted) + `,"variables":{"name":"x"}}`},
		{"a variable twice", `{"query":` + string(quoted) + `,"variables":{"name":"x","name":"y"}}`},
		{"UTF-16", "\xff\xfe{\x00}\x00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := raw(test.body); got.status != http.StatusBadRequest || fmt.Sprint(got.codes()) != "[BAD_USER_INPUT]" {
				t.Errorf("%d: %s", got.status, got.body)
			}
		})
	}
	for _, query := range []string{
		"query=" + url.QueryEscape("{__typename}") + "&operationName=%E9", "query=%7B__typename%20%23%E9%7D", "query=%7B__typename%7D&variables=" + url.QueryEscape(`{"a":"\ud83d"}`),
		"query=%7B__typename%7D&variables=%7B%22a%22%3A%22%E9%22%7D", "query=%7B__typename%7D&%FF=1", "query=%7B__typename%7D&extensions=" + url.QueryEscape(`{"a":"\ud83d"}`), "query=%7B__typename%7D&a=%zz", "query=%7B__typename%7D;a=1",
	} {
		got := send(t, h, httptest.NewRequest(http.MethodGet, "/graphql?"+query, nil))
		if got.status != http.StatusBadRequest || fmt.Sprint(got.codes()) != "[BAD_USER_INPUT]" {
			t.Errorf("%s: %d: %s", query, got.status, got.body)
		}
	}
	if len(*commands) > 0 {
		t.Errorf("what was refused came to %+v", *commands)
	}
}

// A name counts as it is written.
func TestNamesOfARequestCountAsWritten(t *testing.T) {
	h := newTestHandler(t, &fakes{})
	r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(`{"query":"{__typename}","Query":"{nothing}","QUERY":1,"Variables":7,"OperationName":"X"}`))
	r.Header.Set("Content-Type", "application/json")
	if got := send(t, h, r); !strings.Contains(got.body, `{"data":{"__typename":"Query"}}`) {
		t.Error(got.body)
	}
}

// Documents without escapes of code points stay as they are, and whatever one is, reading it doesn't fail.
func FuzzUnescape(f *testing.F) {
	for _, seed := range []string{`{a(b:"\uD83D\uDCA1")}`, `{a(b:"\u{1F4A1}" c:"""\u""") #"\uD83D`, `"\`, `"""\"""`, `"\u{`, `""""\u0041"""`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, document string) {
		got, refused := unescape(document)
		if refused == nil && !strings.Contains(document, `\u`) && got != document {
			t.Errorf("%q becomes %q", document, got)
		}
		if again, refusedAgain := unescape(got); refused == nil && (refusedAgain != nil || again != got) {
			t.Errorf("%q becomes %q, and that %q", document, got, again)
		}
	})
}
