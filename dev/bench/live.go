package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
)

// measureLive opens sockets that say nothing, and then subscribes to a product that sagas reserve.
func measureLive(ctx context.Context, b *bench) (err error) {
	w, err := b.newWorld(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	products, err := w.products(ctx, 1)
	if err != nil {
		return err
	}
	if err := w.start(ctx, true); err != nil {
		return err
	}
	if err := measureIdleSockets(ctx, b, w); err != nil {
		return err
	}
	return measureFanOut(ctx, b, w, products)
}

// sockets are open ones, each read until it closes.
type sockets struct {
	open []*websocket.Conn
	read sync.WaitGroup
}

// dial opens sockets and hands what they get to got.
func (s *sockets) dial(ctx context.Context, url string, n int, subscribe string, got func(now time.Time, message []byte)) error {
	for range n {
		conn, resp, err := websocket.Dial(ctx, url+"/graphql", &websocket.DialOptions{Subprotocols: []string{"graphql-transport-ws"}})
		if err != nil {
			return fmt.Errorf("open socket %d: %w", len(s.open)+1, err)
		}
		_ = resp.Body // it is the connection's
		s.open = append(s.open, conn)
		if err := conn.Write(ctx, websocket.MessageText, []byte(`{"type":"connection_init"}`)); err != nil {
			return err
		}
		if _, _, err := conn.Read(ctx); err != nil {
			return err
		}
		if subscribe != "" {
			if err := conn.Write(ctx, websocket.MessageText, []byte(subscribe)); err != nil {
				return err
			}
		}
		s.read.Go(func() {
			for {
				_, message, err := conn.Read(ctx)
				if err != nil {
					return
				}
				got(time.Now(), message)
			}
		})
	}
	return nil
}

func (s *sockets) close() {
	for _, conn := range s.open {
		_ = conn.CloseNow()
	}
	s.read.Wait()
}

func measureIdleSockets(ctx context.Context, b *bench, w *world) error {
	name := fmt.Sprintf("%d idle sockets", b.sockets)
	b.out.step("%s", name)
	w.crowded = true
	pid := w.child.process.PID()
	before := memoryOf(pid, "VmRSS:")
	var all sockets
	defer all.close()
	if err := all.dial(ctx, w.child.http, b.sockets, "", func(time.Time, []byte) {}); err != nil {
		return err
	}
	grown := memoryOf(pid, "VmRSS:") - before
	b.report.add(name+", memory", float64(grown)/(1<<20), "MiB RSS", atMost(400), "%s KiB each, connected and acknowledged", round(float64(grown)/float64(b.sockets)/1024))
	b.out.say("  %s: %s MiB", name, round(float64(grown)/(1<<20)))
	return nil
}

// arrivals are when a subscriber saw versions of a product first.
type arrivals struct {
	mu   sync.Mutex
	seen []arrival
}

type arrival struct {
	version int64
	at      time.Time
}

func (a *arrivals) got(now time.Time, message []byte) {
	var m struct {
		Payload struct {
			Data struct{ StockChanged struct{ Version int64 } }
		}
	}
	if json.Unmarshal(message, &m) != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, arrival{m.Payload.Data.StockChanged.Version, now})
}

// of is when a version, or a later one, was seen first.
func (a *arrivals) of(version int64) (at time.Time, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.seen {
		if s.version >= version {
			return s.at, true
		}
	}
	return at, false
}

// measureFanOut loads one product with and without subscribers. What they cost is the difference.
func measureFanOut(ctx context.Context, b *bench, w *world, products []uuid.UUID) error {
	name := fmt.Sprintf("%d subscribers of one product at 2,000 changes/s", b.subscribers)
	c, err := newClient(ctx, w)
	if err != nil {
		return err
	}
	defer c.close()
	due := map[int64]time.Time{}
	load := func(what string, outcome func(int, time.Time, *kgo.Record)) (float64, error) {
		b.out.step("%s", what)
		records := c.requests(products, int(b.paced.Seconds()*pacedRate))
		began, before := time.Now(), w.cpuNow()
		if err := c.pace(ctx, what, records, pacedRate, outcome); err != nil {
			return 0, err
		}
		return w.cpuNow().since(before).server.Seconds() / time.Since(began).Seconds(), nil
	}
	alone, err := load("2,000 changes/s without subscribers", func(int, time.Time, *kgo.Record) {})
	if err != nil {
		return err
	}
	subscribe := fmt.Sprintf(`{"id":"1","type":"subscribe","payload":{"query":"subscription{stockChanged(productIds:[\"%s\"]){productId available version}}"}}`, products[0])
	var all sockets
	defer all.close()
	var one arrivals
	if err := all.dial(ctx, w.child.http, 1, subscribe, one.got); err != nil {
		return err
	}
	if err := all.dial(ctx, w.child.http, b.subscribers-1, subscribe, func(time.Time, []byte) {}); err != nil {
		return err
	}
	with, err := load(name, func(_ int, at time.Time, r *kgo.Record) {
		var outcome struct{ StreamVersion int64 }
		if json.Unmarshal(r.Value, &outcome) == nil && strings.HasSuffix(r.Topic, "product.reserved") {
			due[outcome.StreamVersion] = at
		}
	})
	if err != nil {
		return err
	}
	if len(due) == 0 {
		return errors.New("no outcome said which version it made")
	}
	h, missed := newHistogram(), 0
	last := slices.Max(slices.Collect(maps.Keys(due)))
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, ok := one.of(last); ok {
			break
		}
	}
	for version, at := range due {
		if seen, ok := one.of(version); ok {
			h.record(seen.Sub(at))
		} else {
			missed++
		}
	}
	b.report.add(name+", server CPU", with-alone, "cores", atMost(0.5), "%s with them, %s without", round(with), round(alone))
	b.report.add("from a command to a subscriber, p99", h.ms(99), "ms", atMost(250), "from when it was due to the first value that shows it; p50 %s ms; %d not seen; load %s", round(h.ms(50)), missed, loadAverage())
	b.out.say("  %s: %s cores; from command to subscriber p99 %s ms", name, round(with-alone), round(h.ms(99)))
	if missed > 0 {
		return fmt.Errorf("%d of %d changes were not shown to a subscriber", missed, len(due))
	}
	return nil
}
