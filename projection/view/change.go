package view

import (
	"github.com/google/uuid"

	"product-service/product"
)

// Change says that the document of a product was written: it is at a position of its shard, or further.
type Change struct {
	ProductID uuid.UUID
	Pos       int64 // 0: it was written anew
	Version   int64 // of the product at that position; 0 where it isn't known
	StockOnly bool  // nothing changed but its stock, and what follows from that: it keeps its place among products by name and by creation
}

// stockOnly are the types of rows with which nothing of a document changes but the stock.
var stockOnly = map[string]bool{
	product.TypeOf(product.StockAdjusted{}):        true,
	product.TypeOf(product.Reserved{}):             true,
	product.TypeOf(product.ReservationRenewed{}):   true,
	product.TypeOf(product.Released{}):             true,
	product.TypeOf(product.ReservationCancelled{}): true,
	product.TypeOf(product.ReservationFailed{}):    true,
	product.TypeOf(product.RequestsRefused{}):      true,
}

// StockOnly says whether nothing of a product changes with a row of a type but its stock, see
// [Change]. Rows of which no document shows anything count too.
func StockOnly(rowType string) bool { return stockOnly[rowType] || Unshown[rowType] }
