package graph

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// naming is a request that names its document.
func naming(method, query, hash, documentID string) exchange {
	params := url.Values{}
	if query != "" {
		params.Set("query", query)
	}
	if hash != "" {
		params.Set("extensions", fmt.Sprintf(`{"persistedQuery":{"version":1,"sha256Hash":%q}}`, hash))
	}
	if documentID != "" {
		params.Set("documentId", documentID)
	}
	if method == http.MethodGet {
		return exchange{method: method, url: "/graphql?" + params.Encode()}
	}
	body := map[string]any{}
	for name := range params {
		body[name] = params.Get(name)
	}
	if hash != "" {
		body["extensions"] = json.RawMessage(params.Get("extensions"))
	}
	encoded, _ := json.Marshal(body)
	return exchange{body: string(encoded)}
}

// Ensure that a document is known by its hash once it was sent and was valid, however the request comes.
func TestDocumentsAreKnownByTheirHashesOnceSent(t *testing.T) {
	for _, accept := range []string{"*/*", "application/graphql-response+json,application/json;q=0.9"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			h := newTestHandler(t, &fakes{})
			ask := func(query, hash string) reply {
				e := naming(method, query, hash, "")
				e.header = []string{"Accept", accept}
				return send(t, h, e.request())
			}
			const query = "query Q{__typename}"
			hash := hashOf(query).String()
			unknown := ask("", hash)
			if unknown.status != 200 || fmt.Sprint(unknown.codes()) != "[PERSISTED_QUERY_NOT_FOUND]" || unknown.Errors[0].Message != "PersistedQueryNotFound" {
				t.Errorf("%s: before it was sent: %d %s", method, unknown.status, unknown.body)
			}
			if control := unknown.header.Get("Cache-Control"); control != "no-store" || strings.Contains(unknown.body, `"data"`) {
				t.Errorf("%s: that it isn't known is answered with %q: %s", method, control, unknown.body)
			}
			for _, given := range []string{hash, strings.ToUpper(hash)} {
				if sent := ask(query, given); len(sent.Errors) > 0 || sent.Data == nil {
					t.Errorf("%s: sent with its hash: %s", method, sent.body)
				}
				if known := ask("", given); len(known.Errors) > 0 || known.Data == nil {
					t.Errorf("%s: once it was sent: %s", method, known.body)
				}
			}
			const wrong = "{nothing}"
			if sent := ask(wrong, hashOf(wrong).String()); fmt.Sprint(sent.codes()) != "[GRAPHQL_VALIDATION_FAILED]" {
				t.Errorf("%s: %s", method, sent.body)
			}
			if again := ask("", hashOf(wrong).String()); fmt.Sprint(again.codes()) != "[PERSISTED_QUERY_NOT_FOUND]" {
				t.Errorf("%s: a document that isn't valid is known: %s", method, again.body)
			}
			if other := ask("{a:__typename}", hash); fmt.Sprint(other.codes()) != "[BAD_USER_INPUT]" {
				t.Errorf("%s: another document's hash: %s", method, other.body)
			}
			if known := ask("", hashOf("{a:__typename}").String()); fmt.Sprint(known.codes()) != "[PERSISTED_QUERY_NOT_FOUND]" {
				t.Errorf("%s: it was kept all the same: %s", method, known.body)
			}
		}
	}
}

func TestAHashIsWellFormed(t *testing.T) {
	hash := hashOf("{__typename}").String()
	h := newTestHandler(t, &fakes{})
	for _, extensions := range []string{
		`{"persistedQuery":1}`, `{"persistedQuery":[]}`, `{"persistedQuery":{}}`, `{"persistedQuery":{"version":1}}`, `{"persistedQuery":{"sha256Hash":"` + hash + `"}}`,
		`{"persistedQuery":{"version":2,"sha256Hash":"` + hash + `"}}`, `{"persistedQuery":{"version":"1","sha256Hash":"` + hash + `"}}`,
		`{"persistedQuery":{"version":1,"sha256Hash":17}}`, `{"persistedQuery":{"version":1,"sha256Hash":"17"}}`, `{"persistedQuery":{"version":1,"sha256Hash":"` + hash + `0"}}`,
		`{"persistedQuery":{"version":1,"sha256Hash":"` + strings.Repeat("g", 64) + `"}}`,
	} {
		for _, query := range []string{"", `"query":"{__typename}",`} {
			got := send(t, h, exchange{body: `{` + query + `"extensions":` + extensions + `}`}.request())
			if fmt.Sprint(got.codes()) != "[BAD_USER_INPUT]" || strings.Contains(got.body, `"data"`) {
				t.Errorf("%s %s: %d %s", query, extensions, got.status, got.body)
			}
		}
	}
	for _, body := range []string{
		`{"query":"{__typename}","extensions":{"persistedQuery":null,"other":1}}`,
		`{"query":"{__typename}","extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + hash + `"}}}`,
		`{"query":null,"extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + hash + `"}}}`,
	} {
		if got := send(t, h, exchange{body: body}.request()); len(got.Errors) > 0 {
			t.Errorf("%s: %s", body, got.body)
		}
	}
}

const (
	trustedQuery    = "query Names{products{nodes{id name}}}"
	trustedMutation = "mutation Rename($i:UpdateProductInput!){updateProduct(input:$i){version}}"
)

func apolloManifest(operations ...string) string {
	var all []string
	for i := 0; i+1 < len(operations); i += 2 {
		all = append(all, fmt.Sprintf(`{"id":%q,"name":"X","type":"query","body":%q}`, operations[i], operations[i+1]))
	}
	return `{"format":"apollo-persisted-query-manifest","version":1,"operations":[` + strings.Join(all, ",") + `]}`
}

func relayManifest(operations ...string) string {
	all := map[string]string{}
	for i := 0; i+1 < len(operations); i += 2 {
		all[operations[i]] = operations[i+1]
	}
	encoded, _ := json.Marshal(all)
	return string(encoded)
}

func writeManifest(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "documents.json")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Ensure that a trusted document is found by its id, its hash and its text, in every mode; and
// others as the mode says.
func TestTrustedDocuments(t *testing.T) {
	hash := hashOf(trustedQuery).String()
	for format, content := range map[string]string{
		"apollo": apolloManifest("names.1", trustedQuery, "rename", trustedMutation), "relay": relayManifest("names.1", trustedQuery, "rename", trustedMutation),
	} {
		for _, mode := range []string{documentsOpen, documentsLog, documentsEnforce} {
			var logged bytes.Buffer
			f := &fakes{}
			reg := prometheus.NewRegistry()
			h, err := Handler(testConfig(t, "GRAPHQL_DOCUMENTS", writeManifest(t, content), "GRAPHQL_DOCUMENTS_MODE", mode, "GRAPHQL_INTROSPECTION", "off"),
				Services{Reads: f, Levels: f, Commands: f, Gate: everybody(t)}, slog.New(slog.NewTextHandler(&logged, nil)), reg)
			if err != nil {
				t.Fatal(err)
			}
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				for name, e := range map[string]exchange{
					"id": naming(method, "", "", "names.1"), "hash as the draft writes it": naming(method, "", "", "sha256:"+hash),
					"automatic hash": naming(method, "", hash, ""), "id as the hash": naming(method, "", "names.1", ""), "id as the hash, and text": naming(method, trustedQuery, "names.1", ""),
					"hash and text": naming(method, trustedQuery, hash, ""), "text": naming(method, trustedQuery, "", ""),
				} {
					if got := send(t, h, e.request()); len(got.Errors) > 0 || got.Data["products"] == nil {
						t.Errorf("%s, %s, %s by %s: %d %s", format, mode, method, name, got.status, got.body)
					}
				}
				for name, e := range map[string]exchange{"an unknown id": naming(method, "", "", "names.2"), "an unknown hash": naming(method, "", "", "sha256:"+strings.Repeat("0", 64))} {
					if got := send(t, h, e.request()); fmt.Sprint(got.codes()) != "[DOCUMENT_NOT_TRUSTED]" {
						t.Errorf("%s, %s, %s by %s: %s", format, mode, method, name, got.body)
					}
				}
				if got := send(t, h, naming(method, trustedQuery, "", "names.1").request()); fmt.Sprint(got.codes()) != "[BAD_USER_INPUT]" {
					t.Errorf("an id and a text: %s", got.body)
				}
			}
			if got := send(t, h, naming(http.MethodGet, "", "", "rename").request()); got.status != http.StatusMethodNotAllowed {
				t.Errorf("%s: a trusted mutation by GET: %d", mode, got.status)
			}
			const other = "query Other{products{nodes{id}}}"
			wantText, wantHash := "[]", "[]"
			if mode == documentsEnforce {
				wantText, wantHash = "[DOCUMENT_NOT_TRUSTED]", "[DOCUMENT_NOT_TRUSTED]"
			}
			for range 2 {
				if got := send(t, h, naming(http.MethodPost, other, "", "").request()); fmt.Sprint(got.codes()) != wantText {
					t.Errorf("%s: another document: %s", mode, got.body)
				}
			}
			if got := send(t, h, naming(http.MethodPost, "", hashOf(other).String(), "").request()); fmt.Sprint(got.codes()) != wantHash {
				t.Errorf("%s: its hash: %s", mode, got.body)
			}
			if got := send(t, h, naming(http.MethodPost, "{__typename}", hashOf("{__typename}").String(), "").request()); fmt.Sprint(got.codes()) != wantText {
				t.Errorf("%s: to register another document: %s", mode, got.body)
			}
			if n := strings.Count(logged.String(), hashOf(other).String()); (n == 1) != (mode == documentsLog) || n > 1 {
				t.Errorf("%s: it was logged %d times: %s", mode, n, logged.String())
			}
			if n := counted(t, reg, "names.1"); n != 14 {
				t.Errorf("%s: names.1 was counted %g times", mode, n)
			}
		}
	}
}

// counted is how often a trusted document was asked for.
func counted(t *testing.T, reg *prometheus.Registry, id string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "product_service_graphql_documents_total" && m.GetLabel()[0].GetValue() == id {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// Ensure that the file is read again when it changes, and that one which can't be used changes nothing.
func TestTheManifestIsReadAgain(t *testing.T) {
	file := writeManifest(t, relayManifest("one", "{one:__typename}"))
	var logged bytes.Buffer
	f := &fakes{}
	reg := prometheus.NewRegistry()
	h, err := Handler(testConfig(t, "GRAPHQL_DOCUMENTS", file, "GRAPHQL_DOCUMENTS_MODE", documentsEnforce), Services{Reads: f, Levels: f, Commands: f, Gate: everybody(t)},
		slog.New(slog.NewTextHandler(&logged, nil)), reg)
	if err != nil {
		t.Fatal(err)
	}
	knows := func(id string) bool {
		return len(send(t, h, naming(http.MethodGet, "", "", id).request()).Errors) == 0
	}
	change := func(content string, done func() bool) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); !done(); {
			if time.Now().After(deadline) {
				t.Fatalf("%s isn't taken up", content)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if !knows("one") || knows("two") {
		t.Fatal("the file isn't what was read")
	}
	change(relayManifest("two", "{two:__typename}"), func() bool { return knows("two") })
	if knows("one") {
		t.Error("a document that isn't in the file any more is trusted")
	}
	if n := counted(t, reg, "one"); n != 0 {
		t.Errorf("it is still counted: %g", n)
	}
	for _, broken := range []string{"", `{"three":"{three:__typename}",`, relayManifest("three", "{three:__typename}", "four", "{nothing}")} {
		before := logged.Len()
		change(broken, func() bool { knows("two"); return logged.Len() > before })
		if !knows("two") || knows("three") {
			t.Errorf("%q was taken up", broken)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	before := logged.Len()
	for deadline := time.Now().Add(20 * time.Second); logged.Len() == before; {
		if knows("two"); time.Now().After(deadline) {
			t.Fatal("it isn't noticed that the file is gone")
		}
	}
	change(relayManifest("three", "{three:__typename}"), func() bool { return knows("three") })
}

// Where introspection is on, it is not refused for want of trust; nothing else may come with it.
func TestIntrospectionIsASettingOfItsOwn(t *testing.T) {
	for setting, want := range map[string]string{"on": "[]", "off": "[DOCUMENT_NOT_TRUSTED]"} {
		h := newTestHandler(t, &fakes{}, "GRAPHQL_DOCUMENTS", writeManifest(t, relayManifest("one", "{__typename}")), "GRAPHQL_DOCUMENTS_MODE", "enforce", "GRAPHQL_INTROSPECTION", setting)
		if got := post(t, h, introspectionQuery, ""); fmt.Sprint(got.codes()) != want {
			t.Errorf("with introspection %s: %v", setting, got.codes())
		}
		for _, query := range []string{"{__schema{queryType{name}} products{totalCount}}", "{...F} fragment F on Query{products{totalCount}}", "query A{__typename} query B{products{totalCount}}"} {
			if got := post(t, h, query, ""); fmt.Sprint(got.codes()) != "[DOCUMENT_NOT_TRUSTED]" {
				t.Errorf("with introspection %s: %s: %v", setting, query, got.codes())
			}
		}
	}
}

func TestEveryFaultOfTheManifestIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		content string
		words   []string
	}{
		"no JSON":        {"x", []string{"no JSON object"}},
		"a list":         {"[]", []string{"no JSON object"}},
		"null":           {"null", []string{"no JSON object"}},
		"another format": {`{"format":"x","version":1,"operations":[]}`, []string{`format "x"`, "apollo-persisted-query-manifest"}},
		"a later format": {`{"format":"apollo-persisted-query-manifest","version":2,"operations":[]}`, []string{"version 2"}},
		"no texts":       {`{"one":1}`, []string{`"one"`, "no text"}},
		"no operations":  {`{"format":"apollo-persisted-query-manifest","version":1,"operations":[{"id":1}]}`, []string{"operations can't be read"}},
		"documents": {apolloManifest("bad", "{nothing}", "worse", "{", "", "{__typename}", "twice", "{__typename}", "twice", "{a:__typename}", "sha256:00", "{__typename}"),
			[]string{`document "bad"`, "nothing", `document "worse"`, `document ""`, `document "twice": two documents`, `document "sha256:00"`}},
		"too many bytes": {strings.Repeat(" ", maxManifest+1), []string{"8388608 bytes"}},
	} {
		err := testConfig(t, "GRAPHQL_DOCUMENTS", writeManifest(t, test.content)).Validate()
		for _, words := range test.words {
			if err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("%s: %v; want %q", name, err, words)
			}
		}
		for line := range strings.SplitSeq(fmt.Sprint(err), "\n") {
			if !strings.HasPrefix(line, "GRAPHQL_DOCUMENTS: ") {
				t.Errorf("%s: a fault reads %q", name, line)
			}
		}
	}
	for _, settings := range [][]string{
		{"GRAPHQL_DOCUMENTS", "/does/not/exist"}, {"GRAPHQL_DOCUMENTS_MODE", "enforce"}, {"GRAPHQL_DOCUMENTS_MODE", "log"}, {"GRAPHQL_DOCUMENTS_MODE", "closed"},
	} {
		if err := testConfig(t, settings...).Validate(); err == nil || !strings.HasPrefix(err.Error(), settings[0]) {
			t.Errorf("%q: %v", settings, err)
		}
	}
	if err := testConfig(t, "GRAPHQL_DOCUMENTS", writeManifest(t, "{}")).Validate(); err != nil {
		t.Errorf("a manifest without documents: %v", err)
	}
}
