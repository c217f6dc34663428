package graph

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

//go:embed explorer
var explorerFiles embed.FS

// explorerPolicy lets the page load only what this service serves: nothing comes from, or goes to, anywhere else.
const explorerPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src data:; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// maxAsset is more than the largest file of the explorer has, in bytes.
const maxAsset = 16 << 20

// Explorer returns what serves the GraphQL explorer: its page at / and what the page loads under /explorer/, so it is mounted at
// both. Everything is in the binary. The schema shows in it where introspection is on.
func Explorer() http.Handler {
	files, err := explorerFiles.ReadDir("explorer")
	if err != nil {
		panic(fmt.Sprintf("the embedded explorer can't be read: %v", err))
	}
	assets := map[string]*asset{}
	for _, f := range files {
		data, err := explorerFiles.ReadFile(path.Join("explorer", f.Name()))
		if err != nil {
			panic(fmt.Sprintf("the embedded explorer can't be read: %v", err))
		}
		name := strings.TrimSuffix(f.Name(), ".gz")
		sum := sha256.Sum256(data)
		assets["/explorer/"+name] = &asset{
			data: data, gzipped: name != f.Name(), media: mime.TypeByExtension(path.Ext(name)), tag: `"` + hex.EncodeToString(sum[:8]) + `"`,
		}
	}
	assets["/"] = assets["/explorer/index.html"]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := assets[r.URL.Path]
		if a == nil {
			http.NotFound(w, r)
			return
		}
		a.ServeHTTP(w, r)
	})
}

// asset is a file of the explorer.
type asset struct {
	data    []byte
	gzipped bool
	media   string
	tag     string
}

func (a *asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Type", a.media)
	header.Set("Content-Security-Policy", explorerPolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-cache") // kept, but asked about
	header.Set("ETag", a.tag)
	if !a.gzipped {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.data))
		return
	}
	header.Set("Vary", "Accept-Encoding")
	switch {
	case r.Header.Get("If-None-Match") == a.tag:
		w.WriteHeader(http.StatusNotModified)
	case takesGzip(r):
		header.Set("Content-Encoding", "gzip")
		header.Set("Content-Length", strconv.Itoa(len(a.data)))
		_, _ = w.Write(a.data) // a browser that is gone needs no answer
	default:
		plain, err := gzip.NewReader(bytes.NewReader(a.data))
		if err != nil {
			http.Error(w, "the file can't be read", http.StatusInternalServerError)
			return
		}
		_, _ = io.CopyN(w, plain, maxAsset)
	}
}
