package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"

	"product-service/product"
)

// fewProducts is the size of the catalogue that a large one is held against.
const fewProducts = 1_000

// lists are the orders and filters of products.
var lists = []struct{ name, arguments string }{
	{"by name", `orderBy: {field: NAME}`},
	{"by creation", `orderBy: {field: CREATED_AT, direction: DESC}`},
	{"by change", `orderBy: {field: UPDATED_AT, direction: DESC}`},
	{"by availability", `orderBy: {field: AVAILABLE}`},
	{"by status", `orderBy: {field: STOCK_STATUS}`},
	{"search", `where: {search: "77"}`},
	{"out of stock", `where: {stockStatus: OUT_OF_STOCK}`},
	{"low stock by name", `where: {stockStatus: LOW_STOCK}, orderBy: {field: NAME}`},
	{"not orderable", `where: {isOrderable: false}`},
	{"available 100 to 120", `where: {available: {gte: 100, lte: 120}}`},
	{"changed since", `where: {updatedAt: {gte: "2020-01-01T00:00:00Z"}}`},
}

// measureLists reads pages of a small catalogue and of a large one.
func measureLists(ctx context.Context, b *bench) (err error) {
	w, err := b.newWorld(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	many := max(2*fewProducts, b.movements()/10)
	var took [2][]histogram
	for i, n := range []int{fewProducts, many - fewProducts} {
		b.out.step("history: lists of %s products", round(float64([]int{fewProducts, many}[i])))
		err := w.fill(ctx, "make products", n, func(k int) (uuid.UUID, product.Command) {
			return uuid.New(), product.Create{Name: fmt.Sprintf("Product %d of %d", k, i), InitialStock: int64(k % 500), LowStockThreshold: 10}
		})
		if err != nil {
			return err
		}
		if err := w.start(ctx, true); err != nil {
			return err
		}
		if _, err := w.awaitProjected(ctx); err != nil {
			return err
		}
		if took[i], err = w.pages(ctx); err != nil {
			return err
		}
		if err := w.stop(); err != nil {
			return err
		}
	}
	for k, l := range lists {
		few, all := took[0][k], took[1][k]
		b.report.add("products, page of 20, "+l.name, all.ms(50), "ms", target{}, "p50 of %s products; p99 %.1f", round(float64(many)), all.ms(99))
		b.report.add("products, page of 20, "+l.name+", large over small", all.ms(50)/few.ms(50), "x", atMost(1.5), "%.2f over %.2f ms with %s products; load %s", all.ms(50), few.ms(50), round(fewProducts), loadAverage())
	}
	return nil
}

// pages asks for each list's first page, all lists in turns.
func (w *world) pages(ctx context.Context) ([]histogram, error) {
	took := make([]histogram, len(lists))
	rounds, warm := 60, 10
	if w.b.quick {
		rounds, warm = 8, 2
	}
	for i := range rounds {
		for k, l := range lists {
			if i == 0 {
				took[k] = newHistogram()
			}
			began := time.Now()
			text, err := w.graphql(ctx, `{ products(first: 20, `+l.arguments+`) { nodes { id name stockStatus isOrderable stock { total reserved available } } pageInfo { hasNextPage endCursor } } }`)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", l.name, err)
			}
			if i >= warm {
				took[k].record(time.Since(began))
			} else if !bytes.Contains(text, []byte(`"id"`)) {
				return nil, fmt.Errorf("%s: the page is empty", l.name)
			}
		}
	}
	return took, nil
}

// graphql asks the world's server, and takes any error in the answer for one.
func (w *world) graphql(ctx context.Context, query string) ([]byte, error) {
	body, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		return nil, err
	}
	text, err := w.post(ctx, body)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(text, []byte(`{"errors"`)) || bytes.Contains(text, []byte(`"errors":[`)) {
		return nil, fmt.Errorf("GraphQL answered %.300s", text)
	}
	return text, nil
}

// post sends the body of a request to the world's server and returns the body of its answer.
func (w *world) post(ctx context.Context, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.child.http+"/graphql", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GraphQL answered %s: %.300s", resp.Status, text)
	}
	return text, err
}
