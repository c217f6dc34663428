package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/semconv/v1.37.0"
)

// traced says whether spans are wanted: where the standard variables name a collector and don't
// switch tracing off (OpenTelemetry specification, "Environment Variable Specification").
func traced() bool {
	endpoint := os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
	return endpoint && os.Getenv("OTEL_SDK_DISABLED") != "true" && os.Getenv("OTEL_TRACES_EXPORTER") != "none"
}

// trace exports a span for each GraphQL request and each attempt to reach the Inventory Service, by
// OTLP over HTTP. Where no collector is named nothing is wrapped and nothing costs. Everything
// about it is read from the OTEL_ variables by the library.
func (s *server) trace(ctx context.Context, life *lifecycle) error {
	if !traced() {
		return nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return fmt.Errorf("prepare to export spans: %w", err)
	}
	self := resource.NewSchemaless(semconv.ServiceName("product-service"), semconv.ServiceInstanceID(s.Leases.InstanceID))
	self, err = resource.Merge(self, resource.Environment()) // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win
	if err != nil {
		return fmt.Errorf("describe this service to the collector: %w", err)
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(self))
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { s.log.Warn("spans could not be exported", "error", err) }))
	life.closing("spans", provider.Shutdown)
	s.Inventory.Wrap = func(next http.RoundTripper) http.RoundTripper { return otelhttp.NewTransport(next) }
	return nil
}

// span wraps a handler so that each request is a span, a child of the caller's.
func span(name string, next http.Handler) http.Handler {
	if !traced() {
		return next
	}
	return otelhttp.NewHandler(next, name)
}
