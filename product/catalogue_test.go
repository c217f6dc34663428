package product

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"
)

func variant(change func(*Variant)) Variant {
	return with(Variant{ID: variantID, SKU: "SKU-1", Name: "Red", Attributes: []Attribute{{"size", "M"}}, InitialQuantity: 3, LowStockThreshold: 1}, change)
}

func create(change func(*Create)) Create {
	return with(Create{Name: "Tent", Description: "For two", InitialStock: 10, LowStockThreshold: 2, Variants: []Variant{variant(func(*Variant) {})}}, change)
}

func many(n int) []Variant {
	variants := make([]Variant, n)
	for i := range variants {
		variants[i] = variant(func(v *Variant) { v.ID, v.SKU = uuid.New(), uuid.NewString() })
	}
	return variants
}

// refuses checks the code and the place of a refusal, and that its message holds all of these words.
func refuses(t *testing.T, s State, c Command, code Code, field string, words ...string) {
	t.Helper()
	d := Decide(s, c)
	if d.Refusal == nil || len(d.Events) != 0 {
		t.Fatalf("decided %+v, want a refusal", d)
	}
	if got := strings.Join(d.Refusal.Field, "."); d.Refusal.Code != code || got != field {
		t.Errorf("refused with %s at %q, want %s at %q", d.Refusal.Code, got, code, field)
	}
	for _, word := range words {
		if !strings.Contains(d.Refusal.Message, word) {
			t.Errorf("the message is %q, want %q in it", d.Refusal.Message, word)
		}
	}
}

func TestCreate(t *testing.T) {
	second := variant(func(v *Variant) { v.ID, v.SKU = uuid.New(), "SKU-2" })
	c := create(func(c *Create) { c.Variants = append(c.Variants, second); c.Unconfirmed = true })
	want := []Event{Created{Name: "Tent", Description: "For two", InitialStock: 10, LowStockThreshold: 2, Unconfirmed: true},
		VariantAdded{Variant: c.Variants[0]}, VariantAdded{Variant: second}}
	decides(t, State{Product: Product{ID: productID}}, c, want...)

	discarded := Product{ID: productID, Version: 4, Status: StatusDiscarded, StockTotal: 8}
	decides(t, State{Product: discarded}, c, want...)
	for _, e := range want {
		discarded = discarded.Apply(e)
	}
	if want := (Product{ID: productID, Version: 7, Status: StatusPending, StockTotal: 10, LowStockThreshold: 2, Variants: 2}); discarded != want {
		t.Errorf("created anew it is %+v, want %+v", discarded, want)
	}
	for _, status := range []Status{StatusActive, StatusPending} {
		refuses(t, State{Product: with(shop(), func(p *Product) { p.Status = status })}, c, Conflict, "id", "exists")
	}
}

func TestCreateTakesTheLimits(t *testing.T) {
	attributes := make([]Attribute, MaxAttributes)
	for i := range attributes {
		attributes[i] = Attribute{Name: strings.Repeat("é", MaxName-2) + string(rune('A'+i)), Value: strings.Repeat("v", MaxName)}
	}
	for name, c := range map[string]Create{
		"the longest": create(func(c *Create) {
			c.Name, c.Description = strings.Repeat("ü", MaxName), strings.Repeat("語", MaxDescription)
			c.InitialStock, c.LowStockThreshold, c.Variants = MaxStock, MaxStock, many(MaxVariants)
			c.Variants[0] = Variant{ID: variantID, SKU: strings.Repeat("s", MaxSKU), Name: strings.Repeat("n", MaxName), Attributes: attributes,
				InitialQuantity: MaxStock, LowStockThreshold: MaxStock}
		}),
		"the shortest": {Name: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			if d := Decide(State{}, c); d.Refusal != nil || len(d.Events) != 1+len(c.Variants) {
				t.Errorf("decided %+v with %d events", d.Refusal, len(d.Events))
			}
		})
	}
}

func TestCreateRefuses(t *testing.T) {
	first := func(change func(*Variant)) func(*Create) {
		return func(c *Create) { c.Variants[0] = variant(change) }
	}
	for _, test := range []struct {
		name   string
		change func(*Create)
		field  string
		words  []string
	}{
		{"no name", func(c *Create) { c.Name = "" }, "name", []string{"shows nothing", "1 to 200"}},
		{"a name of spaces", func(c *Create) { c.Name = " \t\u3000" }, "name", []string{"shows nothing"}},
		{"a name of invisible characters", func(c *Create) { c.Name = "\u200b\u2060" }, "name", []string{"shows nothing", "invisible"}},
		{"a name with a line break", func(c *Create) { c.Name = "a\nb" }, "name", []string{"line break", "U+000A"}},
		{"a name with a line separator", func(c *Create) { c.Name = "a\u2028b" }, "name", []string{"line break", "U+2028"}},
		{"a long name", func(c *Create) { c.Name = strings.Repeat("é", MaxName+1) }, "name", []string{"201 characters", "1 to 200"}},
		{"a name that isn't UTF-8", func(c *Create) { c.Name = "a\xff" }, "name", []string{"UTF-8"}},
		{"a name with NUL", func(c *Create) { c.Name = "a\x00b" }, "name", []string{"NUL"}},
		{"a long description", func(c *Create) { c.Description = strings.Repeat("d", MaxDescription+1) }, "description", []string{"10001 characters", "0 to 10000"}},
		{"a negative stock", func(c *Create) { c.InitialStock = -1 }, "initialStock", []string{"-1", "0 to 2147483647"}},
		{"too much stock", func(c *Create) { c.InitialStock = MaxStock + 1 }, "initialStock", []string{"2147483648"}},
		{"a negative threshold", func(c *Create) { c.LowStockThreshold = -1 }, "lowStockThreshold", []string{"-1"}},
		{"too many variants", func(c *Create) { c.Variants = many(MaxVariants + 1) }, "variants", []string{"at most 100", "101"}},
		{"no SKU", first(func(v *Variant) { v.SKU = "" }), "variants.0.sku", []string{"1 to 100"}},
		{"an invisible SKU", first(func(v *Variant) { v.SKU = "\u200b" }), "variants.0.sku", []string{"shows nothing"}},
		{"a SKU with a line break", first(func(v *Variant) { v.SKU = "X\r\nY" }), "variants.0.sku", []string{"line break"}},
		{"a SKU with a control character", first(func(v *Variant) { v.SKU = "X\x1bY" }), "variants.0.sku", []string{"control character", "U+001B"}},
		{"a SKU of ligatures", first(func(v *Variant) { v.SKU = strings.Repeat("\ufdfa", 10) }), "variants.0.sku", []string{"180 characters", "1 to 100"}},
		{"an invisible variant name", first(func(v *Variant) { v.Name = "\ufeff" }), "variants.0.name", []string{"shows nothing"}},
		{"an invisible attribute", first(func(v *Variant) { v.Attributes[0].Name = "\u00ad" }), "variants.0.attributes.0.name", []string{"shows nothing"}},
		{"an invisible attribute value", first(func(v *Variant) { v.Attributes[0].Value = " " }), "variants.0.attributes.0.value", []string{"shows nothing"}},
		{"a long SKU", first(func(v *Variant) { v.SKU = strings.Repeat("s", MaxSKU+1) }), "variants.0.sku", []string{"101 characters"}},
		{"no variant name", first(func(v *Variant) { v.Name = "" }), "variants.0.name", []string{"1 to 200"}},
		{"a negative quantity", first(func(v *Variant) { v.InitialQuantity = -1 }), "variants.0.initialQuantity", []string{"-1"}},
		{"a negative variant threshold", first(func(v *Variant) { v.LowStockThreshold = -1 }), "variants.0.lowStockThreshold", []string{"-1"}},
		{"many attributes", first(func(v *Variant) { v.Attributes = make([]Attribute, MaxAttributes+1) }), "variants.0.attributes", []string{"at most 50", "51"}},
		{"no attribute name", first(func(v *Variant) { v.Attributes[0].Name = "" }), "variants.0.attributes.0.name", []string{"1 to 200"}},
		{"a long attribute", first(func(v *Variant) { v.Attributes[0].Value = strings.Repeat("v", MaxName+1) }), "variants.0.attributes.0.value", []string{"1 to 200"}},
		{"an attribute twice", first(func(v *Variant) { v.Attributes = []Attribute{{"a\u0301", "1"}, {"b", "2"}, {" \u00e1 ", "3"}} }), "variants.0.attributes.2.name", []string{"attributes.0", "once"}},
		{"the first of two faults", func(c *Create) { c.InitialStock, c.Name = -1, "" }, "name", nil},
	} {
		t.Run(test.name, func(t *testing.T) { refuses(t, State{}, create(test.change), BadInput, test.field, test.words...) })
	}
}

// An id names one thing, and a SKU one variant, within one command too.
func TestCreateRefusesWhatIsTakenWithinIt(t *testing.T) {
	other := func(change func(*Variant)) func(*Create) {
		return func(c *Create) { c.Variants = append(many(1), c.Variants[0], variant(change)) }
	}
	for _, test := range []struct {
		name   string
		change func(*Create)
		field  string
		words  []string
	}{
		{"an id twice", other(func(v *Variant) { v.SKU = "other" }), "variants.2.id", []string{"variants.1", "once"}},
		{"the product's id", other(func(v *Variant) { v.ID, v.SKU = productID, "other" }), "variants.2.id", []string{"of the product itself"}},
		{"a SKU twice", other(func(v *Variant) { v.ID = uuid.New() }), "variants.2.sku", []string{"variants.1", "once"}},
		{"a SKU that looks the same", other(func(v *Variant) { v.ID, v.SKU = uuid.New(), " SKU\u200b-１" }), "variants.2.sku", []string{"variants.1", "looks the same"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			refuses(t, State{Product: Product{ID: productID}}, create(test.change), Conflict, test.field, test.words...)
		})
	}
	refuses(t, State{Product: shop()}, AddVariant{Variant: variant(func(v *Variant) { v.ID = shop().ID })}, Conflict, "id", "of the product itself")
}

// What shows nothing at the ends of names, SKUs and attributes isn't kept; what is within them is,
// as it was given.
func TestTextsAreKeptTrimmed(t *testing.T) {
	given := Variant{ID: variantID, SKU: "\tX 1\u200b", Name: " 👩\u200d🔬 ❤\ufe0f ", Attributes: []Attribute{{" size\n", "\u202bשלום\u202c"}}}
	kept := Variant{ID: variantID, SKU: "X 1", Name: "👩\u200d🔬 ❤\ufe0f", Attributes: []Attribute{{"size", "שלום"}}}
	decides(t, State{}, Create{Name: "\u3000Ka\u0308se  alt ", Description: " two\nlines ", Variants: []Variant{given}},
		Created{Name: "Ka\u0308se  alt", Description: " two\nlines "}, VariantAdded{Variant: kept})
	decides(t, State{Product: shop()}, AddVariant{Variant: given}, VariantAdded{Variant: kept})
	name, trimmed := "\u200bTent\u2060", "Tent"
	decides(t, State{Product: shop()}, Update{Name: &name}, Updated{Name: &trimmed})
	if given.SKU != "\tX 1\u200b" || given.Attributes[0].Name != " size\n" || name != "\u200bTent\u2060" {
		t.Errorf("deciding changed the command: %+v, %q", given, name)
	}
}

func TestUpdate(t *testing.T) {
	name, description, threshold := "Big tent", "", int64(0)
	c := Update{Name: &name, Description: &description, LowStockThreshold: &threshold}
	decides(t, State{Product: shop()}, c, Updated{Name: &name, Description: &description, LowStockThreshold: &threshold})
	decides(t, State{Product: shop()}, Update{Name: &name}, Updated{Name: &name})
	if p, want := shop().Apply(Updated{Name: &name}), with(shop(), func(p *Product) { p.Version++ }); p != want {
		t.Errorf("a new name made of the product %+v, want %+v", p, want)
	}
	if p := shop().Apply(Updated{LowStockThreshold: &threshold}); p.LowStockThreshold != 0 {
		t.Errorf("the threshold is %d, want 0", p.LowStockThreshold)
	}

	empty, negative, long := " ", int64(-1), strings.Repeat("d", MaxDescription+1)
	refuses(t, State{Product: shop()}, Update{}, BadInput, "", "nothing to change")
	refuses(t, State{Product: shop()}, Update{Name: &empty}, BadInput, "name", "shows nothing")
	refuses(t, State{Product: shop()}, Update{Description: &long}, BadInput, "description", "10001")
	refuses(t, State{Product: shop()}, Update{LowStockThreshold: &negative}, BadInput, "lowStockThreshold", "-1")
}

func TestAddVariant(t *testing.T) {
	v := variant(func(*Variant) {})
	decides(t, State{Product: shop()}, AddVariant{Variant: v, Unconfirmed: true}, VariantAdded{Variant: v, Unconfirmed: true})
	if p := shop().Apply(VariantAdded{Variant: v}); p.Variants != 2 {
		t.Errorf("the product has %d variants, want 2", p.Variants)
	}
	full := with(shop(), func(p *Product) { p.Variants = MaxVariants })
	refuses(t, State{Product: full}, AddVariant{Variant: v}, BadInput, "productId", "100 variants")
	refuses(t, State{Product: shop()}, AddVariant{Variant: variant(func(v *Variant) { v.SKU = "" })}, BadInput, "sku", "1 to 100")
}

func TestAdjustStock(t *testing.T) {
	for name, test := range map[string]struct{ delta, total int64 }{
		"up": {5, 15}, "down": {-1, 9}, "down to what is reserved": {-6, 4}, "up to the most": {MaxStock - 10, MaxStock},
	} {
		t.Run(name, func(t *testing.T) {
			want := StockAdjusted{Delta: test.delta, Reason: "count", StockTotal: test.total, Reserved: 4}
			decides(t, State{Product: shop()}, AdjustStock{Delta: test.delta, Reason: "count"}, want)
			decides(t, State{Product: shop()}, AdjustStock{Delta: test.delta, Reason: "count", ExpectedVersion: 7}, want)
			decides(t, State{Product: shop()}, AdjustStock{Total: &test.total, Reason: "count"}, want)
		})
	}
	decides(t, State{Product: shop()}, AdjustStock{Total: new(int64(10)), Reason: "count"}, StockConfirmed{StockTotal: 10, Reason: "count", StreamVersion: 7})
	for name, test := range map[string]struct {
		c     AdjustStock
		code  Code
		field string
		words []string
	}{
		"counted too few":     {AdjustStock{Total: new(int64(3)), Reason: "count"}, BadInput, "total", []string{"it is 3", "4 are reserved", "4 at the least"}},
		"counted below zero":  {AdjustStock{Total: new(int64(-1)), Reason: "count"}, BadInput, "total", []string{"-1", "0 to 2147483647"}},
		"counted too many":    {AdjustStock{Total: new(int64(MaxStock + 1)), Reason: "count"}, BadInput, "total", []string{"2147483648", "2147483647"}},
		"counted for nothing": {AdjustStock{Total: new(int64(9))}, BadInput, "reason", []string{"1 to 500"}},
		"counted the same":    {AdjustStock{Total: new(int64(10))}, BadInput, "reason", []string{"1 to 500"}},
		"counted before":      {AdjustStock{Total: new(int64(9)), Reason: "count", ExpectedVersion: 6}, Conflict, "expectedVersion", []string{"version 7", "not 6"}},
		"nothing":             {AdjustStock{Reason: "count"}, BadInput, "delta", []string{"0"}},
		"below the reserved":  {AdjustStock{Delta: -7, Reason: "count"}, BadInput, "delta", []string{"would be 3", "4 are reserved", "-6"}},
		"above the most":      {AdjustStock{Delta: MaxStock - 9, Reason: "count"}, BadInput, "delta", []string{"2147483648", "2147483647"}},
		"an overflow":         {AdjustStock{Delta: 1<<63 - 1, Reason: "count"}, BadInput, "delta", []string{"2147483647"}},
		"an underflow":        {AdjustStock{Delta: -1 << 63, Reason: "count"}, BadInput, "delta", []string{"2147483647"}},
		"an old version":      {AdjustStock{Delta: 1, Reason: "count", ExpectedVersion: 6}, Conflict, "expectedVersion", []string{"version 7", "not 6"}},
		"version before rest": {AdjustStock{ExpectedVersion: 8}, Conflict, "expectedVersion", nil},
		"no reason":           {AdjustStock{Delta: 1}, BadInput, "reason", []string{"1 to 500"}},
		"a long reason":       {AdjustStock{Delta: 1, Reason: strings.Repeat("r", MaxReason+1)}, BadInput, "reason", []string{"501"}},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, State{Product: shop()}, test.c, test.code, test.field, test.words...) })
	}
}

func TestCommandsOfPeopleNeedAProduct(t *testing.T) {
	name := "x"
	for _, c := range []Command{Update{Name: &name}, AddVariant{Variant: variant(func(*Variant) {})}, AdjustStock{}} {
		for _, status := range []Status{StatusAbsent, StatusPending, StatusDiscarded} {
			refuses(t, State{Product: Product{ID: productID, Status: status}}, c, NotFound, "productId", "no such product")
		}
	}
}

func TestDiscard(t *testing.T) {
	pending := with(shop(), func(p *Product) { p.Status, p.Reserved = StatusPending, 0 })
	decides(t, State{Product: pending}, NoteInventoryRecord{VariantID: variantID, Last: true}, InventoryRecordCreated{VariantID: variantID}, Confirmed{})
	decides(t, State{Product: pending}, Discard{Reason: "too slow"}, Discarded{Reason: "too slow"})
	if p := pending.Apply(Confirmed{}); !p.Exists() || p.Version != 8 {
		t.Errorf("confirmed it is %+v", p)
	}
	if p := pending.Apply(Discarded{}); p.Exists() || p.Variants != 0 || p.Version != 8 {
		t.Errorf("discarded it is %+v", p)
	}
	for _, status := range []Status{StatusAbsent, StatusActive, StatusDiscarded} {
		s := State{Product: with(pending, func(p *Product) { p.Status = status })}
		decides(t, s, Discard{})
	}

	decides(t, State{Product: shop()}, DiscardVariant{VariantID: variantID}, VariantDiscarded{VariantID: variantID})
	if p := shop().Apply(VariantDiscarded{VariantID: variantID}); p.Variants != 0 {
		t.Errorf("the product has %d variants, want 0", p.Variants)
	}
	decides(t, State{Product: pending}, DiscardVariant{VariantID: variantID})
	decides(t, State{Product: with(shop(), func(p *Product) { p.Variants = 0 })}, DiscardVariant{VariantID: variantID})
}

func TestNotesOfTheInventoryServiceLeaveTheProductAsItIs(t *testing.T) {
	quantity := int64(5)
	change := NoteInventoryChange{VariantID: variantID, Type: "InventoryLowStockEvent", Timestamp: now, AvailableQuantity: &quantity}
	changed := InventoryChanged{VariantID: variantID, Type: "InventoryLowStockEvent", Timestamp: now, AvailableQuantity: &quantity}
	decides(t, State{Product: shop()}, change, changed)
	decides(t, State{Product: shop()}, NoteInventoryRecord{VariantID: variantID}, InventoryRecordCreated{VariantID: variantID})
	for _, e := range []Event{changed, InventoryRecordCreated{VariantID: variantID}, OutcomeResent{Of: 3}} {
		if p := shop().Apply(e); !reflect.DeepEqual(p, shop()) {
			t.Errorf("%T made of the product %+v", e, p)
		}
	}
}

func TestStatusOf(t *testing.T) {
	for _, test := range []struct {
		available, threshold int64
		want                 StockStatus
	}{{-1, 0, OutOfStock}, {0, 0, OutOfStock}, {0, 5, OutOfStock}, {1, 0, InStock}, {1, 1, LowStock}, {5, 5, LowStock}, {6, 5, InStock}, {MaxStock, MaxStock, LowStock}} {
		if got := StatusOf(test.available, test.threshold); got != test.want {
			t.Errorf("StatusOf(%d, %d) = %s, want %s", test.available, test.threshold, got, test.want)
		}
	}
}
