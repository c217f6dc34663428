package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

const (
	demoAtATime = 4
	callTimeout = 30 * time.Second
)

// demoSpace makes the demo's ids the same each time, so that creating it twice changes nothing.
var demoSpace = uuid.MustParse("8f1d2c5e-6a0b-5d43-9c1e-3b7a4f20d6e1")

func demoID(parts ...string) string {
	return uuid.NewSHA1(demoSpace, []byte(strings.Join(parts, "/"))).String()
}

type (
	demoProduct struct {
		ID                string        `json:"id"`
		CommandID         string        `json:"commandId"`
		Name              string        `json:"name"`
		Description       string        `json:"description"`
		InitialStock      int           `json:"initialStock"`
		LowStockThreshold int           `json:"lowStockThreshold"`
		Variants          []demoVariant `json:"variants"`
	}
	demoVariant struct {
		ID                string          `json:"id"`
		SKU               string          `json:"sku"`
		Name              string          `json:"name"`
		Attributes        []demoAttribute `json:"attributes"`
		InitialQuantity   int             `json:"initialQuantity"`
		LowStockThreshold int             `json:"lowStockThreshold"`
	}
	demoAttribute struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
)

var (
	demoLines = []struct{ name, colour string }{{"Alba", "chalk"}, {"Borea", "forest"}, {"Cirrus", "sky"}, {"Dune", "sand"}}
	demoKinds = []struct {
		code, name, description, axis string
		values                        []string
	}{
		{"JKT", "Rain Jacket", "Three-layer shell with taped seams and a hood that fits over a helmet.", "size", []string{"S", "M", "L", "XL"}},
		{"SWT", "Merino Sweater", "Mid-weight knit, mulesing-free wool.", "size", []string{"S", "M", "L"}},
		{"SHO", "Trail Shoe", "Light, grippy and quick to dry.", "size", []string{"39", "41", "43", "45"}},
		{"SOC", "Wool Socks", "Pair, cushioned heel and toe.", "size", []string{"36-39", "40-43"}},
		{"BAG", "Backpack", "Roll top, laptop sleeve, rain cover.", "volume", []string{"18 l", "26 l"}},
		{"BTL", "Bottle", "Double-walled steel, keeps cold for a day.", "volume", []string{"0.5 l", "0.75 l", "1 l"}},
		{"LMP", "Desk Lamp", "Dimmable, 2700 to 5000 K.", "plug", []string{"EU", "UK"}},
		{"MUG", "Ceramic Mug", "Thrown by hand, safe in the dishwasher.", "volume", []string{"0.25 l", "0.35 l"}},
		{"NTB", "Notebook", "192 pages, lies flat.", "ruling", []string{"dotted", "lined", "plain"}},
		{"HDP", "Headphones", "Over-ear, 40 hours, replaceable battery.", "edition", []string{"standard", "studio"}},
	}
)

// demoCatalogue is 40 products: most in stock, some low, some sold out.
func demoCatalogue() []demoProduct {
	var all []demoProduct
	for k, kind := range demoKinds {
		for l, line := range demoLines {
			name := line.name + " " + kind.name
			stock := 24 + (k*37+l*53)%160
			if (k+l)%6 == 4 {
				stock = 0
			}
			product := demoProduct{
				ID: demoID("product", name), CommandID: demoID("command", name), Name: name,
				Description: kind.description + " Colour: " + line.colour + ".", InitialStock: stock, LowStockThreshold: 15,
			}
			for v, value := range kind.values {
				sku := fmt.Sprintf("%s-%s-%s", kind.code, strings.ToUpper(line.name), strings.ToUpper(strings.ReplaceAll(value, " ", "")))
				product.Variants = append(product.Variants, demoVariant{
					ID: demoID("variant", sku), SKU: sku, Name: name + ", " + value, LowStockThreshold: 5,
					InitialQuantity: stock * (v + 1) / (2 * len(kind.values)),
					Attributes:      []demoAttribute{{kind.axis, value}, {"colour", line.colour}},
				})
			}
			all = append(all, product)
		}
	}
	return all
}

// createDemo creates the catalogue through the public API, once per data directory.
func createDemo(ctx context.Context, url, token, dir string) (string, error) {
	marker := filepath.Join(dir, "demo-created")
	if _, err := os.Stat(marker); err == nil {
		return "already there", nil
	}
	catalogue := demoCatalogue()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(demoAtATime)
	for _, product := range catalogue {
		group.Go(func() error {
			if err := createProduct(ctx, url, token, product); err != nil {
				return fmt.Errorf("%s: %w", product.Name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d products", len(catalogue)), os.WriteFile(marker, nil, 0o644)
}

const createMutation = `mutation Create($input: CreateProductInput!) {
  createProduct(input: $input) { product { id } version userErrors { field code message } }
}`

func createProduct(ctx context.Context, url, token string, product demoProduct) error {
	var data struct {
		CreateProduct struct {
			UserErrors []struct{ Code, Message string }
		}
	}
	err := graphql(ctx, url, token, createMutation, map[string]any{"input": product}, &data)
	var failed graphqlErrors
	if errors.As(err, &failed) && failed.only("NOT_YET_AVAILABLE") {
		err = nil // it is made; a busy machine just can't show it yet
	}
	if err != nil {
		return err
	}
	for _, e := range data.CreateProduct.UserErrors {
		if e.Code != "CONFLICT" { // from a start that was interrupted after it
			return fmt.Errorf("%s: %s", e.Code, e.Message)
		}
	}
	return nil
}

// sampleQuery is what the printed curl asks for.
const sampleQuery = `{ products(first: 3) { totalCount nodes { id name stockStatus stock { available } variants { sku inventory { availableQuantity status } } } } }`

func curl(url string) string {
	body, _ := json.Marshal(map[string]string{"query": sampleQuery})
	return fmt.Sprintf("curl -s %s -H 'content-type: application/json' -d '%s'", url, body)
}

// tryQuery proves that what is going to be printed works.
func tryQuery(ctx context.Context, url string) error {
	if err := graphql(ctx, url, "", sampleQuery, nil, nil); err != nil {
		return fmt.Errorf("ask the server for products: %w", err)
	}
	return nil
}

// graphqlErrors is the `errors` of a response.
type graphqlErrors []struct {
	Message    string
	Extensions struct{ Code string }
}

func (e graphqlErrors) Error() string {
	var messages []string
	for _, one := range e {
		messages = append(messages, strings.TrimSpace(one.Extensions.Code+" "+one.Message))
	}
	return strings.Join(messages, "; ")
}

func (e graphqlErrors) only(code string) bool {
	for _, one := range e {
		if one.Extensions.Code != code {
			return false
		}
	}
	return len(e) > 0
}

// graphql posts one operation and decodes its data; what GraphQL reports as errors is returned as
// [graphqlErrors].
func graphql(ctx context.Context, url, token, query string, variables map[string]any, data any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Data   json.RawMessage
		Errors graphqlErrors
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s with a body that is not GraphQL's: %w", resp.Status, err)
	}
	if data != nil && len(answer.Data) > 0 {
		err = json.Unmarshal(answer.Data, data)
	}
	if len(answer.Errors) > 0 {
		return answer.Errors
	}
	return err
}
