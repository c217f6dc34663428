package command

import (
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

func named(id uuid.UUID, sku string) product.Variant {
	return product.Variant{ID: id, SKU: sku, Name: "v"}
}

// conflicts checks that a command is refused because of what is taken, at a field.
func conflicts(t *testing.T, a Answer, field string) {
	t.Helper()
	if a.Refusal == nil || a.Refusal.Code != product.Conflict || strings.Join(a.Refusal.Field, ".") != field {
		t.Errorf("answered %+v with refusal %+v, want a conflict at %s", a, a.Refusal, field)
	}
}

func TestAnIDNamesOneThing(t *testing.T) {
	store := openStore(t)
	w := startWriter(t, store, quick)
	p, v, other := uuid.New(), uuid.New(), uuid.New()
	sku := uuid.NewString
	tell(t, w, uuid.New(), p, product.Create{Name: "A", Variants: []product.Variant{named(v, sku())}})
	conflicts(t, tell(t, w, uuid.New(), v, product.Create{Name: "B"}), "id")
	conflicts(t, tell(t, w, uuid.New(), other, product.Create{Name: "B", Variants: []product.Variant{named(uuid.New(), sku()), named(p, sku())}}), "variants.1.id")
	conflicts(t, tell(t, w, uuid.New(), other, product.Create{Name: "B", Variants: []product.Variant{named(other, sku())}}), "variants.0.id")
	conflicts(t, tell(t, w, uuid.New(), p, product.AddVariant{Variant: named(p, sku())}), "id")
	tell(t, w, uuid.New(), other, product.Create{Name: "B"})
	conflicts(t, tell(t, w, uuid.New(), p, product.AddVariant{Variant: named(other, sku())}), "id")
	conflicts(t, tell(t, w, uuid.New(), other, product.AddVariant{Variant: named(v, sku())}), "id")
}

// Whichever of two comes first, and whether they are decided in one batch or by two instances at
// once: one of them is refused.
func TestAnIDNamesOneThingAlsoWhereTwoTakeItAtOnce(t *testing.T) {
	store := openStore(t)
	one, two := startWriter(t, store, quick), startWriter(t, store, quick)
	for round := range 40 {
		id, owner := uuid.New(), uuid.New()
		for eventstore.ShardOf(id) == eventstore.ShardOf(owner) {
			owner = uuid.New()
		}
		second := two
		if round%2 == 0 {
			second = one
		}
		var asProduct, asVariant Answer
		var both sync.WaitGroup
		both.Go(func() { asProduct = tell(t, one, uuid.New(), id, product.Create{Name: "A"}) })
		both.Go(func() {
			asVariant = tell(t, second, uuid.New(), owner, product.Create{Name: "B", Variants: []product.Variant{named(id, uuid.NewString())}})
		})
		both.Wait()
		if (asProduct.Refusal == nil) == (asVariant.Refusal == nil) {
			t.Fatalf("one id was taken as a product: %+v; and as a variant: %+v", asProduct, asVariant)
		}
	}
}

func TestSKUsThatLookTheSameAreOne(t *testing.T) {
	store := openStore(t)
	w := startWriter(t, store, quick)
	p := uuid.New()
	tell(t, w, uuid.New(), p, product.Create{Name: "A", Variants: []product.Variant{named(uuid.New(), " É-1\t")}})
	for _, sku := range []string{"É-1", "E\u0301-1", " É-1", "É-1\u200b", "É\u2060-1", "Ｅ\u0301-１", "É-1\x00"} {
		if a := tell(t, w, uuid.New(), p, product.AddVariant{Variant: named(uuid.New(), sku)}); a.Refusal == nil {
			t.Errorf("%q is taken for another SKU", sku)
		} else if a.Refusal.Field[0] != "sku" || a.Refusal.Code != product.Conflict {
			t.Errorf("%q is refused with %+v", sku, a.Refusal)
		}
		conflicts(t, tell(t, w, uuid.New(), uuid.New(), product.Create{Name: "B", Variants: []product.Variant{named(uuid.New(), sku)}}), "variants.0.sku")
	}
	if a := tell(t, w, uuid.New(), p, product.AddVariant{Variant: named(uuid.New(), "é-1")}); a.Refusal != nil {
		t.Errorf("a SKU in another case is refused: %+v", a.Refusal)
	}
	events, _ := history(t, store, p)
	if added, ok := events[1].(product.VariantAdded); !ok || added.SKU != "É-1" {
		t.Errorf("the event is %+v, want the SKU trimmed", events[1])
	}
}

func TestSKUsThatLookTheSameAreOneAlsoWhereTwoTakeThemAtOnce(t *testing.T) {
	store := openStore(t)
	one, two := startWriter(t, store, quick), startWriter(t, store, quick)
	for range 20 {
		sku := uuid.NewString()
		answers := make([]Answer, 2)
		var both sync.WaitGroup
		for i, w := range []*Writer{one, two} {
			both.Go(func() {
				answers[i] = tell(t, w, uuid.New(), uuid.New(), product.Create{Name: "A", Variants: []product.Variant{named(uuid.New(), sku+strings.Repeat("\u200b", i))}})
			})
		}
		both.Wait()
		if (answers[0].Refusal == nil) == (answers[1].Refusal == nil) {
			t.Fatalf("one SKU was taken twice or not at all: %+v", answers)
		}
	}
}
