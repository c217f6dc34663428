package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// answer is what a GraphQL request came to.
type answer struct {
	Data   json.RawMessage
	Errors []struct {
		Message    string
		Path       []any
		Extensions struct{ Code, CorrelationID string }
	}
}

// codes are those of its errors.
func (a answer) codes() (codes []string) {
	for _, e := range a.Errors {
		codes = append(codes, e.Extensions.Code)
	}
	return codes
}

// ask sends a request as clients do.
func (s *server) ask(query string, variables map[string]any) (answer, error) {
	var a answer
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return a, err
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+s.http+"/graphql", bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	req.Header.Set("Content-Type", "application/json")
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	resp, err := web.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("%s: %w: %.200s", resp.Status, err, text)
	}
	if len(a.Data) == 0 && len(a.Errors) == 0 && resp.StatusCode != http.StatusOK {
		return a, fmt.Errorf("%s: %.200s", resp.Status, text)
	}
	return a, nil
}

// query sends a request that must have no errors, and reads its data.
func (s *server) query(query string, variables map[string]any, into any) error {
	a, err := s.ask(query, variables)
	if err != nil {
		return err
	}
	if len(a.Errors) > 0 {
		return fmt.Errorf("%s: %s", strings.Join(a.codes(), ", "), a.Errors[0].Message)
	}
	return json.Unmarshal(a.Data, into)
}

type payload struct {
	Product *struct {
		ID          string
		IsOrderable bool
	}
	Version    int64
	UserErrors []struct {
		Field         []string
		Message, Code string
	}
}

const createMutation = `mutation($input: CreateProductInput!) {
  createProduct(input: $input) { product { id isOrderable } version userErrors { field message code } }
}`

// createProduct makes a product with one variant. That it can't be read yet is no error: it is made.
func (s *server) createProduct(product, variant string, stock int) (payload, error) {
	a, err := s.ask(createMutation, map[string]any{"input": map[string]any{
		"id": product, "commandId": product, "name": "Product " + product[:8], "initialStock": stock,
		"variants": []any{map[string]any{"id": variant, "sku": "SKU-" + variant, "name": "the only one", "initialQuantity": 25}},
	}})
	if err != nil {
		return payload{}, err
	}
	for _, e := range a.Errors {
		if e.Extensions.Code != "NOT_YET_AVAILABLE" {
			return payload{}, fmt.Errorf("%s: %s", e.Extensions.Code, e.Message)
		}
	}
	var data struct{ CreateProduct payload }
	err = json.Unmarshal(a.Data, &data)
	return data.CreateProduct, err
}

type stock struct{ Total, Reserved, Available, Version int64 }

// stock is a product's as the read model has it; nil where it has none.
func (s *server) stock(product string) (*stock, error) {
	var data struct{ Product *struct{ Stock stock } }
	err := s.query(`query($id: ID!) { product(id: $id) { stock { total reserved available version } } }`, map[string]any{"id": product}, &data)
	if err != nil || data.Product == nil {
		return nil, err
	}
	return &data.Product.Stock, nil
}

type movement struct {
	Type                                                                string
	Quantity, Delta, TotalAfter, ReservedAfter, AvailableAfter, Version int64
	ReservationID, CommandID, Actor                                     string
	OccurredAt                                                          time.Time
}

const movementsQuery = `query($id: ID!, $after: String) { stockMovements(productId: $id, first: 100, after: $after) {
  totalCount pageInfo { hasNextPage endCursor }
  nodes { type quantity delta totalAfter reservedAfter availableAfter version reservationId commandId actor occurredAt } } }`

// movements are all of a product's, the newest first.
func (s *server) movements(product string) (all []movement, err error) {
	variables := map[string]any{"id": product}
	for {
		var data struct {
			StockMovements struct {
				TotalCount int
				PageInfo   struct {
					HasNextPage bool
					EndCursor   string
				}
				Nodes []movement
			}
		}
		if err := s.query(movementsQuery, variables, &data); err != nil {
			return nil, err
		}
		page := data.StockMovements
		all = append(all, page.Nodes...)
		if !page.PageInfo.HasNextPage {
			if page.TotalCount != len(all) {
				return nil, fmt.Errorf("totalCount is %d, but the pages hold %d movements", page.TotalCount, len(all))
			}
			return all, nil
		}
		variables["after"] = page.PageInfo.EndCursor
	}
}

type hold struct {
	ReservationID, State string
	Quantity, Held       int64
}

const holdsQuery = `query($ids: [ID!]!) { nodes(ids: $ids) { ... on Reservation { reservationId state quantity held } } }`

// holds are reservations by their node ids, at most 100, nil where the read model has none.
func (s *server) holds(ids []string) ([]*hold, error) {
	var data struct{ Nodes []*hold }
	err := s.query(holdsQuery, map[string]any{"ids": ids}, &data)
	return data.Nodes, err
}

type variant struct {
	IsOrderable bool
	Inventory   *struct {
		AvailableQuantity int64
		Status, Source    string
		IsStale           bool
		AgeSeconds        int64
	}
}

const variantQuery = `query($ids: [ID!]!) { productVariants(ids: $ids) { isOrderable inventory { availableQuantity status source isStale ageSeconds } } }`

// variant is one with its level, and the code of the error at its level; nil where it isn't known.
func (s *server) variant(id string) (*variant, string, error) {
	a, err := s.ask(variantQuery, map[string]any{"ids": []string{id}})
	if err != nil {
		return nil, "", err
	}
	var data struct{ ProductVariants []*variant }
	if err := json.Unmarshal(a.Data, &data); err != nil || len(data.ProductVariants) != 1 {
		return nil, "", fmt.Errorf("%s (%v)", a.Data, err)
	}
	return data.ProductVariants[0], strings.Join(a.codes(), ","), nil
}
