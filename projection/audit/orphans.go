package audit

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"product-service/eventstore"
	"product-service/projection/store"
	"product-service/projection/view"
)

// compareNames looks for blocks of the product that the log, as it is by now, doesn't come to.
func (a *audit) compareNames(ctx context.Context, c *comparison) error {
	id := c.id.String()
	for names, err := range store.IDPages(ctx, a.into.Movements, id+".", id+"0") {
		if err != nil {
			return err
		}
		stray, err := a.repair.Stray(ctx, c.id, c.last, names)
		if err != nil {
			return err
		}
		for _, name := range stray {
			if last, _ := view.BlockNamed(id, name); last > 0 {
				since, err := a.log.Stream(ctx, c.id, last-1, 1)
				if err != nil {
					return err
				}
				if len(since) > 0 {
					continue
				}
			}
			c.differ("movements", "there is a block %s, the log has no such movements", name)
		}
	}
	return nil
}

// orphans compares the products that the log doesn't name, and of which something is kept all the
// same: a head, reservations, documents of any kind, or that they are parked.
func (a *audit) orphans(ctx context.Context) error {
	const page = 1000
	if err := a.compareOrphans(ctx, a.repair.Parked()); err != nil {
		return err
	}
	for after := uuid.Nil; ; {
		began := time.Now()
		ids, err := a.tables.WithState(ctx, after, page)
		if err == nil {
			err = a.compareOrphans(ctx, ids)
		}
		if err != nil {
			return err
		}
		if len(ids) < page {
			break
		}
		after = ids[len(ids)-1]
		a.pause(ctx, began)
	}
	for _, part := range []struct {
		in      *mongo.Collection
		where   string
		follows string // the product in a name
	}{{a.into.Products, "document", ""}, {a.into.Movements, "movements", "./"}, {a.into.Days, "days", "."}, {a.into.Months, "days", "."}} {
		if err := a.orphanDocuments(ctx, part.in, part.where, part.follows); err != nil {
			return fmt.Errorf("audit %s: %w", part.in.Name(), err)
		}
	}
	return nil
}

// orphanDocuments compares the orphans that documents of a kind are of.
func (a *audit) orphanDocuments(ctx context.Context, in *mongo.Collection, where, follows string) error {
	began := time.Now()
	for names, err := range store.IDPages(ctx, in, "", "") {
		if err != nil {
			return err
		}
		var ids []uuid.UUID
		for _, name := range names {
			if id, ok := productNamed(name, follows); !ok {
				a.note(Difference{Where: where, What: fmt.Sprintf("there is a document of no product: %q", name)})
			} else if n := len(ids); n == 0 || ids[n-1] != id {
				ids = append(ids, id)
			}
		}
		if err := a.compareOrphans(ctx, ids); err != nil {
			return err
		}
		a.pause(ctx, began)
		began = time.Now()
	}
	others := bson.A{"null", "number", "object", "binData", "objectId", "bool", "date", "timestamp"}
	o := options.Find().SetProjection(store.IDOnly).SetLimit(MaxVariants)
	cursor, err := in.Find(ctx, store.ByID(bson.D{{Key: "$type", Value: others}}), o)
	if err != nil {
		return err
	}
	var unnamed []bson.Raw
	if err := cursor.All(ctx, &unnamed); err != nil {
		return err
	}
	for _, raw := range unnamed {
		a.note(Difference{Where: where, What: "there is a document of no product: " + raw.Lookup("_id").String()})
	}
	return nil
}

// productNamed is the product that a document's name begins with; what follows must begin with one
// of these characters.
func productNamed(name, follows string) (uuid.UUID, bool) {
	const length = 36
	if len(name) < length || (follows == "") != (len(name) == length) ||
		(follows != "" && !strings.ContainsRune(follows, rune(name[length]))) {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(name[:length])
	return id, err == nil && id.String() == name[:length]
}

// compareOrphans compares those of the products that the log has nothing of, each once: its
// documents are then read before its log, as those of others are.
func (a *audit) compareOrphans(ctx context.Context, ids []uuid.UUID) error {
	if len(ids) == 0 {
		return nil
	}
	orphans, err := a.tables.NotInLog(ctx, ids)
	if err != nil {
		return err
	}
	for _, id := range orphans {
		if a.compared[id] {
			continue
		}
		a.compared[id] = true
		if err := a.product(ctx, eventstore.ShardOf(id), id); err != nil {
			return fmt.Errorf("product %s: %w", id, err)
		}
	}
	return nil
}
