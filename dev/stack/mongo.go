package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

const (
	ferretDatabase = "ferretdb"
	// An update command of FerretDB holds one connection per operation until it ends, so the pool
	// must be far above the operations that are under way at a time.
	ferretConnections = 200
)

// MongoServer is a server on loopback that speaks MongoDB's protocol.
type MongoServer struct {
	url     string
	product string
	stop    func() error
}

// StartMongo starts the machine's own mongod on dir if there is one on PATH, else FerretDB in this
// process, which keeps its data in a database of its own on postgres. log receives FerretDB's
// complaints.
func StartMongo(ctx context.Context, dir string, postgres *PostgresServer, log *slog.Logger) (*MongoServer, error) {
	start := func() (*MongoServer, error) { return startFerret(ctx, postgres, log) }
	if mongod, err := exec.LookPath("mongod"); err == nil {
		start = func() (*MongoServer, error) { return startMongod(mongod, filepath.Join(dir, "mongo")) }
	}
	s, err := start()
	if err != nil {
		return nil, err
	}
	if err := awaitMongo(ctx, s.url); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for %s: %w", s.product, err), s.Stop())
	}
	return s, nil
}

func startMongod(mongod, dir string) (*MongoServer, error) {
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "mongod.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(mongod, "--dbpath", data, "--bind_ip", "127.0.0.1", "--port", strconv.Itoa(port))
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	process, err := StartProcess(cmd, syscall.SIGTERM)
	if err != nil {
		return nil, fmt.Errorf("start mongod: %w", err)
	}
	return &MongoServer{
		url: fmt.Sprintf("mongodb://127.0.0.1:%d/?directConnection=true", port), product: "mongod",
		stop: func() error { return process.Stop(syscall.SIGTERM, stopTimeout) },
	}, nil
}

func startFerret(ctx context.Context, postgres *PostgresServer, log *slog.Logger) (*MongoServer, error) {
	if err := postgres.EnsureDatabase(ctx, ferretDatabase); err != nil {
		return nil, fmt.Errorf("create FerretDB's database: %w", err)
	}
	backend, err := url.Parse(postgres.URL(ferretDatabase))
	if err != nil {
		return nil, err
	}
	query := backend.Query()
	query.Set("pool_max_conns", strconv.Itoa(ferretConnections))
	backend.RawQuery = query.Encode()
	server, err := ferretdb.New(&ferretdb.Config{
		Listener: ferretdb.ListenerConfig{TCP: "127.0.0.1:0"}, Logger: log,
		Handler: "postgresql", PostgreSQLURL: backend.String(),
	})
	if err != nil {
		return nil, fmt.Errorf("start FerretDB: %w", err)
	}
	run, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(run) }()
	stop := func() error { cancel(); return <-done }
	address, err := url.Parse(server.MongoDBURI())
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	gate, err := openGate(address.Host)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("stand before FerretDB: %w", err), stop())
	}
	address.Host, address.RawQuery = gate.listener.Addr().String(), "directConnection=true"
	return &MongoServer{
		url: address.String(), product: "FerretDB",
		stop: func() error { return errors.Join(gate.close(), stop()) },
	}, nil
}

func awaitMongo(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client, err := mongo.Connect(options.Client().ApplyURI(url).SetServerSelectionTimeout(startTimeout))
	if err != nil {
		return err
	}
	return errors.Join(client.Ping(ctx, nil), client.Disconnect(context.WithoutCancel(ctx)))
}

// URL is the connection string.
func (s *MongoServer) URL() string { return s.url }

// Product is which server it is: mongod or FerretDB.
func (s *MongoServer) Product() string { return s.product }

// Stop ends the server and waits until it is gone. FerretDB's must come before its PostgreSQL's.
func (s *MongoServer) Stop() error {
	if err := s.stop(); err != nil {
		return fmt.Errorf("stop %s: %w", s.product, err)
	}
	return nil
}
