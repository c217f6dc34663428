package graph

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each page and everything it loads come from the service itself, and the policy that says so is
// sent with each.
func TestPagesAreServedWhole(t *testing.T) {
	for _, test := range []struct {
		page, folder, policy string
		loads                int // files
		handler              http.Handler
	}{
		{"/", "/explorer/", explorerPolicy, 6, Explorer()},
		{"/console", "/console/", consolePolicy, 6, Console()},
	} {
		t.Run(test.page, func(t *testing.T) {
			get := func(path string, header ...string) *httptest.ResponseRecorder {
				r := httptest.NewRequest(http.MethodGet, path, nil)
				for i := 0; i+1 < len(header); i += 2 {
					r.Header.Set(header[i], header[i+1])
				}
				w := httptest.NewRecorder()
				test.handler.ServeHTTP(w, r)
				return w
			}
			page := get(test.page)
			if page.Code != http.StatusOK || !strings.HasPrefix(page.Header().Get("Content-Type"), "text/html") {
				t.Fatalf("GET %s = %d, %s", test.page, page.Code, page.Header().Get("Content-Type"))
			}
			if strings.Contains(page.Body.String(), "//") {
				t.Error("the page names another host")
			}
			loads := loadedBy(page.Body.String(), test.folder)
			for i := 0; i < len(loads); i++ { // it grows by what its files import
				for _, encoding := range []string{"gzip", "identity"} {
					got := get(loads[i], "Accept-Encoding", encoding)
					if got.Code != http.StatusOK || got.Body.Len() == 0 || got.Header().Get("Content-Security-Policy") != test.policy {
						t.Errorf("GET %s as %s = %d, %d bytes, policy %q", loads[i], encoding, got.Code, got.Body.Len(), got.Header().Get("Content-Security-Policy"))
					}
					if again := get(loads[i], "Accept-Encoding", encoding, "If-None-Match", got.Header().Get("ETag")); again.Code != http.StatusNotModified {
						t.Errorf("GET %s again = %d, want 304", loads[i], again.Code)
					}
				}
				file := get(loads[i])
				if strings.HasSuffix(loads[i], ".js") && !strings.HasPrefix(file.Header().Get("Content-Type"), "text/javascript") {
					t.Errorf("%s is served as %s", loads[i], file.Header().Get("Content-Type"))
				}
				for _, m := range regexp.MustCompile(`(?m)^import .* from '\./([^']+)';$`).FindAllStringSubmatch(file.Body.String(), -1) {
					if name := test.folder + m[1]; !slices.Contains(loads, name) {
						loads = append(loads, name)
					}
				}
			}
			if len(loads) != test.loads {
				t.Errorf("the page loads %v, want %d files", loads, test.loads)
			}
			for _, none := range []string{"no-such.js", "documents", "documents/stock.graphql"} {
				if got := get(test.folder + none); got.Code != http.StatusNotFound {
					t.Errorf("%s, which isn't there = %d", none, got.Code)
				}
			}
		})
	}
}

// loadedBy are the files of a folder that a page names.
func loadedBy(page, folder string) (files []string) {
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if strings.HasPrefix(m[1], folder) {
			files = append(files, m[1])
		}
	}
	return files
}

// The console asks with documents that are valid, that the page names, and that are executed
// whatever else is trusted.
func TestConsoleDocumentsAreTrusted(t *testing.T) {
	h := newTestHandler(t, &fakes{}, "GRAPHQL_DOCUMENTS", writeManifest(t, relayManifest("one", "{__typename}")), "GRAPHQL_DOCUMENTS_MODE", "enforce")
	judge := &admission{schema: schemaWithoutDefer(), limits: testConfig(t)}
	page, err := pageFiles.ReadFile("console/page.js")
	if err != nil {
		t.Fatal(err)
	}
	for id, text := range consoleDocuments() {
		if err := judge.check(text); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		if name := strings.TrimPrefix(id, "console/"); !regexp.MustCompile(`(ask|follow)\('` + name + `'`).Match(page) {
			t.Errorf("the page doesn't ask with %s", id)
		}
		if answer := send(t, h, naming(http.MethodPost, "", "", id).request()); slices.Contains(answer.codes(), "DOCUMENT_NOT_TRUSTED") {
			t.Errorf("%s: %s", id, answer.body)
		}
	}
	if answer := send(t, h, naming(http.MethodPost, "", "", "console/other").request()); !slices.Contains(answer.codes(), "DOCUMENT_NOT_TRUSTED") {
		t.Errorf("a document that the console doesn't have: %s", answer.body)
	}
}
