// Command product-service is a GraphQL server over a read model that is projected from
// event-sourced products, and the consumer that reserves and releases their stock for booking
// sagas. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"product-service/command"
	"product-service/eventstore"
	"product-service/integration/inventory"
	"product-service/projection"
	"product-service/projection/store"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// server is what the subcommands work with.
type server struct {
	Settings
	out     io.Writer
	log     *slog.Logger
	metrics *prometheus.Registry
}

// shutdownLimit is how long a stopping server may take in all.
const shutdownLimit = 30 * time.Second

func serve(*flag.FlagSet) func(context.Context, *server) error {
	return func(ctx context.Context, s *server) (err error) {
		limitMemory()
		life := newLifecycle(s.log)
		defer func() { err = errors.Join(err, life.stop(shutdownLimit)) }()
		ready, err := s.compose(ctx, life)
		if ctx.Err() != nil {
			s.log.Info("stopping before everything was started", "cause", err)
			return nil
		}
		if err != nil {
			return err
		}
		ready.started.Store(true)
		select {
		case <-ctx.Done():
			s.log.Info("stopping")
			ready.leaving.Store(true)
			return nil
		case err := <-life.broken:
			return err
		}
	}
}

// compose builds the server and starts its parts, from what is written with to what takes work in:
// they stop in the reverse order. What was started when a part can't be built is for the caller to
// stop.
func (s *server) compose(ctx context.Context, life *lifecycle) (*health, error) {
	s.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := s.trace(ctx, life); err != nil {
		return nil, err
	}
	events, documents, err := s.open(ctx, life)
	if err != nil {
		return nil, err
	}

	s.Leases.Roles = s.roles()
	leases := eventstore.NewLeases(events, s.Leases, s.log)
	life.closing("leases", leases.Release)
	life.start("leases", leases.Run)

	kafka := command.NewKafkaMetrics(s.metrics)
	life.start("relay", command.NewRelay(s.Kafka, events, leases, events.Committed(), kafka, s.log).Run)
	projector, err := projection.NewProjector(documents, events, leases, s.log, s.metrics)
	if err != nil {
		return nil, err
	}
	if s.Projects {
		life.start("projector", projector.Run)
	}
	life.start("changes", func(ctx context.Context) error { return documents.FollowChanges(ctx, events, s.log) })
	if err := s.announce(life, events, leases); err != nil {
		return nil, err
	}

	writer := command.NewWriter(events, s.Writer, command.NewWriterMetrics(s.metrics), s.log)
	life.start("writer", writer.Run)

	neighbour, err := s.inventory(life, documents)
	if err != nil {
		return nil, err
	}
	service := &command.Service{
		Writer: writer, Store: events, Rollback: s.Inventory.InitPolicy == inventory.PolicyRollback, RollbackAfter: 5 * time.Second,
	}
	initializer := inventory.NewInitializer(neighbour.client, records{events, service}, neighbour.reader.Put, s.metrics)
	service.Created = initializer.Kick
	life.start("initializer", untilStopped(initializer.Run))
	life.start("sweeper", command.NewSweeper(service, leases, time.Second/2, s.log).Run)
	life.start("janitor", command.NewJanitor(events, leases, time.Duration(s.Kafka.Retention), documents.Checkpoints, s.log).Run)
	if s.AuditRate > 0 {
		life.start("auditor", newAuditor(events, documents, leases, s.AuditRate, s.metrics, s.log).run)
	}

	life.start("inventory follower", command.NewInventoryFollower(events, events.Committed(), neighbour.follow(ctx), s.log).Run)
	consumer, err := command.NewConsumer(s.Kafka, writer, events, neighbour.events(), kafka, s.log)
	if err != nil {
		return nil, err
	}
	life.start("consumer", consumer.Run)

	member := func(context.Context) error {
		if !consumer.Ready() {
			return errors.New("not a member of the consumer group")
		}
		return nil
	}
	ready := &health{checks: map[string]func(context.Context) error{
		"postgresql": events.Ping, "mongodb": documents.Ping, "kafka": member,
	}}
	return ready, s.startHTTP(ctx, life, ready, documents, neighbour.reader, service)
}

// open connects to the databases and brings them up to date.
func (s *server) open(ctx context.Context, life *lifecycle) (*eventstore.Store, *store.Store, error) {
	events, err := eventstore.Open(ctx, s.Store)
	if err != nil {
		return nil, nil, err
	}
	life.closing("postgresql", func(context.Context) error { events.Close(); return nil })
	if _, err := events.Migrate(ctx); err != nil {
		return nil, nil, err
	}
	documents, err := store.Open(ctx, s.Projection)
	if err != nil {
		return nil, nil, err
	}
	life.closing("mongodb", documents.Close)
	if err := command.CreateTopics(ctx, s.Kafka); err != nil {
		return nil, nil, err
	}
	s.Kafka, err = command.Remembered(ctx, s.Kafka, s.log)
	return events, documents, err
}

// roles are what instances share among them: how many shards each has.
func (s *server) roles() map[string]int {
	roles := map[string]int{command.RelayRole: eventstore.Shards, command.SweeperRole: 1, command.JanitorRole: 1, auditorRole: 1}
	if s.Projects {
		roles[projection.Role] = eventstore.Shards
	}
	if s.Inventory.WebhookURL != "" {
		roles[command.AnnouncerRole] = eventstore.Shards
	}
	return roles
}
