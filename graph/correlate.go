package graph

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"product-service/integration/inventory"
	"product-service/product"
)

const (
	correlationHeader = "X-Correlation-ID"
	maxCorrelationID  = 128
)

type traceparentKey struct{}

// Correlate takes a request's X-Correlation-ID over, or makes one, and puts it into its context (see
// [inventory.CorrelationID]) and into its answer. The traceparent of a request goes into its context too, unchanged.
func Correlate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if inventory.CorrelationID(ctx) == "" {
			id := r.Header.Get(correlationHeader)
			if !usableCorrelationID(id) {
				id = newID().String()
			}
			w.Header().Set(correlationHeader, id)
			ctx = inventory.WithCorrelationID(ctx, id)
		}
		if traceparent := r.Header.Get("Traceparent"); usableTraceparent(traceparent) {
			ctx = inventory.WithTraceParent(ctx, traceparent)
			ctx = context.WithValue(ctx, traceparentKey{}, traceparent)
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// originOf is what the events of a mutation carry of its request.
func originOf(ctx context.Context) product.Origin {
	traceparent, _ := ctx.Value(traceparentKey{}).(string)
	return product.Origin{CorrelationID: inventory.CorrelationID(ctx), Traceparent: traceparent}
}

// usableCorrelationID says whether an id can go into headers and logs as it is.
func usableCorrelationID(id string) bool {
	if id == "" || len(id) > maxCorrelationID {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == ':', c == '-':
		default:
			return false
		}
	}
	return true
}

// usableTraceparent tells a traceparent of version 00 (W3C Trace Context, section 3.2).
func usableTraceparent(s string) bool {
	const shape = "00-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx"
	if len(s) != len(shape) {
		return false
	}
	for i, c := range []byte(s) {
		hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
		if shape[i] == 'x' && !hex || shape[i] != 'x' && c != shape[i] {
			return false
		}
	}
	return true
}

// newID makes a UUID of version 7, which sorts by time.
func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }
