package graph

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"product-service/correlation"
	"product-service/graph/auth"
	"product-service/product"
)

// Correlate takes a request's X-Correlation-ID over, or makes one, and puts it into its context
// (see package [correlation]) and into its answer. The traceparent of a request goes into its
// context too.
func Correlate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if correlation.ID(ctx) == "" {
			id := r.Header.Get(correlation.Header)
			if !correlation.Valid(id) {
				id = newID().String()
			}
			w.Header().Set(correlation.Header, id)
			ctx = correlation.WithID(ctx, id)
		}
		ctx = correlation.WithTraceparent(ctx, r.Header.Get("Traceparent"))
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// originOf is what the events of a mutation record of its request and of its caller. It is no part
// of the command: where another caller sends the same command id again, the first caller stays on
// record.
func originOf(ctx context.Context) product.Origin {
	return product.Origin{CorrelationID: correlation.ID(ctx), Traceparent: correlation.TraceparentOf(ctx), Actor: auth.CallerOf(ctx).Subject}
}

// newID makes a UUID of version 7, which sorts by time.
func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }
