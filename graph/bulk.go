package graph

import (
	"context"
	"fmt"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"product-service/graph/model"
	"product-service/projection/read"
)

// maxRows is how many rows a bulk mutation can have.
const maxRows = 100

// bulkAdjustStock answers Mutation.bulkAdjustStock. All rows are handed to the writer before the
// first is waited for, so that it decides them together, and each by itself.
func (r *Resolver) bulkAdjustStock(ctx context.Context, input model.BulkAdjustStockInput) (*model.BulkAdjustStockPayload, error) {
	if len(input.Items) > maxRows {
		return nil, badInput("items has %d rows; it can have %d", len(input.Items), maxRows)
	}
	rows := make([]*model.BulkRow, len(input.Items))
	err := idly(ctx, func() error {
		waits := make([]func() error, len(rows))
		for i, item := range input.Items {
			rows[i] = &model.BulkRow{Index: int64(i)}
			waits[i] = r.submit(ctx, rows[i], item)
		}
		for i, wait := range waits {
			if err := wait(); err != nil {
				graphql.AddError(ctx, gqlerror.WrapPath(rowPath(ctx, i), fmt.Errorf("adjust the stock of row %d: %w", i, err)))
			}
		}
		return nil
	})
	r.readRows(ctx, rows)
	return &model.BulkAdjustStockPayload{Results: rows}, err
}

// submit hands a row to the writer, and returns how to wait for what came of it.
func (r *Resolver) submit(ctx context.Context, row *model.BulkRow, item *model.AdjustStockInput) func() error {
	in, id, c := adjustment(*item)
	row.UserErrors = in.refused
	if len(in.refused) > 0 {
		return func() error { return nil }
	}
	row.UserErrors = []*model.UserError{}
	wait := r.services.Commands.Submit(ctx, id, in.commandID, originOf(ctx), c)
	return func() error {
		version, refusal, err := wait()
		if err == nil {
			row.Payload = payloadOf(id, version, refusal)
		}
		return err
	}
}

// rowPath is where a row is in the answer.
func rowPath(ctx context.Context, i int) ast.Path {
	path := graphql.GetPath(ctx)
	for _, f := range graphql.CollectFieldsCtx(ctx, nil) {
		if f.Name == "results" {
			return append(path, ast.PathName(f.Alias), ast.PathIndex(i))
		}
	}
	return path
}

// readRows reads the products that were changed, all in one read, once each is projected up to its
// last row; and looks ahead to their levels. Where no product is selected it does nothing.
func (r *Resolver) readRows(ctx context.Context, rows []*model.BulkRow) {
	if !selectsBelow(ctx, "results", "product") {
		return
	}
	last := map[uuid.UUID]int64{}
	for _, row := range rows {
		if row.Version != nil {
			last[row.ProductID] = max(last[row.ProductID], *row.Version)
		}
	}
	productOf := r.productsAt(ctx, last)
	var products []*read.Product
	for id := range last {
		if p, err := productOf(id); err == nil && p != nil {
			products = append(products, p)
		}
	}
	lookAhead(ctx, products, nil)
	for _, row := range rows {
		if row.Version != nil {
			row.Read = func() (*model.Product, error) { return showing(showProduct)(productOf(row.ProductID)) }
		}
	}
}

// productsAt waits until each product is at least at its version, and returns how to find one of
// them: null where it is gone, an error where it can't be read yet.
func (r *Resolver) productsAt(ctx context.Context, versions map[uuid.UUID]int64) func(uuid.UUID) (*read.Product, error) {
	var mu sync.Mutex
	var ready []uuid.UUID
	failed := map[uuid.UUID]error{}
	_ = idly(ctx, func() error {
		var waits sync.WaitGroup
		for id, version := range versions {
			waits.Go(func() {
				err := safely(ctx, func() error { return r.services.Reads.WaitFor(ctx, id, version) })
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed[id] = err
				} else {
					ready = append(ready, id)
				}
			})
		}
		waits.Wait()
		return nil
	})
	found := map[uuid.UUID]*read.Product{}
	if len(ready) > 0 {
		products, err := r.services.Reads.ProductsByIDs(ctx, ready)
		for _, id := range ready {
			failed[id] = err
		}
		for _, p := range products {
			if p != nil {
				found[p.ID] = p
			}
		}
	}
	return func(id uuid.UUID) (*read.Product, error) { return found[id], failed[id] }
}

// selectsBelow says whether the field being resolved selects a field of a field.
func selectsBelow(ctx context.Context, field, below string) bool {
	op := graphql.GetOperationContext(ctx)
	for _, f := range graphql.CollectFieldsCtx(ctx, nil) {
		if f.Name != field {
			continue
		}
		for _, g := range graphql.CollectFields(op, f.Selections, nil) {
			if g.Name == below {
				return true
			}
		}
	}
	return false
}
