package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"product-service/command"
	"product-service/eventstore"
	"product-service/product"
)

// world is a database, a topic prefix and a MongoDB database of one measurement's own, and the
// server that works on them.
type world struct {
	b        *bench
	name     string
	postgres string
	store    *eventstore.Store
	child    *child // nil while no server runs

	instance   string // INSTANCE_ID of its servers
	projecting bool   // the server that runs has a projector
	folded     int    // rows that earlier servers projected
	crowded    bool   // by sockets, whose memory is a figure of its own
}

// cleanup is how long dropping a world may take.
const cleanup = time.Minute

func (b *bench) newWorld(ctx context.Context) (_ *world, err error) {
	w := &world{b: b, name: "bench_" + strings.ToLower(rand.Text()[:10])}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if err := w.admin(ctx, "create database "+w.name); err != nil {
		return nil, err
	}
	own, err := url.Parse(b.servers.postgres)
	if err != nil {
		return nil, err
	}
	own.Path = "/" + w.name
	w.postgres = own.String()
	w.store, err = eventstore.Open(ctx, eventstore.Config{URL: w.postgres, MaxConnections: 8})
	if err != nil {
		return nil, err
	}
	_, err = w.store.Migrate(ctx)
	return w, err
}

// sweep drops the worlds of runs that were killed: a living one is connected to its database.
func (b *bench) sweep(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, b.servers.postgres)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, `select datname from pg_database d where datname like 'bench\_%'
		and not exists (select from pg_stat_activity a where a.datname = d.datname)`)
	if err != nil {
		return err
	}
	left, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, name := range left {
		err = errors.Join(err, (&world{b: b, name: name}).close())
	}
	return err
}

func (w *world) admin(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, w.b.servers.postgres)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

func (w *world) topic(name string) string { return w.name + "." + name }

// close stops the server and drops everything.
func (w *world) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanup)
	defer cancel()
	errs := []error{w.stop()}
	if w.store != nil {
		w.store.Close()
	}
	errs = append(errs, w.admin(ctx, "drop database if exists "+w.name+" with (force)"), w.dropTopics(), w.dropMongo(ctx))
	return errors.Join(errs...)
}

func (w *world) dropTopics() error {
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	admin, err := sarama.NewClusterAdmin(w.b.servers.brokers, config)
	if err != nil {
		return fmt.Errorf("connect to Kafka: %w", err)
	}
	defer func() { _ = admin.Close() }()
	topics, err := admin.ListTopics()
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	var errs []error
	for name := range topics {
		if strings.HasPrefix(name, w.name+".") {
			errs = append(errs, admin.DeleteTopic(name))
		}
	}
	_ = admin.DeleteConsumerGroup(w.name) // it may never have been there
	return errors.Join(errs...)
}

func (w *world) dropMongo(ctx context.Context) error {
	client, err := mongo.Connect(options.Client().ApplyURI(w.b.servers.mongo))
	if err != nil {
		return err
	}
	return errors.Join(client.Database(w.name).Drop(ctx), client.Disconnect(ctx))
}

// start runs a server on this world and waits until it is ready.
func (w *world) start(ctx context.Context, projector bool) (err error) {
	if err := w.b.servers.build(ctx, w.b.out); err != nil {
		return err
	}
	w.projecting = projector
	w.child, err = startChild(ctx, w.b, map[string]string{
		"POSTGRES_URL": w.postgres, "MONGODB_URL": w.b.servers.mongo, "MONGODB_DATABASE": w.name,
		"KAFKA_BROKERS": strings.Join(w.b.servers.brokers, ","), "KAFKA_TOPIC_PREFIX": w.name + ".", "KAFKA_GROUP": w.name,
		"PROJECTION_ENABLED": fmt.Sprint(projector), "INSTANCE_ID": w.instance,
	})
	return err
}

// stop ends the server, which must drain and end with 0.
func (w *world) stop() error {
	if w.child == nil {
		return nil
	}
	c := w.child
	w.child = nil
	if !w.crowded {
		w.b.report.sawMemory(peakRSS(c.process.PID()))
	}
	rows, err := c.projected(context.Background())
	w.folded += rows
	return errors.Join(err, c.stop())
}

// fill decides commands in this process, as fast as it goes, while no server runs.
func (w *world) fill(ctx context.Context, what string, n int, request func(i int) (uuid.UUID, product.Command)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	writer := command.NewWriter(w.store, command.WriterConfig{Lanes: 2, Batch: 4000, Linger: 2 * time.Millisecond},
		command.NewWriterMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	go func() { _ = writer.Run(ctx) }()
	answers := make(chan command.Answer, n)
	for i := range n {
		id, c := request(i)
		r := &command.Request{ID: uuid.New(), ProductID: id, Command: c, From: product.Origin{CorrelationID: "fill"}, Settle: func(a command.Answer) { answers <- a }}
		if err := writer.Submit(ctx, r); err != nil {
			return err
		}
		w.b.out.progress(what, i+1, n)
	}
	for range n {
		select {
		case a := <-answers:
			if a.Err != nil || a.Refusal != nil {
				return fmt.Errorf("%s: %w, %+v", what, a.Err, a.Refusal)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// products makes products with as much stock as there can be.
func (w *world) products(ctx context.Context, n int) ([]uuid.UUID, error) {
	ids := make([]uuid.UUID, n)
	err := w.fill(ctx, "make products", n, func(i int) (uuid.UUID, product.Command) {
		ids[i] = uuid.New()
		return ids[i], product.Create{Name: fmt.Sprint("Product ", i), InitialStock: product.MaxStock, LowStockThreshold: 10}
	})
	return ids, err
}

// check holds the count of units reserved against that of the commands sent: one each.
func (w *world) check(ctx context.Context, sent int) error {
	conn, err := pgx.Connect(ctx, w.postgres)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	var reserved int
	if err := conn.QueryRow(ctx, "select coalesce(sum(reserved), 0) from product_head").Scan(&reserved); err != nil {
		return err
	}
	if reserved != sent {
		return fmt.Errorf("%d units are reserved after %d requests for one each", reserved, sent)
	}
	return nil
}

// logged is how many rows the log has.
func (w *world) logged(ctx context.Context) (int, error) {
	positions, err := w.store.Positions(ctx)
	rows := 0
	for _, p := range positions {
		rows += int(p)
	}
	return rows, err
}

// awaitProjected waits until the whole log, as it is now, is projected, and returns how many rows that is.
func (w *world) awaitProjected(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	rows, err := w.logged(ctx)
	for err == nil {
		done, failed := w.child.projected(ctx)
		if done += w.folded; failed != nil || done >= rows {
			return done, failed
		}
		w.b.out.progress("await the projector", done, rows)
		select {
		case <-ctx.Done():
			err = fmt.Errorf("%d of %d rows were projected: %w; the server says:\n%s", done, rows, ctx.Err(), w.child.lastLines())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return 0, err
}
