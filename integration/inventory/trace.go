package inventory

import "context"

type (
	correlationKey struct{}
	traceKey       struct{}
)

// WithCorrelationID makes id travel with ctx: it goes upstream as X-Correlation-ID, and every line about a call is logged
// with that context, so that the logger's handler can name it.
func WithCorrelationID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, correlationKey{}, id)
}

// CorrelationID is the id that WithCorrelationID put into ctx, or "".
func CorrelationID(ctx context.Context) string {
	id, _ := ctx.Value(correlationKey{}).(string)
	return id
}

// WithTraceParent makes a W3C trace context header travel with ctx and upstream as traceparent.
func WithTraceParent(ctx context.Context, traceparent string) context.Context {
	return context.WithValue(ctx, traceKey{}, traceparent)
}

func traceParent(ctx context.Context) string {
	value, _ := ctx.Value(traceKey{}).(string)
	return value
}

// sendable says whether a caller's value may be a header: an illegal one would fail the call and blame the service.
func sendable(value string) bool {
	if value == "" || len(value) > 256 {
		return false
	}
	for i := range len(value) {
		if value[i] <= ' ' || value[i] > '~' {
			return false
		}
	}
	return true
}
