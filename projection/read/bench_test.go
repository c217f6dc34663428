package read

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"product-service/product"
	"product-service/projection/projectiontest"
	"product-service/projection/view"
)

// most is how long the long history is: READS_MOVEMENTS, so that a short run is possible.
func most() int {
	if n, err := strconv.Atoi(os.Getenv("READS_MOVEMENTS")); err == nil {
		return n
	}
	return 20_000
}

// BenchmarkHistory measures reads of a product's history, short and long: they should cost about the same.
func BenchmarkHistory(b *testing.B) {
	for _, n := range []int{1000, most()} {
		s := projectiontest.Open(b)
		l := projectiontest.Busy(b, 1, n)
		if err := projectiontest.Drain(context.Background(), project(b, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
			b.Fatal(err)
		}
		projectiontest.Settle(b, s, l)
		r, id := NewReader(s, nil), projectiontest.ID(0xaa, 0)
		rows := l.Of(id)
		b.Run(fmt.Sprintf("stockAt/movements=%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, ok, err := r.StockAt(b.Context(), id, rows[rand.IntN(len(rows)-1)+1].At); err != nil || !ok {
					b.Fatal(ok, err)
				}
			}
		})
		b.Run(fmt.Sprintf("page/movements=%d", n), func(b *testing.B) {
			for b.Loop() {
				after := cursor("product", view.MovementID(id.String(), int64(rand.IntN(n-100)+100)))
				page, err := r.Movements(b.Context(), MovementFilter{ProductID: id}, Range{First: 50, After: after})
				if err != nil || len(page.Edges) != 50 {
					b.Fatal(len(page.Edges), err)
				}
			}
		})
		b.Run(fmt.Sprintf("all/movements=%d", n), func(b *testing.B) {
			for b.Loop() {
				page, err := r.Movements(b.Context(), MovementFilter{}, Range{First: 50})
				if err != nil || len(page.Edges) != 50 {
					b.Fatal(len(page.Edges), err)
				}
			}
		})
	}
}

// BenchmarkYearByHour measures a timeline of a year in which something moved every hour.
func BenchmarkYearByHour(b *testing.B) {
	s := projectiontest.Open(b)
	l := projectiontest.NewLog()
	id := projectiontest.ID(0xaa, 0)
	l.Do(id, 0, product.Create{Name: "P", InitialStock: 100_000})
	for range 366 * 24 {
		l.Do(id, time.Hour, product.AdjustStock{Delta: 1, Reason: "delivery"})
	}
	if err := projectiontest.Drain(context.Background(), project(b, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		b.Fatal(err)
	}
	r := NewReader(s, nil)
	for b.Loop() {
		buckets, err := r.Timeline(b.Context(), id, l.Clock.AddDate(-1, 0, 0), l.Clock, Hourly)
		if err != nil || len(buckets) < 365*24 {
			b.Fatal(len(buckets), err)
		}
	}
}
