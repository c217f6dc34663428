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

// Repairer writes single products and the journals of shards again as the log has them, in one
// generation and beside the projectors that write to it. It belongs to one goroutine.
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

// SameLog returns an error where the log isn't the one that was projected, as another or a restored
// one isn't: a repair would take away what it lacks.
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

// Product makes a product's documents anew from its part of the log, whatever they were. It is
// parked after that where its log can't be folded to its end, and else isn't any more.
func (r *Repairer) Product(ctx context.Context, id uuid.UUID) error {
	return r.builder.repairProduct(ctx, id)
}

// Stray returns those names of blocks of movements that don't belong to a product of this version.
func (r *Repairer) Stray(ctx context.Context, id uuid.UUID, version int64, names []string) ([]string, error) {
	return r.builder.stray(ctx, id, version, names)
}

// CheckJournal compares the journal of a shard with what its log comes to. It hands every page of
// the log to pages.
func (r *Repairer) CheckJournal(ctx context.Context, shard int16, pages func(rows []eventstore.Record)) (*JournalCheck, error) {
	return r.builder.checkJournal(ctx, shard, pages)
}

// Journal writes what a check found wrong with the journal of a shard as the log has it, and
// nothing where the log can't be read.
func (r *Repairer) Journal(ctx context.Context, c *JournalCheck) error {
	if !c.Readable() {
		return nil
	}
	return r.builder.repairJournal(ctx, c)
}
