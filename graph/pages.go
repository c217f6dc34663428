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

// pageFiles are the pages' own files, and the documents of the console, which the page names by their ids.
//
//go:embed explorer console
var pageFiles embed.FS

// The policies let a page load only what this service serves: nothing comes from, or goes to,
// anywhere else. The explorer's library writes styles into the page.
const (
	consolePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	explorerPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src data:; img-src 'self' data:; " +
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// maxAsset is more than the largest file of a page has, in bytes.
const maxAsset = 16 << 20

// Explorer returns what serves the GraphQL explorer: its page at / and what the page loads under
// /explorer/, so it is mounted at both. Everything is in the binary. The schema shows in it where
// introspection is on.
func Explorer() http.Handler { return page("/", "explorer", explorerPolicy) }

// Console returns what serves the stock console, a page that shows products, their levels and their
// histories in pictures: at /console with what the page loads under /console/, so it is mounted at
// both. It asks as any client does, so it shows what the caller's token may read.
func Console() http.Handler { return page("/console", "console", consolePolicy) }

// page serves the files of a folder, and its index.html at a path.
func page(at, folder, policy string) http.Handler {
	files, err := pageFiles.ReadDir(folder)
	if err != nil {
		panic(fmt.Sprintf("the embedded %s can't be read: %v", folder, err))
	}
	assets := map[string]*asset{}
	for _, f := range files {
		if f.IsDir() {
			continue
		}
		data, err := pageFiles.ReadFile(path.Join(folder, f.Name()))
		if err != nil {
			panic(fmt.Sprintf("the embedded %s can't be read: %v", folder, err))
		}
		name := strings.TrimSuffix(f.Name(), ".gz")
		sum := sha256.Sum256(data)
		assets["/"+folder+"/"+name] = &asset{
			data: data, gzipped: name != f.Name(), media: mime.TypeByExtension(path.Ext(name)), policy: policy,
			tag: `"` + hex.EncodeToString(sum[:8]) + `"`,
		}
	}
	assets[at] = assets["/"+folder+"/index.html"]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := assets[r.URL.Path]
		if a == nil {
			http.NotFound(w, r)
			return
		}
		a.ServeHTTP(w, r)
	})
}

// consoleDocuments are the documents that the console asks with, by the ids it names them with:
// console/<file>. They are trusted in every mode.
func consoleDocuments() map[string]string {
	const folder = "console/documents"
	files, err := pageFiles.ReadDir(folder)
	if err != nil {
		panic(fmt.Sprintf("the embedded console can't be read: %v", err))
	}
	texts := map[string]string{}
	for _, f := range files {
		text, err := pageFiles.ReadFile(path.Join(folder, f.Name()))
		if err != nil {
			panic(fmt.Sprintf("the embedded console can't be read: %v", err))
		}
		texts["console/"+strings.TrimSuffix(f.Name(), ".graphql")] = string(text)
	}
	return texts
}

// asset is a file of a page.
type asset struct {
	data    []byte
	gzipped bool
	media   string
	policy  string
	tag     string
}

func (a *asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Type", a.media)
	header.Set("Content-Security-Policy", a.policy)
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
