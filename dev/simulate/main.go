// Command simulate runs the simulated Inventory Service by itself, for docker-compose.yml.
// Settings: ADDR (default :8090), DIR (where records survive a restart), INVENTORY_TOKEN,
// KAFKA_BROKERS and KAFKA_TOPIC_PREFIX.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"product-service/dev/upstream"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	options := upstream.Options{
		Addr: cmp.Or(os.Getenv("ADDR"), ":8090"), Dir: os.Getenv("DIR"), Token: os.Getenv("INVENTORY_TOKEN"),
		TopicPrefix: os.Getenv("KAFKA_TOPIC_PREFIX"), Log: slog.New(slog.NewJSONHandler(os.Stdout, nil)),
	}
	if brokers := os.Getenv("KAFKA_BROKERS"); brokers != "" {
		options.Brokers = strings.Split(brokers, ",")
	}
	server, err := upstream.Start(options)
	if err == nil {
		options.Log.Info("the simulated Inventory Service is ready", "url", server.URL())
		<-ctx.Done()
		err = server.Stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}
