package plan

import (
	"time"

	"github.com/google/uuid"

	"product-service/graph/model"
	"product-service/integration/inventory"
	"product-service/product"
	"product-service/projection/read"
)

// Variant is a variant as it is read: with the product it belongs to, where that was asked for. One
// that isn't there has neither.
type Variant struct {
	*read.Variant
	Product *read.Product
}

// Node is a *read.Product, a [Variant], a *read.Movement or a *read.Reservation; nil where there is
// none; and an error where it isn't shown.
type Node any

// Level is a level as it is shown.
type Level struct {
	*inventory.Level // nil: there is none
	Stale            bool
	AgeSeconds       int64 // when the answer is written
}

type (
	page = *read.Page[read.Product]
	edge = *read.Edge[read.Product]
)

// rootWrite is how a root field is written; nil where it, or a field below it, isn't among those
// that follow: the generated code writes it then.
func rootWrite(f *Field) any {
	switch f.Name {
	case "product":
		return known(object(f.Of("Product"), productField))
	case "products":
		return known(object(f.Of("ProductConnection"), connectionField))
	case "productVariants":
		return known(list(orNull(object(f.Of("ProductVariant"), variantField), Variant.missing), func(all []Variant) []Variant { return all }))
	case "node":
		return known(node(f))
	case "nodes", "_entities":
		return known(list(node(f), func(all []Node) []Node { return all }))
	}
	return nil
}

// known is w as [Field.write] has it: an interface that holds a nil function isn't nil.
func known[T any](w write[T]) any {
	if w == nil {
		return nil
	}
	return w
}

func connectionField(f *Field) write[page] {
	edges := func(p page) []read.Edge[read.Product] { return p.Edges }
	switch f.Name {
	case "edges":
		return listed(object(f.Of("ProductEdge"), edgeField), edges)
	case "nodes":
		return listed(through(object(f.Of("Product"), productField), edgeNode), edges)
	case "pageInfo":
		return object(f.Of("PageInfo"), pageInfoField)
	case "totalCount":
		return number(f, func(p page) int64 { return p.Total })
	}
	return nil
}

func edgeNode(e edge) *read.Product { return &e.Node }

func edgeField(f *Field) write[edge] {
	switch f.Name {
	case "cursor":
		return text(func(e edge) string { return e.Cursor })
	case "node":
		return through(object(f.Of("Product"), productField), edgeNode)
	}
	return nil
}

func pageInfoField(f *Field) write[page] {
	empty := func(p page) bool { return len(p.Edges) == 0 }
	switch f.Name {
	case "hasNextPage":
		return boolean(func(p page) bool { return p.HasNext })
	case "hasPreviousPage":
		return boolean(func(p page) bool { return p.HasPrevious })
	case "startCursor":
		return orNull(text(func(p page) string { return p.Edges[0].Cursor }), empty)
	case "endCursor":
		return orNull(text(func(p page) string { return p.Edges[len(p.Edges)-1].Cursor }), empty)
	}
	return nil
}

func productField(f *Field) write[*read.Product] {
	type of = *read.Product
	switch f.Name {
	case "id":
		return id(func(p of) uuid.UUID { return p.ID })
	case "name":
		return text(func(p of) string { return p.Name })
	case "description":
		return text(func(p of) string { return p.Description })
	case "variants":
		return variants(object(f.Of("ProductVariant"), variantField))
	case "stock":
		return through(object(f.Of("ProductStock"), stockField), func(p of) read.Stock { return p.Stock() })
	case "isOrderable":
		return boolean(func(p of) bool { return p.IsOrderable })
	case "stockStatus":
		return text(func(p of) product.StockStatus { return p.StockStatus })
	case "lowStockThreshold":
		return number(f, func(p of) int64 { return p.LowStockThreshold })
	case "version":
		return number(f, func(p of) int64 { return p.Version })
	case "createdAt":
		return instant(func(p of) time.Time { return p.CreatedAt })
	case "updatedAt":
		return instant(func(p of) time.Time { return p.UpdatedAt })
	}
	return nil
}

// variants writes those of a product, which is the product of each.
func variants(each write[Variant]) write[*read.Product] {
	if each == nil {
		return nil
	}
	return func(a *answer, p *read.Product) bool {
		return a.list(len(p.Variants), func(i int) bool { return each(a, Variant{&p.Variants[i], p}) })
	}
}

func stockField(f *Field) write[read.Stock] {
	type of = read.Stock
	switch f.Name {
	case "productId":
		return id(func(s of) uuid.UUID { return s.ProductID })
	case "total":
		return number(f, func(s of) int64 { return s.Total })
	case "reserved":
		return number(f, func(s of) int64 { return s.Reserved })
	case "available":
		return number(f, of.Available)
	case "version":
		return number(f, func(s of) int64 { return s.Version })
	case "asOf":
		return instant(func(s of) time.Time { return s.AsOf })
	}
	return nil
}

func (v Variant) missing() bool { return v.Variant == nil }

func variantField(f *Field) write[Variant] {
	switch f.Name {
	case "id":
		return id(func(v Variant) uuid.UUID { return v.ID })
	case "sku":
		return text(func(v Variant) string { return v.SKU })
	case "name":
		return text(func(v Variant) string { return v.Name })
	case "attributes":
		return listed(object(f.Of("VariantAttribute"), attributeField), func(v Variant) []product.Attribute { return v.Attributes })
	case "product":
		return through(object(f.Of("Product"), productField), func(v Variant) *read.Product { return v.Product })
	case "isOrderable":
		return boolean(func(v Variant) bool { return v.IsOrderable })
	case "inventory":
		return inventoryLevel(f, object(f.Of("InventoryLevel"), levelField))
	}
	return nil
}

func attributeField(f *Field) write[*product.Attribute] {
	switch f.Name {
	case "name":
		return text(func(t *product.Attribute) string { return t.Name })
	case "value":
		return text(func(t *product.Attribute) string { return t.Value })
	}
	return nil
}

// inventoryLevel asks for the level of a variant, and writes it.
func inventoryLevel(f *Field, level write[*Level]) write[Variant] {
	if level == nil {
		return nil
	}
	return func(a *answer, v Variant) bool {
		if err := a.readLevel(v.ID, f); err != nil {
			a.fail(f, err)
		}
		if a.level.Level == nil || !level(a, &a.level) {
			a.null()
		}
		return true
	}
}

func levelField(f *Field) write[*Level] {
	switch f.Name {
	case "productVariantId":
		return id(func(l *Level) uuid.UUID { return l.VariantID })
	case "availableQuantity":
		return number(f, func(l *Level) int64 { return l.Available })
	case "status":
		return text(func(l *Level) inventory.Status { return l.Status })
	case "updatedAt":
		return instant(func(l *Level) time.Time { return l.UpdatedAt })
	case "fetchedAt":
		return instant(func(l *Level) time.Time { return l.FetchedAt })
	case "isStale":
		return boolean(func(l *Level) bool { return l.Stale })
	case "ageSeconds":
		return number(f, func(l *Level) int64 { return l.AgeSeconds })
	case "source":
		return text(func(l *Level) inventory.Source { return l.Source })
	}
	return nil
}

// node writes whatever a node is.
func node(f *Field) write[Node] {
	var product write[*read.Product]
	var variant write[Variant]
	var movement write[*read.Movement]
	var reservation write[*read.Reservation]
	for typeName, selected := range f.of {
		known := false
		switch typeName {
		case "Product":
			product = object(selected, productField)
			known = product != nil
		case "ProductVariant":
			variant = object(selected, variantField)
			known = variant != nil
		case "StockMovement":
			movement = object(selected, movementField)
			known = movement != nil
		case "Reservation":
			reservation = object(selected, reservationField)
			known = reservation != nil
		}
		if !known {
			return nil
		}
	}
	return orNull(func(a *answer, n Node) bool {
		switch n := n.(type) {
		case *read.Product:
			return product(a, n)
		case Variant:
			return variant(a, n)
		case *read.Movement:
			return movement(a, n)
		case *read.Reservation:
			return reservation(a, n)
		case error:
			a.fail(nil, n)
		}
		return false
	}, func(n Node) bool { return n == nil })
}

func movementField(f *Field) write[*read.Movement] {
	type of = *read.Movement
	switch f.Name {
	case "id":
		return text(func(m of) string { return model.MovementID(m.ProductID, m.Version) })
	case "productId":
		return id(func(m of) uuid.UUID { return m.ProductID })
	}
	return nil
}

func reservationField(f *Field) write[*read.Reservation] {
	type of = *read.Reservation
	switch f.Name {
	case "id":
		return text(func(r of) string { return model.ReservationID(r.ProductID, r.ID) })
	case "reservationId":
		return id(func(r of) uuid.UUID { return r.ID })
	case "productId":
		return id(func(r of) uuid.UUID { return r.ProductID })
	}
	return nil
}
