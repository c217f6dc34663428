package eventstore

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

var (
	insertHeads        = statement("insert_heads")
	updateHeads        = statement("update_heads")
	insertReservations = statement("insert_reservations")
	updateReservations = statement("update_reservations")
	insertVariants     = statement("insert_variants")
	confirmVariants    = statement("confirm_variants")
	deleteVariants     = statement("delete_variants")

	deleteProductVariants = statement("delete_product_variants")
	insertInbox           = statement("insert_inbox")
	updateInbox           = statement("update_inbox")
	insertLog             = statement("insert_log")
)

// write is the second round trip: every change, each kind in one statement, and the commit.
func (c *Changes) write(ctx context.Context, conn batchSender) error {
	var batch pgx.Batch
	c.queueHeads(&batch)
	c.queueReservations(&batch)
	c.queueVariants(&batch)
	c.queueInbox(&batch)
	c.queueLog(&batch)
	batch.Queue("commit")
	results := conn.SendBatch(ctx, &batch)
	var failed error
	for range batch.Len() - 1 {
		if _, err := results.Exec(); err != nil && failed == nil {
			failed = err
		}
	}
	_, commit := results.Exec()
	if closed := results.Close(); commit == nil {
		commit = closed
	}
	switch {
	case failed != nil && isServerError(failed):
		return fmt.Errorf("write a batch: %w", failed)
	case failed != nil || commit != nil:
		return commitError(firstOf(commit, failed))
	}
	return nil
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// headColumns are the arrays the head statements take.
type headColumns struct {
	ids                                 uuids
	version, total, reserved, threshold []int64
	status                              []int16
	variants                            []int32
}

func (h *headColumns) add(head Head) {
	h.ids = append(h.ids, head.ProductID)
	h.version = append(h.version, head.Version)
	h.status = append(h.status, head.Status)
	h.total = append(h.total, head.StockTotal)
	h.reserved = append(h.reserved, head.Reserved)
	h.threshold = append(h.threshold, head.LowStockThreshold)
	h.variants = append(h.variants, head.Variants)
}

func (c *Changes) queueHeads(batch *pgx.Batch) {
	var created, changed headColumns
	var expected []int64
	for _, head := range sortedHeads(c.heads) {
		if before, ok := c.snapshot.Heads[head.ProductID]; ok {
			changed.add(head)
			expected = append(expected, before.Version)
		} else {
			created.add(head)
		}
	}
	if h := created; len(h.ids) > 0 {
		batch.Queue(insertHeads, h.ids, h.version, h.status, h.total, h.reserved, h.threshold, h.variants)
	}
	if h := changed; len(h.ids) > 0 {
		batch.Queue(updateHeads, h.ids, h.version, h.status, h.total, h.reserved, h.threshold, h.variants, expected)
	}
}

// reservationColumns are the arrays the reservation statements take.
type reservationColumns struct {
	products, ids  uuids
	sagas, states  []string
	quantity, held []int64
	expires        []pgtype.Timestamptz
}

func (c *Changes) queueReservations(batch *pgx.Batch) {
	var created, changed reservationColumns
	for key, r := range c.reservations {
		columns := &created
		if _, ok := c.snapshot.Reservations[key]; ok {
			columns = &changed
		}
		columns.products = append(columns.products, r.ProductID)
		columns.ids = append(columns.ids, r.ReservationID)
		columns.sagas = append(columns.sagas, r.SagaID)
		columns.states = append(columns.states, r.State)
		columns.quantity = append(columns.quantity, r.Quantity)
		columns.held = append(columns.held, r.Held)
		columns.expires = append(columns.expires, pgtype.Timestamptz{Time: r.ExpiresAt, Valid: !r.ExpiresAt.IsZero()})
	}
	if r := created; len(r.ids) > 0 {
		batch.Queue(insertReservations, sized{r.products, 160 * len(r.ids)}, r.ids, r.sagas, r.quantity, r.held, r.states, r.expires)
	}
	if r := changed; len(r.ids) > 0 {
		batch.Queue(updateReservations, r.products, r.ids, r.sagas, r.held, r.states, r.expires)
	}
}

func (c *Changes) queueVariants(batch *pgx.Batch) {
	if len(c.discarded) > 0 {
		batch.Queue(deleteVariants, uuids(c.discarded))
	}
	if len(c.withdrawn) > 0 {
		batch.Queue(deleteProductVariants, uuids(c.withdrawn))
	}
	if n := len(c.newVariants); n > 0 {
		ids, products, skus, keys := make(uuids, n), make(uuids, n), make([]string, n), make([]string, n)
		quantities, thresholds, unconfirmed := make([]int64, n), make([]int64, n), make([]bool, n)
		correlations, traces := make([]string, n), make([]string, n)
		for i, v := range c.newVariants {
			ids[i], products[i], skus[i], keys[i] = v.VariantID, v.ProductID, v.SKU, v.SKUKey
			quantities[i], thresholds[i], unconfirmed[i] = v.InitialQuantity, v.LowStockThreshold, v.Unconfirmed
			correlations[i], traces[i] = v.CorrelationID, v.Traceparent
		}
		batch.Queue(insertVariants, ids, products, skus, keys, quantities, thresholds, unconfirmed, correlations, traces)
	}
	if len(c.confirmed) > 0 {
		batch.Queue(confirmVariants, uuids(c.confirmed))
	}
}

func (c *Changes) queueInbox(batch *pgx.Batch) {
	if n := len(c.inbox); n > 0 {
		ids, fingerprints, shards := make(uuids, n), make([]int64, n), make([]int16, n)
		positions, from := make([]int64, n), make([]time.Time, n)
		for i, e := range c.inbox {
			ids[i], fingerprints[i], shards[i], positions[i], from[i] = e.CommandID, e.Fingerprint, e.Shard, e.Pos, e.AgeFrom
		}
		batch.Queue(insertInbox, sized{ids, 72 * n}, fingerprints, shards, positions, from)
	}
	if n := len(c.longer); n > 0 {
		ids, from := make(uuids, 0, n), make([]time.Time, 0, n)
		for id, ageFrom := range c.longer {
			ids, from = append(ids, id), append(from, ageFrom)
		}
		batch.Queue(updateInbox, ids, from)
	}
}

func (c *Changes) queueLog(batch *pgx.Batch) {
	n := len(c.rows)
	if n == 0 {
		return
	}
	shards, positions, versions := make([]int16, n), make([]int64, n), make([]int64, n)
	products, commands := make(uuids, n), make(uuids, n)
	types, data, at := make([]string, n), make([]string, n), make([]time.Time, n)
	bytes := 0
	for i, r := range c.rows {
		shards[i], positions[i], versions[i] = r.Shard, r.Pos, r.Version
		products[i], commands[i] = r.ProductID, r.CommandID
		types[i], data[i], at[i] = r.Type, string(r.Data), r.At
		bytes += 100 + len(r.Type) + len(r.Data)
	}
	batch.Queue(insertLog, sized{shards, bytes}, positions, products, versions, types, commands, data, at)
}
