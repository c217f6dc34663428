package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"product-service/dev/stack"
)

// servers is what the server under test needs, and the binary itself.
type servers struct {
	postgres string // administrative connection string
	brokers  []string
	mongo    string
	binary   string
	products []string // what they are, for the report
	dir      string   // of this run's files

	kafkaPID, mongoPID int // 0 for those in this process
	stops              []func() error
}

// openServers takes the servers that the environment names, or starts embedded ones.
func openServers(ctx context.Context, o flags, out *console) (_ *servers, err error) {
	tmp, err := stack.NewTemporary()
	if err != nil {
		return nil, err
	}
	s := &servers{binary: o.server, dir: tmp.Dir, stops: []func() error{tmp.Remove}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	given := os.Getenv("POSTGRES_URL") != "" && os.Getenv("KAFKA_BROKERS") != "" && os.Getenv("MONGODB_URL") != ""
	if given && !o.quick {
		s.postgres, s.brokers, s.mongo = os.Getenv("POSTGRES_URL"), strings.Split(os.Getenv("KAFKA_BROKERS"), ","), os.Getenv("MONGODB_URL")
	} else if err := s.embed(ctx, out); err != nil {
		return nil, err
	}
	if err := s.onlyLoopback(); err != nil {
		return nil, err
	}
	if err := s.describe(ctx); err != nil {
		return nil, err
	}
	s.kafkaPID = listener(s.brokers[0])
	if u, err := url.Parse(s.mongo); err == nil {
		s.mongoPID = listener(u.Host)
	}
	return s, nil
}

// build builds the server under test, unless it is there.
func (s *servers) build(ctx context.Context, out *console) error {
	if s.binary != "" {
		return nil
	}
	out.step("build the server")
	binary := filepath.Join(s.dir, "product-service")
	if text, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "product-service").CombinedOutput(); err != nil {
		return fmt.Errorf("build the server: %w\n%s", err, text)
	}
	s.binary = binary
	return nil
}

// embed starts the parts in this process; the broker's work then counts as the client's.
func (s *servers) embed(ctx context.Context, out *console) error {
	out.step("start embedded servers")
	postgres, err := stack.StartPostgres(ctx, s.dir, false)
	if err != nil {
		return err
	}
	s.stops = append(s.stops, postgres.Stop)
	kafka, err := stack.StartKafka("")
	if err != nil {
		return err
	}
	s.stops = append(s.stops, func() error { kafka.Close(); return nil })
	mongo, err := stack.StartMongo(ctx, s.dir, postgres, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	s.stops = append(s.stops, mongo.Stop)
	s.postgres, s.brokers, s.mongo = postgres.URL("postgres"), kafka.Brokers(), mongo.URL()
	return nil
}

// onlyLoopback keeps the load, and the dropping of databases, on this machine.
func (s *servers) onlyLoopback() error {
	hosts := append([]string{}, s.brokers...)
	for _, text := range []string{s.postgres, s.mongo} {
		u, err := url.Parse(text)
		if err != nil {
			return errors.New("POSTGRES_URL and MONGODB_URL have to be URLs")
		}
		hosts = append(hosts, strings.Split(u.Host, ",")...)
	}
	for _, address := range hosts {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			host = address
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return fmt.Errorf("%s is not on loopback: this sends heavy load, and drops what it made", address)
		}
	}
	return nil
}

// describe asks the servers what they are.
func (s *servers) describe(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.postgres)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	var version, durable string
	if err := conn.QueryRow(ctx, "select current_setting('server_version'), current_setting('synchronous_commit')").Scan(&version, &durable); err != nil {
		return err
	}
	client, err := mongo.Connect(options.Client().ApplyURI(s.mongo))
	if err != nil {
		return fmt.Errorf("connect to MongoDB: %w", err)
	}
	defer func() { _ = client.Disconnect(ctx) }()
	var info struct {
		Version string
	}
	if err := client.Database("admin").RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&info); err != nil {
		return fmt.Errorf("ask MongoDB what it is: %w", err)
	}
	kafka := "Kafka at " + strings.Join(s.brokers, ",")
	if len(s.stops) > 1 {
		kafka = "kfake in this process"
	}
	s.products = []string{"PostgreSQL " + version + " (synchronous_commit " + durable + ")", kafka, "MongoDB protocol " + info.Version}
	return nil
}

// close stops what was started, in the opposite order.
func (s *servers) close() error {
	var errs []error
	for len(s.stops) > 0 {
		last := s.stops[len(s.stops)-1]
		s.stops = s.stops[:len(s.stops)-1]
		errs = append(errs, last())
	}
	return errors.Join(errs...)
}
