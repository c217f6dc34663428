package view_test

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
	"product-service/projection/view"
)

// An entry is the fold of a product's rows of the log: its document, and the movement that each
// event makes.
func ExampleEntry_Fold() {
	id := uuid.MustParse("aa000000-0000-4000-8000-000000000001")
	at := time.Date(2026, 3, 1, 22, 30, 0, 0, time.UTC)
	e := view.NewEntry(id)
	for i, event := range []product.Event{
		product.Created{Name: "Coat", InitialStock: 10, LowStockThreshold: 3},
		product.Reserved{ReservationID: uuid.New(), SagaID: "saga-1", Quantity: 8, StockTotal: 10, Reserved: 8},
	} {
		n := int64(i + 1)
		row := eventstore.Record{Pos: n, At: at, Row: eventstore.Row{ProductID: id, Version: n, Type: product.TypeOf(event)}}
		m, _, err := e.Fold(row, event)
		fmt.Println(m.Type, m.Delta, err)
	}
	fmt.Println(e.Doc.Name, e.Doc.Available, e.Doc.StockStatus)
	// Output:
	// INITIAL 10 <nil>
	// RESERVED -8 <nil>
	// Coat 2 LOW_STOCK
}

// A merge hands on what several shards have, in the order of time.
func ExampleMerge() {
	merge := view.NewMerge(true)
	merge.Add([]view.Movement{{Pos: 1, At: 10}, {Pos: 2, At: 30}})
	merge.Add([]view.Movement{{Pos: 7, At: 20}})
	for merge.Peek() != nil {
		fmt.Print(merge.Next().At, " ")
	}
	// Output: 10 20 30
}
