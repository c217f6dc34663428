package graph

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"product-service/correlation"
	"product-service/product"
	"product-service/projection/read"
)

// executed is one call of Execute.
type executed struct {
	ProductID, CommandID uuid.UUID
	From                 product.Origin
	Command              product.Command
}

// recording keeps what was executed, and answers with version 9.
func recording(f *fakes) *[]executed {
	var all []executed
	f.execute = func(_ context.Context, productID, commandID uuid.UUID, from product.Origin, c product.Command) (int64, *product.Refusal, error) {
		all = append(all, executed{productID, commandID, from, c})
		return 9, nil, nil
	}
	return &all
}

const (
	idA = "0190f3a4-5b6c-7d8e-9f00-11223344556A"
	idB = "0190f3a4-5b6c-7d8e-9f00-11223344556b"
	idC = "0190f3a4-5b6c-7d8e-9f00-11223344556c"
)

func TestMutationsBecomeCommands(t *testing.T) {
	text := func(s string) *string { return &s }
	low := int64(4)
	for _, test := range []struct {
		name, query string
		want        product.Command
		product     string
	}{
		{"createProduct", `mutation{createProduct(input:{id:"` + idA + `",name:"Lamp",description:"Bright",initialStock:12,commandId:"` + idB + `",
			variants:[{id:"` + idC + `",sku:"L-1",name:"Small",attributes:[{name:"size",value:"S"}],initialQuantity:3}]}){version product{id} userErrors{code}}}`,
			product.Create{Name: "Lamp", Description: "Bright", InitialStock: 12, LowStockThreshold: 10, Variants: []product.Variant{{
				ID: uuid.MustParse(idC), SKU: "L-1", Name: "Small", Attributes: []product.Attribute{{Name: "size", Value: "S"}}, InitialQuantity: 3, LowStockThreshold: 10,
			}}}, idA},
		{"updateProduct", `mutation{updateProduct(input:{productId:"` + idA + `",name:"Lamp",lowStockThreshold:4,commandId:"` + idB + `"}){version product{id} userErrors{code}}}`,
			product.Update{Name: text("Lamp"), LowStockThreshold: &low}, idA},
		{"addProductVariant", `mutation{addProductVariant(input:{productId:"` + idA + `",id:"` + idC + `",sku:"L-2",name:"Large",lowStockThreshold:0,commandId:"` + idB + `"}){version product{id} userErrors{code}}}`,
			product.AddVariant{Variant: product.Variant{ID: uuid.MustParse(idC), SKU: "L-2", Name: "Large"}}, idA},
		{"adjustStock", `mutation{adjustStock(input:{productId:"` + idA + `",delta:-5,reason:"broken",expectedVersion:8,commandId:"` + idB + `"}){version product{id} userErrors{code}}}`,
			product.AdjustStock{Delta: -5, Reason: "broken", ExpectedVersion: 8}, idA},
		{"adjustStock", `mutation{adjustStock(input:{productId:"` + idA + `",total:0,reason:"counted",commandId:"` + idB + `"}){version product{id} userErrors{code}}}`,
			product.AdjustStock{Total: new(int64), Reason: "counted"}, idA},
	} {
		t.Run(test.name, func(t *testing.T) {
			shown := read.Product{ID: uuid.MustParse(idA), Version: 9}
			var waited int64
			f := &fakes{
				byIDs:   func([]uuid.UUID) ([]*read.Product, error) { return []*read.Product{&shown}, nil },
				waitFor: func(_ context.Context, _ uuid.UUID, version int64) error { waited = version; return nil },
			}
			all := recording(f)
			r := exchange{body: fmt.Sprintf(`{"query":%q}`, strings.Join(strings.Fields(test.query), " ")),
				header: []string{correlation.Header, "order-17", "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}.request()
			got := send(t, newTestHandler(t, f), r)
			want := map[string]any{test.name: map[string]any{"version": 9.0, "product": map[string]any{"id": strings.ToLower(idA)}, "userErrors": []any{}}}
			if diff := cmp.Diff(want, got.Data); diff != "" {
				t.Fatalf("data (-want +got):\n%s\n%s", diff, got.body)
			}
			if diff := cmp.Diff([]executed{{uuid.MustParse(idA), uuid.MustParse(idB), product.Origin{
				CorrelationID: "order-17", Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, test.want}}, *all); diff != "" {
				t.Errorf("executed (-want +got):\n%s", diff)
			}
			if waited != 9 {
				t.Errorf("waited for version %d, want 9", waited)
			}
		})
	}
}

// What is wrong with a mutation's input is userErrors, never errors, and nothing is executed.
func TestMutationsRefuseTheirInput(t *testing.T) {
	for _, test := range []struct {
		name, query, field string
	}{
		{"product id", `adjustStock(input:{productId:"17",delta:1,reason:"x"})`, "[productId]"},
		{"braced id", `adjustStock(input:{productId:"{` + idA + `}",delta:1,reason:"x"})`, "[productId]"},
		{"nil id", `adjustStock(input:{productId:"00000000-0000-0000-0000-000000000000",delta:1,reason:"x"})`, "[productId]"},
		{"command id", `adjustStock(input:{productId:"` + idA + `",delta:1,reason:"x",commandId:"again"})`, "[commandId]"},
		{"expected version", `adjustStock(input:{productId:"` + idA + `",delta:1,reason:"x",expectedVersion:0})`, "[expectedVersion]"},
		{"variant id", `createProduct(input:{name:"x",initialStock:1,variants:[{sku:"a",name:"a"},{id:"b",sku:"b",name:"b"}]})`, "[variants 1 id]"},
		{"own id", `createProduct(input:{id:"x",name:"x",initialStock:1})`, "[id]"},
		{"delta and total", `adjustStock(input:{productId:"` + idA + `",delta:1,total:1,reason:"x"})`, "[]"},
		{"neither delta nor total", `adjustStock(input:{productId:"` + idA + `",delta:null,reason:"x"})`, "[]"},
		{"update", `updateProduct(input:{productId:"x",name:"x"})`, "[productId]"},
		{"variant of", `addProductVariant(input:{productId:"x",sku:"x",name:"x"})`, "[productId]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &fakes{}
			all := recording(f)
			got := post(t, newTestHandler(t, f), "mutation{m:"+test.query+"{product{id} version userErrors{field code message}}}", "")
			if len(got.Errors) > 0 || len(*all) > 0 {
				t.Fatalf("executed %d: %s", len(*all), got.body)
			}
			payload := got.Data["m"].(map[string]any)
			first := payload["userErrors"].([]any)[0].(map[string]any)
			if payload["product"] != nil || payload["version"] != nil || first["code"] != "BAD_USER_INPUT" || fmt.Sprint(first["field"]) != test.field || first["message"] == "" {
				t.Errorf("payload %v", payload)
			}
		})
	}
}

// A mutation sent again under its command id asks for the same ids, although it gave none.
func TestIdsFollowFromTheCommandID(t *testing.T) {
	f := &fakes{}
	all := recording(f)
	h := newTestHandler(t, f)
	create := func(commandID string) {
		t.Helper()
		query := `mutation{createProduct(input:{name:"x",initialStock:1,variants:[{sku:"a",name:"a"},{sku:"b",name:"b"}]` + commandID + `}){version}}`
		if got := post(t, h, query, ""); len(got.Errors) > 0 {
			t.Fatal(got.body)
		}
	}
	create(`,commandId:"` + idB + `"`)
	create(`,commandId:"` + strings.ToUpper(idB) + `"`)
	create(``)
	create(``)
	if diff := cmp.Diff((*all)[0].Command, (*all)[1].Command); diff != "" || (*all)[0].ProductID != (*all)[1].ProductID || (*all)[0].CommandID != (*all)[1].CommandID {
		t.Errorf("the same command id asks for something else: %s", diff)
	}
	seen := map[uuid.UUID]bool{}
	for _, e := range (*all)[1:] {
		for _, id := range []uuid.UUID{e.ProductID, e.CommandID, e.Command.(product.Create).Variants[0].ID, e.Command.(product.Create).Variants[1].ID} {
			if seen[id] || id == uuid.Nil {
				t.Errorf("the id %s is there twice", id)
			}
			seen[id] = true
		}
	}
	if v := (*all)[2].ProductID.Version(); v != 7 {
		t.Errorf("an id that the service chooses has version %d, want 7", v)
	}
}

func TestMutationOutcomes(t *testing.T) {
	mutate := `mutation{adjustStock(input:{productId:"` + idA + `",delta:1,reason:"x"}){product{id} version userErrors{field code message}}}`
	t.Run("refused", func(t *testing.T) {
		f := &fakes{execute: func(context.Context, uuid.UUID, uuid.UUID, product.Origin, product.Command) (int64, *product.Refusal, error) {
			return 0, &product.Refusal{Code: product.Conflict, Field: []string{"expectedVersion"}, Message: "the product is at version 4, not 3"}, nil
		}}
		got := post(t, newTestHandler(t, f), mutate, "")
		want := map[string]any{"product": nil, "version": nil, "userErrors": []any{map[string]any{
			"field": []any{"expectedVersion"}, "code": "CONFLICT", "message": "the product is at version 4, not 3"}}}
		if diff := cmp.Diff(want, got.Data["adjustStock"]); diff != "" || len(got.Errors) > 0 {
			t.Errorf("payload (-want +got):\n%s\n%s", diff, got.body)
		}
	})
	t.Run("refused as a whole", func(t *testing.T) {
		f := &fakes{execute: func(context.Context, uuid.UUID, uuid.UUID, product.Origin, product.Command) (int64, *product.Refusal, error) {
			return 0, &product.Refusal{Code: product.InventoryUnavailable, Message: "later"}, nil
		}}
		got := post(t, newTestHandler(t, f), mutate, "")
		if !strings.Contains(got.body, `"userErrors":[{"field":[],"code":"INVENTORY_UNAVAILABLE","message":"later"}]`) || len(got.Errors) > 0 {
			t.Errorf("%s", got.body)
		}
	})
	t.Run("not readable yet", func(t *testing.T) {
		f := &fakes{waitFor: func(context.Context, uuid.UUID, int64) error { return fmt.Errorf("at 3: %w", read.ErrNotYet) }}
		recording(f)
		got := post(t, newTestHandler(t, f), mutate, "")
		want := map[string]any{"product": nil, "version": 9.0, "userErrors": []any{}}
		if diff := cmp.Diff(want, got.Data["adjustStock"]); diff != "" {
			t.Errorf("payload (-want +got):\n%s", diff)
		}
		if fmt.Sprint(got.codes()) != "[NOT_YET_AVAILABLE]" || fmt.Sprint(got.Errors[0].Path) != "[adjustStock product]" {
			t.Errorf("errors %v", got.Errors)
		}
	})
	t.Run("not waited for where it isn't selected", func(t *testing.T) {
		f := &fakes{waitFor: func(context.Context, uuid.UUID, int64) error { return errors.New("waited") }}
		recording(f)
		got := post(t, newTestHandler(t, f), strings.Replace(mutate, "product{id}", "", 1), "")
		if len(got.Errors) > 0 {
			t.Error(got.body)
		}
	})
	t.Run("failed", func(t *testing.T) {
		f := &fakes{execute: func(context.Context, uuid.UUID, uuid.UUID, product.Origin, product.Command) (int64, *product.Refusal, error) {
			return 0, nil, errors.New("dial tcp 10.0.0.7:5432: refused")
		}}
		got := post(t, newTestHandler(t, f), mutate, "")
		if fmt.Sprint(got.codes()) != "[INTERNAL_SERVER_ERROR]" || strings.Contains(got.body, "10.0.0.7") || !strings.Contains(got.body, `"data":null`) {
			t.Error(got.body)
		}
	})
}
