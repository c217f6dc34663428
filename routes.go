package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"product-service/command"
	"product-service/correlation"
	"product-service/graph"
	"product-service/graph/auth"
	"product-service/integration/inventory"
	"product-service/projection/read"
	"product-service/projection/store"
)

// startHTTP serves clients on one address and operators on another.
func (s *server) startHTTP(ctx context.Context, life *lifecycle, ready *health, documents *store.Store, levels *inventory.Reader,
	service *command.Service) error {
	reader := read.NewReader(documents, correlation.ID)
	callers, err := auth.New(s.Auth, s.log, s.metrics)
	if err != nil {
		return err
	}
	life.start("keys of tokens", untilStopped(callers.Run))
	gate, err := graph.NewGate(s.Graph, callers, s.metrics)
	if err != nil {
		return err
	}
	api, err := graph.Handler(s.Graph, graph.Services{
		Reads: reader, Levels: levels, LevelsFresh: s.Inventory.Fresh, Commands: service, Changes: documents.Changes, LevelChanges: levels, Gate: gate,
	}, s.log, s.metrics)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	ready.routes(mux)
	for pattern, handler := range s.routes(api, gate, reader) {
		mux.Handle(pattern, handler)
	}
	secure := (&certificate{cert: s.TLSCert, key: s.TLSKey, log: s.log}).config()
	clients, addr, err := listen(ctx, s.HTTPAddr, secure, s.Graph.Timeout, mux, s.log)
	if err != nil {
		return err
	}
	admin, adminAddr, err := listen(ctx, s.AdminAddr, nil, 30*time.Second, adminHandler(ready, s.metrics), s.log)
	if err != nil {
		return err
	}
	life.start("admin", admin)
	life.start("http", clients)
	life.start("subscriptions", api.Run)
	if memoryIsOurs() {
		life.start("memory limit", func(ctx context.Context) error { return growMemory(ctx, api.Connections) })
	}
	s.log.Info("serving", "graphql", fmt.Sprintf("http://%s/graphql", addr), "admin", fmt.Sprintf("http://%s", adminAddr))
	return nil
}

// routes are the handlers that clients reach, by pattern, except the probes. Each handler checks
// its callers itself, unless it serves everybody.
func (s *server) routes(api http.Handler, gate *graph.Gate, reader *read.Reader) map[string]http.Handler {
	explorer, console := graph.Explorer(), graph.Console()
	return map[string]http.Handler{
		"/graphql":                span("graphql", api),
		"/export/stock-movements": graph.Export(s.Graph, gate, reader, s.log),
		"/export/stock-days":      graph.ExportDays(s.Graph, gate, reader, s.log),
		"GET /{$}":                explorer,
		"GET /explorer/":          explorer,
		"GET /console":            console,
		"GET /console/":           console,
	}
}
