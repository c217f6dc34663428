package read

import (
	"cmp"

	"github.com/google/uuid"

	"product-service/product"
	"product-service/projection/view"
)

// movementOf is the movement as people see it.
func movementOf(m *view.Movement) Movement {
	return Movement{ProductID: m.Product, Version: m.Version, Type: m.Type, Quantity: m.Quantity, Delta: m.Delta, Total: m.Total, Reserved: m.Reserved,
		ReservationID: m.Reservation, SagaID: m.Saga, Reason: m.Reason, Actor: m.Actor, CommandID: m.Command, CorrelationID: m.Correlation, OccurredAt: view.TimeOf(m.At)}
}

// productOf is the document as it is shown.
func productOf(d *view.Document) Product {
	p := Product{Name: d.Name, Description: d.Description, LowStockThreshold: d.Threshold, Total: d.Total, Reserved: d.Reserved,
		StockStatus: product.StockStatus(d.StockStatus), IsOrderable: d.Orderable, Version: d.Version,
		CreatedAt: view.TimeOf(d.CreatedAt), UpdatedAt: view.TimeOf(d.UpdatedAt), AsOf: view.TimeOf(cmp.Or(d.AsOf, d.UpdatedAt)), Variants: make([]Variant, 0, len(d.Variants))}
	p.ID, _ = uuid.Parse(d.ID) // it was written from one
	for _, v := range d.Variants {
		if v.Hidden {
			continue
		}
		shown := Variant{ProductID: p.ID, SKU: v.SKU, Name: v.Name, IsOrderable: v.Orderable}
		shown.ID, _ = uuid.Parse(v.ID)
		for _, a := range v.Attributes {
			shown.Attributes = append(shown.Attributes, product.Attribute(a))
		}
		p.Variants = append(p.Variants, shown)
	}
	return p
}
