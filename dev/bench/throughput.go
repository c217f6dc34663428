package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// spread is over how many products the commands go.
type spread struct {
	name        string
	products    int
	with, alone float64 // targets, with the projector and without
}

var spreads = []spread{
	{"hot product", 1, 40_000, 60_000},
	{"1,000 products", 1_000, 45_000, 60_000},
	{"10,000 products", 10_000, 40_000, 60_000},
}

func (s spread) key(projector bool) string { return fmt.Sprint(s.name, projector) }
func (s spread) bareKey() string           { return "bare " + s.name }

// measureThroughput sends commands as fast as the broker takes them, and counts from the first
// produced to the last outcome consumed.
func measureThroughput(ctx context.Context, b *bench) error { return measureSpreads(ctx, b, true) }

// measureWriteSide does the same without the projector.
func measureWriteSide(ctx context.Context, b *bench) error { return measureSpreads(ctx, b, false) }

func measureSpreads(ctx context.Context, b *bench, projector bool) error {
	for _, s := range spreads {
		if err := s.measure(ctx, b, projector); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func (s spread) measure(ctx context.Context, b *bench, projector bool) (err error) {
	name, goal := "commands/s, "+s.name+", projector running", s.with
	if !projector {
		name, goal = "commands/s, "+s.name+", no projector", s.alone
	}
	b.out.step("%s", name)
	w, err := b.newWorld(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	products, err := w.products(ctx, s.products)
	if err != nil {
		return err
	}
	if err := w.start(ctx, projector); err != nil {
		return err
	}
	c, err := newClient(ctx, w)
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.warmUp(ctx, products); err != nil {
		return err
	}
	var rates []float64
	var cpu string
	for range b.rounds {
		rate, used, err := c.round(ctx, name, products, b.flood)
		if err != nil {
			return err
		}
		rates, cpu = append(rates, rate), used.each(b.flood)
		b.out.say("  %s: %s (load %s; %s)", name, round(rate), loadAverage(), cpu)
	}
	rate := median(rates)
	b.report.known[s.key(projector)] = rate
	b.report.add(name, rate, "/s", atLeast(goal), "%s to %s; %s", round(slices.Min(rates)), round(slices.Max(rates)), cpu)
	return c.verify(ctx, projector)
}

// warmUp lets connections, plans and caches come into being.
func (c *client) warmUp(ctx context.Context, products []uuid.UUID) error {
	if _, err := c.flood(ctx, "warm up", c.requests(products, max(1000, c.w.b.flood/20))); err != nil {
		return err
	}
	return c.settle(ctx)
}

// round floods once, and waits until the projector has caught up, if there is one.
func (c *client) round(ctx context.Context, name string, products []uuid.UUID, n int) (rate float64, used cpuUse, err error) {
	records := c.requests(products, n)
	profiled := c.w.child.profile(ctx, c.w.b, name, 10)
	before := c.w.cpuNow()
	took, err := c.flood(ctx, name, records)
	if err != nil {
		return 0, cpuUse{}, err
	}
	used = c.w.cpuNow().since(before)
	return rateOf(n, took), used, errors.Join(profiled(), c.settle(ctx))
}

// settle waits until the projector, if there is one, has folded the whole log.
func (c *client) settle(ctx context.Context) error {
	if !c.w.projecting {
		return nil
	}
	_, err := c.w.awaitProjected(ctx)
	return err
}

// verify holds what the database says against what was sent, and that a projector that should not
// run did not.
func (c *client) verify(ctx context.Context, projector bool) error {
	if err := c.w.check(ctx, c.sent); err != nil {
		return err
	}
	rows, err := c.w.child.projected(ctx)
	if err == nil && rows > 0 && !projector {
		err = fmt.Errorf("the server projected %d rows although its projector should not run", rows)
	}
	return err
}

// rateOf is how fast something grew between two moments.
func rateOf(n int, took time.Duration) float64 { return float64(n) / took.Seconds() }

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}
