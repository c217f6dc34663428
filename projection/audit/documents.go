package audit

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/projection/store"
	"product-service/projection/view"
)

// compareDocuments holds the read model against the log.
func (a *audit) compareDocuments(ctx context.Context, c *comparison) error {
	if a.repair.IsParked(c.id) {
		return a.differParked(ctx, c)
	}
	c.compareProduct()
	if err := a.compareBlocks(ctx, c); err != nil {
		return err
	}
	if err := a.compareNames(ctx, c); err != nil {
		return err
	}
	if err := a.compareDays(ctx, c); err != nil {
		return err
	}
	return a.compareInventory(ctx, c)
}

// differParked says that the product is parked, since when, and at which row.
func (a *audit) differParked(ctx context.Context, c *comparison) error {
	parked, err := a.store.Parked(ctx, a.into.Name)
	if err != nil {
		return err
	}
	for _, p := range parked {
		if p.Product == c.id {
			c.differ("parked", "the product is parked since %s: its documents end before the row at position %d, a %s, "+
				"which could not be folded in: %s",
				p.At.Format(time.RFC3339), p.Pos, p.Type, p.Error)
			return nil
		}
	}
	return nil // it isn't any more
}

func (c *comparison) compareProduct() {
	want := c.entry.Doc
	if want.Version == 0 {
		want = view.Document{}
	}
	if want.Rev = c.stored.Rev; c.damage == nil && reflect.DeepEqual(canonical(want), canonical(c.stored)) {
		return
	}
	switch {
	case c.exists && c.last == 0 && want.Version == 0:
		c.differ("document", "there is a document, but the log has no such product")
	case c.damage != nil:
		c.differ("document", "it can't be read: %v", c.damage)
	case !c.exists:
		c.differ("document", "there is none, the log comes to version %d", want.Version)
	case want.Pos != c.stored.Pos:
		c.differ("document", "it stands at position %d, its checkpoint says %d", c.stored.Pos, want.Pos)
	default:
		c.differ("document", "the log comes to %s, stored is %s", brief(&want), brief(&c.stored))
	}
}

// canonical takes away differences of writing: an empty list may be none.
func canonical(d view.Document) view.Document {
	d.Words = append([]string{}, d.Words...)
	d.Variants = append([]view.Variant{}, d.Variants...)
	d.Tail = append(view.Rows{}, d.Tail...)
	return d
}

func brief(d *view.Document) string {
	return fmt.Sprintf("{version %d, %s, %q, total %d, reserved %d, available %d, %s, orderable %v, %d variants, "+
		"updated %s}", d.Version, d.Status, d.Name, d.Total, d.Reserved, d.Available, d.StockStatus, d.Orderable,
		len(d.Variants), view.TimeOf(d.UpdatedAt))
}

// compareBlocks holds the blocks that have gathered against those stored.
func (a *audit) compareBlocks(ctx context.Context, c *comparison) error {
	stored := make(map[string]view.Block, len(c.entry.Blocks))
	var ids []string
	for _, b := range c.entry.Blocks {
		ids = append(ids, b.ID)
	}
	if err := store.Find(ctx, a.store, a.into.Movements, ids, store.AllFields, func(raw bson.Raw) {
		b := view.Block{}
		if bson.Unmarshal(raw, &b) != nil {
			b = view.Block{ID: raw.Lookup("_id").StringValue()} // which is no right one
		}
		stored[b.ID] = b
	}); err != nil {
		return err
	}
	for _, want := range c.entry.Blocks {
		got, ok := stored[want.ID]
		switch {
		case !ok:
			c.differ("movements", "the block %s is missing", want.ID)
		case !bytes.Equal(want.Rows, got.Rows):
			c.compareRows(want, got)
		case !reflect.DeepEqual(want, got):
			c.differ("movements", "the block %s has the right movements, but is described otherwise than they are", want.ID)
		}
	}
	c.entry.Blocks = nil
	return nil
}

// compareRows says where the first difference between two blocks is.
func (c *comparison) compareRows(want, got view.Block) {
	wanted, _ := want.Rows.Movements(c.id) // they were written just now
	stored, err := got.Rows.Movements(c.id)
	for i, m := range wanted {
		if i == len(stored) {
			c.differ("movements", "the block %s ends before version %d (%v)", want.ID, m.Version, err)
			return
		}
		if m != stored[i] {
			c.differ("movements", "the log comes to %+v, stored is %+v", m, stored[i])
			return
		}
	}
	c.differ("movements", "the block %s has more movements than the log", want.ID)
}

// compareInventory asks whether the Inventory Service has the records it is said to have.
func (a *audit) compareInventory(ctx context.Context, c *comparison) error {
	if a.options.Absent == nil || c.stored.Status != view.Active {
		return nil
	}
	var recorded []uuid.UUID
	for _, v := range c.stored.Variants {
		id, err := uuid.Parse(v.ID)
		if err == nil && v.Record {
			recorded = append(recorded, id)
		}
	}
	for chunk := range slices.Chunk(recorded, MaxVariants) {
		absent, err := a.options.Absent(ctx, chunk)
		if err != nil {
			return fmt.Errorf("ask for inventory records: %w", err)
		}
		for _, id := range absent {
			c.differ("inventory", "variant %s was initialized, but the Inventory Service has no record of it", id)
		}
	}
	return nil
}
