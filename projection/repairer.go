package projection

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"product-service/eventstore"
	"product-service/projection/store"
)

// Repairer makes the documents of single products and the journals of shards again, as the log has
// them. It works in one generation, beside the projectors that write to that. It belongs to one
// goroutine.
type Repairer struct{ builder *builder }

// NewRepairer prepares to repair a generation. It reads which products are parked there.
func NewRepairer(ctx context.Context, s *store.Store, into store.Generation, log Log, logger *slog.Logger) (*Repairer, error) {
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	r := &Repairer{builder: &newSubscription(s, into, log, logger, m).builder}
	return r, r.Reload(ctx)
}

// Reload reads again which products are parked.
func (r *Repairer) Reload(ctx context.Context) error {
	clear(r.builder.parked)
	_, err := r.builder.loadParked(ctx)
	return err
}

// Parked are the products that were parked when that was last read, or have been by a repair since.
func (r *Repairer) Parked() []uuid.UUID { return slices.Collect(maps.Keys(r.builder.parked)) }

// IsParked says whether a product is one of them.
func (r *Repairer) IsParked(id uuid.UUID) bool { return r.builder.parked[id] > 0 }

// SameLog returns an error where the log isn't the one that was projected, as after a restore. A
// repair would then take away what this log lacks.
func (r *Repairer) SameLog(ctx context.Context) error {
	saved, err := r.builder.store.LoadCheckpoints(ctx, r.builder.into.Name)
	if err != nil {
		return err
	}
	shards := make(map[int16]*shard, len(saved))
	for n, c := range saved {
		shards[n] = &shard{at: c}
	}
	if err := r.builder.compareLog(ctx, shards); err != nil {
		return err
	}
	for n, s := range shards {
		if s.stopped {
			return fmt.Errorf("nothing is repaired: the log of shard %d isn't the one that was projected up to position %d; "+
				"if it is the right one, rebuild", n, s.at.Pos)
		}
	}
	return nil
}

// Product repairs a product: it makes the product's documents anew from its part of the log,
// whatever they were. The product is parked after that if its log can't be folded to its end.
func (r *Repairer) Product(ctx context.Context, id uuid.UUID) error {
	return r.builder.repairProduct(ctx, id)
}

// Stray returns those of the names of blocks of movements that a product of this version doesn't have.
func (r *Repairer) Stray(ctx context.Context, id uuid.UUID, version int64, names []string) ([]string, error) {
	return r.builder.stray(ctx, id, version, names)
}

// CheckJournal compares the journal of a shard with what its log comes to. It hands every page of
// the log to pages.
func (r *Repairer) CheckJournal(ctx context.Context, shard int16, pages func(rows []eventstore.Record)) (*JournalCheck, error) {
	return r.builder.checkJournal(ctx, shard, pages)
}

// Journal repairs the journal of a shard where a check found gaps. It does nothing where the check
// couldn't read the log.
func (r *Repairer) Journal(ctx context.Context, c *JournalCheck) error {
	if !c.Readable() {
		return nil
	}
	return r.builder.repairJournal(ctx, c)
}
