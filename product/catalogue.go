package product

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/text/unicode/norm"
)

// The longest texts a product takes, in characters.
const (
	MaxName        = 200
	MaxDescription = 10_000
	MaxSKU         = 100
	MaxReason      = 500
	MaxAttributes  = 50
)

// Code says what kind of refusal it is, in the words clients get.
type Code string

// The codes of a [Refusal].
const (
	BadInput Code = "BAD_USER_INPUT"
	NotFound Code = "NOT_FOUND"
	Conflict Code = "CONFLICT"

	InventoryUnavailable Code = "INVENTORY_UNAVAILABLE" // under the rollback policy: the Inventory Service could not be told in time
)

// Refusal says why a command of people was refused, and where in its input the reason lies.
type Refusal struct {
	Code    Code
	Field   []string // the path in the input; empty where it is about the whole
	Message string   // what was wrong, and what is allowed
}

func refuse(code Code, field, format string, args ...any) Decision {
	r := &Refusal{Code: code, Message: fmt.Sprintf(format, args...)}
	if field != "" {
		r.Field = strings.Split(field, ".")
	}
	return Decision{Refusal: r}
}

func (c Create) decide(s State) Decision {
	if s.Product.Status == StatusActive || s.Product.Status == StatusPending {
		return refuse(Conflict, "id", "a product with this id exists")
	}
	c = c.trimmed()
	if bad := c.check(s.Product.ID); bad != nil {
		return Decision{Refusal: bad}
	}
	decided := []Event{Created{Name: c.Name, Description: c.Description, InitialStock: c.InitialStock,
		LowStockThreshold: c.LowStockThreshold, Unconfirmed: c.Unconfirmed}}
	for _, v := range c.Variants {
		decided = append(decided, VariantAdded{Variant: v})
	}
	return events(decided...)
}

func (c Create) trimmed() Create {
	c.Name, c.Variants = Trim(c.Name), slices.Clone(c.Variants)
	for i, v := range c.Variants {
		c.Variants[i] = v.trimmed()
	}
	return c
}

func (c Create) check(id uuid.UUID) *Refusal {
	var in check
	in.line("name", c.Name, MaxName)
	in.text("description", c.Description, 0, MaxDescription)
	in.number("initialStock", c.InitialStock)
	in.number("lowStockThreshold", c.LowStockThreshold)
	if len(c.Variants) > MaxVariants {
		in.fail("variants", "a product has at most %d variants, not %d", MaxVariants, len(c.Variants))
	}
	ids, skus := map[uuid.UUID]int{}, map[string]int{}
	for i, v := range c.Variants {
		at := fmt.Sprintf("variants.%d.", i)
		in.variant(at, v)
		sku := SKUKey(v.SKU)
		if v.ID == id {
			in.conflict(at+"id", "it is the id of the product itself: an id names one thing")
		}
		if first, twice := ids[v.ID]; twice {
			in.conflict(at+"id", "variants.%d has the same id: each may appear once", first)
		}
		if first, twice := skus[sku]; twice {
			in.conflict(at+"sku", "variants.%d has the same SKU, or one that looks the same: each may appear once", first)
		}
		ids[v.ID], skus[sku] = i, i
	}
	return in.refusal
}

func (c Update) decide(s State) Decision {
	if !s.Product.Exists() {
		return refuse(NotFound, "productId", "there is no such product")
	}
	var in check
	if c.Name != nil {
		name := Trim(*c.Name)
		c.Name = &name
		in.line("name", name, MaxName)
	}
	if c.Description != nil {
		in.text("description", *c.Description, 0, MaxDescription)
	}
	if c.LowStockThreshold != nil {
		in.number("lowStockThreshold", *c.LowStockThreshold)
	}
	if c == (Update{}) {
		in.fail("", "nothing to change: give at least one of name, description, lowStockThreshold")
	}
	if in.refusal != nil {
		return Decision{Refusal: in.refusal}
	}
	return events(Updated{Name: c.Name, Description: c.Description, LowStockThreshold: c.LowStockThreshold})
}

func (c AddVariant) decide(s State) Decision {
	if !s.Product.Exists() {
		return refuse(NotFound, "productId", "there is no such product")
	}
	var in check
	c.Variant = c.Variant.trimmed()
	in.variant("", c.Variant)
	if c.Variant.ID == s.Product.ID {
		in.conflict("id", "it is the id of the product itself: an id names one thing")
	}
	if s.Product.Variants >= MaxVariants {
		in.fail("productId", "the product has %d variants, which is as many as it can have", s.Product.Variants)
	}
	if in.refusal != nil {
		return Decision{Refusal: in.refusal}
	}
	return events(VariantAdded{Variant: c.Variant, Unconfirmed: c.Unconfirmed})
}

func (c AdjustStock) decide(s State) Decision {
	p := s.Product
	switch {
	case !p.Exists():
		return refuse(NotFound, "productId", "there is no such product")
	case c.ExpectedVersion != 0 && c.ExpectedVersion != p.Version:
		return refuse(Conflict, "expectedVersion", "the product is at version %d, not %d", p.Version, c.ExpectedVersion)
	}
	total, bad := c.total(p)
	if bad != nil {
		return Decision{Refusal: bad}
	}
	var in check
	if in.text("reason", c.Reason, 1, MaxReason); in.refusal != nil {
		return Decision{Refusal: in.refusal}
	}
	if total == p.StockTotal {
		return events(StockConfirmed{StockTotal: total, Reason: c.Reason, StreamVersion: p.Version})
	}
	return events(StockAdjusted{Delta: total - p.StockTotal, Reason: c.Reason, StockTotal: total, Reserved: p.Reserved})
}

// total is what the command makes of the product's total, which never is less than what is reserved.
func (c AdjustStock) total(p Product) (int64, *Refusal) {
	var in check
	if c.Total != nil {
		if in.number("total", *c.Total); *c.Total < p.Reserved {
			in.fail("total", "it is %d, but %d are reserved: total can be %d at the least", *c.Total, p.Reserved, p.Reserved)
		}
		return *c.Total, in.refusal
	}
	total := p.StockTotal + c.Delta
	switch {
	case c.Delta == 0 || c.Delta > MaxStock || c.Delta < -MaxStock:
		in.fail("delta", "delta is %d; it must change the stock, by at most %d", c.Delta, MaxStock)
	case total < p.Reserved:
		in.fail("delta", "the stock would be %d, but %d are reserved: delta can be %d at the least", total, p.Reserved, -p.Available())
	case total > MaxStock:
		in.fail("delta", "the stock would be %d; it can be %d at the most", total, MaxStock)
	}
	return total, in.refusal
}

func (c Discard) decide(s State) Decision {
	if s.Product.Status != StatusPending {
		return Decision{}
	}
	return events(Discarded{Reason: c.Reason})
}

func (c DiscardVariant) decide(s State) Decision {
	if !s.Product.Exists() || s.Product.Variants == 0 {
		return Decision{}
	}
	return events(VariantDiscarded{VariantID: c.VariantID})
}

// trimmed returns the variant with its texts as they are kept.
func (v Variant) trimmed() Variant {
	v.SKU, v.Name, v.Attributes = Trim(v.SKU), Trim(v.Name), slices.Clone(v.Attributes)
	for i, a := range v.Attributes {
		v.Attributes[i] = Attribute{Name: Trim(a.Name), Value: Trim(a.Value)}
	}
	return v
}

// check collects the first fault of an input.
type check struct{ refusal *Refusal }

func (in *check) fail(field, format string, args ...any) { in.refuse(BadInput, field, format, args...) }

func (in *check) conflict(field, format string, args ...any) {
	in.refuse(Conflict, field, format, args...)
}

func (in *check) refuse(code Code, field, format string, args ...any) {
	if in.refusal == nil {
		in.refusal = refuse(code, field, format, args...).Refusal
	}
}

// text checks a text that may have several lines.
func (in *check) text(field, value string, least, most int) {
	switch n := utf8.RuneCountInString(value); {
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		in.fail(field, "it must be valid UTF-8 without NUL characters")
	case n > most:
		in.fail(field, "it has %d characters; it must have %d to %d", n, least, most)
	case least > 0 && Trim(value) == "":
		in.fail(field, "it shows nothing; it must have %d to %d characters, not all of them spaces or invisible", least, most)
	}
}

// line checks a text of one line, which has been trimmed and must not be empty.
func (in *check) line(field, value string, most int) {
	if in.text(field, value, 1, most); in.refusal != nil {
		return
	}
	if i := strings.IndexFunc(value, breaks); i >= 0 {
		r, _ := utf8.DecodeRuneInString(value[i:])
		in.fail(field, "it has a line break or another control character (%U) within; it must be one line of text", r)
	}
}

func (in *check) number(field string, value int64) {
	if value < 0 || value > MaxStock {
		in.fail(field, "it is %d; it must be 0 to %d", value, MaxStock)
	}
}

func (in *check) variant(at string, v Variant) {
	in.line(at+"sku", v.SKU, MaxSKU)
	if n := utf8.RuneCountInString(SKUKey(v.SKU)); n > MaxSKU {
		in.fail(at+"sku", "its ligatures stand for %d characters in all; it must have 1 to %d", n, MaxSKU)
	}
	in.line(at+"name", v.Name, MaxName)
	in.number(at+"initialQuantity", v.InitialQuantity)
	in.number(at+"lowStockThreshold", v.LowStockThreshold)
	if len(v.Attributes) > MaxAttributes {
		in.fail(at+"attributes", "a variant has at most %d attributes, not %d", MaxAttributes, len(v.Attributes))
	}
	names := map[string]int{}
	for i, a := range v.Attributes {
		in.line(fmt.Sprintf("%sattributes.%d.name", at, i), a.Name, MaxName)
		in.line(fmt.Sprintf("%sattributes.%d.value", at, i), a.Value, MaxName)
		name := norm.NFC.String(a.Name)
		if first, twice := names[name]; twice {
			in.fail(fmt.Sprintf("%sattributes.%d.name", at, i), "attributes.%d has the same name: each may appear once", first)
		}
		names[name] = i
	}
}
