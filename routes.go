package main

import (
	"net/http"

	"product-service/graph"
	"product-service/projection/read"
)

// routes are all that clients are served, by pattern, but for what says whether this instance is alive. Each asks by itself who its
// callers are, where it doesn't serve everybody.
func (s *server) routes(api http.Handler, gate *graph.Gate, reader *read.Reader) map[string]http.Handler {
	explorer := graph.Explorer()
	return map[string]http.Handler{
		"/graphql":                span("graphql", api),
		"/export/stock-movements": graph.Export(s.Graph, gate, reader, s.log),
		"/export/stock-days":      graph.ExportDays(s.Graph, gate, reader, s.log),
		"GET /{$}":                explorer,
		"GET /explorer/":          explorer,
	}
}
