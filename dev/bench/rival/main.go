// Command rival serves the schema of product-service with gqlgen's own server and executor, over
// the same documents and levels: what the benchmark of reads is held against. It is started as the
// server itself is.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/caarlos0/env/v11"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"product-service/graph"
	"product-service/graph/generated"
	"product-service/integration/inventory"
	"product-service/projection/read"
	"product-service/projection/store"
)

type settings struct {
	HTTPAddr  string `env:"HTTP_ADDR"`
	AdminAddr string `env:"ADMIN_ADDR"`
	Documents store.Config
	Inventory inventory.Config
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "rival:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context) error {
	var s settings
	if err := env.Parse(&s); err != nil {
		return err
	}
	log, metrics := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), prometheus.NewRegistry()
	documents, err := store.Open(ctx, s.Documents)
	if err != nil {
		return err
	}
	client, err := inventory.NewClient(s.Inventory, log, metrics)
	if err != nil {
		return err
	}
	defer client.Close()
	levels, err := inventory.NewReader(client, read.NewLevels(documents), metrics)
	if err != nil {
		return err
	}
	defer levels.Close()
	resolver, err := graph.NewResolver(graph.Services{Reads: read.NewReader(documents, nil), Levels: levels})
	if err != nil {
		return err
	}
	queries := http.NewServeMux()
	queries.Handle("/graphql", handler.NewDefaultServer(generated.NewExecutableSchema(generated.Config{Resolvers: resolver})))
	admin := http.NewServeMux()
	admin.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	admin.HandleFunc("/metrics", func(http.ResponseWriter, *http.Request) {})
	servers := []*http.Server{
		{Addr: s.HTTPAddr, Handler: queries, ReadHeaderTimeout: time.Minute},
		{Addr: s.AdminAddr, Handler: admin, ReadHeaderTimeout: time.Minute},
	}
	var running errgroup.Group
	for _, server := range servers {
		running.Go(func() error {
			if err := server.ListenAndServe(); err != http.ErrServerClosed {
				return err
			}
			return nil
		})
	}
	<-ctx.Done()
	for _, server := range servers {
		_ = server.Close()
	}
	return running.Wait()
}
