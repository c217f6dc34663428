package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"product-service/dev/stack"
	"product-service/dev/upstream"
)

const (
	serverDatabase = "product" // in PostgreSQL
	defaultAdmin   = "127.0.0.1:9090"
)

// claimData makes the data directory and keeps a second dev away from it.
func claimData(f flags, started *unwinding) (string, error) {
	if f.ephemeral {
		tmp, err := stack.NewTemporary()
		if err != nil {
			return "", err
		}
		started.add("throw-away data", tmp.Remove)
		return tmp.Dir, nil
	}
	dir, err := filepath.Abs(f.data)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	started.add("data lock", lock.Close)
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return "", fmt.Errorf("%s is in use by another `go run ./dev`: stop it, give another -data or use -ephemeral", dir)
	}
	return dir, nil
}

// start brings everything up: the server is built meanwhile. failed reports a part that ends by
// itself later on.
func start(ctx context.Context, f flags, dir string, env *environment, started *unwinding, out *console) (failed <-chan error, err error) {
	ends := make(chan error, 4)
	group, groupCtx := errgroup.WithContext(ctx)
	binary := filepath.Join(dir, "product-service")
	if !f.stackOnly {
		if err := settleAddresses(&f, env); err != nil {
			return nil, err
		}
		group.Go(func() error {
			return out.step("build the server", func() (string, error) { return binary, build(groupCtx, binary) })
		})
	}
	group.Go(func() error { return startParts(groupCtx, f, dir, env, started, out, ends) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if f.stackOnly {
		return ends, nil
	}
	return ends, startServer(ctx, f, dir, binary, env, started, out, ends)
}

// settleAddresses finds out early whether the server will be able to listen.
func settleAddresses(f *flags, env *environment) error {
	addr, err := available(f.addr)
	if err != nil {
		return fmt.Errorf("-addr %s: %w", f.addr, err)
	}
	admin := os.Getenv("ADMIN_ADDR")
	if admin == "" {
		admin = defaultAdmin
		if _, err := available(admin); err != nil {
			admin = "127.0.0.1:0"
		}
	}
	if admin, err = available(admin); err != nil {
		return fmt.Errorf("ADMIN_ADDR %s: %w", admin, err)
	}
	env.set("HTTP_ADDR", addr)
	env.set("ADMIN_ADDR", admin)
	env.set("GRAPHQL_URL", "http://"+reachable(addr)+"/graphql")
	env.set("ADMIN_URL", "http://"+reachable(admin))
	return nil
}

// available is addr, with a free port in place of port 0.
func available(addr string) (string, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return addr, err
	}
	defer l.Close()
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port != "0" {
		return addr, err
	}
	_, free, err := net.SplitHostPort(l.Addr().String())
	return net.JoinHostPort(host, free), err
}

// reachable is an address a client can use for one that a server listens on.
func reachable(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func startParts(ctx context.Context, f flags, dir string, env *environment, started *unwinding, out *console, ends chan<- error) error {
	var postgres *stack.PostgresServer
	err := out.step("start PostgreSQL", func() (product string, err error) {
		if postgres, err = stack.StartPostgres(ctx, dir, !f.ephemeral); err != nil {
			return "", err
		}
		started.add("PostgreSQL", postgres.Stop)
		return postgres.Product(), postgres.EnsureDatabase(ctx, serverDatabase)
	})
	if err != nil {
		return err
	}
	env.set("POSTGRES_URL", postgres.URL(serverDatabase))
	go func() {
		<-postgres.Done()
		ends <- errors.New("PostgreSQL ended by itself, see " + filepath.Join(dir, "postgres", "postgres.log"))
	}()
	err = out.step("start Kafka", func() (string, error) {
		kafka, err := stack.StartKafka(filepath.Join(dir, "kafka"))
		if err != nil {
			return "", err
		}
		started.add("Kafka", func() error { kafka.Close(); return nil })
		env.set("KAFKA_BROKERS", strings.Join(kafka.Brokers(), ","))
		return "kfake, in this process", nil
	})
	if err != nil {
		return err
	}
	if err := out.step("start MongoDB", func() (string, error) { return startMongo(ctx, f, dir, postgres, env, started) }); err != nil {
		return err
	}
	return out.step("start the simulated Inventory Service", func() (string, error) { return startInventory(dir, env, started) })
}

func startInventory(dir string, env *environment, started *unwinding) (string, error) {
	inventory, err := upstream.Start(upstream.Options{
		Addr: "127.0.0.1:0", Dir: filepath.Join(dir, "inventory"), Token: os.Getenv("INVENTORY_TOKEN"),
		Brokers: strings.Split(env.get("KAFKA_BROKERS"), ","), TopicPrefix: os.Getenv("KAFKA_TOPIC_PREFIX"),
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return "", err
	}
	started.add("the simulated Inventory Service", inventory.Stop)
	env.set("INVENTORY_URL", inventory.URL())
	env.set("INVENTORY_SIM_URL", inventory.URL())
	return "its page makes it slow, failing or away", nil
}

// startMongo starts a MongoDB server unless MONGODB_URL names one. On such a server the database
// belongs to the data directory, so that the read model of one directory is never shown over the
// events of another.
func startMongo(ctx context.Context, f flags, dir string, postgres *stack.PostgresServer, env *environment, started *unwinding) (string, error) {
	given := os.Getenv("MONGODB_URL")
	if given == "" {
		log, err := os.Create(filepath.Join(dir, "ferretdb.log"))
		if err != nil {
			return "", err
		}
		complaints := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		mongo, err := stack.StartMongo(ctx, dir, postgres, complaints)
		if err != nil {
			return "", errors.Join(err, log.Close())
		}
		started.add("MongoDB", func() error { return errors.Join(mongo.Stop(), log.Close()) })
		env.set("MONGODB_URL", mongo.URL())
		env.set("MONGODB_DATABASE", "product")
		return mongo.Product(), nil
	}
	database, err := remembered(filepath.Join(dir, "mongo-database"), "product-dev-"+strings.ToLower(rand.Text()[:8]))
	if err != nil {
		return "", err
	}
	if f.ephemeral {
		started.add("the throw-away database", func() error { return stack.DropMongo(given, database) })
	}
	env.set("MONGODB_URL", given)
	env.set("MONGODB_DATABASE", database)
	return "given by MONGODB_URL", nil
}

// remembered is the content of a file, which it is given where it isn't there.
func remembered(file, content string) (string, error) {
	old, err := os.ReadFile(file)
	if err == nil && len(old) > 0 {
		return strings.TrimSpace(string(old)), nil
	}
	return content, os.WriteFile(file, []byte(content+"\n"), 0o644)
}
