package graph

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/projection/read"
)

// A year by the hour, from memory.
func BenchmarkYearByHour(b *testing.B) {
	year := make([]read.Bucket, read.MaxHours)
	for i := range year {
		start := noon.Add(time.Duration(i) * time.Hour)
		year[i] = read.Bucket{Start: start, End: start.Add(time.Hour), Opening: int64(i), Closing: int64(i) + 3, Min: int64(i), Max: int64(i) + 3, AdjustedQuantity: 3, Movements: 2}
	}
	h := newTestHandler(b, &fakes{timeline: func(uuid.UUID, time.Time, time.Time, read.Interval) ([]read.Bucket, error) {
		return year, nil
	}})
	body := `{"query":"{stockTimeline(productId:\"` + numbered("a", 1).String() + `\",from:\"2026-01-01T00:00:00Z\",to:\"2027-01-01T00:00:00Z\",interval:HOUR)` +
		`{start end opening closing minAvailable maxAvailable reservedQuantity releasedQuantity adjustedQuantity movements}}"}`
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK || w.Body.Len() < 1_000_000 {
			b.Fatalf("%d %.1000s", w.Code, w.Body)
		}
	}
}

// A page of 20 products with 2 variants each and their levels, from memory: what the API itself
// costs, by its plan and in the generated code.
func BenchmarkPage(b *testing.B) {
	c := newCatalogue(20)
	page, _ := c.page(read.ProductFilter{}, read.ProductOrder{}, read.Range{First: 20})
	f := fakesOf(c)
	f.forgetful = true
	f.page = func(read.ProductFilter, read.ProductOrder, read.Range) (read.Page[read.Product], error) {
		return page, nil
	}
	body := `{"query":"{products(first:20){nodes{id name isOrderable stockStatus stock{total reserved available} variants{id sku inventory{availableQuantity status isStale}}} pageInfo{hasNextPage endCursor}}}"}`
	for _, way := range []string{"on", "off"} {
		b.Run("plan="+way, func(b *testing.B) {
			h := newTestHandler(b, f, "GRAPHQL_PLAN", way)
			r := httptest.NewRequest(http.MethodPost, "/graphql", http.NoBody)
			r.Header.Set("Content-Type", "application/json")
			w := &discarded{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				r.Body = io.NopCloser(strings.NewReader(body))
				clear(w.header)
				if h.ServeHTTP(w, r); w.status != http.StatusOK || w.length < 1000 {
					b.Fatalf("%d, %d bytes", w.status, w.length)
				}
			}
		})
	}
}

// discarded is an answer that nobody reads.
type discarded struct {
	header         http.Header
	status, length int
}

func (d *discarded) Header() http.Header    { return d.header }
func (d *discarded) WriteHeader(status int) { d.status = status }
func (d *discarded) Write(body []byte) (int, error) {
	d.length = len(body)
	return len(body), nil
}
