package projection

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

const parkedWords = "the product is parked: its documents end before a row that could not be folded in"

// compareDocuments holds the read model against the log.
func (a *audit) compareDocuments(ctx context.Context, c *account) error {
	if a.parked[c.id] {
		c.differ("parked", parkedWords)
		return nil
	}
	c.compareProduct()
	if err := a.compareRows(ctx, c); err != nil {
		return err
	}
	if err := a.compareLater(ctx, c); err != nil {
		return err
	}
	if err := a.compareDays(ctx, c); err != nil {
		return err
	}
	return a.compareInventory(ctx, c)
}

func (c *account) compareProduct() {
	want := c.entry.doc
	if want.Version == 0 {
		want = document{}
	}
	if want.Rev = c.stored.Rev; reflect.DeepEqual(canonical(want), canonical(c.stored)) {
		return
	}
	switch {
	case !c.exists:
		c.differ("document", "there is none, the log comes to version %d", want.Version)
	case want.Pos != c.stored.Pos:
		c.differ("document", "it stands at position %d, its checkpoint says %d", c.stored.Pos, want.Pos)
	default:
		c.differ("document", "the log comes to %s, stored is %s", want.brief(), c.stored.brief())
	}
}

// canonical takes away differences of writing: an empty list may be none.
func canonical(d document) document {
	d.Words = append([]string{}, d.Words...)
	d.Variants = append([]variant{}, d.Variants...)
	return d
}

func (d *document) brief() string {
	return fmt.Sprintf("{version %d, %s, %q, total %d, reserved %d, available %d, %s, orderable %v, %d variants, updated %s}",
		d.Version, d.Status, d.Name, d.Total, d.Reserved, d.Available, d.StockStatus, d.Orderable, len(d.Variants), timeOf(d.UpdatedAt))
}

// compareRows holds the rows that have gathered against those stored.
func (a *audit) compareRows(ctx context.Context, c *account) error {
	stored := make(map[string]movement, len(c.rows))
	var ids []string
	for _, m := range c.rows {
		ids = append(ids, m.ID)
	}
	if err := find(ctx, a.store, a.into.movements, ids, func(m movement) { stored[m.ID] = m }); err != nil {
		return err
	}
	for _, want := range c.rows {
		switch got, ok := stored[want.ID]; {
		case !ok:
			c.differ("movements", "%s is missing", want.ID)
		case got != want:
			c.differ("movements", "the log comes to %+v, stored is %+v", want, got)
		}
	}
	c.rows = c.rows[:0]
	return nil
}

// compareLater looks for rows of versions that the log doesn't have.
func (a *audit) compareLater(ctx context.Context, c *account) error {
	beyond := bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: movementID(c.id.String(), c.last)}, {Key: "$lt", Value: c.id.String() + "/"}}}, {Key: "product", Value: c.id.String()}}
	cursor, err := a.into.movements.Find(ctx, beyond, options.Find().SetLimit(MaxIDs))
	if err != nil {
		return err
	}
	var rows []movement
	if err := cursor.All(ctx, &rows); err != nil || len(rows) == 0 {
		return err
	}
	later, err := a.stream.Stream(ctx, c.id, c.last, MaxIDs) // committed since
	if err != nil {
		return err
	}
	for _, m := range rows {
		if m.Version > c.last+int64(len(later)) {
			c.differ("movements", "%s is of a version the log doesn't have", m.ID)
		}
	}
	return nil
}

func (a *audit) compareDays(ctx context.Context, c *account) error {
	cursor, err := a.into.days.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: c.id.String() + "."}, {Key: "$lt", Value: c.id.String() + "/"}}}, {Key: "product", Value: c.id.String()}})
	if err != nil {
		return err
	}
	var days []day
	if err := cursor.All(ctx, &days); err != nil {
		return err
	}
	stored := map[int64]hour{}
	for _, d := range days {
		for _, h := range d.Hours {
			stored[h.Number] = h
		}
	}
	running := c.entry.doc.Hour
	for _, want := range c.entry.ended {
		if got := stored[want.Number]; got != want {
			c.differ("days", "the log comes to %+v, stored is %+v", want, got)
		}
		delete(stored, want.Number)
	}
	for number, h := range stored {
		if running.Movements == 0 || number < running.Number { // the running one may have ended just now
			c.differ("days", "stored is %+v, in which nothing moved", h)
		}
	}
	return nil
}

// compareInventory asks whether the Inventory Service has the records it is said to have.
func (a *audit) compareInventory(ctx context.Context, c *account) error {
	if a.options.Absent == nil || c.stored.Status != active {
		return nil
	}
	var recorded []uuid.UUID
	for _, v := range c.stored.Variants {
		id, err := uuid.Parse(v.ID)
		if err == nil && v.Record {
			recorded = append(recorded, id)
		}
	}
	for chunk := range slices.Chunk(recorded, MaxIDs) {
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
