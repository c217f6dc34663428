package graph

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"product-service/integration/inventory"
	"product-service/product"
	"product-service/projection/read"
)

// catalogue is a projection of products with two variants each.
type catalogue []read.Product

func newCatalogue(n int) catalogue {
	c := make(catalogue, n)
	for i := range c {
		p := &c[i]
		*p = read.Product{
			ID: numbered("a", i), Name: fmt.Sprintf("Product %d", i), Total: 10, Reserved: 3, StockStatus: product.InStock,
			IsOrderable: true, Version: 7, CreatedAt: noon, UpdatedAt: noon.Add(time.Hour), AsOf: noon.Add(time.Hour),
		}
		for j := range 2 {
			p.Variants = append(p.Variants, read.Variant{
				ID: numbered("b", 2*i+j), ProductID: p.ID, SKU: fmt.Sprintf("SKU-%d-%d", i, j), Name: "Variant", IsOrderable: true,
				Attributes: []product.Attribute{{Name: "size", Value: "L"}},
			})
		}
	}
	return c
}

var noon = time.Date(2026, 2, 28, 12, 0, 0, 0, time.UTC)

func numbered(kind string, i int) uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("0000000%s-0000-7000-8000-%012d", kind, i))
}

func (c catalogue) byIDs(ids []uuid.UUID) ([]*read.Product, error) {
	found := make([]*read.Product, len(ids))
	for i, id := range ids {
		for j := range c {
			if c[j].ID == id {
				found[i] = &c[j]
			}
		}
	}
	return found, nil
}

func (c catalogue) variants(ids []uuid.UUID) ([]*read.Variant, error) {
	found := make([]*read.Variant, len(ids))
	for i, id := range ids {
		for j := range c {
			for k := range c[j].Variants {
				if c[j].Variants[k].ID == id {
					found[i] = &c[j].Variants[k]
				}
			}
		}
	}
	return found, nil
}

func (c catalogue) page(_ read.ProductFilter, _ read.ProductOrder, r read.Range) (read.Page[read.Product], error) {
	page := read.Page[read.Product]{Total: int64(len(c)), HasNext: r.First < len(c)}
	for _, p := range c[:min(max(r.First, r.Last), len(c))] {
		page.Edges = append(page.Edges, read.Edge[read.Product]{Cursor: "at " + p.Name, Node: p})
	}
	return page, nil
}

// fakesOf serves a catalogue whose variants all have a level.
func fakesOf(c catalogue) *fakes {
	return &fakes{
		byIDs: c.byIDs, variants: c.variants, page: c.page,
		level: func(_ context.Context, id uuid.UUID) inventory.Result {
			return inventory.Result{Outcome: inventory.Known, Level: inventory.Level{
				VariantID: id, Available: 5, Status: inventory.LowStock, UpdatedAt: noon, FetchedAt: time.Now().Add(-90 * time.Second), Source: inventory.Cache,
			}}
		},
	}
}

// However an operation comes to its variants, it loads their levels once for each staleness it asks for.
func TestLevelsAreLoadedTogether(t *testing.T) {
	c := newCatalogue(30)
	one, two := c[0].ID.String(), c[1].ID.String()
	variant := c[2].Variants[0].ID.String()
	for _, test := range []struct {
		name, query, variables string
		loads                  map[time.Duration]int // ids loaded for each bound
	}{
		{name: "none selected", query: `{products{nodes{id variants{sku}}}}`},
		{name: "a page through its nodes", query: `{products(first:20){nodes{variants{inventory{availableQuantity}}}}}`, loads: map[time.Duration]int{0: 40}},
		{name: "a page through its edges", query: `{products(first:20){edges{node{variants{inventory{availableQuantity}}}}}}`, loads: map[time.Duration]int{0: 40}},
		{name: "through both", query: `{products(first:20){nodes{variants{inventory{status}}} edges{node{variants{inventory{source}}}}}}`, loads: map[time.Duration]int{0: 40}},
		{name: "several root fields", query: `query($v:[ID!]!){a:product(id:"` + one + `"){variants{inventory{status}}} b:product(id:"` + two + `"){...P}
			productVariants(ids:$v){inventory{status}} products(first:3){nodes{...P}}} fragment P on Product{variants{...V}} fragment V on ProductVariant{inventory{status}}`,
			variables: `{"v":["` + variant + `"]}`, loads: map[time.Duration]int{0: 6}},
		{name: "root fields without data", query: `{a:product(id:"` + one + `"){variants{inventory{status}}} b:product(id:"no id"){variants{inventory{status}}}
			c:product(id:"` + numbered("c", 1).String() + `"){variants{inventory{status}}} d:products(first:1000){nodes{variants{inventory{status}}}}}`, loads: map[time.Duration]int{0: 2}},
		{name: "root field with an argument that can't be read", query: `{a:product(id:"` + one + `"){variants{inventory{status}}}
			b:products(where:{updatedAt:{gte:"yesterday"}}){nodes{variants{inventory{status}}}}}`, loads: map[time.Duration]int{0: 2}},
		{name: "nodes of both kinds", query: `query($i:[ID!]!){nodes(ids:$i){...on Product{variants{inventory{status}}}...on ProductVariant{inventory{status}}}}`,
			variables: `{"i":["` + one + `","` + variant + `"]}`, loads: map[time.Duration]int{0: 3}},
		{name: "back through the product", query: `{productVariants(ids:["` + variant + `"]){product{variants{inventory{status}}}}}`, loads: map[time.Duration]int{0: 2}},
		{name: "distinct bounds", query: `query($s:Int){products(first:2){nodes{variants{inventory{status} fresh:inventory(maxStaleness:0){status} young:inventory(maxStaleness:$s){status}}}}}`,
			variables: `{"s":30}`, loads: map[time.Duration]int{0: 4, time.Nanosecond: 4, 30 * time.Second: 4}},
		{name: "included", query: `query($y:Boolean!){products(first:2){nodes{variants{inventory @include(if:$y){status} fresh:inventory(maxStaleness:0) @skip(if:$y){status}}}}}`,
			variables: `{"y":true}`, loads: map[time.Duration]int{0: 4}},
		{name: "a mutation's product", query: `mutation{a:adjustStock(input:{productId:"` + one + `",delta:1,reason:"count"}){product{variants{inventory{status}}}}}`,
			loads: map[time.Duration]int{0: 2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := fakesOf(c)
			got := post(t, newTestHandler(t, f), test.query, test.variables)
			if strings.Contains(got.body, `"inventory":null`) {
				t.Errorf("a level is missing: %s", got.body)
			}
			loads := map[time.Duration]int{}
			for _, l := range f.loads {
				if loads[l.bound] > 0 {
					t.Errorf("the bound %s is loaded twice", l.bound)
				}
				loads[l.bound] += len(l.ids)
			}
			want := test.loads
			if want == nil {
				want = map[time.Duration]int{}
			}
			if diff := cmp.Diff(want, loads); diff != "" {
				t.Errorf("loads (-want +got):\n%s\n%s", diff, got.body)
			}
		})
	}
}

// Two mutations in one request run one after the other, and each sees the levels as they are after it.
func TestEachMutationLoadsItsOwnLevels(t *testing.T) {
	c := newCatalogue(1)
	f := fakesOf(c)
	mutation := `adjustStock(input:{productId:"` + c[0].ID.String() + `",delta:1,reason:"count"}){product{variants{inventory{status}}}}`
	got := post(t, newTestHandler(t, f), "mutation{a:"+mutation+" b:"+mutation+"}", "")
	if len(got.Errors) > 0 || len(f.loads) != 2 {
		t.Errorf("%d loads, want 2: %s", len(f.loads), got.body)
	}
}

// A payload whose product is selected twice, with levels of different ages, has all of them: what
// was not looked ahead to asks for itself.
func TestAPayloadsProductCanBeSelectedTwice(t *testing.T) {
	c := newCatalogue(1)
	for range 20 { // which of the two comes first is chance
		f := fakesOf(c)
		got := post(t, newTestHandler(t, f, "GRAPHQL_TIMEOUT", "3s"), `mutation{adjustStock(input:{productId:"`+c[0].ID.String()+`",delta:1,reason:"count"}){
			a:product{variants{inventory{status}}} b:product{variants{inventory(maxStaleness:7){status}}}}}`, "")
		if len(got.Errors) > 0 || strings.Count(got.body, `"LOW_STOCK"`) != 4 {
			t.Fatalf("want four levels, got %s", got.body)
		}
	}
}

func TestInventoryOutcomes(t *testing.T) {
	c := newCatalogue(1)
	query := `{product(id:"` + c[0].ID.String() + `"){name variants{inventory{productVariantId availableQuantity status updatedAt fetchedAt isStale ageSeconds source}}}}`
	t.Run("known and stale", func(t *testing.T) {
		f := fakesOf(c)
		known := f.level
		f.level = func(ctx context.Context, id uuid.UUID) inventory.Result {
			r := known(ctx, id)
			r.Stale, r.Level.Source = true, inventory.StaleFallback
			return r
		}
		got := post(t, newTestHandler(t, f), query, "")
		level := got.Data["product"].(map[string]any)["variants"].([]any)[1].(map[string]any)["inventory"].(map[string]any)
		delete(level, "fetchedAt")
		want := map[string]any{
			"productVariantId": c[0].Variants[1].ID.String(), "availableQuantity": 5.0, "status": "LOW_STOCK",
			"updatedAt": "2026-02-28T12:00:00Z", "isStale": true, "ageSeconds": 90.0, "source": "STALE_FALLBACK",
		}
		if diff := cmp.Diff(want, level); diff != "" {
			t.Errorf("level (-want +got):\n%s", diff)
		}
	})
	t.Run("absent", func(t *testing.T) {
		f := fakesOf(c)
		f.level = func(context.Context, uuid.UUID) inventory.Result { return inventory.Result{Outcome: inventory.Absent} }
		got := post(t, newTestHandler(t, f), query, "")
		if len(got.Errors) != 0 || strings.Count(got.body, `"inventory":null`) != 2 {
			t.Errorf("want nulls without errors, got %s", got.body)
		}
	})
	t.Run("unavailable", func(t *testing.T) {
		f := fakesOf(c)
		f.level = func(context.Context, uuid.UUID) inventory.Result {
			return inventory.Result{Err: fmt.Errorf("dial tcp 10.0.0.7:443: %w", inventory.ErrUnavailable)}
		}
		got := post(t, newTestHandler(t, f), query, "")
		if got.status != 200 || strings.Count(got.body, `"inventory":null`) != 2 || strings.Contains(got.body, "10.0.0.7") {
			t.Errorf("want nulls that tell nothing of the network, got %d %s", got.status, got.body)
		}
		if diff := cmp.Diff([]string{"INVENTORY_UNAVAILABLE", "INVENTORY_UNAVAILABLE"}, got.codes()); diff != "" {
			t.Fatalf("codes (-want +got):\n%s", diff)
		}
		if path := fmt.Sprint(got.Errors[0].Path); !strings.HasPrefix(path, "[product variants ") || !strings.HasSuffix(path, " inventory]") {
			t.Errorf("path %s", path)
		}
		if got.Data["product"].(map[string]any)["name"] != "Product 0" {
			t.Errorf("the product must stand: %s", got.body)
		}
	})
	t.Run("negative staleness", func(t *testing.T) {
		f := fakesOf(c)
		got := post(t, newTestHandler(t, f), `{product(id:"`+c[0].ID.String()+`"){variants{inventory(maxStaleness:-1){status}}}}`, "")
		if diff := cmp.Diff([]string{"BAD_USER_INPUT", "BAD_USER_INPUT"}, got.codes()); diff != "" {
			t.Errorf("codes (-want +got):\n%s", diff)
		}
		if len(f.loads) != 0 {
			t.Errorf("%d loads for what is refused", len(f.loads))
		}
	})
}

// A load that doesn't end before the request must leaves the product standing.
func TestSlowLevelsEndWithTheRequest(t *testing.T) {
	c := newCatalogue(1)
	f := fakesOf(c)
	f.level = func(ctx context.Context, _ uuid.UUID) inventory.Result {
		<-ctx.Done()
		return inventory.Result{}
	}
	got := post(t, newTestHandler(t, f, "GRAPHQL_TIMEOUT", "50ms"), `{product(id:"`+c[0].ID.String()+`"){name variants{inventory{status}}}}`, "")
	if got.Data["product"] == nil || fmt.Sprint(got.codes()) != "[INVENTORY_UNAVAILABLE INVENTORY_UNAVAILABLE]" {
		t.Errorf("want the product without levels, got %s", got.body)
	}
}
