// Command product-service is a GraphQL server over a read model that is projected from event-sourced products, and the consumer that
// reserves and releases their stock for booking sagas. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"product-service/command"
	"product-service/correlation"
	"product-service/eventstore"
	"product-service/graph"
	"product-service/graph/auth"
	"product-service/integration/inventory"
	"product-service/projection"
	"product-service/projection/read"
	"product-service/projection/store"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailed  = 1 // something went wrong, or an audit found a difference
	exitRefused = 2 // the command line or the settings are wrong: nothing was done
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// subcommand is one of the things the program does.
type subcommand struct {
	name, does string
	flags      func(*flag.FlagSet) func(context.Context, *server) error
}

var subcommands = []subcommand{
	{"serve", "serve GraphQL, consume commands, relay outcomes, project (the default)", serve},
	{"migrate", "bring the PostgreSQL schema up to date and create missing topics", migrate},
	{"rebuild", "build the read model anew beside the live one, and switch", rebuild},
	{"audit", "compare log, heads, reservations, variants and read model", auditCommand},
	{"replay", "list dead letters, or send those of our own failures again", replay},
}

// run is the program without its process: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	name := "serve"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		name, args = args[0], args[1:]
	} else if len(args) > 0 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help") {
		usage(stdout)
		return exitOK
	}
	for _, sub := range subcommands {
		if sub.name == name {
			return sub.run(ctx, args, stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "product-service: there is no command %q\n\n", name)
	usage(stderr)
	return exitRefused
}

func usage(w io.Writer) {
	fmt.Fprint(w, "product-service [command] [flags]\n\n")
	for _, sub := range subcommands {
		fmt.Fprintf(w, "  %-8s %s\n", sub.name, sub.does)
	}
	fmt.Fprint(w, "\nSettings come from the environment (docs/operations.md); product-service COMMAND -h shows a command's flags.\n")
}

func (sub subcommand) run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet(sub.name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "product-service %s [flags]: %s\n", sub.name, sub.does)
		flags.PrintDefaults()
	}
	do := sub.flags(flags)
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitRefused
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "product-service %s: %q is not a flag; -h shows what there is\n", sub.name, flags.Arg(0))
		return exitRefused
	}
	settings, err := readSettings()
	if err != nil {
		fmt.Fprintf(stderr, "product-service: these settings are wrong:\n%s\n", indent(err))
		return exitRefused
	}
	if sub.name != "serve" && os.Getenv("LOG_LEVEL") == "" {
		settings.LogLevel = "warn" // what such a command has to say is its output
	}
	s := &server{Settings: settings, out: stdout, log: newLogger(stderr, settings), metrics: prometheus.NewRegistry()}
	slog.SetDefault(s.log) // for libraries that log
	if err := do(ctx, s); err != nil {
		s.log.Error(sub.name+" failed", "error", err)
		return exitFailed
	}
	return exitOK
}

// server is what the subcommands work with.
type server struct {
	Settings
	out     io.Writer
	log     *slog.Logger
	metrics *prometheus.Registry
}

const (
	memoryLimit      = 112 << 20 // of the heap: with the program itself, under 150 MB
	connectionMemory = 24 << 10  // of a client that stays connected, with what it follows
)

// growMemory lets the heap grow with the connections that stay open: what they hold isn't garbage, and to look for some in it would
// take all the CPU.
func growMemory(ctx context.Context, connections func() int) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			debug.SetMemoryLimit(memoryLimit + int64(connections())*connectionMemory)
		}
	}
}

// shutdownLimit is how long a stopping server may take in all.
const shutdownLimit = 30 * time.Second

func serve(*flag.FlagSet) func(context.Context, *server) error {
	return func(ctx context.Context, s *server) (err error) {
		if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
			debug.SetGCPercent(200) // batches are short-lived garbage: collecting half as often is worth a few megabytes
			debug.SetMemoryLimit(memoryLimit)
		}
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

// compose builds the server and starts its parts, from what is written with to what takes work in: they stop in the reverse order.
// What was started when a part can't be built is for the caller to stop.
func (s *server) compose(ctx context.Context, life *lifecycle) (*health, error) {
	s.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := s.trace(ctx, life); err != nil {
		return nil, err
	}
	log, documents, err := s.open(ctx, life)
	if err != nil {
		return nil, err
	}

	s.Leases.Roles = s.roles()
	leases := eventstore.NewLeases(log, s.Leases, s.log)
	life.closing("leases", leases.Release)
	life.start("leases", leases.Run)

	kafka := command.NewKafkaMetrics(s.metrics)
	life.start("relay", command.NewRelay(s.Kafka, log, leases, log.Committed(), kafka, s.log).Run)
	projector, err := projection.NewProjector(documents, log, leases, s.log, s.metrics)
	if err != nil {
		return nil, err
	}
	if s.Projects {
		life.start("projector", projector.Run)
	}
	life.start("changes", func(ctx context.Context) error { return documents.FollowChanges(ctx, log, s.log) })
	if err := s.announce(life, log, leases); err != nil {
		return nil, err
	}

	writer := command.NewWriter(log, s.Writer, command.NewWriterMetrics(s.metrics), s.log)
	life.start("writer", writer.Run)

	neighbour, err := s.inventory(life, documents)
	if err != nil {
		return nil, err
	}
	service := &command.Service{Writer: writer, Store: log, Rollback: s.Inventory.InitPolicy == inventory.PolicyRollback, RollbackAfter: 5 * time.Second}
	initializer := inventory.NewInitializer(neighbour.client, records{log, service}, neighbour.reader.Put, s.metrics)
	service.Created = initializer.Kick
	life.start("initializer", untilStopped(initializer.Run))
	life.start("sweeper", command.NewSweeper(service, leases, time.Second/2, s.log).Run)
	life.start("janitor", command.NewJanitor(log, leases, time.Duration(s.Kafka.Retention), documents.Checkpoints, s.log).Run)
	if s.AuditRate > 0 {
		life.start("auditor", newAuditor(log, documents, leases, s.AuditRate, s.metrics, s.log).run)
	}

	events := s.inventoryEvents(neighbour)
	life.start("inventory follower", command.NewInventoryFollower(log, log.Committed(), func(e command.InventoryEvent) {
		neighbour.reader.ApplyHeld(context.WithoutCancel(ctx), inventoryEvent(e))
	}, s.log).Run)
	consumer, err := command.NewConsumer(s.Kafka, writer, log, events, kafka, s.log)
	if err != nil {
		return nil, err
	}
	life.start("consumer", consumer.Run)

	ready := &health{checks: map[string]func(context.Context) error{"postgresql": log.Ping, "mongodb": documents.Ping, "kafka": func(context.Context) error {
		if !consumer.Ready() {
			return errors.New("not a member of the consumer group")
		}
		return nil
	}}}
	return ready, s.listen(ctx, life, ready, documents, neighbour.reader, service)
}

// open connects to the databases and brings them up to date.
func (s *server) open(ctx context.Context, life *lifecycle) (*eventstore.Store, *store.Store, error) {
	log, err := eventstore.Open(ctx, s.Store)
	if err != nil {
		return nil, nil, err
	}
	life.closing("postgresql", func(context.Context) error { log.Close(); return nil })
	if _, err := log.Migrate(ctx); err != nil {
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
	return log, documents, err
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

// neighbour is all that is known of the Inventory Service.
type neighbour struct {
	client *inventory.Client
	reader *inventory.Reader
}

func (s *server) inventory(life *lifecycle, documents *store.Store) (n neighbour, err error) {
	if n.client, err = inventory.NewClient(s.Inventory, s.log, s.metrics); err != nil {
		return n, err
	}
	life.closing("inventory client", func(context.Context) error { n.client.Close(); return nil })
	if n.reader, err = inventory.NewReader(n.client, read.NewLevels(documents), s.metrics); err != nil {
		return n, err
	}
	life.closing("inventory reader", func(context.Context) error { n.reader.Close(); return nil })
	return n, nil
}

// announce tells internal teams of inventory events, where a webhook is set.
func (s *server) announce(life *lifecycle, log *eventstore.Store, leases *eventstore.Leases) error {
	if s.Inventory.WebhookURL == "" {
		return nil
	}
	webhook, err := inventory.NewWebhook(s.Inventory, s.log, s.metrics)
	if err != nil {
		return err
	}
	life.closing("webhook", func(context.Context) error { webhook.Close(); return nil })
	announce := func(ctx context.Context, e command.InventoryEvent) error {
		return webhook.Deliver(ctx, inventoryEvent(e))
	}
	life.start("announcer", command.NewAnnouncer(log, leases, log.Committed(), announce, s.log).Run)
	return nil
}

// untilStopped makes a part of a function that can only end when it is told to.
func untilStopped(run func(context.Context)) func(context.Context) error {
	return func(ctx context.Context) error { run(ctx); return nil }
}

// listen serves clients and the people who run the service.
func (s *server) listen(ctx context.Context, life *lifecycle, ready *health, documents *store.Store, levels *inventory.Reader, service *command.Service) error {
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
	api, err := graph.Handler(s.Graph, graph.Services{Reads: reader, Levels: levels, Commands: service, Changes: documents.Changes, LevelChanges: levels, Gate: gate, LevelsFresh: s.Inventory.Fresh}, s.log, s.metrics)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	ready.routes(mux)
	for pattern, handler := range s.routes(api, gate, reader) {
		mux.Handle(pattern, handler)
	}
	clients, addr, err := listen(ctx, s.HTTPAddr, (&certificate{cert: s.TLSCert, key: s.TLSKey, log: s.log}).config(), s.Graph.Timeout, mux, s.log)
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
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		life.start("memory limit", func(ctx context.Context) error { return growMemory(ctx, api.Connections) })
	}
	s.log.Info("serving", "graphql", fmt.Sprintf("http://%s/graphql", addr), "admin", fmt.Sprintf("http://%s", adminAddr))
	return nil
}
