package command

import (
	"fmt"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

func productOf(id uuid.UUID, h eventstore.Head) product.Product {
	return product.Product{ID: id, Version: h.Version, Status: product.Status(h.Status), StockTotal: h.StockTotal, Reserved: h.Reserved,
		LowStockThreshold: h.LowStockThreshold, Variants: int(h.Variants)}
}

func headOf(p product.Product) eventstore.Head {
	return eventstore.Head{ProductID: p.ID, Version: p.Version, Status: int16(p.Status), StockTotal: p.StockTotal, Reserved: p.Reserved,
		LowStockThreshold: p.LowStockThreshold, Variants: int32(p.Variants)}
}

func reservationFrom(r eventstore.Reservation) product.Reservation {
	return product.Reservation{ID: r.ReservationID, SagaID: r.SagaID, Quantity: r.Quantity, Held: r.Held,
		State: product.ReservationState(r.State), ExpiresAt: r.ExpiresAt}
}

// internalID is the command id of what the service asks of itself, the same each time it asks for the same.
func internalID(r *Request) uuid.UUID {
	return uuid.NewSHA1(r.ProductID, fmt.Appendf(nil, "%T %v", r.Command, r.Command))
}

// ruleVariants applies what the product of this id can't know by itself: what other products have, and how
// far each variant's inventory record is. It returns the command to decide, or nil where there is nothing
// to decide.
func (d *decider) ruleVariants(id uuid.UUID, c product.Command) (product.Command, *product.Refusal) {
	if refusal := product.Unique(id, c, inUse{d}); refusal != nil {
		return nil, refusal
	}
	switch c := c.(type) {
	case product.NoteInventoryRecord:
		v, ok := d.snapshot.Variants[c.VariantID]
		if !ok || v.Record == eventstore.RecordCreated || d.variants[c.VariantID] {
			return nil, nil // discarded meanwhile, or noted already
		}
		c.Last = true
		for _, id := range c.Siblings {
			c.Last = c.Last && (d.snapshot.Variants[id].Record == eventstore.RecordCreated || d.variants[id])
		}
		return c, nil
	case product.DiscardVariant:
		if v, ok := d.snapshot.Variants[c.VariantID]; !ok || !v.Unconfirmed || v.Record == eventstore.RecordCreated || d.variants[c.VariantID] {
			return nil, nil
		}
	}
	return c, nil
}

// inUse is what the service has, with what the requests of the batch decided before brought.
type inUse struct{ *decider }

// Product implements product.Taken.
func (d inUse) Product(id uuid.UUID) bool { return d.product(id).Version > 0 }

// Variant implements product.Taken.
func (d inUse) Variant(id uuid.UUID) bool {
	_, ok := d.snapshot.Variants[id]
	return ok || d.variants[id]
}

// SKU implements product.Taken.
func (d inUse) SKU(key string) bool { return d.skus[key] }

// noteVariants keeps the table of variants in step with the events.
func (d *decider) noteVariants(p product.Product, from product.Origin, e product.Event) {
	switch e := e.(type) {
	case product.VariantAdded:
		key := product.SKUKey(e.SKU)
		d.variants[e.ID], d.skus[key] = true, true
		d.changes.AddVariant(eventstore.Variant{VariantID: e.ID, ProductID: p.ID, SKU: e.SKU, SKUKey: key, InitialQuantity: e.InitialQuantity,
			LowStockThreshold: e.LowStockThreshold, Unconfirmed: e.Unconfirmed || p.Status == product.StatusPending, CorrelationID: from.CorrelationID,
			Traceparent: from.Traceparent})
	case product.InventoryRecordCreated:
		d.variants[e.VariantID] = true
		d.changes.ConfirmVariant(e.VariantID)
	case product.VariantDiscarded:
		d.variants[e.VariantID] = true // another command of the batch finds it gone
		d.changes.DiscardVariant(e.VariantID)
	case product.Discarded:
		d.changes.DiscardVariants(p.ID)
	}
}
