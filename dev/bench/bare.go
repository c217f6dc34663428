package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"golang.org/x/sync/errgroup"

	"product-service/eventstore"
	"product-service/product"
)

// What the writer writes for a batch of requests: the rows of the same tables with the same
// content, in statements of the same form.
const (
	bareHeads = `update product_head h set version = u.version, reserved = u.reserved
		from unnest($1::uuid[], $2::bigint[], $3::bigint[]) as u (product_id, version, reserved) where h.product_id = u.product_id`
	bareReservations = `insert into reservation (product_id, reservation_id, saga_id, quantity, held, state)
		select p, r, s, 1, 1, 'ACTIVE' from unnest($1::uuid[], $2::uuid[], $3::text[]) as u (p, r, s)`
	bareInbox = `insert into inbox (command_id, fingerprint, shard, pos, at)
		select *, clock_timestamp() from unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::bigint[])`
	bareLog = `insert into log (shard, pos, product_id, version, type, command_id, data, at)
		select s, n, p, v, 'ProductReservedEvent', c, d::json, clock_timestamp()
		from unnest($1::smallint[], $2::bigint[], $3::uuid[], $4::bigint[], $5::uuid[], $6::text[]) as u (s, n, p, v, c, d)`

	bareLanes = 2
	bareBatch = 4000
)

// measureBare writes the same rows in the same batches without rules, reads or Kafka: what the
// database can take at the most.
func measureBare(ctx context.Context, b *bench) error {
	for _, s := range spreads {
		name := "bare database, rows/s, " + s.name
		b.out.step("%s", name)
		var rates []float64
		for range b.rounds {
			rate, err := s.bare(ctx, b)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			rates = append(rates, rate)
			b.out.say("  %s: %s (load %s)", name, round(rate), loadAverage())
		}
		rate := median(rates)
		b.report.known[s.bareKey()] = rate
		b.report.add(name, rate, "/s", target{}, "%d rows a transaction, %d connections, one round trip each", bareBatch, bareLanes)
	}
	return nil
}

func (s spread) bare(ctx context.Context, b *bench) (rate float64, err error) {
	w, err := b.newWorld(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	ids, err := w.products(ctx, s.products)
	if err != nil {
		return 0, err
	}
	last, err := w.store.Positions(ctx)
	if err != nil {
		return 0, err
	}
	lanes := bareRows(ids, last, b.bare)
	var group errgroup.Group
	var began time.Time
	ready := make(chan struct{})
	for _, batches := range lanes {
		conn, err := pgx.Connect(ctx, w.postgres)
		if err != nil {
			return 0, err
		}
		defer func() { _ = conn.Close(ctx) }()
		group.Go(func() error {
			<-ready
			for _, batch := range batches {
				if err := batch.write(ctx, conn); err != nil {
					return err
				}
			}
			return nil
		})
	}
	began = time.Now()
	close(ready)
	if err := group.Wait(); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return rateOf(b.bare, took), w.check(ctx, b.bare)
}

// bareRow is one request's worth of rows.
type bareRow struct {
	product, command, reservation pgtype.UUID
	shard                         int16
	pos, version                  int64
	saga, data                    string
}

// bareRows deals the rows out to the lanes by shard, as the writer does, and cuts them into batches.
func bareRows(ids []uuid.UUID, last [eventstore.Shards]int64, n int) [bareLanes][]bareColumns {
	var lanes [bareLanes][]bareColumns
	var open [bareLanes][]bareRow
	versions := make([]int64, len(ids))
	for i := range n {
		k := i % len(ids)
		shard := eventstore.ShardOf(ids[k])
		last[shard]++
		versions[k]++
		reservation, saga := uuid.New(), uuid.NewString()
		data, _ := product.Encode(product.Reserved{ReservationID: reservation, SagaID: saga, Quantity: 1, StockTotal: product.MaxStock, Reserved: versions[k]},
			product.Origin{CorrelationID: saga}) // the type has nothing that JSON lacks
		lane := int(shard) % bareLanes
		open[lane] = append(open[lane], bareRow{product: pgUUID(ids[k]), command: pgUUID(uuid.New()), reservation: pgUUID(reservation),
			shard: shard, pos: last[shard], version: versions[k] + 1, saga: saga, data: string(data)})
		if len(open[lane]) == bareBatch {
			lanes[lane], open[lane] = append(lanes[lane], columnsOf(open[lane])), nil
		}
	}
	for lane, rows := range open {
		if len(rows) > 0 {
			lanes[lane] = append(lanes[lane], columnsOf(rows))
		}
	}
	return lanes
}

func pgUUID(id uuid.UUID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }

// bareColumns is a batch as the statements take it, made before the clock runs.
type bareColumns struct {
	products, commands, reservations []pgtype.UUID
	shards                           []int16
	positions, versions, prints      []int64
	sagas, data                      []string

	heads                      []pgtype.UUID
	headVersions, headReserved []int64
}

func columnsOf(rows []bareRow) bareColumns {
	var c bareColumns
	latest := map[pgtype.UUID]int64{}
	for _, r := range rows {
		c.products, c.commands, c.reservations = append(c.products, r.product), append(c.commands, r.command), append(c.reservations, r.reservation)
		c.shards, c.positions, c.versions = append(c.shards, r.shard), append(c.positions, r.pos), append(c.versions, r.version)
		c.prints, c.sagas, c.data = append(c.prints, r.pos*0x9e3779b9), append(c.sagas, r.saga), append(c.data, r.data)
		latest[r.product] = r.version
	}
	for id, version := range latest {
		c.heads, c.headVersions, c.headReserved = append(c.heads, id), append(c.headVersions, version), append(c.headReserved, version-1)
	}
	return c
}

func (c bareColumns) write(ctx context.Context, conn *pgx.Conn) error {
	var batch pgx.Batch
	batch.Queue("begin")
	batch.Queue(bareHeads, c.heads, c.headVersions, c.headReserved)
	batch.Queue(bareReservations, c.products, c.reservations, c.sagas)
	batch.Queue(bareInbox, c.commands, c.prints, c.shards, c.positions)
	batch.Queue(bareLog, c.shards, c.positions, c.products, c.versions, c.commands, c.data)
	batch.Queue("commit")
	return conn.SendBatch(ctx, &batch).Close()
}
