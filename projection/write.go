package projection

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"golang.org/x/sync/errgroup"

	"product-service/projection/store"
	"product-service/projection/view"
)

// write writes a page: movements and ended hours before the products, so that a product that is
// there vouches for them.
func (b *builder) write(ctx context.Context, p *page) error {
	var days, months, products []mongo.WriteModel
	var blocks []view.Block
	for _, e := range p.entries {
		days, blocks = append(days, dayModels(e.Days)...), append(blocks, e.Blocks...)
		months = append(months, monthModels(view.MonthsOf(e.Days))...)
		if !e.Changed {
			continue
		}
		model, err := productModel(e, b.store.Server.Appends)
		if err != nil {
			return fmt.Errorf("product %s: %w", e.Doc.ID, err)
		}
		products = append(products, model)
	}
	// The group ends no write early: one that was given up may still arrive, after the page has
	// been folded again.
	var group errgroup.Group
	group.SetLimit(2)
	group.Go(func() error {
		if err := insert(ctx, b, b.into.Movements, blocks, false); !store.OnlyDuplicates(err) {
			return err
		}
		return nil // they are what they should be: a full block doesn't change
	})
	group.Go(func() error { return b.replaceAll(ctx, b.into.Days, days) })
	group.Go(func() error { return b.replaceAll(ctx, b.into.Months, months) })
	group.Go(func() error { return b.writeJournal(ctx, p) })
	if err := group.Wait(); err != nil {
		return err
	}
	return b.bulk(ctx, b.into.Products, products)
}

// insert is [store.Insert], and counts what fails.
func insert[D any](ctx context.Context, b *builder, into *mongo.Collection, documents []D, ordered bool) error {
	return b.counted(store.Insert(ctx, b.store, into, documents, ordered))
}

// counted counts an error of a write, unless it is about documents that were there.
func (b *builder) counted(err error) error {
	if err != nil && !store.OnlyDuplicates(err) {
		b.metrics.writeErrors.Inc()
	}
	return err
}

// writeJournal adds the page to the journal, in order: a shard's journal has no hole, wherever this
// ends. Where another has added to a shard meanwhile the page is stale, and nothing that follows is
// written: it would begin elsewhere than what the other writes next.
func (b *builder) writeJournal(ctx context.Context, p *page) error {
	var all []*view.Segment
	from := map[int16]int64{}
	for shard, s := range p.journal {
		if all = append(all, s...); len(s) > 0 {
			from[shard] = b.journal[shard]
		}
	}
	if err := insert(ctx, b, b.into.Journal, all, true); store.OnlyDuplicates(err) {
		return errors.Join(errStale, b.journal.begin(ctx, b.into.Journal, from))
	} else if err != nil {
		return err
	}
	for shard, s := range p.journal {
		if len(s) > 0 {
			b.journal[shard] = s[len(s)-1].Last
		}
	}
	return nil
}

// bulk writes at most one operation a document. Each applies only to the state it was computed
// from; one that doesn't is stale.
func (b *builder) bulk(ctx context.Context, into *mongo.Collection, models []mongo.WriteModel) error {
	applied, err := b.store.BulkWrite(ctx, into, models)
	switch err = b.counted(err); {
	case store.OnlyDuplicates(err), err == nil && applied < int64(len(models)):
		return fmt.Errorf("write %s: %w", into.Name(), errStale)
	default:
		return err
	}
}

// productModel writes the entry, if the document still is what the entry was loaded from.
func productModel(e *view.Entry, appends bool) (mongo.WriteModel, error) {
	switch {
	case e.Loaded < 0:
		return mongo.NewInsertOneModel().SetDocument(&e.Doc), nil
	case e.Catalogue:
		return mongo.NewReplaceOneModel().SetFilter(e.Guard()).SetReplacement(&e.Doc), nil
	}
	update, err := e.StockUpdate(appends)
	return mongo.NewUpdateOneModel().SetFilter(e.Guard()).SetUpdate(update), err
}

// dayModels write the hours and days that ended, a day in one operation.
func dayModels(days []view.Day) []mongo.WriteModel {
	models := make([]mongo.WriteModel, len(days))
	for i := range days {
		models[i] = mongo.NewUpdateOneModel().SetFilter(bson.D{{Key: "_id", Value: days[i].ID}}).
			SetUpdate(store.Set(days[i].Fields())).SetUpsert(true)
	}
	return models
}

// monthModels write the figures of the days that ended, a month in one operation.
func monthModels(months []view.Month) []mongo.WriteModel {
	models := make([]mongo.WriteModel, len(months))
	for i := range months {
		models[i] = mongo.NewUpdateOneModel().SetFilter(store.ByID(months[i].ID)).SetUpdate(store.Set(months[i].Fields())).SetUpsert(true)
	}
	return models
}

// segmentModels write the segments, whatever is there.
func segmentModels(s view.Segments) []mongo.WriteModel {
	models := make([]mongo.WriteModel, len(s))
	for i := range s {
		models[i] = replace(s[i].ID, s[i])
	}
	return models
}

func replace(id string, doc any) mongo.WriteModel {
	return mongo.NewReplaceOneModel().SetFilter(store.ByID(id)).SetReplacement(doc).SetUpsert(true)
}

// replaceAll writes documents whatever is there. It is stale where another process made one of them
// at this moment.
func (b *builder) replaceAll(ctx context.Context, in *mongo.Collection, models []mongo.WriteModel) error {
	_, err := b.store.BulkWrite(ctx, in, models)
	if err = b.counted(err); store.OnlyDuplicates(err) {
		return fmt.Errorf("write %s: %w", in.Name(), errStale)
	}
	return err
}

// deleteAll deletes documents by name.
func deleteAll(ctx context.Context, in *mongo.Collection, names []string) error {
	for _, name := range names {
		if _, err := in.DeleteOne(ctx, store.ByID(name)); err != nil {
			return fmt.Errorf("delete from %s: %w", in.Name(), err)
		}
	}
	return nil
}
