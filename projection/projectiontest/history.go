package projectiontest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"product-service/eventstore"
	"product-service/product"
	"product-service/projection/view"
)

// ID is an id by its kind and a number.
func ID(kind byte, n int) uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("%02x000000-0000-4000-8000-%012x", kind, n))
}

// ErrInjected is what a test makes a call fail with.
var ErrInjected = errors.New("injected")

// History writes random commands about a few products: everything a product can go through.
func History(t *rapid.T, l *Log, products, commands int) {
	for range commands {
		n := rapid.IntRange(0, products-1).Draw(t, "product")
		id := ID(0xaa, n)
		later := time.Duration(rapid.SampledFrom([]int64{0, 0, 0, 1, 700, 1e6, 17e6, 3600e6, 40 * 3600e6}).Draw(t, "later")) * time.Microsecond
		l.Do(id, later, command(t, l, n))
	}
}

func command(t *rapid.T, l *Log, n int) product.Command {
	variant := ID(0xbb, n*10+rapid.IntRange(0, 2).Draw(t, "variant"))
	reservation := ID(0xcc, rapid.IntRange(0, 6).Draw(t, "reservation"))
	quantity := rapid.Int64Range(1, 9).Draw(t, "quantity")
	switch rapid.IntRange(0, 19).Draw(t, "command") {
	case 0, 1:
		return product.Create{Name: fmt.Sprintf("Product %d", n), Description: "x", InitialStock: quantity * 5, LowStockThreshold: 7,
			Unconfirmed: rapid.Bool().Draw(t, "unconfirmed"), Variants: []product.Variant{{ID: variant, SKU: "sku-" + variant.String(), Name: "V"}}}
	case 2:
		name := rapid.StringMatching(`[A-Z][a-zé]{1,8} [A-Z][a-z]{2,5}`).Draw(t, "name")
		return product.Update{Name: &name}
	case 3:
		return product.AddVariant{Unconfirmed: rapid.Bool().Draw(t, "unconfirmed"), Variant: product.Variant{ID: ID(0xbb, n*10+3), SKU: "extra", Name: "W",
			Attributes: []product.Attribute{{Name: "size", Value: "L"}}}}
	case 4, 5:
		return product.AdjustStock{Delta: rapid.Int64Range(-10, 30).Draw(t, "delta"), Reason: "count"}
	case 6:
		return product.NoteInventoryRecord{VariantID: variant, Last: true}
	case 7:
		return product.Discard{Reason: "no record"}
	case 8:
		return product.NoteInventoryRecord{VariantID: variant}
	case 9:
		at := l.Clock.Add(time.Duration(rapid.IntRange(-5, 5).Draw(t, "skew")) * time.Second)
		kind := rapid.SampledFrom([]string{"InventoryOutOfStockEvent", "InventoryLowStockEvent", "InventoryBackInStockEvent"}).Draw(t, "event")
		return product.NoteInventoryChange{VariantID: variant, Type: kind, Timestamp: at, AvailableQuantity: &quantity}
	case 10:
		return product.Expire{ReservationID: reservation}
	case 11, 12, 13, 14:
		return product.Release{ReservationID: reservation, Quantity: rapid.Int64Range(0, 3).Draw(t, "part")}
	default:
		c := product.Reserve{ReservationID: reservation, SagaID: "saga", Quantity: quantity}
		if rapid.Bool().Draw(t, "expires") {
			c.ExpiresAt = l.Clock.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "life")) * time.Minute)
		}
		return c
	}
}

// Stocked is a log of some products with reservations.
func Stocked(t *testing.T, products int) *Log {
	t.Helper()
	l := NewLog()
	for n := range products {
		id := ID(0xaa, n)
		l.Do(id, time.Second, product.Create{Name: fmt.Sprintf("Product %d", n), InitialStock: 100, LowStockThreshold: 5,
			Variants: []product.Variant{{ID: ID(0xbb, n), SKU: fmt.Sprintf("SKU-%d", n), Name: "V"}}})
		l.Do(id, time.Second, product.NoteInventoryRecord{VariantID: ID(0xbb, n)})
		for i := range 5 {
			l.Do(id, time.Minute, product.Reserve{ReservationID: ID(0xcc, n*10+i), Quantity: 2})
		}
		l.Do(id, time.Hour, product.Release{ReservationID: ID(0xcc, n*10)})
	}
	return l
}

// FillBlocks gives a product some full blocks.
func FillBlocks(l *Log, id uuid.UUID) {
	for i := range int64(3 * view.BlockSize) {
		l.Do(id, time.Second, product.AdjustStock{Delta: 1 - i%2*2, Reason: "counted"})
	}
}

// SameShard are products of the shard of the first, and one of another.
func SameShard(n int) (ids []uuid.UUID) {
	for i := 1; len(ids) < n; i++ {
		id := ID(0xaa, i)
		if len(ids) == 0 || (eventstore.ShardOf(id) == eventstore.ShardOf(ids[0])) == (len(ids) < n-1) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Busy is a log of reservations and releases over some products.
func Busy(b *testing.B, products, events int) *Log {
	b.Helper()
	l := NewLog()
	for n := range products {
		l.Append(ID(0xaa, n), product.Created{Name: fmt.Sprintf("Product %d", n), InitialStock: 1_000_000, LowStockThreshold: 10},
			product.VariantAdded{Variant: product.Variant{ID: ID(0xbb, n), SKU: fmt.Sprintf("SKU-%d", n), Name: "Standard"}})
	}
	reservations := make([]uuid.UUID, products)
	for i := range events {
		n := i % products
		id := ID(0xaa, n)
		p := l.Products[id]
		if i%2000 == 0 {
			l.Clock = l.Clock.Add(30 * time.Millisecond)
		}
		if (i/products)%2 == 0 {
			reservations[n] = uuid.New()
			l.Append(id, product.Reserved{ReservationID: reservations[n], SagaID: "3f0c1c5e-7f3a-4d84-9a55-0d7f3f6f5f10", Quantity: 1, StockTotal: p.StockTotal, Reserved: p.Reserved + 1})
			continue
		}
		l.Append(id, product.Released{ReservationID: reservations[n], SagaID: "3f0c1c5e-7f3a-4d84-9a55-0d7f3f6f5f10", Quantity: 1, StockTotal: p.StockTotal, Reserved: p.Reserved - 1})
	}
	return l
}

// Bustle moves the stock of products in turn, every 20 ms.
func Bustle(l *Log, ids []uuid.UUID, moves int) {
	for i := range moves {
		l.Do(ids[i%len(ids)], 20*time.Millisecond, product.AdjustStock{Delta: 1, Reason: "counted"})
	}
}

// Journaled is a log of three products, two of them of one shard, that fills some segments.
func Journaled() (l *Log, ids []uuid.UUID) {
	l, ids = NewLog(), SameShard(3)
	for _, id := range ids {
		l.Do(id, time.Second, product.Create{Name: "P", InitialStock: 100, LowStockThreshold: 5})
	}
	Bustle(l, ids, 60)
	return l, ids
}
