package graph

import (
	"mime"
	"net/http"
	"slices"
	"strings"

	"product-service/correlation"
)

// preflightHeaders are headers that a page of another site can't send without asking first.
var preflightHeaders = []string{"graphql-require-preflight", "apollo-require-preflight", "x-apollo-operation-name", "authorization"}

// corsHeaders are what pages of allowed origins may send: what GraphQL clients and tracers add to
// requests by themselves.
var corsHeaders = append([]string{
	"content-type", "if-none-match", strings.ToLower(correlation.Header), "traceparent", "tracestate", "baggage", "sentry-trace",
	"apollographql-client-name", "apollographql-client-version", "x-requested-with",
}, preflightHeaders...)

// exposedHeaders are what pages of allowed origins may read of answers, besides those that every page may.
const exposedHeaders = correlation.Header + ", ETag, Retry-After, WWW-Authenticate, Content-Disposition"

// preflightAge is how long browsers keep the answer to a preflight, in seconds: the longest that
// any of them does.
const preflightAge = "7200"

// edge puts what every route for clients has around a handler: the correlation id, CORS (Fetch,
// section 3.2), the methods that are allowed, who the caller is ([Gate]), and compression. The next
// handler sees those methods alone, of callers who have the scope; "" is none.
func edge(c Config, gate *Gate, scope string, p presenter, next http.Handler, methods ...string) http.Handler {
	allowed := strings.Join(append(methods, http.MethodOptions), ", ")
	headers := strings.Join(append(slices.Clone(corsHeaders), c.CORSHeaders...), ", ")
	next = gate.admitted(scope, p, compressed(p, next))
	return Correlate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		known := c.allowOrigin(header, r.Header.Get("Origin"))
		switch {
		case slices.Contains(methods, r.Method):
			next.ServeHTTP(w, r)
		case r.Method == http.MethodOptions:
			if known {
				header.Set("Access-Control-Allow-Methods", strings.Join(methods, ", "))
				header.Set("Access-Control-Allow-Headers", headers)
				header.Set("Access-Control-Max-Age", preflightAge)
			}
			header.Set("Allow", allowed)
			w.WriteHeader(http.StatusNoContent)
		default:
			header.Set("Allow", allowed)
			p.refuse(r.Context(), w, mediaJSON, http.StatusMethodNotAllowed, badInput("%s isn't allowed here; allowed: %s", r.Method, strings.Join(methods, ", ")))
		}
	}))
}

// allowOrigin lets the pages of the origins that are set, and only them, read an answer.
func (c Config) allowOrigin(header http.Header, origin string) bool {
	if len(c.CORSOrigins) == 0 {
		return false
	}
	header.Add("Vary", "Origin")
	if !slices.Contains(c.CORSOrigins, origin) {
		return false
	}
	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Access-Control-Expose-Headers", exposedHeaders)
	return true
}

// crossSite tells a GET that a browser marked as made by another site, without a header that shows
// it asked first. A POST needs no such test: its content type is application/json, for which
// browsers ask first, and every other is refused.
func crossSite(r *http.Request) bool {
	return r.Method != http.MethodPost && r.Header.Get("Sec-Fetch-Site") == "cross-site" && !asksFirst(r.Header)
}

// asksFirst tells a request that a page of another site can't make without a preflight (Fetch,
// section 2.2.2).
func asksFirst(header http.Header) bool {
	if media, _, err := mime.ParseMediaType(header.Get("Content-Type")); err == nil && !slices.Contains(simpleTypes, media) {
		return true
	}
	return slices.ContainsFunc(preflightHeaders, func(name string) bool { return header.Get(name) != "" })
}

// simpleTypes are the content types that need no preflight.
var simpleTypes = []string{"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}
