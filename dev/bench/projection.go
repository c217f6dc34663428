package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
)

const probeEvery = 200 // of the outcomes one is looked for in the read model

// measureProjection lets the projector catch up with a filled log, and then looks how far it is
// behind live commands.
func measureProjection(ctx context.Context, b *bench) (err error) {
	b.out.step("projection: fill the log")
	w, err := b.newWorld(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	products, err := w.products(ctx, pacedProducts)
	if err != nil {
		return err
	}
	if err := w.start(ctx, false); err != nil {
		return err
	}
	c, err := newClient(ctx, w)
	if err != nil {
		return err
	}
	defer c.close()
	for range 2 {
		if _, err := c.flood(ctx, "fill the log", c.requests(products, b.flood)); err != nil {
			return err
		}
	}
	if err := c.verify(ctx, false); err != nil {
		return err
	}
	if err := w.stop(); err != nil {
		return err
	}
	if err := w.start(ctx, true); err != nil {
		return err
	}
	if err := w.catchUp(ctx); err != nil {
		return err
	}
	return errors.Join(c.lag(ctx, products), w.check(ctx, c.sent))
}

// catchUp measures from the first page that is projected to the end of the log.
func (w *world) catchUp(ctx context.Context) error {
	name := "projected events/s when behind"
	w.b.out.step("%s", name)
	rows, err := w.logged(ctx)
	if err != nil {
		return err
	}
	profiled := w.child.profile(ctx, w.b, name, 6)
	before, first := w.cpuNow(), 0
	began := time.Now()
	for first == 0 {
		if first, err = w.child.projected(ctx); err != nil {
			return err
		}
		if time.Since(began) > readyWithin {
			return fmt.Errorf("nothing was projected within %s", readyWithin)
		}
	}
	began = time.Now()
	if _, err := w.awaitProjected(ctx); err != nil {
		return err
	}
	rate := rateOf(rows-first, time.Since(began))
	w.b.report.add(name, rate, "/s", atLeast(30_000), "%s", w.cpuNow().since(before).each(rows))
	w.b.out.say("  %s: %s (load %s)", name, round(rate), loadAverage())
	return profiled()
}

// lag sends at a constant rate, and looks for some of the outcomes in GraphQL: the time from their
// commit to their being seen there.
func (c *client) lag(ctx context.Context, products []uuid.UUID) error {
	b := c.w.b
	name := fmt.Sprintf("read model behind at %s commands/s", round(float64(b.live)))
	b.out.step("%s", name)
	if err := c.pace(ctx, "warm up", c.requests(products, b.live), b.live, func(int, time.Time, *kgo.Record) {}); err != nil {
		return err
	}
	h := newHistogram()
	var mu sync.Mutex
	var probes sync.WaitGroup
	var failed error // the first
	errors := 0
	probe := func(r *kgo.Record) {
		seen, refused, err := c.awaitSeen(ctx, r.Value)
		mu.Lock()
		defer mu.Unlock()
		h.record(seen)
		if errors += refused; failed == nil {
			failed = err
		}
	}
	records := c.requests(products, int(b.paced.Seconds()*float64(b.live)))
	profiled := c.w.child.profile(ctx, b, name, int(b.paced.Seconds())-1)
	before := c.w.cpuNow()
	err := c.pace(ctx, name, records, b.live, func(i int, _ time.Time, r *kgo.Record) {
		if i%probeEvery == 0 {
			probes.Go(func() { probe(r) })
		}
	})
	used := c.w.cpuNow().since(before)
	probes.Wait()
	if err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	b.report.add(name+", p50", h.ms(50), "ms", target{}, "from the commit to the answer of GraphQL, %d probes, %d answers with an error", h.TotalCount(), errors)
	b.report.add(name+", p99", h.ms(99), "ms", atMost(200), "highest %s ms; %s", round(h.ms(100)), used.each(len(records)))
	b.out.say("  %s: p50 %s, p99 %s ms (load %s)", name, round(h.ms(50)), round(h.ms(99)), loadAverage())
	return profiled()
}

// awaitSeen asks for the product at the outcome's version until it is there, and returns how long
// after the commit that is, and how often there was an error instead.
func (c *client) awaitSeen(ctx context.Context, outcome []byte) (after time.Duration, refused int, err error) {
	var o struct {
		ProductID     string
		StreamVersion int64
		OccurredAt    time.Time
	}
	if err := json.Unmarshal(outcome, &o); err != nil {
		return 0, 0, fmt.Errorf("read an outcome: %w", err)
	}
	query, err := json.Marshal(map[string]any{"query": "query Seen($id: ID!, $version: Int!) { product(id: $id, minVersion: $version) { version } }",
		"variables": map[string]any{"id": o.ProductID, "version": o.StreamVersion}})
	if err != nil {
		return 0, 0, err
	}
	for ; time.Since(o.OccurredAt) < time.Minute; refused++ {
		answer, err := c.ask(ctx, query)
		if err != nil {
			return 0, refused, err
		}
		if answer.Data.Product != nil && answer.Data.Product.Version >= o.StreamVersion {
			return time.Since(o.OccurredAt), refused, nil
		}
	}
	return time.Minute, refused, fmt.Errorf("product %s was not at version %d within a minute", o.ProductID, o.StreamVersion)
}

// answer is what GraphQL says of a product.
type answer struct {
	Data struct{ Product *struct{ Version int64 } }
}

func (c *client) ask(ctx context.Context, query []byte) (answer, error) {
	var a answer
	body, err := c.w.post(ctx, query)
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(body, &a)
}
