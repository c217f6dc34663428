package graph

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// The page and everything it loads come from the service itself, and the policy that says so is sent with each.
func TestExplorerIsServedWhole(t *testing.T) {
	h := Explorer()
	get := func(path string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	page := get("/")
	if page.Code != http.StatusOK || !strings.HasPrefix(page.Header().Get("Content-Type"), "text/html") {
		t.Fatalf("GET / = %d, %s", page.Code, page.Header().Get("Content-Type"))
	}
	if strings.Contains(page.Body.String(), "//") {
		t.Error("the page names another host")
	}
	loads := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page.Body.String(), -1)
	if len(loads) != 6 {
		t.Fatalf("the page loads %d files, want 6", len(loads))
	}
	for _, m := range loads {
		for _, encoding := range []string{"gzip", "identity"} {
			got := get(m[1], "Accept-Encoding", encoding)
			if got.Code != http.StatusOK || got.Body.Len() == 0 || got.Header().Get("Content-Security-Policy") != explorerPolicy {
				t.Errorf("GET %s as %s = %d, %d bytes, policy %q", m[1], encoding, got.Code, got.Body.Len(), got.Header().Get("Content-Security-Policy"))
			}
			if again := get(m[1], "Accept-Encoding", encoding, "If-None-Match", got.Header().Get("ETag")); again.Code != http.StatusNotModified {
				t.Errorf("GET %s again = %d, want 304", m[1], again.Code)
			}
		}
		if strings.HasSuffix(m[1], ".js") && !strings.HasPrefix(get(m[1]).Header().Get("Content-Type"), "text/javascript") {
			t.Errorf("%s is served as %s", m[1], get(m[1]).Header().Get("Content-Type"))
		}
	}
	if got := get("/explorer/no-such.js"); got.Code != http.StatusNotFound {
		t.Errorf("a file that isn't there = %d", got.Code)
	}
}
