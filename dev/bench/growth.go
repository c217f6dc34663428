package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"product-service/product"
)

// measureGrowth compares a product with a long past, and one with many open reservations, against
// fresh ones: in pairs that take turns in one world, so that what else changes meanwhile meets
// both. It is the write side that is measured: a projector would have to catch up with the long
// stream first.
func measureGrowth(ctx context.Context, b *bench) (err error) {
	b.out.step("growth: make a stream of %s events", round(float64(b.stream)))
	w, err := b.newWorld(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	ids, err := w.products(ctx, 2+2*b.pairs)
	if err != nil {
		return err
	}
	long, held, fresh := ids[0], ids[1], ids[2:]
	err = w.fill(ctx, "make a long stream", b.stream, func(i int) (uuid.UUID, product.Command) {
		return long, product.AdjustStock{Delta: int64(i%2)*2 - 1, Reason: "recount"}
	})
	if err != nil {
		return err
	}
	err = w.fill(ctx, "open reservations", b.held, func(int) (uuid.UUID, product.Command) {
		return held, product.Reserve{ReservationID: uuid.New(), SagaID: uuid.NewString(), Quantity: 1}
	})
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
	if err := c.warmUp(ctx, fresh[:1]); err != nil {
		return err
	}
	if err := c.pairs(ctx, fmt.Sprintf("growth, a stream of %s events", round(float64(b.stream))), long, fresh[:b.pairs]); err != nil {
		return err
	}
	if err := c.pairs(ctx, fmt.Sprintf("growth, %s open reservations", round(float64(b.held))), held, fresh[b.pairs:]); err != nil {
		return err
	}
	return w.check(ctx, c.sent+b.held)
}

// pairs measures the old product against a fresh one as often as there are fresh ones; who begins
// changes from pair to pair.
func (c *client) pairs(ctx context.Context, name string, old uuid.UUID, fresh []uuid.UUID) error {
	b := c.w.b
	b.out.step("%s", name)
	var ratios, olds, news, costs []float64
	for i, id := range fresh {
		rates, cost := map[uuid.UUID]float64{}, map[uuid.UUID]float64{}
		order := []uuid.UUID{old, id}
		if i%2 == 1 {
			order = []uuid.UUID{id, old}
		}
		for _, which := range order {
			rate, used, err := c.round(ctx, name, []uuid.UUID{which}, b.flood/3)
			if err != nil {
				return err
			}
			rates[which], cost[which] = rate, used.writing(b.flood/3)
		}
		olds, news, ratios = append(olds, rates[old]), append(news, rates[id]), append(ratios, rates[old]/rates[id])
		costs = append(costs, cost[old]/cost[id])
		b.out.say("  %s: %s/s against %s/s, CPU %s µs against %s µs (load %s)", name, round(rates[old]), round(rates[id]), round(cost[old]), round(cost[id]), loadAverage())
	}
	b.report.add(name, median(ratios), "x", atLeast(0.9), "median of %d pairs, no projector: %s/s against %s/s on a fresh product; CPU of server and database %s x",
		len(fresh), round(median(olds)), round(median(news)), round(median(costs)))
	return nil
}
