// Package correlation carries two names of a piece of work through the service: the correlation id, which
// people search logs for, and the W3C traceparent, which tracing systems join spans by.
//
// Each edge of the service (HTTP, Kafka) checks what a client sent and puts it into the context.
// Every log line, every call to another service and every stored event takes it from there. What
// this package holds is always fit to be a header and a log value, so no user of it checks again.
package correlation

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// Header is the HTTP header of the correlation id, in requests and answers. Kafka's is "correlation-id".
const Header = "X-Correlation-ID"

// MaxLength is how many characters a correlation id can have.
const MaxLength = 128

type (
	idKey          struct{}
	traceparentKey struct{}
)

// Valid says whether id can be a correlation id: 1 to [MaxLength] ASCII letters, digits, '.', '_',
// ':' and '-'.
func Valid(id string) bool {
	if id == "" || len(id) > MaxLength {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '.', c == '_', c == ':', c == '-':
		default:
			return false
		}
	}
	return true
}

// WithID returns a context that carries a correlation id. One that isn't valid is left out.
func WithID(ctx context.Context, id string) context.Context {
	if !Valid(id) {
		return ctx
	}
	return context.WithValue(ctx, idKey{}, id)
}

// ID returns the correlation id that ctx carries, or "".
func ID(ctx context.Context) string {
	id, _ := ctx.Value(idKey{}).(string)
	return id
}

// traceparentLength is how long a traceparent of version 00 is. A later version may add to it.
const traceparentLength = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")

// Traceparent reads a traceparent header by the rules of W3C Trace Context, section 3.2, and
// returns it in version 00, the version this service speaks. It returns "" for one that is
// malformed or has an id of zeros: the rules say to go on as if there were none. Flags are handed
// on as they are, known or not; OpenTelemetry's own reader refuses those it doesn't know, which is
// why it isn't used here.
func Traceparent(header string) string {
	if len(header) < traceparentLength || header[2] != '-' || header[35] != '-' || header[52] != '-' {
		return ""
	}
	version, flags, more := header[:2], header[53:traceparentLength], header[traceparentLength:]
	if !hexadecimal(version) || !hexadecimal(flags) || version == "ff" {
		return ""
	}
	if more != "" && (version == "00" || more[0] != '-') {
		return ""
	}
	if _, err := trace.TraceIDFromHex(header[3:35]); err != nil {
		return ""
	}
	if _, err := trace.SpanIDFromHex(header[36:52]); err != nil {
		return ""
	}
	return "00" + header[2:traceparentLength]
}

func hexadecimal(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// WithTraceparent returns a context that carries a traceparent. One that [Traceparent] refuses is left out.
func WithTraceparent(ctx context.Context, header string) context.Context {
	if header = Traceparent(header); header == "" {
		return ctx
	}
	return context.WithValue(ctx, traceparentKey{}, header)
}

// TraceparentOf returns the traceparent that ctx carries, or "".
func TraceparentOf(ctx context.Context) string {
	header, _ := ctx.Value(traceparentKey{}).(string)
	return header
}
