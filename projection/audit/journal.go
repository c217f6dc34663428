package audit

import (
	"context"
	"time"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/wait"
)

// pause waits between two pages, if there is a pace to keep: nobody is to feel it.
func (a *audit) pause(ctx context.Context, since time.Time) {
	if a.options.PerSecond > 0 {
		wait.For(ctx, 4*time.Since(since))
	}
}

// journal compares the journal of a shard, and returns the products that the shard's log names.
func (a *audit) journal(ctx context.Context, shard int16) (ids []uuid.UUID, err error) {
	known, last := map[uuid.UUID]bool{}, time.Now()
	c, err := a.repair.CheckJournal(ctx, shard, func(rows []eventstore.Record) {
		for i := range rows {
			if id := rows[i].ProductID; !known[id] {
				known[id], ids = true, append(ids, id)
			}
		}
		a.pause(ctx, last)
		last = time.Now()
	})
	if err != nil || len(c.Gaps()) == 0 {
		return ids, err
	}
	if err := a.store.StillCurrent(ctx, a.into); err != nil {
		return ids, err
	}
	// Once more: a product may have been parked or released meanwhile.
	if err := a.repair.Reload(ctx); err != nil {
		return ids, err
	}
	if c, err = a.repair.CheckJournal(ctx, shard, func([]eventstore.Record) {}); err != nil {
		return ids, err
	}
	gaps := c.Gaps()
	heal := a.options.Heal && len(gaps) > 0 && c.Readable()
	if heal {
		if err := a.repair.Journal(ctx, c); err != nil {
			return ids, err
		}
		a.result.Healed += int64(len(gaps))
	}
	for i := range gaps {
		a.note(Difference{Product: gaps[i].Product, Where: "journal", What: gaps[i].Words(shard), Healed: heal})
	}
	return ids, nil
}
