package command

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"product-service/eventstore"
	"product-service/product"
	"product-service/wait"
)

const (
	followPage = 100                    // inventory events of a shard
	followPoll = 100 * time.Millisecond // how late another instance's commits are seen at most
)

// InventoryLog is the log as the follower reads it; eventstore.Store is one.
type InventoryLog interface {
	InventoryTail(ctx context.Context, cursors []eventstore.Cursor, limit int) ([]eventstore.Record, error)
	Positions(ctx context.Context) ([eventstore.Shards]int64, error)
}

// InventoryFollower tells its instance of each inventory event that is committed to the log after the
// follower's start, in order per product. Every instance runs one: it feeds what an instance has for
// itself, such as the levels in its memory.
//
// It reads the log and not the topic, because the log alone knows which events count: an eventId that
// came before with other content, or an event about a variant that isn't ours, is not in it.
type InventoryFollower struct {
	log    InventoryLog
	wake   <-chan struct{} // a hint that this instance has committed something
	tell   func(InventoryEvent)
	logger *slog.Logger
	poll   time.Duration

	cursors []eventstore.Cursor
}

// NewInventoryFollower prepares a follower; Run starts it. tell must be quick.
func NewInventoryFollower(log InventoryLog, wake <-chan struct{}, tell func(InventoryEvent), logger *slog.Logger) *InventoryFollower {
	return &InventoryFollower{log: log, wake: wake, tell: tell, logger: logger, poll: followPoll}
}

// Run follows the log until the context ends. It tries again for ever.
func (f *InventoryFollower) Run(ctx context.Context) error {
	for attempt := 0; ctx.Err() == nil; {
		more, err := f.read(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			f.logger.WarnContext(ctx, "inventory events could not be read from the log; it is tried again", "attempt", attempt, "error", err)
			pause(ctx, attempt)
			attempt++
			continue
		}
		attempt = 0
		if !more {
			wait.ForHint(ctx, f.poll, f.wake)
		}
	}
	return nil
}

// read tells of one page, and says whether there may be more at once.
func (f *InventoryFollower) read(ctx context.Context) (more bool, err error) {
	if f.cursors == nil {
		tips, err := f.log.Positions(ctx)
		if err != nil {
			return false, fmt.Errorf("find the end of the log: %w", err)
		}
		for shard, pos := range tips {
			f.cursors = append(f.cursors, eventstore.Cursor{Shard: int16(shard), Pos: pos})
		}
		return true, nil
	}
	records, err := f.log.InventoryTail(ctx, f.cursors, followPage)
	if err != nil {
		return false, err
	}
	for _, r := range records {
		f.cursors[r.Shard].Pos = r.Pos
		e, err := inventoryEventOf(r)
		if err != nil {
			f.logger.ErrorContext(ctx, "an inventory event in the log can't be read, and is passed over", "shard", r.Shard, "pos", r.Pos, "error", err)
			continue
		}
		f.tell(e)
	}
	return len(records) > 0, nil
}

// inventoryEventOf reads what the log has of an inventory event.
func inventoryEventOf(r eventstore.Record) (InventoryEvent, error) {
	e, err := product.Decode(r.Type, r.Data)
	if err != nil {
		return InventoryEvent{}, err
	}
	c, ok := e.(product.InventoryChanged)
	if !ok {
		return InventoryEvent{}, fmt.Errorf("%s is no inventory event", r.Type)
	}
	return InventoryEvent{ID: r.CommandID, VariantID: c.VariantID, Type: c.Type, Timestamp: c.Timestamp, Available: c.AvailableQuantity}, nil
}
