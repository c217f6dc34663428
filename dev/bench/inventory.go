package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"product-service/dev/simulator"
	"product-service/integration/inventory"
	"product-service/product"
)

const (
	shopProducts = 20 // with two variants each: 40 levels a page
	shopLevels   = 2 * shopProducts
	shopPage     = `{ products(first: 20) { nodes { id variants { inventory { availableQuantity isStale ageSeconds fetchedAt } } } } }`
	coldQueries  = 1000 // at a time
)

// neighbour is a simulated Inventory Service on a socket of its own.
type neighbour struct {
	*simulator.Simulator
	url    string
	server *http.Server
}

func startNeighbour(ctx context.Context) (*neighbour, error) {
	sim, err := simulator.New(simulator.Options{})
	if err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n := &neighbour{Simulator: sim, url: "http://" + l.Addr().String(),
		server: &http.Server{Handler: sim, ConnState: sim.ConnState, ReadHeaderTimeout: time.Minute}}
	go func() { _ = n.server.Serve(l) }() // it ends with an error when it is closed
	return n, nil
}

// fill gives the neighbour records.
func (n *neighbour) fill(ids []uuid.UUID) error {
	for _, id := range ids {
		if _, err := n.Set(id, 100); err != nil {
			return err
		}
	}
	return nil
}

// shop is a world whose products have variants, and the neighbour that knows their levels.
type shop struct {
	*world
	neighbour *neighbour
	variants  []uuid.UUID
	client    *http.Client
}

// measureInventory looks at what the Inventory Service is asked, and at what becomes of queries
// when it doesn't answer.
func measureInventory(ctx context.Context, b *bench) (err error) {
	b.out.step("inventory: make a page of products")
	w, err := b.newWorld(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	n, err := startNeighbour(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.server.Close()) }()
	s := &shop{world: w, neighbour: n, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: coldQueries}}}
	if err := s.stock(ctx); err != nil {
		return err
	}
	for _, measure := range []func(context.Context) error{s.page, s.readers, s.crowds, s.afresh, s.outage} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return errors.Join(s.warmRead(ctx), s.connections(ctx))
}

// stock makes the products, and lets a server have their records made.
func (s *shop) stock(ctx context.Context) error {
	err := s.fill(ctx, "make products with variants", shopProducts, func(i int) (uuid.UUID, product.Command) {
		c := product.Create{Name: fmt.Sprint("Product ", i), InitialStock: 100, LowStockThreshold: 10}
		for v := range shopLevels / shopProducts {
			id := uuid.New()
			s.variants = append(s.variants, id)
			c.Variants = append(c.Variants, product.Variant{ID: id, SKU: fmt.Sprintf("SKU-%d-%d", i, v), Name: "Standard", InitialQuantity: 100, LowStockThreshold: 10})
		}
		return uuid.New(), c
	})
	if err != nil {
		return err
	}
	if err := s.open(ctx, nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		p, err := s.ask(ctx)
		if err == nil && p.known == shopLevels {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d levels were there within %s: %w", p.known, shopLevels, readyWithin, errors.Join(err, ctx.Err()))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// open starts a server that has this neighbour.
func (s *shop) open(ctx context.Context, settings map[string]string) (err error) {
	if err := s.b.servers.build(ctx, s.b.out); err != nil {
		return err
	}
	s.projecting = true
	all := map[string]string{
		"POSTGRES_URL": s.postgres, "MONGODB_URL": s.b.servers.mongo, "MONGODB_DATABASE": s.name,
		"KAFKA_BROKERS": strings.Join(s.b.servers.brokers, ","), "KAFKA_TOPIC_PREFIX": s.name + ".", "KAFKA_GROUP": s.name,
		"INVENTORY_URL": s.neighbour.url,
	}
	maps.Copy(all, settings)
	s.child, err = startChild(ctx, s.b, all)
	return err
}

// forget restarts the server without anything that it knew of levels.
func (s *shop) forget(ctx context.Context, settings map[string]string) error {
	if err := s.stop(); err != nil {
		return err
	}
	client, err := mongo.Connect(options.Client().ApplyURI(s.b.servers.mongo))
	if err != nil {
		return err
	}
	err = client.Database(s.name).Collection("levels").Drop(ctx)
	if err = errors.Join(err, client.Disconnect(ctx)); err != nil {
		return err
	}
	s.neighbour.ResetStats()
	return s.open(ctx, settings)
}

// afresh goes on with a server as it comes.
func (s *shop) afresh(ctx context.Context) error { return s.forget(ctx, nil) }

// page counts the calls for a page that nothing is known of, and for the same page again.
func (s *shop) page(ctx context.Context) error {
	for _, round := range []struct {
		name  string
		calls float64
	}{{"cold", 1}, {"warm", 0}} {
		if round.calls > 0 {
			if err := s.forget(ctx, nil); err != nil {
				return err
			}
		}
		before := s.neighbour.Stats().Total()
		began := time.Now()
		p, err := s.ask(ctx)
		took := time.Since(began)
		if err != nil || p.known != shopLevels {
			return fmt.Errorf("a %s page had %d of %d levels: %w", round.name, p.known, shopLevels, err)
		}
		calls := float64(s.neighbour.Stats().Total() - before)
		s.b.report.addExactly("upstream calls, page of 20 products x 2 variants, "+round.name, calls, round.calls, "%.1f ms over GraphQL", took.Seconds()*1e3)
	}
	return nil
}

// addExactly adds a count that is met by one value alone, which may be 0.
func (r *report) addExactly(name string, value, want float64, note string, args ...any) {
	goal := "exactly " + round(want) + " is the target; "
	if value != want {
		goal = "MISSED: " + goal // the table knows bounds only
	}
	r.add(name, value, "calls", target{}, goal+note, args...)
	r.Figures[len(r.Figures)-1].Met = value == want
}

// patient lets every query of a crowd get its levels, however long the machine takes: then only the
// number of calls is measured.
var patient = map[string]string{"PROJECTION_READ_TIMEOUT": "50s", "GRAPHQL_TIMEOUT": "60s", "INVENTORY_BUDGET": "40s", "INVENTORY_ATTEMPT_TIMEOUT": "30s"}

// crowds sends many queries for the same page at a time, while nothing is known of it: to a server
// as it comes, and to one that waits.
func (s *shop) crowds(ctx context.Context) error {
	return errors.Join(s.crowd(ctx, "as it comes", nil), s.crowd(ctx, "with long timeouts", patient))
}

func (s *shop) crowd(ctx context.Context, name string, settings map[string]string) error {
	if err := s.forget(ctx, settings); err != nil {
		return err
	}
	if err := s.neighbour.SetFault(simulator.Fault{Mode: simulator.Slow, DelayMs: 150}); err != nil {
		return err
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	failed, unknown := 0, 0
	var first error
	began := time.Now()
	for range coldQueries {
		wait.Go(func() {
			p, err := s.ask(ctx)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed, first = failed+1, cmp.Or(first, err)
			} else if p.known < shopLevels {
				unknown++
			}
		})
	}
	wait.Wait()
	if first != nil {
		s.b.out.say("  of %d queries at a time %d failed, the first with: %v; the server says:\n%s", coldQueries, failed, first, s.child.lastLines())
	}
	s.b.report.addExactly("upstream calls, 1,000 cold queries for one page at a time, "+name, float64(s.neighbour.Stats().Total()), 1,
		"%d failed, %d lacked a level, all within %.0f ms; load %s", failed, unknown, time.Since(began).Seconds()*1e3, loadAverage())
	return s.neighbour.SetFault(simulator.Fault{Mode: simulator.None})
}

// readers is a crowd at the integration itself, where no other part of a query stands in the way.
func (s *shop) readers(ctx context.Context) error {
	r, done, err := s.reader(func(*inventory.Config) {})
	if err != nil {
		return err
	}
	defer done()
	if err := s.neighbour.SetFault(simulator.Fault{Mode: simulator.Slow, DelayMs: 100}); err != nil {
		return err
	}
	before := s.neighbour.Stats().Total()
	var wait sync.WaitGroup
	var lacking atomic.Int64
	began := time.Now()
	for range coldQueries {
		wait.Go(func() {
			for _, got := range r.Levels(ctx, s.variants, 0) {
				if got.Outcome != inventory.Known {
					lacking.Add(1)
				}
			}
		})
	}
	wait.Wait()
	s.b.report.addExactly("upstream calls, 1,000 cold reads of 40 levels at a time, in this process", float64(s.neighbour.Stats().Total()-before), 1,
		"%d levels lacking, all within %.0f ms; load %s", lacking.Load(), time.Since(began).Seconds()*1e3, loadAverage())
	return s.neighbour.SetFault(simulator.Fault{Mode: simulator.None})
}

// seenPage is what one answer says of its levels.
type seenPage struct {
	known, stale, untold int       // levels; untold: older than fresh, and not marked
	oldest               time.Time // when the oldest was fetched
}

// ask gets the page over GraphQL. An answer without its products is an error; levels may lack.
func (s *shop) ask(ctx context.Context) (seenPage, error) {
	var p seenPage
	body, err := json.Marshal(map[string]string{"query": shopPage})
	if err != nil {
		return p, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.child.http+"/graphql", bytes.NewReader(body))
	if err != nil {
		return p, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return p, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return p, err
	}
	var a struct {
		Data *struct {
			Products struct {
				Nodes []struct {
					Variants []struct {
						Inventory *struct {
							IsStale    bool
							AgeSeconds float64
							FetchedAt  time.Time
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return p, fmt.Errorf("answered %s: %w", resp.Status, err)
	}
	if a.Data == nil || len(a.Data.Products.Nodes) != shopProducts {
		return p, fmt.Errorf("answered %s without all products: %.200s", resp.Status, text)
	}
	for _, node := range a.Data.Products.Nodes {
		for _, v := range node.Variants {
			level := v.Inventory
			if level == nil {
				continue
			}
			p.known++
			if level.IsStale {
				p.stale++
			} else if level.AgeSeconds > 6 { // fresh is 5 s, and ages are whole seconds
				p.untold++
			}
			if p.oldest.IsZero() || level.FetchedAt.Before(p.oldest) {
				p.oldest = level.FetchedAt
			}
		}
	}
	return p, nil
}

// reader is the integration in this process, with the settings of a server that was given none but change.
func (s *shop) reader(change func(*inventory.Config)) (*inventory.Reader, func(), error) {
	cfg, err := env.ParseAsWithOptions[inventory.Config](env.Options{Environment: map[string]string{"INVENTORY_URL": s.neighbour.url}})
	if err != nil {
		return nil, nil, err
	}
	change(&cfg)
	client, err := inventory.NewClient(cfg, discard, nil)
	if err != nil {
		return nil, nil, err
	}
	r, err := inventory.NewReader(client, nil, nil)
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	return r, func() { r.Close(); client.Close() }, nil
}
