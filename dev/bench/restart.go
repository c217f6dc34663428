package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// measureRestart kills the only instance and starts it again at once: how long nobody is answered.
func measureRestart(ctx context.Context, b *bench) error {
	return errors.Join(
		b.restart(ctx, "killed with a fixed INSTANCE_ID, to the first outcome", "bench", atMost(2)),
		b.restart(ctx, "killed without one, to the first outcome", "", atMost(10)))
}

func (b *bench) restart(ctx context.Context, name, instance string, goal target) (err error) {
	b.out.step("%s", name)
	w, err := b.newWorld(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	w.instance = instance
	products, err := w.products(ctx, 100)
	if err != nil {
		return err
	}
	if err := w.start(ctx, true); err != nil {
		return err
	}
	c, err := newClient(ctx, w)
	if err != nil {
		return err
	}
	defer c.close()
	if _, err := c.flood(ctx, name, c.requests(products, 1000)); err != nil {
		return err
	}
	var took []float64
	for range max(b.rounds, 3) {
		if err := w.kill(); err != nil {
			return err
		}
		killed := time.Now()
		var both errgroup.Group
		both.Go(func() error { return w.start(ctx, true) })
		both.Go(func() error {
			_, err := c.flood(ctx, name, c.requests(products, 1))
			took = append(took, time.Since(killed).Seconds())
			return err
		})
		if err := both.Wait(); err != nil {
			return err
		}
	}
	slices.Sort(took)
	b.report.add(name, took[len(took)/2], "s", goal, "kill -9 and started again at once, a request waiting; the longest of %d took %s s", len(took), round(took[len(took)-1]))
	return nil
}

// kill ends the server as a crash does.
func (w *world) kill() error {
	c := w.child
	w.child = nil
	if err := c.process.Signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill the server: %w", err)
	}
	<-c.process.Done()
	return nil
}
